import json
import multiprocessing
import os
import shutil
import signal
import time
from fractions import Fraction

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome

pytest.importorskip("pyarrow")
pytest.importorskip("pandas")
av = pytest.importorskip("av")

import pandas  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402
from lerobot_episodes import SENTENCES, episode  # noqa: E402

from vla_sim.datasets.base import ReadOptions  # noqa: E402
from vla_sim.datasets.lerobot import LeRobotReader, LeRobotWriter, lowest_fps  # noqa: E402
from vla_sim.datasets.lerobot.format import repeats  # noqa: E402
from vla_sim.datasets.lerobot.stats import image_stats, pooled_stats, vector_stats  # noqa: E402


def written(root, numbers=range(4), **options):
    with LeRobotWriter(root, 5, "serbot", **options) as writer:
        for number in numbers:
            writer.add(episode(number, steps=5 + number))
    return root


# --- the way there and back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("video", [True, False], ids=["films", "pictures"])
def test_what_is_written_is_read_again(tmp_path, video):
    reader = LeRobotReader(written(tmp_path / "set", video=video))
    assert len(reader) == 4
    for number, read in enumerate(reader):
        given = episode(number, steps=5 + number)
        assert (read.name, read.instruction, read.step_s) == (given.name, given.instruction, given.step_s)
        assert (read.outcome, read.events, dict(read.provenance)) == (given.outcome, given.events, given.provenance)
        assert (read.action_names, read.state_names) == (given.action_names, given.state_names)
        np.testing.assert_array_equal(read.actions, given.actions)
        np.testing.assert_array_equal(read.states, given.states[:-1])
        assert (read.labels is None) == (given.labels is None)
        if given.labels is not None:
            np.testing.assert_array_equal(read.labels, given.labels)
        difference = np.abs(read.images.astype(int) - given.images[:-1]).mean()
        assert difference < 2 if video else difference == 0


def test_single_pictures_are_those_of_the_whole_episode(tmp_path):
    reader = LeRobotReader(written(tmp_path / "set"))
    for number in (0, 3):
        images = reader[number].images
        for step in range(len(images)):
            np.testing.assert_array_equal(reader.recording(number).episode().images[step], images[step])


def test_each_step_fills_two_equal_frames_at_five_fps(tmp_path):
    rows = parquet.read_table(written(tmp_path / "set") / "data/chunk-000/file-000.parquet").to_pydict()
    first = [i for i, e in enumerate(rows["episode_index"]) if e == 0]
    assert len(first) == 10
    actions = np.array(rows["action"])[first]
    np.testing.assert_array_equal(actions[::2], actions[1::2])
    np.testing.assert_allclose(np.array(rows["timestamp"])[first], np.arange(10) / 5, rtol=1e-6)
    assert [rows["next.done"][i] for i in first] == [False] * 9 + [True]


def test_films_have_a_constant_rate_and_exactly_the_frames_of_the_index(tmp_path):
    root = written(tmp_path / "set")
    with av.open(str(root / "videos/observation.image/chunk-000/file-000.mp4")) as film:
        times = [f.pts * f.time_base for f in film.decode(video=0)]
        assert film.streams.video[0].codec_context.name == "h264"
    index = parquet.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pydict()
    assert times == [Fraction(i, 5) for i in range(sum(index["length"]))]
    ends = np.cumsum(index["length"]) / 5
    np.testing.assert_allclose(index["videos/observation.image/to_timestamp"], ends)
    np.testing.assert_allclose(index["videos/observation.image/from_timestamp"], [0, *ends[:-1]])


def test_files_are_cut_between_episodes_at_the_size_limit(tmp_path):
    root = written(tmp_path / "set", data_file_mb=0.004, video_file_mb=0.004)
    assert len(list(root.glob("data/*/*.parquet"))) > 1
    assert len(list(root.glob("videos/*/*/*.mp4"))) > 1
    reader = LeRobotReader(root)
    for number, read in enumerate(reader):
        np.testing.assert_array_equal(read.actions, episode(number, steps=5 + number).actions)


# --- the files --------------------------------------------------------------------------------------------------------


def test_info_counts_and_names_everything(tmp_path):
    info = json.loads((written(tmp_path / "set") / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], info["robot_type"]) == (5, "serbot")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (4, 52, 2)
    assert info["splits"] == {"train": "0:4"}
    assert info["features"]["observation.image"]["dtype"] == "video"
    assert info["features"]["action"]["names"] == ["vx", "vy"]
    assert info["video_path"].startswith("videos/{video_key}/chunk-{chunk_index:03d}")


