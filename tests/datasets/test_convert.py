"""The command `convert`: the same drives in the other format; bad input in one sentence."""

import numpy as np
import pytest
from folders import contents, one_line
from serbot_files import ACTIONS, episode, write_recording
from serbot_like import LEFT, name_of, write_varied

from vla_sim.convert import main
from vla_sim.core.episode import Episode
from vla_sim.datasets.lerobot import LeRobotReader
from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading, read_episodes
from vla_sim.datasets.serbot.hdf5 import write_serbot_hdf5


def convert(source, out, *options):
    return main(["--data", str(source), "--out", str(out), *options])


@pytest.fixture
def recordings(tmp_path):
    """Four of the robot's own files: BGR, without states and outcomes."""
    return write_varied(tmp_path / "recordings", 4)


def test_recordings_become_a_lerobot_set_with_their_pictures_actions_and_sentences(tmp_path, recordings):
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images") == 0
    before, after = list(read_episodes(recordings)), list(LeRobotReader(tmp_path / "set"))
    assert len(after) == 4
    for old, new in zip(before, after, strict=True):
        assert (new.name, new.instruction, new.step_s) == (old.name, old.instruction, old.step_s)
        np.testing.assert_array_equal(new.images, old.images[: len(old)])
        np.testing.assert_array_equal(new.actions, old.actions)
        assert new.provenance["side"] == old.provenance["side"]
    assert LeRobotReader(tmp_path / "set").info["robot_type"] == "serbot"


def test_there_and_back_is_the_same(tmp_path, recordings):
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images", "--robot", "cart") == 0
    assert convert(tmp_path / "set", tmp_path / "back", "--format", "hdf5", "--store-as", "bgr") == 0
    for old, new in zip(read_episodes(recordings), read_episodes(tmp_path / "back"), strict=True):
        assert (new.name, new.instruction, new.events) == (old.name, old.instruction, old.events)
        np.testing.assert_array_equal(new.images, old.images)
        np.testing.assert_allclose(new.actions, old.actions, atol=1e-6)


def test_states_and_outcomes_are_written_where_all_episodes_have_them_only(tmp_path):
    source = tmp_path / "mixed"
    write_serbot_hdf5(source / f"{name_of(1, LEFT)}.h5", episode(name=name_of(1, LEFT)))
    assert convert(source, tmp_path / "one", "--format", "lerobot", "--images") == 0
    assert {"observation.state", "next.success"} <= set(LeRobotReader(tmp_path / "one").features)
    write_recording(source / f"{name_of(2, LEFT)}.h5", instruction="Reach the cup")
    assert convert(source, tmp_path / "two", "--format", "lerobot", "--images") == 0
    reader = LeRobotReader(tmp_path / "two")
    assert not {"observation.state", "next.success"} & set(reader.features)
    assert len(reader) == 2
    assert reader.recording(0).facts["outcome"] == "success"


def test_columns_say_what_the_actions_are(tmp_path):
    turning = ACTIONS[:, [0, 1, 2]] * np.array([1, 0, 0], np.float32) + ACTIONS[:, [2, 1, 2]]
    write_recording(tmp_path / "source" / f"{name_of(1, LEFT)}.h5", actions=turning)
    options = ("--format", "lerobot", "--images", "--columns", "vx", "wz", "gripper")
    assert convert(tmp_path / "source", tmp_path / "set", *options) == 0
    (read,) = LeRobotReader(tmp_path / "set")
    assert read.action_names == ("vx", "wz")
    assert np.abs(read.actions[:, 1]).max() == pytest.approx(0.8)


def test_an_interrupted_conversion_goes_on_and_ends_with_the_same_files(tmp_path, recordings, monkeypatch):
    for kind in ("lerobot", "hdf5"):
        options = ("--format", kind, *(("--images",) if kind == "lerobot" else ()))
        assert convert(recordings, tmp_path / f"whole_{kind}", *options) == 0
        loads = []

        def loaded(episode, loads=loads, original=Episode.loaded):
            loads.append(episode.name)
            if len(loads) == 3:
                raise KeyboardInterrupt
            return original(episode)

        out = tmp_path / kind
        with monkeypatch.context() as patched:
            patched.setattr(Episode, "loaded", loaded)
            assert convert(recordings, out, *options) == 130
        assert kind == "hdf5" or not contents(out)
        other = ("--robot", "cart") if kind == "lerobot" else ("--layout", "nested")
        assert convert(recordings, out, *options, *other) == 2
        assert convert(recordings, out, *options) == 0
        assert contents(out) == contents(tmp_path / f"whole_{kind}")


