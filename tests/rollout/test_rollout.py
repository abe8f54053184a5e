"""The one loop: whoever steers, whatever is kept, an episode depends on its own job alone."""

from dataclasses import dataclass

import numpy as np
import pytest

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.threads import torch_threads
from vla_sim.core.types import Outcome
from vla_sim.envs.simulation import action_bounds
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.baselines import RandomPolicy
from vla_sim.policies.expert import ExpertPolicy
from vla_sim.rollout.observers import Demonstration
from vla_sim.rollout.rollout import Scenes, rollout
from vla_sim.rollout.steering import (
    EXPERT,
    NOISE_MEMORY,
    NOISE_SIZE,
    ByActions,
    ByPolicy,
    Decision,
    Delayed,
    Noisy,
    OrnsteinUhlenbeck,
    Supervised,
)


@dataclass(frozen=True)
class Job:
    scenario: str
    seed: int


JOBS = [Job(("obstacle_left", "choose_goal", "reach_goal")[i % 3], i) for i in range(7)]


def driven(steering_of, jobs=JOBS, *, num_envs=3, embodiment="serbot"):
    """All episodes, in the order of the jobs."""
    env = NavigateVectorEnv(num_envs, "reach_goal", embodiment, autoreset_mode="Disabled")
    try:
        scenes = Scenes(env.embodiment)
        found = {e.number: e for e in rollout(env, steering_of(env.embodiment), jobs, scenes, Demonstration)}
    finally:
        env.close()
    return [found[number] for number in range(len(jobs))]


def noisy(robot):
    steering = Supervised(ExpertPolicy(), robot, RandomPolicy(robot.action_names), lambda job: 0.5, lambda job: 2)
    return Noisy(steering, action_bounds(robot), lambda job: 0.4 * (job.seed % 2))


@pytest.mark.parametrize("embodiment", embodiment_names())
@pytest.mark.parametrize("num_envs", [1, 8])
def test_an_episode_does_not_depend_on_those_beside_it(num_envs, embodiment):
    jobs = JOBS[:4]
    for one, other in zip(
        driven(noisy, jobs, embodiment=embodiment),
        driven(noisy, jobs, num_envs=num_envs, embodiment=embodiment),
        strict=True,
    ):
        assert (one.job, one.outcome) == (other.job, other.outcome)
        assert np.array_equal(one.observer.actions.executed, other.observer.actions.executed)
        assert np.array_equal(one.observer.seen.images, other.observer.seen.images)


@pytest.mark.parametrize("embodiment", embodiment_names())
def test_a_replay_of_what_was_executed_is_the_same_episode(embodiment):
    (first,) = driven(noisy, JOBS[:1], embodiment=embodiment)
    (again,) = driven(lambda robot: ByActions(first.observer.actions.executed, robot), JOBS[:1], embodiment=embodiment)
    assert again.outcome is first.outcome
    assert np.array_equal(first.observer.seen.images, again.observer.seen.images)


def test_actions_that_run_out_end_the_episode_as_an_error():
    (ended,) = driven(lambda robot: ByActions([[0.5, 0.0]] * 2, robot), JOBS[:1])
    assert (ended.outcome, len(ended.observer.actions.executed)) == (Outcome.ERROR, 2)
    assert "must be finite" in ended.error


class NanInOne:
    """The expert, but nothing finite for jobs of one seed from the third step on."""

    def __init__(self, robot, seed):
        self._expert, self._seed, self._seeds, self._steps = ByPolicy(ExpertPolicy(), robot), seed, None, None

    def reset(self, started):
        self._expert.reset(started)
        if self._seeds is None:
            self._seeds, self._steps = [-1] * len(started), [0] * len(started)
        for index, job in enumerate(started):
            if job is not None:
                self._seeds[index], self._steps[index] = job.seed, 0

    def decide(self, observation, infos):
        actions = self._expert.decide(observation, infos).actions.copy()
        self._steps = [step + 1 for step in self._steps]
        bad = [seed == self._seed and step > 2 for seed, step in zip(self._seeds, self._steps, strict=True)]
        actions[bad] = np.nan
        return Decision(actions)


def test_an_action_that_is_none_ends_its_own_episode_only():
    found = driven(lambda robot: NanInOne(robot, seed=2))
    clean = driven(lambda robot: ByPolicy(ExpertPolicy(), robot))
    assert [ended.outcome is Outcome.ERROR for ended in found] == [ended.job.seed == 2 for ended in found]
    for one, other in zip(found, clean, strict=True):
        kept = len(one.observer.seen.images)
        assert kept == 3 if one.error else kept == len(other.observer.seen.images)
        assert np.array_equal(one.observer.seen.images, other.observer.seen.images[:kept])