def test_tables_hold_no_films_and_have_one_row_group_an_episode(tmp_path):
    file = parquet.ParquetFile(written(tmp_path / "set") / "data/chunk-000/file-000.parquet")
    assert file.num_row_groups == 4
    assert "observation.image" not in file.schema_arrow.names
    assert str(file.schema_arrow.field("action").type).startswith("fixed_size_list")
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_tasks_are_a_frame_indexed_by_the_sentence(tmp_path):
    tasks = pandas.read_parquet(written(tmp_path / "set") / "meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert [tasks.iloc[i].name for i in range(2)] == list(SENTENCES)
    assert list(tasks["task_index"]) == [0, 1]


def test_statistics_of_the_whole_are_those_of_all_frames(tmp_path):
    root = written(tmp_path / "set", video=False)
    stats = json.loads((root / "meta/stats.json").read_text())
    actions = np.array(parquet.read_table(root / "data/chunk-000/file-000.parquet")["action"].to_pylist())
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0))
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0))
    np.testing.assert_allclose(stats["action"]["min"], actions.min(0))
    assert stats["action"]["count"] == [52]
    assert np.shape(stats["observation.image"]["q99"]) == (3, 1, 1)
    assert 0 <= stats["observation.image"]["min"][0][0][0] < stats["observation.image"]["max"][0][0][0] <= 1


def test_picture_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (7, 20, 30, 3), dtype=np.uint8)
    stats, pixels = image_stats(images, held=2), images.reshape(-1, 3) / 255
    np.testing.assert_allclose(stats["mean"].ravel(), pixels.mean(0))
    np.testing.assert_allclose(stats["std"].ravel(), pixels.std(0))
    np.testing.assert_allclose(stats["q10"].ravel(), np.quantile(pixels, 0.1, axis=0), atol=1 / 255)
    assert stats["count"] == [14]


def test_pooled_quantiles_are_means_weighed_by_frames():
    """As the real LeRobot 0.6 pools them; they were bounds once, which its own files contradict."""
    parts = [vector_stats(np.arange(10.0)), vector_stats(np.arange(30.0) + 5)]
    pooled = pooled_stats(parts)
    assert (parts[0]["q10"], parts[1]["q10"]) == (0, 7)
    np.testing.assert_allclose(pooled["q10"], [0.25 * 0 + 0.75 * 7])
    np.testing.assert_allclose(pooled["q90"], [0.25 * 8 + 0.75 * 31])


# --- frame rates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("step_s", "fps", "frames"), [(0.4, 5, 2), (0.4, 10, 4), (0.1, 10, 1), (0.2, 5, 1)])
def test_steps_that_are_whole_numbers_of_frames_fit(step_s, fps, frames):
    assert repeats(step_s, fps) == frames


@pytest.mark.parametrize(("step_s", "fps"), [(0.4, 2), (0.4, 3), (0.1, 5), (0.4, 0), (0.4, 2.5)])
def test_other_frame_rates_are_refused(step_s, fps):
    with pytest.raises(UserError, match="fps"):
        repeats(step_s, fps)


@pytest.mark.parametrize(("step_s", "fps"), [(0.4, 5), (0.1, 10), (0.05, 20), (1.0, 1), (0.25, 4)])
def test_the_lowest_rate_that_fits_is_found(step_s, fps):
    assert lowest_fps(step_s) == fps
    assert repeats(step_s, fps) >= 1


# --- crashes ----------------------------------------------------------------------------------------------------------


def _write_and_crash(root, episodes):
    with LeRobotWriter(root, 5, "serbot") as writer:
        for number in range(episodes):
            writer.add(episode(number, steps=5 + number))
        raise RuntimeError


def test_an_exception_leaves_no_data_set_and_resuming_gives_the_same_bytes(tmp_path):
    whole = written(tmp_path / "whole")
    with pytest.raises(RuntimeError):
        _write_and_crash(tmp_path / "set", episodes=3)
    assert not (tmp_path / "set").exists()
    with pytest.raises(UserError, match="unfinished data set of 3 episodes"):
        LeRobotWriter(tmp_path / "set", 5, "serbot")
    with LeRobotWriter(tmp_path / "set", 5, "serbot", resume=True) as writer:
        assert writer.names == ("drive_0", "drive_1", "drive_2")
        writer.add(episode(3, steps=8))
    for path in whole.rglob("*"):
        if path.is_file():
            assert (tmp_path / "set" / path.relative_to(whole)).read_bytes() == path.read_bytes(), path
    assert {p.name for p in tmp_path.iterdir()} == {"set", "whole"}


