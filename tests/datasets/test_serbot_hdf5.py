import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest
import serbot_files
from serbot_files import ACTIONS, EVENTS, NAME, episode, pictures, write_recording

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome, Side
from vla_sim.datasets.serbot.actions import UNSCALED, LabelScale
from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading, SerbotRecording
from vla_sim.datasets.serbot.hdf5 import LAYOUTS, SerbotStyle, serbot_hdf5_bytes, write_serbot_hdf5

# Of the collector, and what early readers need.
ATTRIBUTES = {
    *("episode_name", "total_duration", "num_frames", "action_chunk_size", "obstacle_layout_type", "time_period"),
    *("collection_datetime", "collection_hour", "collection_minute"),
}


def same(one, other):
    """Whether two episodes agree but for their provenance and rounding of labels."""
    for name in ("images", "states"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    for name in ("actions", "labels"):
        assert np.allclose(getattr(one, name), getattr(other, name), rtol=2e-7, atol=0), name
    for name in ("name", "action_names", "instruction", "step_s", "state_names", "events", "outcome"):
        assert getattr(one, name) == getattr(other, name), name
    return True


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("last", [True, False])
def test_what_is_written_is_read_again(tmp_path, layout, order, last):
    drive = episode(last=last)
    path = tmp_path / f"{drive.name}.h5"
    write_serbot_hdf5(path, drive, SerbotStyle(layout, order))
    again = SerbotRecording(path).load()
    assert same(again, drive)
    assert dict(drive.provenance).items() <= dict(again.provenance).items()
    assert again.provenance["source_channel_order"] == f"{order} (file)"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_episodes_without_extras_are_read_again_without(tmp_path):
    drive = episode(labels=None, states=None, state_names=(), events=None, outcome=None, instruction="")
    write_serbot_hdf5(tmp_path / f"{NAME}.h5", drive)
    again = SerbotRecording(tmp_path / f"{NAME}.h5", SerbotReading(instruction="file")).load()
    assert (again.labels, again.states, again.events, again.outcome, again.instruction) == (None, None, None, None, "")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("names", [("vx", "wz"), ("vx", "vy", "wz"), ("vx",)])
def test_robots_with_other_actions_keep_their_components(tmp_path, names, layout):
    """In the layout with groups the expert's yaw rate was read from the sideways column once."""
    actions = np.linspace(-0.4, 0.4, 5 * len(names), dtype=np.float32).reshape(5, -1)
    drive = episode(action_names=names, actions=actions, labels=actions)
    write_serbot_hdf5(tmp_path / f"{NAME}.h5", drive, SerbotStyle(layout))
    again = SerbotRecording(tmp_path / f"{NAME}.h5").load()
    assert again.action_names == names
    assert np.allclose(again.actions, actions, rtol=2e-7)
    assert np.allclose(again.labels, actions, rtol=2e-7)


def test_main_layout_is_what_the_robots_tools_expect(tmp_path):
    drive = episode()
    write_serbot_hdf5(tmp_path / "a.h5", drive, SerbotStyle(channel_order="bgr"))
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["images"].dtype == np.uint8
        assert np.array_equal(file["images"][:], drive.images[:5, ..., ::-1])
        assert file["images"].compression == "gzip"
        assert file["actions"].dtype == np.float32
        assert file["actions"].shape == (5, 3)
        assert np.allclose(file["actions"][:, :2], drive.actions * 2.3, rtol=1e-6)
        assert not file["actions"][:, 2].any()
        assert file["action_event_types"].asstr()[:].tolist() == list(drive.events)
        assert file["language_instruction"].dtype == "S256"
        assert file["language_instruction"].shape == (1,)
        assert file["language_instruction"][0].decode() == drive.instruction
        assert set(file.attrs) >= ATTRIBUTES
        assert file.attrs["num_frames"] == 5
        assert file.attrs["total_duration"] == pytest.approx(2.0)
        assert file.attrs["action_chunk_size"] == 8
        assert file.attrs["obstacle_layout_type"] == "hori"


def test_proposed_layouts_have_their_places(tmp_path):
    write_serbot_hdf5(tmp_path / "groups.h5", episode(), SerbotStyle("groups"))
    with h5py.File(tmp_path / "groups.h5") as file:
        assert file["observations/image"].shape == (5, 18, 32, 3)
        assert set(file["actions"]) == {"linear_x", "linear_y"}
        assert {key: file["metadata"][key][()] for key in ("target", "side", "success")} == {
            "target": b"cup",
            "side": b"left",
            "success": True,
        }
    write_serbot_hdf5(tmp_path / "more.h5", episode(), SerbotStyle(proposed_metadata=True))
    with h5py.File(tmp_path / "more.h5") as file:
        assert file["instruction"].asstr()[()] == episode().instruction
        assert file["metadata/obstacle"].asstr()[()] == "box"
    write_serbot_hdf5(tmp_path / "nested.h5", episode(), SerbotStyle("nested"))
    with h5py.File(tmp_path / "nested.h5") as file:
        assert "images" not in file
        assert len(file["observations/images"]) == 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_episodes_give_equal_bytes_in_any_process(layout, tmp_path):
    code = (
        f"import sys, hashlib; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from serbot_files import episode\n"
        "from vla_sim.datasets.serbot.hdf5 import SerbotStyle, serbot_hdf5_bytes\n"
        f"print(hashlib.sha256(serbot_hdf5_bytes(episode(), SerbotStyle({layout!r}))).hexdigest())"
    )
    shutil.copy(serbot_files.__file__, tmp_path)
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(runs) == 1
    assert len(runs.pop()) == 65


def test_a_recording_of_the_robot_is_understood(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5")
    recording = SerbotFolder(tmp_path)[0]
    assert recording.facts.attributes["time_period"] == "morning"
    assert recording.side is Side.LEFT
    assert (recording.scenario, recording.distance) == ("2box_vert_left", "medium")
    assert recording.events == tuple(EVENTS)
    drive = recording.load()
    assert len(drive) == 18
    assert not drive.has_last_image
    assert np.array_equal(drive.images, pictures())
    assert drive.action_names == ("vx", "vy")
    assert drive.actions[0].tolist() == [0, 0]
    assert drive.actions[5].tolist() == [0, 0.5]
    assert drive.instruction == "Navigate around the obstacle on the left side and reach the cup"
    assert drive.provenance["instruction_source"] == "labels"
    assert drive.provenance["source_channel_order"].startswith("bgr (guessed")
    assert drive.provenance["simulated"] is False
    assert drive.provenance["taken"] == "2025-08-15T12:29:23"
    assert drive.provenance["source"] == path.name
    assert drive.outcome is None


def test_the_later_instruction_wins_over_the_name_unless_asked(tmp_path):
    write_recording(tmp_path / f"{NAME}.h5", instruction="가장 왼쪽 외곽으로 돌아 컵까지 가세요")
    read = {
        source: SerbotFolder(tmp_path, SerbotReading(instruction=source))[0] for source in ("file", "labels", "both")
    }
    assert read["file"].instruction == read["both"].instruction == "가장 왼쪽 외곽으로 돌아 컵까지 가세요"
    assert read["labels"].instruction.startswith("Navigate around")


def test_columns_mean_what_the_collector_or_the_reader_says(tmp_path):
    actions = ACTIONS * [1, 0, 0]
    actions[3, 1] = 1.15
    write_recording(tmp_path / f"{NAME}.h5", actions=actions.astype(np.float32))
    collector = SerbotFolder(tmp_path)[0]
    assert collector.columns == ("vx", "vy", "wz")
    assert collector.actions()[3].tolist() == [0.5, 0.5]
    documented = SerbotFolder(tmp_path, SerbotReading(columns=("vx", "wz", "gripper"), action_names=("vx", "wz")))[0]
    assert np.allclose(documented.actions()[3], [0.5, 0.8])
    with pytest.raises(UserError, match=r"have columns .* but no vy"):
        SerbotFolder(tmp_path, SerbotReading(columns=("vx", "wz", "gripper")))[0].actions()


def test_the_label_scale_can_be_given(tmp_path):
    write_recording(tmp_path / f"{NAME}.h5")
    read = SerbotFolder(tmp_path, SerbotReading(scale=LabelScale(speed_mps=0.575)))[0]
    assert np.allclose(read.actions()[1], [0.575, 0])
    raw = SerbotFolder(tmp_path, SerbotReading(scale=UNSCALED))[0]
    assert np.allclose(raw.actions()[1], [1.15, 0])


def test_pictures_are_squeezed_one_by_one(tmp_path):
    write_recording(tmp_path / f"{NAME}.h5")
    drive = SerbotFolder(tmp_path, SerbotReading(image_px=(16, 16)))[0].load()
    assert drive.images.shape == (18, 16, 16, 3)


def test_the_other_places_of_pictures_are_found(tmp_path):
    write_recording(tmp_path / f"{NAME}.h5", where="observations/images")
    recording = SerbotFolder(tmp_path)[0]
    assert recording.facts.layout == "nested"
    assert np.array_equal(recording.load().images, pictures())


def test_the_proposed_pot_format_is_read_by_the_names_of_its_columns(tmp_path):
    with h5py.File(tmp_path / "episode_20260110_101010_1box_left.h5", "w") as file:
        file["observations/image"] = pictures(4)
        file["observations/instruction"] = "Navigate to the brown pot on the left"
        file["actions/linear_x"] = np.full(4, 1.15)
        file["actions/angular_z"] = np.zeros(4)
        file["metadata/target"] = "brown pot"
        file["metadata/obstacle"] = "gray basket"
        file["metadata/success"] = True
    recording = SerbotFolder(tmp_path, SerbotReading(channel_order="rgb", action_names=("vx", "wz")))[0]
    assert recording.columns == ("vx", "wz")
    drive = recording.load()
    assert np.allclose(drive.actions, [0.5, 0])
    assert drive.instruction == "Navigate to the brown pot on the left"
    assert drive.outcome is Outcome.SUCCESS
    assert drive.provenance["target"] == "brown pot"


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="256 bytes"):
        serbot_hdf5_bytes(episode(instruction="왼" * 90))
    with pytest.raises(UserError, match="unknown HDF5 layout 'mian'; did you mean 'main'"):
        SerbotStyle("mian")
    with pytest.raises(UserError, match="unknown channel order 'rbg'"):
        SerbotStyle(channel_order="rbg")


# ------------------------------------------------------------------------------------------------------- bad files


def problem(path, **reading):
    with pytest.raises(UserError) as caught:
        SerbotRecording(path, SerbotReading(**reading)).load()
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files_are_said_to_be_so(tmp_path, share):
    path = write_recording(tmp_path / f"{NAME}.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "truncated" in problem(path) or "damaged" in problem(path)


def test_files_that_are_none_are_said_to_be_so(tmp_path):
    path = tmp_path / f"{NAME}.h5"
    assert "no such file" in problem(path)
    path.write_bytes(b"")
    assert "is empty" in problem(path)
    path.write_bytes(b"not HDF5 at all " * 100)
    assert "is not an HDF5 file" in problem(path)


def test_damaged_pictures_are_noticed_when_they_are_read(tmp_path):
    path = write_recording(
        tmp_path / f"{NAME}.h5", images=np.random.default_rng(0).integers(0, 255, (18, 18, 32, 3), np.uint8)
    )
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        chunk = file["images"].id.get_chunk_info(0)
    content[chunk.byte_offset + 20 : chunk.byte_offset + 60] = bytes(40)
    path.write_bytes(content)
    recording = SerbotRecording(path, SerbotReading(channel_order="bgr"))
    recording.check()
    with pytest.raises(UserError, match="is damaged"):
        recording.load()


def test_a_file_that_another_program_writes_is_said_to_be_locked(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5")
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import h5py, sys; f = h5py.File({str(path)!r}, 'a'); print(1, flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        writer.stdout.readline()
        assert "is locked: another program is writing it" in problem(path)
    finally:
        writer.communicate()
    SerbotRecording(path).load()


def test_a_file_of_a_killed_writer_is_said_to_be_unclosed(tmp_path):
    path = tmp_path / f"{NAME}.h5"
    code = (
        f"import h5py, numpy, os; f = h5py.File({str(path)!r}, 'w', libver='latest')\n"
        "f['images'] = numpy.zeros((18, 8, 8, 3), 'u1'); f.flush(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    assert "was not closed" in problem(path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"actions": ACTIONS[:10], "events": EVENTS[:10], "images": pictures(18)}, "18 images but 10 actions"),
        ({"actions": ACTIONS[:, :1]}, r"actions must have shape \(T, 3\) or \(T, 2\), got \(18, 1\)"),
        ({"actions": ACTIONS[:, 0]}, "actions must have shape"),
        ({"events": EVENTS[:5]}, "18 actions but 5 action_event_types"),
        ({"images": pictures().astype(np.float32)}, "images must be uint8"),
        ({"images": pictures()[..., 0]}, "images must be uint8"),
        ({"images": pictures()[:0]}, "holds no images"),
    ],
)
def test_wrong_shapes_are_refused(tmp_path, changes, complaint):
    path = write_recording(tmp_path / f"{NAME}.h5", bgr="images" not in changes, **changes)
    with pytest.raises(UserError, match=complaint):
        SerbotRecording(path, SerbotReading(channel_order="rgb")).load()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_actions_that_are_no_numbers_are_refused_with_their_step(tmp_path, bad):
    actions = ACTIONS.copy()
    actions[7, 1] = bad
    path = write_recording(tmp_path / f"{NAME}.h5", actions=actions)
    assert f"action 7, column 1 is {bad}" in problem(path)


def test_yaw_in_the_third_column_is_not_lost_silently(tmp_path):
    actions = ACTIONS.copy()
    actions[4, 2] = 1.15
    path = write_recording(tmp_path / f"{NAME}.h5", actions=actions)
    assert "column 2 (wz) is not zero at step 4" in problem(path)
    kept = SerbotRecording(path, SerbotReading(action_names=("vx", "vy", "wz"))).load()
    assert kept.actions[4, 2] == pytest.approx(0.8)


def test_files_without_parts_say_what_they_have(tmp_path):
    path = tmp_path / f"{NAME}.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = pictures(3)
    assert "has no images at images" in problem(path)
    assert "['frames']" in problem(path)
    with h5py.File(path, "w") as file:
        file["images"] = pictures(3)
    assert "has no actions" in problem(path)
    with h5py.File(path, "w") as file:
        file["images"] = pictures(3)
        file["actions/forward"] = np.zeros(3)
    assert "actions has none of ['linear_x', 'linear_y', 'angular_z']" in problem(path)


def test_unknown_labels_are_refused_or_accepted_on_request(tmp_path):
    path = write_recording(tmp_path / "episode_20250815_122923_2box_vert_middle_core_medium.h5")
    assert "unknown label 'middle'" in problem(path)
    drive = SerbotRecording(path, SerbotReading(unknown_names=True)).load()
    assert drive.instruction == ""
    assert drive.provenance["instruction_source"] == "none"


def test_newer_formats_of_ours_are_refused(tmp_path):
    write_serbot_hdf5(tmp_path / f"{NAME}.h5", episode())
    with h5py.File(tmp_path / f"{NAME}.h5", "a") as file:
        file.attrs["vla_sim_format"] = 9
    assert "vla_sim_format 9, this version reads 1" in problem(tmp_path / f"{NAME}.h5")
    with h5py.File(tmp_path / f"{NAME}.h5", "a") as file:
        file.attrs["vla_sim_format"] = 1
        file.attrs["vla_sim_provenance"] = json.dumps({"a": 1})[:-3]
    assert "vla_sim_provenance: cannot be read: no valid JSON" in problem(tmp_path / f"{NAME}.h5")
