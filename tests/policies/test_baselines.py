import numpy as np
import pytest

from vla_sim.policies.baselines import HoldPolicy, RandomPolicy, ReplayPolicy


def seeded(policy, seeds):
    policy.reset(np.ones(len(seeds), dtype=bool), np.array(seeds))
    return policy


def test_hold_never_moves(observe, start):
    actions = start(HoldPolicy(), 3).act(observe(3))
    assert actions.dtype == np.float32
    assert actions.shape == (3, 2)
    assert not actions.any()


def test_random_drives_by_the_lane_s_seed_alone(observe):
    together = seeded(RandomPolicy(), [5, 6, 7])
    alone = seeded(RandomPolicy(), [6])
    for _ in range(5):
        assert np.array_equal(together.act(observe(3))[1], alone.act(observe(1))[0])


def test_random_draws_the_same_again_after_a_reset_and_leaves_other_lanes_alone(observe):
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
