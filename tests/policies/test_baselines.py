import numpy as np
import pytest

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.policies.base import PolicySpec, fit
from vla_sim.policies.baselines import HoldPolicy, RandomPolicy, ReplayPolicy, StraightPolicy
from vla_sim.policies.registry import load_policy


def seeded(policy, seeds):
    policy.reset(np.ones(len(seeds), dtype=bool), np.array(seeds))
    return policy


def test_hold_never_moves(observe, start):
    actions = start(HoldPolicy(), 3).act(observe(3))
    assert actions.dtype == np.float32
    assert actions.shape == (3, 2)
    assert not actions.any()


def test_random_drives_by_the_env_s_seed_alone(observe):
    together = seeded(RandomPolicy(), [5, 6, 7])
    alone = seeded(RandomPolicy(), [6])
    for _ in range(5):
        assert np.array_equal(together.act(observe(3))[1], alone.act(observe(1))[0])


def test_random_draws_the_same_again_after_a_reset_and_leaves_other_envs_alone(observe):
    policy, other = seeded(RandomPolicy(), [1, 2]), seeded(RandomPolicy(), [1, 2])
    first = [policy.act(observe(2)) for _ in range(3)]
    for _ in range(3):
        other.act(observe(2))
    policy.reset(np.array([True, False]), np.array([1, 99]))
    again, went_on = policy.act(observe(2)), other.act(observe(2))
    assert np.array_equal(again[0], first[0][0])
    assert np.array_equal(again[1], went_on[1])


def test_random_keeps_its_speed_and_holds_its_direction(observe):
    policy = seeded(RandomPolicy(speed_mps=0.3, hold_steps=3), [4])
    actions = np.stack([policy.act(observe(1))[0] for _ in range(6)])
    np.testing.assert_allclose(np.linalg.norm(actions, axis=1), 0.3, rtol=1e-6)
    assert len(np.unique(actions[:, 0])) == 2


def test_replay_gives_its_rows_then_stands_still_and_starts_again_after_a_reset(observe, start):
    policy = start(ReplayPolicy([[0.5, 0.0], [0.0, -0.5]]), 2)
    rows = [policy.act(observe(2)) for _ in range(3)]
    assert [row[1].tolist() for row in rows] == [[0.5, 0.0], [0.0, -0.5], [0.0, 0.0]]
    policy.reset(np.array([False, True]), np.zeros(2, dtype=np.int64))
    assert policy.act(observe(2)).tolist() == [[0.0, 0.0], [0.5, 0.0]]


@pytest.mark.parametrize("actions", [[[0.5]], [[0.5, float("nan")]], [0.5, 0.1]])
def test_replay_refuses_rows_that_are_no_actions(actions):
    with pytest.raises(ValueError, match="actions must be"):
        ReplayPolicy(actions)


@pytest.mark.parametrize("embodiment", embodiment_names())
@pytest.mark.parametrize("name", ["hold", "random", "straight"])
def test_a_baseline_drives_every_robot(name, embodiment, observe, start):
    robot, policy = load_embodiment(embodiment), load_policy(name)
    fit(policy, robot)
    actions = start(policy, 3).act(observe(3))
    assert actions.shape == (3, len(robot.action_names))
    assert actions.dtype == np.float32


@pytest.mark.parametrize("embodiment", embodiment_names())
def test_straight_ahead_is_ahead_at_the_cruising_speed(embodiment, observe, start):
    robot, policy = load_embodiment(embodiment), StraightPolicy()
    fit(policy, robot)
    actions = start(policy, 2).act(observe(2))
    ahead = robot.action_names.index("vx")
    assert (actions[:, ahead] == np.float32(robot.cruise_mps)).all()
    assert not np.delete(actions, ahead, axis=1).any()


@pytest.mark.parametrize("embodiment", embodiment_names())
@pytest.mark.parametrize("factor", [0.1, 0.5, 0.99, 1.0, 1.01, 2.0, 12.0])
def test_a_policy_drives_robots_of_its_own_control_rate_only(embodiment, factor):
    robot = load_embodiment(embodiment)
    spec = PolicySpec(tuple(robot.action_names), robot.camera.image_px, control_s=robot.control_s * factor)
    reason = spec.misfit(robot)
    assert bool(reason) == (factor != 1.0)
    assert not reason or (
        f"every {robot.control_s * factor:g} s" in reason and f"every {robot.control_s:g} s" in reason
    )


@pytest.mark.parametrize("control_s", [0, -0.4, float("nan"), float("inf")])
def test_a_control_rate_that_is_none_is_refused(control_s):
    with pytest.raises(ValueError, match="control_s"):
        PolicySpec(control_s=control_s)