def test_the_expert_says_what_it_would_do_in_every_state_and_noise_does_not_touch_it():
    for ended in driven(noisy):
        actions = ended.observer.actions
        assert len(actions.proposed[EXPERT]) == len(actions.executed)
        speeds = np.linalg.norm(actions.proposed[EXPERT], axis=1)
        # The expert's one speed, whatever was driven; at the goal it stands.
        moving = speeds > 0
        np.testing.assert_allclose(speeds[moving], 0.5, rtol=1e-5)
        assert moving[:5].all()


@pytest.mark.parametrize("embodiment", embodiment_names())
def test_noise_is_a_fraction_of_the_full_speed_of_each_component(embodiment):
    bounds = action_bounds(load_embodiment(embodiment))
    noise = OrnsteinUhlenbeck(0.5 * bounds, np.random.default_rng(0))
    values = np.stack([noise.next() for _ in range(20_000)])
    wanted = 0.5 * bounds * NOISE_SIZE / np.sqrt(1 - NOISE_MEMORY**2)
    np.testing.assert_allclose(values.std(axis=0), wanted, rtol=0.05)


@pytest.mark.parametrize("embodiment", ["serbot", "diffbot"])
def test_without_noise_at_rest_a_robot_comes_to_rest_where_it_should(embodiment):
    """With it, one that has arrived is pushed about until the time is over, or into the goal."""

    def steering(robot, at_rest):
        expert = Supervised(ExpertPolicy(), robot)
        return Noisy(expert, action_bounds(robot), lambda job: 0.3, at_rest=at_rest)

    jobs = [Job("reach_goal", seed) for seed in range(4)]
    ended = driven(lambda robot: steering(robot, False), jobs, embodiment=embodiment)
    assert all(one.outcome.succeeded for one in ended)
    for one in ended:
        labels = np.stack(one.observer.actions.proposed[EXPERT])
        executed = np.stack(one.observer.actions.executed)
        still = ~labels.any(axis=1)
        assert still.any()
        assert not executed[still].any()
        assert not np.array_equal(executed, labels)
    shaken = driven(lambda robot: steering(robot, True), jobs, embodiment=embodiment)
    assert not any(one.outcome.succeeded for one in shaken)


def test_threads_of_torch_are_as_before_also_after_an_error():
    import torch

    before, inside = torch.get_num_threads(), []

    def fail():
        with torch_threads(before + 1):
            inside.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (inside, torch.get_num_threads()) == ([before + 1], before)


@pytest.mark.parametrize("threads", [1, 3])
def test_collecting_leaves_the_threads_of_a_training_alone(threads):
    """A DAgger iteration that was collected inside the training process left torch at one thread."""
    import torch

    from vla_sim.rollout.demonstrations import Collection, Task, collect
    from vla_sim.rollout.recording import Recorder, RecordingJob, RecordingSetup

    with torch_threads(threads):
        collect([Task("reach_goal", 0)], Collection("serbot", 16), workers=1)
        with Recorder(RecordingSetup(policy="random", image_px=(32, 32)), num_envs=1) as recorder:
            list(recorder.record([RecordingJob(0, "reach_goal", 0)]))
        assert torch.get_num_threads() == threads


@pytest.mark.parametrize("embodiment", embodiment_names())
@pytest.mark.parametrize("steps", [0, 1, 3])
def test_delayed_actions_arrive_so_many_steps_late_and_none_of_an_earlier_episode(steps, embodiment):
    """Three episodes one after the other in two envs: what was on its way when one ended never reaches the next."""

    class Counting:
        def reset(self, started):
            self.count = np.where([job is not None for job in started], 0, getattr(self, "count", 0))

        def decide(self, observation, infos):
            self.count = self.count + 1
            actions = np.zeros((len(infos), components), np.float32)
            actions[:, 0] = (-1.0) ** self.count * (0.2 + self.count * 1e-3)
            actions[self.count == 8, 0] = np.nan  # ends the episode when it arrives
            return Decision(actions, {EXPERT: actions})

    components = len(load_embodiment(embodiment).action_names)
    for ended in driven(lambda robot: Delayed(Counting(), steps), JOBS[:3], num_envs=2, embodiment=embodiment):
        executed = np.array(ended.observer.actions.executed)[:, 0]
        count = np.arange(1, 8)
        expected = np.r_[np.zeros(steps), (-1.0) ** count * (0.2 + count * 1e-3)].astype(np.float32)
        assert np.array_equal(executed[: len(expected)], expected)
        assert np.array_equal(executed, expected)
        assert ended.outcome is Outcome.ERROR
