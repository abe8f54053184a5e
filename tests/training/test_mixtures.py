import json
from dataclasses import replace

import numpy as np
import pytest
from loop_fakes import SIDE_PX, toy

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, serbot_hdf5_bytes
from vla_sim.training import sources as mixtures
from vla_sim.training.source_spec import SourceSpec, parse_sources
from vla_sim.training.sources import (
    Shape,
    Source,
    fitted_episode,
    mixture_weights,
    open_source,
    split,
)

SHAPE = Shape(SIDE_PX, ("vx", "vy"), 0.4)
SAYS = "go left of the box"


def episode(steps=5, names=("vx", "vy"), step_s=0.4, **changes):
    rng = np.random.default_rng(steps)
    values = {
        "name": "episode_20000101_000000_1box_vert_left_variant_close",
        "images": rng.integers(0, 256, (steps + 1, 48, 64, 3), dtype=np.uint8),
        "actions": rng.uniform(0.1, 0.5, (steps, len(names))).astype(np.float32),
        "action_names": names,
        "instruction": SAYS,
        "step_s": step_s,
        "outcome": Outcome.SUCCESS,
    }
    return Episode(**{**values, **changes})


@pytest.mark.parametrize(
    ("text", "name", "weight"),
    [("real={}:0.5", "real", 0.5), ("{}:2", "data", 2.0), ("{}", "data", 1.0), ("a={}", "a", 1.0)],
)
def test_sources_are_named_and_weighed(tmp_path, text, name, weight):
    folder = tmp_path / "data"
    folder.mkdir()
    spec = SourceSpec.parse(text.format(folder))
    assert (spec.name, spec.folder, spec.weight) == (name, folder, weight)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("real={}/none:0.5", "no such folder"),
        ("real={}:half", "weight must be a number, got 'half'"),
        ("real={}:0", "weight must be positive, got 0"),
        ("real={}:nan", "weight must be positive, got nan"),
        ("={}", "its name is empty"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(tmp_path, text, message):
    folder = tmp_path / "data"
    folder.mkdir()
    with pytest.raises(UserError, match=message):
        SourceSpec.parse(text.format(folder))


def test_two_sources_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="two sources are named 'real'"):
        parse_sources([f"real={tmp_path}", f"real={tmp_path}:2"])


def test_weights_hold_whatever_the_sizes(tmp_path):
    real = Source(SourceSpec("real", tmp_path, 3.0), [toy(episodes=2)])
    rounds = Source(
        SourceSpec("rounds", tmp_path, 1.0), [toy(episodes=4, group="look"), toy(episodes=40, group="drive")]
    )
    assert mixture_weights([real, rounds]) == {"real": 0.75, "rounds/look": 0.125, "rounds/drive": 0.125}
    assert real.named()[0].groups == ["real", "real"]


def test_a_split_parts_episodes_once_and_the_same_way_again(tmp_path):
    source = Source(SourceSpec("real", tmp_path), [toy(episodes=7), toy(episodes=13, seed=1)])
    (learned,), (checked,) = split([source], 0.25, seed=3)
    assert (learned.episodes, checked.episodes) == (15, 5)
    assert learned.frames + checked.frames == source.frames
    (again,), _ = split([source], 0.25, seed=3)
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(learned.parts, again.parts, strict=True))
    (other,), _ = split([source], 0.25, seed=4)
    assert not all(np.array_equal(a.actions, b.actions) for a, b in zip(learned.parts, other.parts, strict=False))
    assert split([source], 0.0, seed=3)[1][0].parts == []


def test_columns_are_taken_by_name():
    swapped = episode(names=("vy", "vx"))
    fitted, _ = fitted_episode(swapped, SHAPE)
    assert np.array_equal(fitted.actions[:, 0], swapped.actions[:, 1])
    assert np.array_equal(fitted.actions[:, 1], swapped.actions[:, 0])


def test_a_missing_column_is_refused_by_name():
    with pytest.raises(UserError, match="vy is missing"):
        fitted_episode(episode(names=("vx", "wz")), SHAPE)


def test_a_column_that_is_left_out_must_not_move():
    turning = episode(names=("vx", "vy", "wz"))
    with pytest.raises(UserError, match="moves by wz"):
        fitted_episode(turning, SHAPE)
    still = turning.actions.copy()
    still[:, 2] = 0
    assert fitted_episode(episode(names=("vx", "vy", "wz"), actions=still), SHAPE)[0].actions.shape == (5, 2)