def test_a_changed_source_is_not_mixed_with_what_is_there(tmp_path, recordings, capsys):
    assert convert(recordings, tmp_path / "set", "--format", "hdf5") == 0
    write_varied(recordings, 5)
    capsys.readouterr()
    assert convert(recordings, tmp_path / "set", "--format", "hdf5") == 2
    assert "another plan" in one_line(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "lerobot", "--layout", "nested"), "--layout is only for --format hdf5"),
        (("--format", "hdf5", "--fps", "5"), "--fps is only for --format lerobot"),
        (("--format", "hdf5", "--camera", "front"), "--camera is for sets with named features"),
        (("--format", "lerobot", "--fps", "3"), "use 5 or 10 fps"),
        (("--format", "lerobot", "--columns", "vx", "vz"), "vz"),
        (("--format", "lerobot", "--action", "base_x=vx"), "--columns base_x=vx"),
    ],
)
def test_bad_options_are_said_in_one_sentence(tmp_path, recordings, capsys, options, said):
    assert convert(recordings, tmp_path / "out", *options) == 2
    assert said in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_broken_recording_stops_the_conversion_unless_it_is_to_be_left_out(tmp_path, recordings, capsys):
    victim = sorted(recordings.glob("*.h5"))[1]
    victim.write_bytes(victim.read_bytes()[:900])
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images") == 2
    assert victim.name in capsys.readouterr().err
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images", "--skip-bad") == 0
    assert len(LeRobotReader(tmp_path / "set")) == 3


def test_components_with_other_names_are_told_apart_by_the_user(tmp_path, recordings, capsys):
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images") == 0
    back = tmp_path / "back"
    assert convert(tmp_path / "set", back, "--format", "hdf5", "--columns", "vy=vx", "vx=vr") == 2
    assert "unknown part 'vr'" in one_line(capsys)
    assert convert(tmp_path / "set", back, "--format", "hdf5", "--columns", "vy=vx", "vx=vy") == 0
    for old, new in zip(read_episodes(recordings), read_episodes(back), strict=True):
        np.testing.assert_allclose(new.actions, old.actions[:, ::-1], atol=1e-6)


def test_a_lerobot_set_is_written_anew_with_other_components(tmp_path, recordings):
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images") == 0
    options = ("--format", "lerobot", "--images", "--columns", "vy", "vx")
    assert convert(tmp_path / "set", tmp_path / "again", *options) == 0
    for old, new in zip(LeRobotReader(tmp_path / "set"), LeRobotReader(tmp_path / "again"), strict=True):
        assert (new.name, new.action_names) == (old.name, ("vx", "vy"))
        np.testing.assert_array_equal(new.actions, old.actions)


def test_pictures_are_squeezed_when_asked(tmp_path, recordings):
    assert convert(recordings, tmp_path / "set", "--format", "lerobot", "--images", "--image-px", "16", "16") == 0
    expected = SerbotFolder(recordings, SerbotReading(image_px=(16, 16)))[0].load().images
    np.testing.assert_array_equal(LeRobotReader(tmp_path / "set")[0].images, expected)


def test_folders_for_evaluation_stay_the_evaluation_split(tmp_path, capsys):
    from vla_sim.audit import main as audit

    write_varied(tmp_path / "tree" / "train", 12)
    write_varied(tmp_path / "tree" / "val", 4)
    assert convert(tmp_path / "tree", tmp_path / "set", "--format", "lerobot", "--images") == 0
    assert LeRobotReader(tmp_path / "set").info["splits"] == {"train": "0:12", "val": "12:16"}
    audit(["--data", str(tmp_path / "set"), "--max-images", "0"])
    assert "4 of 4 evaluation episodes repeat an action sequence of training" in capsys.readouterr().out