def _write_forever(root):
    with LeRobotWriter(root, 5, "serbot", resume=True) as writer:
        for number in range(len(writer), 10_000):
            writer.add(episode(number))


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_at_most_the_episode_in_hand(tmp_path):
    root, rng, before = tmp_path / "set", np.random.default_rng(0), 0
    written(tmp_path / "other", range(1))  # so that the processes need not import what the writer loads late
    begin = time.perf_counter()
    written(tmp_path / "one", range(1))
    one_s = time.perf_counter() - begin  # on a busy machine, kills come later
    context = multiprocessing.get_context("fork")
    for _ in range(12):
        process = context.Process(target=_write_forever, args=(root,))
        process.start()
        time.sleep(rng.uniform(0.2, 4) * one_s)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert not root.exists()
        part = tmp_path / ".set.part"
        complete = sorted((part / "episodes").glob("*")) if part.exists() else []
        assert len(complete) >= before
        before = len(complete)
    with LeRobotWriter(root, 5, "serbot", resume=True) as writer:
        assert len(writer) == before > 5
    for number, read in enumerate(LeRobotReader(root)):
        np.testing.assert_array_equal(read.actions, episode(number).actions)
        assert len(read.images) == 6


def test_a_kill_while_the_parts_are_cleared_away_leaves_the_set_and_nothing_to_go_on_with(tmp_path, monkeypatch):
    """Half-removed parts were once taken for an unfinished set without settings."""

    real = shutil.rmtree

    def killed(folder, **options):
        if folder.exists() and folder.name.endswith(".gone"):
            (folder / "settings.json").unlink()
            raise KeyboardInterrupt
        real(folder, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            written(tmp_path / "set", video=False)
    assert len(LeRobotReader(tmp_path / "set")) > 0
    (tmp_path / "set").rename(tmp_path / "other")
    with LeRobotWriter(tmp_path / "set", 5, "serbot", video=False, resume=True) as writer:
        assert len(writer) == 0
        writer.add(episode(0))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "set"]


def test_two_writers_cannot_share_a_folder(tmp_path):
    with LeRobotWriter(tmp_path / "set", 5, "serbot") as first:
        first.add(episode(0))
        with pytest.raises(UserError):
            LeRobotWriter(tmp_path / "set", 5, "serbot", resume=True)
    assert len(LeRobotReader(tmp_path / "set")) == 1


def test_a_full_disk_is_said_and_what_was_complete_is_kept(tmp_path, monkeypatch):
    writer = LeRobotWriter(tmp_path / "set", 5, "serbot", video=False)
    writer.add(episode(0))

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(parquet, "write_table", full)
        with pytest.raises(UserError, match=r"no space left.*1 complete episodes are kept"):
            writer.add(episode(1))
    writer.close()
    with LeRobotWriter(tmp_path / "set", 5, "serbot", video=False, resume=True) as writer:
        writer.add(episode(1))
    assert [e.name for e in LeRobotReader(tmp_path / "set")] == ["drive_0", "drive_1"]


# --- what does not fit ------------------------------------------------------------------------------------------------


def test_a_folder_that_is_taken_is_refused(tmp_path):
    with pytest.raises(UserError, match="exists already"):
        LeRobotWriter(written(tmp_path / "set"), 5, "serbot")


