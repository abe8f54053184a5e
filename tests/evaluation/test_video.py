import av
import imageio.v3 as iio
import numpy as np
import pytest
from evaluation_fakes import make_drive, make_scene

from vla_sim.core.types import Body, Kind, Outcome, Role
from vla_sim.evaluation.reporting import map as maps
from vla_sim.evaluation.reporting import video
from vla_sim.evaluation.reporting.map import footprint
from vla_sim.evaluation.reporting.video import write_gif, write_video


def pictures(count, size=64):
    return [np.full((size, size, 3), 10 * i % 255, np.uint8) for i in range(count)]


def read(path):
    """(what the film says about itself, its frames)."""
    return iio.immeta(path, plugin="pyav"), iio.imread(path, plugin="pyav")


def short(**changes):
    return make_drive(100000, steps=5, **changes)


def board(record, frames=None, scene=None):
    poses = video._shown_poses(frames or pictures(len(record.path)), record)
    return video._Page(scene or make_scene(), record, poses, 0.15)


def test_film_is_h264_in_real_time_with_the_end_held(tmp_path):
    path = tmp_path / "deep" / "a.mp4"
    write_video(path, pictures(6), scene=make_scene(), record=short(), fps=10)
    facts, frames = read(path)
    assert (facts["codec"], facts["video_format"]) == ("h264", "yuv420p")
    assert facts["fps"] == 10
    assert frames.shape[1:] == (544, 960, 3)
    assert len(frames) == 5 * 4 + round(10 * video.HOLD_S)
    assert [p.name for p in path.parent.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("outcome", "color"), [("success", maps.GREEN), ("collision", maps.RED)])
def test_banner_shows_the_outcome_at_the_end_only(tmp_path, outcome, color):
    path = tmp_path / "a.mp4"
    write_video(path, pictures(6), scene=make_scene(), record=short(outcome=outcome), fps=5)
    _, frames = read(path)
    corner = [f[-10:, -30:].mean(axis=(0, 1)) for f in (frames[0], frames[-1])]
    assert np.abs(corner[1] - color).max() < 12
    assert np.abs(corner[0] - color).max() > 40


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_banner(outcome):
    record = short(outcome=outcome)
    board(record).image(pictures(1)[0], 5, 0.0, ended=True)


def test_the_sentence_of_the_moment_is_shown():
    record = short(extra={"sentences": [[0.0, "Go to the cup"], [0.8, "Stop"]]})
    drawn = board(record)
    before, at, after = (np.asarray(drawn.image(pictures(1)[0], step, 0.0))[:50] for step in (1, 2, 3))
    assert (before != at).any()
    assert (at == after).all()


def test_robot_drives_up_for_forward_and_left_for_left():
    record = short()
    drawn = board(record)
    start, end = drawn._map._px(0, 0), drawn._map._px(3.2, 0)
    assert end[1] < start[1]
    assert drawn._map._px(0, 1)[0] < start[0]


def test_everything_that_matters_lies_on_the_map():
    drawn = board(short())._map
    for body in make_scene().bodies:
        if body.role is not Role.WALL:
            x, y = drawn._px(body.x_m, body.y_m)
            assert 0 < x < drawn._size[0]
            assert 0 < y < drawn._size[1]


def test_path_grows_with_the_steps():
    drawn = board(short())._map
    blue = [(np.asarray(drawn.image(step, 0.0)) == maps.BLUE).all(axis=2).sum() for step in (0, 2, 5)]
    assert blue[0] < blue[1] < blue[2]


def test_episode_that_raised_is_filmed_as_far_as_it_went(tmp_path):
    record = short(outcome="error")
    write_video(tmp_path / "a.mp4", pictures(3), scene=make_scene(), record=record, fps=5)
    assert len(read(tmp_path / "a.mp4")[1]) == 4 + round(5 * video.HOLD_S)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no images"),
        (pictures(3), "6 poses needs as many images, got 3"),
        ([np.zeros((8, 8, 3))] * 6, "must be uint8"),
        ([np.zeros((8, 8), np.uint8)] * 6, "must be uint8"),
    ],
)
def test_bad_pictures_are_refused_and_leave_nothing(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "a.mp4", frames, scene=make_scene(), record=short())
    assert list(tmp_path.iterdir()) == []


def test_failure_while_filming_leaves_the_old_film(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    frames = pictures(6)
    frames[3] = np.zeros((4, 4), np.int32)
    with pytest.raises(Exception, match=r".+"):
        write_video(tmp_path / "a.mp4", frames, scene=make_scene(), record=short())
    assert (tmp_path / "a.mp4").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_encoder_that_cannot_write_says_why(tmp_path, monkeypatch):
    def full(*arguments):
        raise av.error.OSError(28, "No space left on device")

    monkeypatch.setattr(av.VideoFrame, "__init__", full, raising=False)
    with pytest.raises(OSError, match=r"could not encode .*a\.mp4: .*No space left"):
        write_video(tmp_path / "a.mp4", pictures(6), scene=make_scene(), record=short())
    assert list(tmp_path.iterdir()) == []


def test_gif_is_small_and_moves(tmp_path):
    from PIL import Image

    write_gif(tmp_path / "a.gif", pictures(6), scene=make_scene(), record=short(), fps=5, width_px=320)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.size[0] == 320
        assert gif.n_frames > 5
    assert (tmp_path / "a.gif").stat().st_size < 200_000


@pytest.mark.parametrize("text", ["", "word " * 200, "x" * 500, "한국어 " * 80, "two\nlines\tand tabs"])
def test_any_instruction_fits(text):
    record = short(instruction=text)
    image = board(record, scene=make_scene(text=text)).image(pictures(1)[0], 0, 0.0)
    assert image.size == video.SIZE_PX


def test_actions_that_are_missing_turn_or_stand_are_drawn():
    for action in ((), (None, None), (0.0, 0.0), (0.5, 0.1, -0.8), (0.0, 0.0, 0.8)):
        assert video._dial(video._known(action), 0.5).size[0] > 50


def test_footprint_of_a_turned_box_is_turned():
    body = Body("b", Kind.BOX, Role.OBSTACLE, (2.0, 1.0, 1.0), 1.0, 1.0, yaw_rad=np.pi / 2)
    corners = np.array(footprint(body))
    np.testing.assert_allclose(np.ptp(corners, axis=0), [1.0, 2.0], atol=1e-9)


def test_grown_footprints_keep_their_distance():
    box = Body("b", Kind.BOX, Role.OBSTACLE, (2.0, 1.0, 1.0), 0.0, 0.0)
    cup = Body("c", Kind.CUP, Role.GOAL, (0.4, 0.4, 1.0), 0.0, 0.0)
    np.testing.assert_allclose(np.max(footprint(box, grow_m=0.3, smooth=True), axis=0), [1.3, 0.8], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(footprint(cup, grow_m=0.3), axis=1), 0.5)