def test_the_experts_labels_are_learned_and_not_what_was_done():
    labels = np.full((5, 2), 0.25, dtype=np.float32)
    assert np.array_equal(fitted_episode(episode(labels=labels), SHAPE)[0].actions, labels)


def test_pictures_get_the_networks_size_and_the_last_one_is_left_out():
    fitted, _ = fitted_episode(episode(), SHAPE)
    assert fitted.images.shape == (5, SIDE_PX, SIDE_PX, 3)


@pytest.mark.parametrize("steps", [6, 7])
def test_of_a_set_at_twice_the_rate_two_actions_become_their_mean(steps):
    fast = episode(steps=steps, step_s=0.2)
    fitted, _ = fitted_episode(fast, SHAPE)
    stands_at_the_end = np.concatenate([fast.actions, np.zeros((steps % 2, 2), np.float32)])
    np.testing.assert_allclose(fitted.actions, stands_at_the_end.reshape(-1, 2, 2).mean(axis=1), rtol=1e-6)
    assert fitted.step_s == 0.4
    assert len(fitted.images) == len(fitted.actions)


@pytest.mark.parametrize("moving", [[0], [11], [2, 3, 4, 5, 6, 7, 8, 9, 10, 11], [0, 12, 13, 14, 119]])
@pytest.mark.parametrize("fps", [30, 29.97, 30.05])
def test_what_is_learned_of_a_set_at_thirty_frames_a_second_moves_as_far_as_what_was_shown(moving, fps):
    """Every twelfth action was kept in place of what twelve do: 0.17 m were shown, 2.00 m were learned."""
    actions = np.zeros((120, 2), np.float32)
    actions[moving] = (0.5, -0.2)
    shown = episode(steps=120, step_s=1 / fps, actions=actions)
    learned, _ = fitted_episode(shown, SHAPE)
    np.testing.assert_allclose(
        learned.actions.sum(axis=0) * learned.step_s, actions.sum(axis=0) * shown.step_s, rtol=1e-5
    )


def test_a_recording_that_moves_in_its_first_step_has_no_still_start():
    """At a higher rate the first twelfth of a step says nothing about the rest of it."""
    actions = np.zeros((24, 2), np.float32)
    actions[5:] = 0.5
    learned, still = fitted_episode(episode(steps=24, step_s=0.4 / 12, actions=actions), SHAPE)
    assert not still
    assert len(learned) == 2


@pytest.mark.parametrize("step_s", [0.3, 0.8])
def test_a_rate_that_does_not_fit_is_refused(step_s):
    with pytest.raises(UserError, match="does not go into the robot's"):
        fitted_episode(episode(step_s=step_s), SHAPE)


def test_a_recording_without_a_sentence_is_refused():
    with pytest.raises(UserError, match="has no instruction"):
        fitted_episode(episode(instruction=" "), SHAPE)


def test_the_still_first_frame_is_left_out_unless_it_is_wanted():
    actions = episode().actions.copy()
    actions[0] = 0
    fitted, still = fitted_episode(episode(actions=actions), SHAPE)
    assert still
    assert np.array_equal(fitted.actions, actions[1:])
    kept, still = fitted_episode(episode(actions=actions), Shape(SIDE_PX, ("vx", "vy"), 0.4, keep_still=True))
    assert not still
    assert len(kept) == 5


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for number in range(5):
        name = f"episode_20000101_00000{number}_1box_vert_left_variant_close"
        made = episode(steps=4 + number, name=name)
        (folder / f"{name}.h5").write_bytes(serbot_hdf5_bytes(made, SerbotStyle()))
    return folder


def test_recordings_become_sequences_and_are_read_only_once(recordings, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "vla_sim")
    monkeypatch.setattr(mixtures, "PART_EPISODES", 2)
    spec = SourceSpec("real", recordings)
    source = open_source(spec, SHAPE, tmp_path / "cache")
    assert (source.episodes, source.frames, len(source.parts)) == (5, 30, 3)
    assert source.parts[0].texts[0] == [SAYS]
    assert np.isnan(source.parts[0].goals).all()
    assert isinstance(source.parts[0].images, np.memmap)
    assert caplog.messages == [f"real: 5 episodes, 30 steps from {recordings}"]
    monkeypatch.setattr(mixtures, "open_dataset", lambda folder, reading: pytest.fail("read again"))
    again = open_source(spec, SHAPE, tmp_path / "cache")
    assert np.array_equal(again.parts[2].images, source.parts[2].images)