def test_a_set_without_episodes_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="no episode was added"), LeRobotWriter(tmp_path / "set", 5, "serbot"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_resuming_with_another_rate_is_refused(tmp_path):
    with pytest.raises(RuntimeError):
        _write_and_crash(tmp_path / "set", episodes=1)
    with pytest.raises(UserError, match="fps was 5, now 10"):
        LeRobotWriter(tmp_path / "set", 10, "serbot", resume=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": np.zeros((7, 32, 48, 3), np.uint8)}, r"shape \[32, 48, 3\]"),
        ({"states": None, "state_names": ()}, "states=False"),
        ({"outcome": None}, "outcomes=False"),
        ({"step_s": 0.3}, "whole number of frames"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused_and_the_set_goes_on(tmp_path, changes, says):
    with LeRobotWriter(tmp_path / "set", 5, "serbot") as writer:
        writer.add(episode(0))
        with pytest.raises(UserError, match=says):
            writer.add(episode(1, **changes))
        writer.add(episode(2))
    assert [e.name for e in LeRobotReader(tmp_path / "set")] == ["drive_0", "drive_2"]


def test_states_and_outcomes_can_be_left_out_to_mix_real_and_simulated(tmp_path):
    with LeRobotWriter(tmp_path / "set", 5, "serbot", states=False, outcomes=False) as writer:
        writer.add(episode(0))
        writer.add(episode(1, states=None, state_names=(), outcome=None))
    simulated, real = LeRobotReader(tmp_path / "set")
    assert simulated.states is None
    assert simulated.outcome is Outcome.TIMEOUT
    assert real.outcome is None


def test_odd_sizes_are_refused_for_films_only(tmp_path):
    odd = episode(0, size=47)
    with pytest.raises(UserError, match="even sides"), LeRobotWriter(tmp_path / "films", 5, "serbot") as writer:
        writer.add(odd)
    with LeRobotWriter(tmp_path / "pictures", 5, "serbot", video=False) as writer:
        writer.add(odd)
    np.testing.assert_array_equal(LeRobotReader(tmp_path / "pictures")[0].images, odd.images[:-1])


# --- reading what is broken, or not ours ------------------------------------------------------------------------------


def _without_footer(root):
    path = root / "data/chunk-000/file-000.parquet"
    path.write_bytes(path.read_bytes()[:-200])


def _old_version(root):
    path = root / "meta/info.json"
    path.write_text(path.read_text().replace('"v3.0"', '"v2.1"'))


def _truncated_film(root):
    path = next(root.glob("videos/*/*/*.mp4"))
    path.write_bytes(path.read_bytes()[:500])


BREAKAGES = {
    "no footer": (_without_footer, "no parquet footer"),
    "version": (_old_version, "let it work on a copy"),
    "film gone": (lambda root: shutil.rmtree(root / "videos"), r"\.mp4 is missing"),
    "film cut": (_truncated_film, "cannot be decoded"),
    "tables gone": (lambda root: shutil.rmtree(root / "data"), r"\.parquet is missing"),
    "index gone": (lambda root: shutil.rmtree(root / "meta/episodes"), "meta/episodes"),
    "tasks gone": (lambda root: (root / "meta/tasks.parquet").unlink(), r"tasks\.parquet is missing"),
    "info gone": (lambda root: (root / "meta/info.json").unlink(), "not a LeRobot data set"),
    "info damaged": (lambda root: (root / "meta/info.json").write_text("{"), "cannot be read"),
    "empty table": (lambda root: (root / "data/chunk-000/file-000.parquet").write_bytes(b""), "footer|damaged"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_what_is_broken_is_said_in_one_sentence(tmp_path, name):
    breaks, says = BREAKAGES[name]
    root = written(tmp_path / "set", range(2))
    breaks(root)
    with pytest.raises(UserError, match=says):
        list(LeRobotReader(root))


def _renamed(root, names):
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    info["features"]["action"]["names"] = names
    path.write_text(json.dumps(info))
    (root / "meta/vla_sim.jsonl").unlink()
    return root


def test_sets_of_others_are_read_at_their_frame_rate(tmp_path):
    root = _renamed(written(tmp_path / "set", range(2)), ["x.vel", "theta.vel"])
    read, given = LeRobotReader(root)[1], episode(1)
    assert (read.name, read.step_s, len(read)) == ("episode_000001", 0.2, 12)
    assert read.action_names == ("vx", "wz")
    np.testing.assert_allclose(read.actions[::2, 0], given.actions[:, 0])
    np.testing.assert_allclose(read.actions[::2, 1], np.deg2rad(given.actions[:, 1]), rtol=1e-5)
    assert read.outcome is Outcome.SUCCESS
    assert read.instruction == given.instruction


def test_actions_that_are_no_twist_keep_their_names_unless_mapped(tmp_path):
    root = _renamed(written(tmp_path / "set", range(2)), ["shoulder", "elbow"])
    assert LeRobotReader(root)[0].action_names == ("shoulder", "elbow")
    mapped = LeRobotReader(root, ReadOptions(columns=("elbow=vx",)))[0]
    np.testing.assert_array_equal(mapped.actions[::2, 0], episode(0).actions[:5, 1])


def test_an_unknown_camera_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no camera 'front'.*observation\.image"):
        LeRobotReader(written(tmp_path / "set", range(2)), ReadOptions(camera="front"))
