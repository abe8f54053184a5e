import itertools
import json

import numpy as np
import pytest
from loop_fakes import SIDE_PX, tiny_policy, toy

from vla_sim.core.errors import UserError
from vla_sim.policies.base import Policy
from vla_sim.policies.registry import policy_hash
from vla_sim.rollout.steering import Turns
from vla_sim.training import aggregation
from vla_sim.training.aggregation import Gathering, Schedule, cut, gather, read_parts


@pytest.mark.parametrize(
    ("text", "betas"),
    [
        ("exponential:0.5", [0.5, 0.25, 0.125, 0.0625]),
        ("linear", [0.75, 0.5, 0.25, 0.0]),
        ("constant:0", [0, 0, 0, 0]),
        ("0.8,0.4", [0.8, 0.4, 0.4, 0.4]),
        ("1", [1, 1, 1, 1]),
    ],
)
def test_beta_falls_as_its_schedule_says(text, betas):
    schedule = Schedule.parse(text)
    assert [schedule.beta(number, 4) for number in (1, 2, 3, 4)] == pytest.approx(betas)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exponental:0.5", "did you mean 'exponential'"),
        ("exponential", "needs a number"),
        ("constant:2", "beta must lie in 0..1, got 2"),
        ("0.5,x", "beta must be numbers"),
        ("-0.1", "beta must lie in 0..1"),
        ("constant:nan", "beta must lie in 0..1"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        Schedule.parse(text)


def gathering(learner="", **changes):
    values = {
        "name": "round_01",
        "scenarios": ("obstacle_left", "reach_goal"),
        "seeds": range(6),
        "beta": 0.5,
        "learner": str(learner),
        "learner_hash": policy_hash(str(learner)) if learner else "",
        "image_px": SIDE_PX,
    }
    return Gathering(**{**values, **changes})


@pytest.fixture(scope="module")
def learner(tmp_path_factory):
    return tiny_policy(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(aggregation, "PART_EPISODES", 2)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_round_says_in_its_manifest_what_it_is(learner, tmp_path, caplog):
    caplog.set_level("INFO", "vla_sim")
    parts = gather(gathering(learner), tmp_path / "round_01")
    manifest = json.loads((tmp_path / "round_01" / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["beta"] == 0.5
    assert manifest["seeds"] == [0, 5]
    assert manifest["scenarios"] == ["obstacle_left", "reach_goal"]
    assert manifest["learner_hash"] == policy_hash(str(learner))
    assert manifest["episodes"] == 6 == sum(manifest["outcomes"].values())
    assert manifest["by_scenario"] == {"obstacle_left": 3, "reach_goal": 3}
    assert manifest["frames"] == sum(int(part.mask.sum()) for part in parts)
    assert sorted(manifest["parts"]) == ["part_000", "part_001", "part_002"]
    assert len(manifest["sha256"]) == 64
    assert "6 episodes" in caplog.messages[0]


def test_interrupted_anywhere_a_round_ends_with_the_same_files(learner, tmp_path, monkeypatch):
    gather(gathering(learner), tmp_path / "whole")
    expected = contents(tmp_path / "whole")
    save, left = aggregation.save_round, [0]

    def save_some(folder, drives):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        save(folder, drives)

    for before in range(3):
        left[0] = before
        with monkeypatch.context() as patched:
            patched.setattr(aggregation, "save_round", save_some)
            with pytest.raises(KeyboardInterrupt):
                gather(gathering(learner), tmp_path / f"cut_{before}")
        assert not (tmp_path / f"cut_{before}" / "manifest.json").exists()
        gather(gathering(learner), tmp_path / f"cut_{before}")
        assert contents(tmp_path / f"cut_{before}") == expected


def test_parts_of_another_learner_are_not_mixed_in(learner, tmp_path, monkeypatch):
    gather(gathering(learner), tmp_path / "round")
    (tmp_path / "round" / "manifest.json").unlink()
    other = gathering("", beta=1.0)
    gather(other, tmp_path / "round")
    gather(other, tmp_path / "fresh")
    assert contents(tmp_path / "round") == contents(tmp_path / "fresh")


def test_a_complete_round_of_another_kind_is_refused(learner, tmp_path):
    gather(gathering(), tmp_path)
    with pytest.raises(UserError, match=r"belongs to another plan: .*beta"):
        gather(gathering(beta=0.25), tmp_path)


def test_a_round_with_so_many_pictures_has_exactly_those(tmp_path):
    plenty = gathering(beta=1.0, frames=30, seeds=range(20))
    one = gather(plenty, tmp_path / "one")
    assert sum(int(part.mask.sum()) for part in one) == 30
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["frames"] == 30
    assert len(list((tmp_path / "one").glob("part_*"))) < 10
    assert len(read_parts(tmp_path / "one")) == len(one)


def test_too_few_drives_for_so_many_pictures_are_refused(tmp_path):
    with pytest.raises(UserError, match="10000 are wanted"):
        gather(gathering(beta=1.0, frames=10_000, seeds=range(2)), tmp_path)


@pytest.mark.parametrize("frames", [1, 5, 9, 17, 24])
def test_cutting_keeps_the_first_steps(frames):
    parts = [toy(episodes=3, seed=0), toy(episodes=6, seed=1)]
    kept = cut(parts, frames)
    everything = np.concatenate([part.actions[part.mask] for part in parts])
    left = np.concatenate([part.actions[part.mask] for part in kept])
    assert np.array_equal(left, everything[:frames])


def decided(mixing, fraction, steps=400, seed=0):
    """Whether the learner steers, step by step."""
    turns = Turns(seed, fraction, aggregation.MIXING[mixing])
    return [turns.learner_is_next() for _ in range(steps)]


def changes(turns):
    return sum(a != b for a, b in itertools.pairwise(turns))


def test_mixing_by_step_draws_anew_at_every_step():
    turns = decided("step", 0.5)
    assert 0.4 < sum(turns) / len(turns) < 0.6
    assert changes(turns) > 150


def test_mixing_by_stretch_draws_every_four_steps():
    turns = decided("stretch", 0.5)
    assert all(len(set(turns[i : i + 4])) == 1 for i in range(0, 400, 4))
    assert changes(turns) > 30


def test_mixing_by_episode_draws_once():
    episodes = [decided("episode", 0.5, steps=30, seed=seed) for seed in range(200)]
    assert all(len(set(turns)) == 1 for turns in episodes)
    assert 0.4 < sum(turns[0] for turns in episodes) / 200 < 0.6


@pytest.mark.parametrize("mixing", ["step", "stretch", "episode"])
def test_beta_of_one_leaves_the_expert_alone_and_of_zero_the_learner(mixing):
    assert not any(decided(mixing, 0.0))
    assert all(decided(mixing, 1.0))


def test_evaluation_worlds_are_never_gathered():
    with pytest.raises(UserError, match="evaluation seed"):
        gathering(seeds=range(99_999, 100_001)).tasks()


class Drifting(Policy):
    """A learner that drives one way whatever it sees."""

    ACTION = (0.3, 0.1)

    def reset(self, mask, seeds):
        pass

    def act(self, observation, infos=None):
        return np.tile(np.array(self.ACTION, np.float32), (len(observation["image"]), 1))


def test_labels_are_the_experts_in_every_state_that_the_learner_visits(monkeypatch):
    """Driven again beside it: what the learner does moves the robot, what the expert would do is learned."""
    from vla_sim.envs.sampling import SceneSource
    from vla_sim.envs.vector import NavigateVectorEnv
    from vla_sim.policies import registry as loading
    from vla_sim.policies.expert import ExpertPolicy
    from vla_sim.rollout.demonstrations import LABELLING, Collection, Task, collect_shard

    monkeypatch.setattr(loading, "load_policy", lambda name: Drifting())
    drives = collect_shard([Task("obstacle_left", 3, learner_fraction=1.0)], Collection("serbot", SIDE_PX, "drifting"))
    steps = int(drives.mask.sum())

    env = NavigateVectorEnv(1, "obstacle_left", autoreset_mode="Disabled")
    expert, one = ExpertPolicy(**LABELLING), np.array([True])
    scene = SceneSource("obstacle_left", env.embodiment, "train", None).scene(3)
    observation, _ = env.reset(options={"reset_mask": one, "scenes": [scene]})
    expert.reset(one, np.array([3]))
    wanted = []
    for _ in range(steps):
        wanted.append(expert.act(observation, [{**env.simulations[0].info(), "embodiment": env.embodiment}])[0])
        observation, *_ = env.step(np.array([Drifting.ACTION], np.float32))
    ended = env.simulations[0].outcome
    env.close()
    assert drives.outcomes == [ended.value]
    np.testing.assert_array_equal(drives.actions[0, :steps], np.array(wanted))
    assert np.abs(drives.actions[0, :steps] - Drifting.ACTION).max() > 0.1


def test_a_part_whose_removal_was_killed_does_not_look_complete(learner, tmp_path, monkeypatch):
    """The parts of a learner that is no longer meant are renamed away before they are removed."""
    gather(gathering(learner), tmp_path / "round")
    (tmp_path / "round" / "manifest.json").unlink()

    def killed(folder, *_, **__):
        raise KeyboardInterrupt

    other = gathering(learner, beta=0.25)
    with monkeypatch.context() as patched:
        patched.setattr("vla_sim.core.files.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            gather(other, tmp_path / "round")
    gather(other, tmp_path / "round")
    gather(other, tmp_path / "fresh")
    assert contents(tmp_path / "round") == contents(tmp_path / "fresh")