def test_an_interrupted_reading_goes_on(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "PART_EPISODES", 2)
    whole = open_source(SourceSpec("real", recordings), SHAPE, tmp_path / "whole")
    real_save, left = mixtures.save_round, [2]

    def save_two(folder, drives):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        real_save(folder, drives)

    with monkeypatch.context() as patched:
        patched.setattr(mixtures, "save_round", save_two)
        with pytest.raises(KeyboardInterrupt):
            open_source(SourceSpec("real", recordings), SHAPE, tmp_path / "cache")
    assert sorted(p.name for p in (tmp_path / "cache").glob("part_*")) == ["part_000", "part_001"]
    resumed = open_source(SourceSpec("real", recordings), SHAPE, tmp_path / "cache")
    for one, other in zip(whole.parts, resumed.parts, strict=True):
        assert np.array_equal(one.actions, other.actions)
        assert one.texts == other.texts


def test_parts_of_a_killed_run_are_not_mixed_with_episodes_that_came_later(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr(mixtures, "PART_EPISODES", 2)
    cache = tmp_path / "cache"
    spec = SourceSpec("real", recordings)
    open_source(spec, SHAPE, cache)
    (cache / mixtures.INDEX).unlink()  # as a killed run leaves it
    first = sorted(recordings.glob("*.h5"))[0]
    first.unlink()
    changed = open_source(spec, SHAPE, cache)
    anew = open_source(spec, SHAPE, tmp_path / "anew")
    assert (changed.episodes, anew.episodes) == (4, 4)
    for one, other in zip(changed.parts, anew.parts, strict=True):
        assert np.array_equal(one.images, other.images)
    (recordings / first.name).write_bytes(sorted(recordings.glob("*.h5"))[0].read_bytes())
    with pytest.raises(UserError, match="sha256 was"):
        open_source(spec, SHAPE, cache)


def test_a_cache_of_another_folder_is_refused(recordings, tmp_path):
    open_source(SourceSpec("real", recordings), SHAPE, tmp_path / "cache")
    index = tmp_path / "cache" / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "folder": "/elsewhere"}))
    with pytest.raises(UserError, match=r"folder was .*/elsewhere"):
        open_source(SourceSpec("real", recordings), SHAPE, tmp_path / "cache")


def test_an_empty_folder_is_no_source(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no data set"):
        open_source(SourceSpec("real", tmp_path / "empty"), SHAPE, tmp_path / "cache")


def test_a_lerobot_set_is_a_source(tmp_path):
    pytest.importorskip("pyarrow")
    from vla_sim.datasets.lerobot import LeRobotWriter, lowest_fps

    with LeRobotWriter(tmp_path / "set", lowest_fps(0.4), "serbot", False) as writer:
        for steps in (3, 5):
            writer.add(episode(steps=steps, images=np.full((steps + 1, 64, 64, 3), 90, dtype=np.uint8)))
    source = open_source(SourceSpec("lerobot", tmp_path / "set"), SHAPE, tmp_path / "cache")
    assert (source.episodes, source.frames) == (2, 8)
    assert np.allclose(source.parts[0].actions[1, :5], episode(steps=5).actions, atol=1e-6)
    assert source.parts[0].images.shape == (2, 5, SIDE_PX, SIDE_PX, 3)


def test_simulated_rounds_are_a_source_if_their_pictures_fit(tmp_path):
    from vla_sim.training.recorded import save_round

    part = toy(episodes=3)
    made = replace(part, scenarios=["reach_goal"] * 3, outcomes=["success"] * 3)
    for name in ("clone", "dagger/part_000"):
        save_round(tmp_path / "data" / name, made)
    spec = SourceSpec("rounds", tmp_path / "data")
    assert open_source(spec, SHAPE, tmp_path / "cache").episodes == 6
    with pytest.raises(UserError, match="32 px wide, the network reads 96"):
        open_source(spec, Shape(96, ("vx", "vy"), 0.4), tmp_path / "cache")
