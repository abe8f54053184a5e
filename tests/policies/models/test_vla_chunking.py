import numpy as np
import pytest

from vla_sim.policies.base import PolicySpec
from vla_sim.policies.chunking import ChunkedPolicy, TemporalEnsemble, chunk_targets


class Counter:
    """Predicts the step at which it was asked (tens) and the step it is for (ones), per env."""

    def __init__(self, horizon, remembers=True):
        self.spec, self.horizon, self.remembers = PolicySpec(image_px=()), horizon, remembers
        self.asked = 0

    def reset(self, reset_mask, seeds):
        self.steps = np.where(reset_mask, 0, getattr(self, "steps", np.zeros(len(reset_mask), int)))

    def chunk(self, observation, infos=None):
        self.asked += 1
        steps, self.steps = self.steps, self.steps + 1
        ahead = 10.0 * steps[:, None] + np.arange(self.horizon)
        return np.repeat(ahead[..., None], 2, axis=2).astype(np.float32)


def drive(policy, steps):
    return np.stack([policy.act({"instruction": [""]})[:, 0] for _ in range(steps)], axis=1)


@pytest.mark.parametrize(
    ("execute", "expected"), [(1, [0, 10, 20, 30, 40, 50]), (2, [0, 1, 20, 21, 40, 41]), (3, [0, 1, 2, 30, 31, 32])]
)
def test_the_first_actions_of_each_chunk_are_driven(execute, expected):
    policy = ChunkedPolicy(Counter(3), execute=execute)
    policy.reset(np.ones(1, bool), np.zeros(1, int))
    assert drive(policy, 6)[0].tolist() == expected


def test_envs_started_at_other_times_keep_their_own_chunks():
    policy = ChunkedPolicy(Counter(3), execute=3)
    policy.reset(np.ones(2, bool), np.zeros(2, int))
    drive(policy, 2)
    policy.reset(np.array([False, True]), np.zeros(2, int))
    assert drive(policy, 4).tolist() == [[2, 30, 31, 32], [0, 1, 2, 30]]


@pytest.mark.parametrize(("remembers", "asked"), [(True, 6), (False, 2)])
def test_a_predictor_without_memory_is_asked_only_for_new_chunks(remembers, asked):
    predictor = Counter(3, remembers)
    policy = ChunkedPolicy(predictor, execute=3)
    policy.reset(np.ones(1, bool), np.zeros(1, int))
    drive(policy, 6)
    assert predictor.asked == asked


@pytest.mark.parametrize("execute", [0, 4])
def test_executing_other_than_the_chunk_has_is_refused(execute):
    with pytest.raises(ValueError, match="between 1 and the horizon 3"):
        ChunkedPolicy(Counter(3), execute=execute)


def test_the_ensemble_weighs_all_predictions_for_now_the_oldest_most():
    decay = 0.5
    policy = TemporalEnsemble(Counter(3), decay=decay)
    policy.reset(np.ones(1, bool), np.zeros(1, int))
    for step, action in enumerate(drive(policy, 5)[0]):
        asked = np.arange(max(0, step - 2), step + 1)  # oldest first
        weights = np.exp(-decay * np.arange(len(asked)))
        assert action == pytest.approx(np.average(10 * asked + (step - asked), weights=weights), rel=1e-6)


def test_an_ensemble_of_predictors_that_agree_changes_nothing():
    class Agreeing(Counter):
        def chunk(self, observation, infos=None):
            chunk = super().chunk(observation)
            return np.full_like(chunk, 0.3)

    policy = TemporalEnsemble(Agreeing(4))
    policy.reset(np.ones(2, bool), np.zeros(2, int))
    np.testing.assert_allclose(drive(policy, 6), 0.3, rtol=1e-6)


def test_the_ensemble_forgets_exactly_the_marked_envs():
    policy, fresh, untouched = (TemporalEnsemble(Counter(3)) for _ in range(3))
    for each in (policy, fresh, untouched):
        each.reset(np.ones(2, bool), np.zeros(2, int))
    drive(policy, 4), drive(untouched, 4)
    policy.reset(np.array([True, False]), np.zeros(2, int))
    both = drive(policy, 3)
    assert np.array_equal(both[0], drive(fresh, 3)[0])
    assert np.array_equal(both[1], drive(untouched, 3)[1])


def test_a_negative_decay_is_refused():
    with pytest.raises(ValueError, match="decay must not be negative, got -1"):
        TemporalEnsemble(Counter(2), decay=-1)


def test_chunk_targets_are_the_next_actions_and_end_with_the_episode():
    actions = np.arange(10.0).reshape(2, 5, 1)
    mask = np.array([[True] * 5, [True, True, False, False, False]])
    target, real = chunk_targets(actions, mask, 3)
    assert target.shape == (2, 5, 3, 1)
    assert target[0, :, :, 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 0], [4, 0, 0]]
    assert real[0].sum(axis=1).tolist() == [3, 3, 3, 2, 1]
    assert target[1, :2, :, 0].tolist() == [[5, 6, 0], [6, 0, 0]]
    assert not real[1, 2:].any()
