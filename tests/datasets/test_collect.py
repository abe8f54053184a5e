"""The command `collect`: the same files however it is run, interrupted and gone on with; bad input in one sentence."""

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from folders import contents, one_line

from vla_sim.collect import main
from vla_sim.core.types import Outcome
from vla_sim.datasets.lerobot import LeRobotReader
from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading, read_episodes
from vla_sim.datasets.store import MANIFEST_FILE, EpisodeStore, read_manifest

SMALL = ("--image-px", "32", "32")
SCENARIOS = ("obstacle_left", "obstacle_right", "reach_goal")


def collect(out, *options, episodes=5, workers=1, scenarios=SCENARIOS):
    """The exit code of the command with small images."""
    size = () if "--image-px" in options else SMALL
    numbers = ("--episodes", str(episodes), "--workers", str(workers))
    return main(["--scenario", *scenarios, "--out", str(out), *numbers, *size, *options])


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Five drives, collected at one go by one process."""
    out = tmp_path_factory.mktemp("five") / "set"
    assert collect(out) == 0
    return out


def test_drives_are_what_was_asked_for_and_the_manifest_says_so(five):
    manifest = read_manifest(five)
    assert [entry.facts["scenario"] for entry in manifest.entries.values()] == [SCENARIOS[i % 3] for i in range(5)]
    assert [entry.facts["seed"] for entry in manifest.entries.values()] == list(range(5))
    assert {path.name for path in five.glob("*.h5")} == {entry.file for entry in manifest.entries.values()}
    for index, episode in enumerate(read_episodes(five)):
        entry = manifest.entries[index]
        assert (episode.name, len(episode)) == (entry.name, entry.frames)
        assert episode.images.shape[1:] == (32, 32, 3)
        assert episode.has_last_image
        assert episode.instruction == entry.facts["instruction"] != ""
        assert episode.outcome is Outcome.SUCCESS
        assert episode.step_s == pytest.approx(0.4)


def test_a_collected_episode_is_what_the_recorder_drives(five):
    from vla_sim.rollout.recording import Recorder, RecordingJob, RecordingSetup

    with Recorder(RecordingSetup(image_px=(32, 32))) as recorder:
        driven = next(recorder.record([RecordingJob(1, SCENARIOS[1], 1)]))
    stored = list(read_episodes(five))[1]
    np.testing.assert_array_equal(stored.images, driven.images)
    # Labels are stored in the robot's scale, as float32.
    np.testing.assert_allclose(stored.actions, driven.actions, atol=1e-6)
    np.testing.assert_array_equal(stored.states, driven.states)
    assert dict(driven.provenance).items() <= dict(stored.provenance).items()


def test_noise_moves_the_steering_and_leaves_the_labels_to_the_expert(tmp_path):
    assert collect(tmp_path / "set", "--noise", "0.5", episodes=2) == 0
    for episode in read_episodes(tmp_path / "set"):
        assert episode.labels is not None
        assert np.abs(episode.labels - episode.actions).max() > 0.01


@pytest.mark.slow
def test_a_policy_steers_and_the_expert_labels(tmp_path):
    assert collect(tmp_path / "set", "--policy", "random", episodes=2) == 0
    for episode in read_episodes(tmp_path / "set"):
        assert episode.labels is not None
        assert not np.array_equal(episode.labels, episode.actions)


def test_padded_drives_with_a_still_start_look_like_recordings(tmp_path):
    options = ("--still-start", "--frames", "18", "--keys", "--store-as", "bgr", "--layout", "main")
    assert collect(tmp_path / "set", *options, episodes=2) == 0
    for recording in SerbotFolder(tmp_path / "set", SerbotReading()):
        assert len(recording.actions()) >= 18
        assert recording.events[0] == "episode_start"
        assert str(recording.channel_order) == "bgr (file)"
        assert set(np.abs(recording.steps.actions).ravel().round(4)) <= {np.float32(0), np.float32(1.15)}
        assert not recording.steps.actions[0].any()


# --- the same files however it is run ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_no_byte(tmp_path, workers):
    # Enough for several units, so that the work is really shared.
    assert collect(tmp_path / "one", episodes=20) == 0
    assert collect(tmp_path / "more", episodes=20, workers=workers) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "more")


def test_what_is_missing_is_driven_again_byte_for_byte(five, tmp_path):
    out = tmp_path / "set"
    shutil.copytree(five, out)
    manifest = read_manifest(out)
    (out / manifest.entries[1].file).unlink()
    (out / manifest.entries[3].file).write_bytes(b"damaged")
    assert collect(out) == 0
    assert contents(out) == contents(five)


def test_a_complete_set_is_left_alone_and_said(five, tmp_path, capsys):
    out = tmp_path / "set"
    shutil.copytree(five, out)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.h5")}
    assert collect(out, workers=2) == 0
    assert "5 of 5 episodes are complete already" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.h5")} == before


def _command(out, *options, episodes=60, workers=1):
    numbers = ("--episodes", str(episodes), "--workers", str(workers))
    command = ["-m", "vla_sim.collect", "--scenario", *SCENARIOS, "--out", str(out), *numbers, *SMALL, *options]
    return [sys.executable, *command]


MANY = 400  # takes so long that the signal arrives before the end, also where other work slows this process


def _interrupted(out, workers):
    """Exit code and stderr of a run that is interrupted after its third file."""
    command = _command(out, workers=workers, episodes=MANY)
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while running.poll() is None and len(list(out.glob("*.h5"))) < 3:
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    return running.returncode, said


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_interrupted_run_says_so_and_ends_as_an_undisturbed_one(tmp_path, workers):
    out = tmp_path / "set"
    code, said = _interrupted(out, workers)
    assert code == 130, said
    assert (
        said.strip().splitlines()[-1]
        == f"python -m vla_sim.collect: interrupted; go on with: python -m vla_sim.collect --resume {out}"
    )
    kept = read_manifest(out).entries
    assert 2 <= len(kept) < MANY
    assert collect(out, episodes=MANY) == 0
    assert collect(tmp_path / "undisturbed", episodes=MANY) == 0
    assert contents(out) == contents(tmp_path / "undisturbed")


# --- LeRobot ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [False, True])
def test_a_lerobot_set_holds_the_same_drives(five, tmp_path, images):
    assert collect(tmp_path / "set", "--format", "lerobot", *(["--images"] if images else [])) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    reader = LeRobotReader(tmp_path / "set")
    assert reader.fps == 5
    for drive, same in zip(reader, read_episodes(five), strict=True):
        np.testing.assert_allclose(drive.actions, same.actions, atol=1e-6)
        assert (drive.instruction, drive.outcome) == (same.instruction, same.outcome)
        off = np.abs(drive.images.astype(int) - same.images[: len(same)]).mean()
        assert off == 0 if images else off < 6


@pytest.mark.slow
@pytest.mark.parametrize("images", [False, True])
def test_a_lerobot_set_is_the_same_for_any_number_of_workers(tmp_path, images):
    options = ("--format", "lerobot", *(["--images"] if images else []))
    for workers in (1, 2):
        assert collect(tmp_path / str(workers), *options, episodes=20, workers=workers) == 0
    one, two = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert set(one) == set(two)
    # Encoders promise equal images, not equal bytes.
    assert {name for name in one if one[name] != two[name] and not name.endswith(".mp4")} == set()
    for first, second in zip(LeRobotReader(tmp_path / "1"), LeRobotReader(tmp_path / "2"), strict=True):
        assert np.abs(first.images.astype(int) - second.images).mean() < 1


def test_a_lerobot_set_is_never_overwritten(tmp_path, capsys):
    assert collect(tmp_path / "set", "--format", "lerobot", "--images", episodes=2) == 0
    before = contents(tmp_path / "set")
    capsys.readouterr()
    assert collect(tmp_path / "set", "--format", "lerobot", "--images", episodes=3) == 2
    assert "choose another folder" in one_line(capsys)
    assert contents(tmp_path / "set") == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_run_killed_after_its_set_appeared_is_tidied_up(tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("vla_sim.datasets.writing.discard_folder", lambda folder: None)
        assert collect(tmp_path / "set", "--format", "lerobot", "--images", episodes=2) == 0
    before = contents(tmp_path / "set")
    assert (tmp_path / ".set.episodes").exists()
    assert collect(tmp_path / "set", "--format", "lerobot", "--images", episodes=2) == 0
    assert "complete already" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert contents(tmp_path / "set") == before


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--scenario", "obstacle_lef"], "did you mean 'obstacle_left'?"),
        (["--suite", "sed"], "did you mean 'seed'?"),
        (["--policy", "expret"], "did you mean 'expert'?"),
        (["--embodiment", "serbut"], "did you mean 'serbot'?"),
        (["--renderer", "softwar"], "did you mean 'software'?"),
        (["--image-px", "4", "4"], "--image-px must be at least 8, got 4"),
        (["--policy", "seed_keys_basket_left", "--embodiment", "lekiwi"], "gives actions ['vx', 'vy'], lekiwi takes"),
        (["--noise", "-1"], "noise must not be negative, got -1.0"),
        (["--noise", "nan"], "--noise must be a finite number, got nan"),
        (["--frames", "-1"], "--frames must not be negative, got -1"),
        (["--first-seed", "99999"], "seed 100000 is no training seed"),
        (["--embodiment", "lekiwi", "--keys"], "keys are for robots with actions vx, vy"),
        (["--format", "lerobot", "--fps", "3"], "use 5 or 10 fps"),
        (["--format", "lerobot", "--fps", "0"], "--fps must be at least 1, got 0"),
        (["--format", "lerobot", "--image-px", "33", "32"], "H.264 films need even sides"),
        (["--format", "lerobot", "--store-as", "bgr"], "--store-as is only for --format hdf5"),
        (["--fps", "5"], "--fps is only for --format lerobot"),
        (["--channel-order", "bgr"], "--channel-order is now --store-as"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_written(tmp_path, capsys, options, says):
    assert collect(tmp_path / "set", *options) == 2
    assert says in one_line(capsys)
    assert not list(tmp_path.glob("**/*.h5"))
    # Nor does what there may be stand in the way of the right command.
    assert collect(tmp_path / "set", episodes=1) == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--format", "lerobt"], "did you mean 'lerobot'?"),
        (["--store-as", "bgt"], "did you mean 'bgr'?"),
        (["--layout", "nestd"], "did you mean 'nested'?"),
        (["--language", "k"], "did you mean 'ko'?"),
    ],
)
def test_unknown_choices_give_the_nearest(tmp_path, capsys, options, says):
    assert collect(tmp_path / "set", *options) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_drive_is_said(tmp_path, capsys):
    assert main(["--episodes", "1", "--out", str(tmp_path / "set")]) == 2
    assert "--suite or --scenario" in one_line(capsys)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--noise", "0.5"], "setup.noise was"),
        (["--episodes", "6"], "jobs was 5, now 6"),
        (["--layout", "nested"], "written_as.layout was"),
    ],
)
def test_another_plan_in_the_same_folder_is_refused(five, tmp_path, capsys, options, says):
    out = tmp_path / "set"
    shutil.copytree(five, out)
    before = contents(out)
    assert collect(out, *options) == 2
    assert says in one_line(capsys)
    assert contents(out) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    assert collect(tmp_path) == 2
    assert "holds other files (thesis.tex)" in one_line(capsys)
    assert contents(tmp_path) == {"thesis.tex": b"precious"}


@pytest.mark.parametrize("kind", ["hdf5", "lerobot"])
def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path, capsys, kind):
    out = tmp_path / "set"
    options = () if kind == "hdf5" else ("--format", "lerobot", "--images")
    held = out if kind == "hdf5" else tmp_path / ".set.episodes"
    first = subprocess.Popen(_command(out, *options, episodes=200), stdout=subprocess.DEVNULL)
    try:
        while first.poll() is None and not list(held.glob("*.h5")):
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)
        assert collect(out, *options, episodes=200) == 2
        assert f"process {first.pid} is writing there" in one_line(capsys)
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_full_disk_is_said_in_one_sentence_and_what_was_complete_is_kept(tmp_path, workers):
    """The limit on file sizes stands in for the end of the disk: the system refuses in the middle of a write."""
    out = tmp_path / "set"
    assert collect(out, episodes=20) == 0
    whole = contents(out)
    sizes = sorted(len(content) for name, content in whole.items() if name != MANIFEST_FILE)
    shutil.rmtree(out)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({sizes[-1] - 1},) * 2)"
    code = f"{limit}\nfrom vla_sim.collect import main\nif __name__ == '__main__': raise SystemExit(main())"
    (tmp_path / "limited.py").write_text(code)
    done = subprocess.run(
        [sys.executable, tmp_path / "limited.py", *_command(out, episodes=20, workers=workers)[3:]],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no space left on the disk; what was complete is kept" in done.stderr
    assert done.stderr.count("\n") == 1
    kept = {name: content for name, content in contents(out).items() if name != MANIFEST_FILE}
    assert all(whole[name] == content for name, content in kept.items())
    assert not list(out.glob(".*.part"))
    # There is room again.
    assert collect(out, episodes=20) == 0
    assert contents(out) == whole


def test_the_store_of_a_collection_can_be_opened_by_its_plan(five):
    with EpisodeStore(five, dict(read_manifest(five).plan)) as store:
        assert len(store.entries) == 5


def test_a_collection_does_not_go_on_with_other_weights_of_a_class(tmp_path, monkeypatch):
    """Only the code of module:Class counted, so one set could hold the drives of two policies."""
    from vla_sim.core.errors import UserError
    from vla_sim.rollout.collection import CollectConfig, collect_set

    (tmp_path / "reads_weights.py").write_text(
        "import pathlib\nimport numpy as np\nfrom vla_sim import Policy\n"
        "class Mine(Policy):\n"
        "    def __init__(self):\n"
        "        self.speed = float((pathlib.Path(__file__).parent / 'speed.txt').read_text())\n"
        "    def reset(self, reset_mask, seeds):\n"
        "        self.count = len(reset_mask)\n"
        "    def act(self, observation, infos=None):\n"
        "        return np.tile(np.float32([self.speed, 0]), (self.count, 1))\n"
    )
    (tmp_path / "speed.txt").write_text("0.5")
    monkeypatch.syspath_prepend(tmp_path)
    config = CollectConfig(episodes=1, scenario=("reach_goal",), policy="reads_weights:Mine")
    collect_set(config, tmp_path / "out", workers=1)
    collect_set(config, tmp_path / "out", workers=1)
    (tmp_path / "speed.txt").write_text("0.25")
    with pytest.raises(UserError, match="policy_hash was"):
        collect_set(config, tmp_path / "out", workers=1)
