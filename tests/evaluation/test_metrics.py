import math

import numpy as np
import pytest

from vla_sim.evaluation import metrics


def grid(a, b):
    """Shortest paths between nodes of a full grid graph."""
    return np.abs(a[:, None, :] - b[None, :, :]).sum(axis=-1)


STRAIGHT = [(0, 0), (1, 0), (2, 0), (3, 0)]
BENT = [(0, 0), (1, 0), (2, 1), (3, 2)]


def test_dtw_matches_published_vector():
    assert metrics.dtw(STRAIGHT, BENT, distance=grid) == 3.0
    assert metrics.ndtw(STRAIGHT, BENT, 3.0, distance=grid) == pytest.approx(0.7788007830714049, abs=1e-15)


def plain_dtw(cost):
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i in range(cost.shape[0]):
        for j in range(cost.shape[1]):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j + 1], total[i + 1, j], total[i, j])
    return total[-1, -1]


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (2, 5), (9, 4), (12, 12)])
def test_dtw_by_diagonals_equals_the_plain_recurrence(n, m):
    rng = np.random.default_rng(n * 100 + m)
    a, b = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    assert metrics.dtw(a, b) == pytest.approx(plain_dtw(metrics.euclidean(a, b)), rel=1e-12)


def test_ndtw_divides_by_reference_length_not_by_path_length():
    path, reference = [(0.0, 1.0)] * 2, [(0.0, 0.0)] * 5
    assert metrics.ndtw(path, reference, 1.0) == pytest.approx(math.exp(-5 / 5))
    assert metrics.ndtw(reference, path, 1.0) == pytest.approx(math.exp(-5 / 2))


CLS_REFERENCE = [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2)]
CLS_FIRST = [(0, 0), (0, 1), (1, 1), (2, 1), (3, 1), (3, 2)]
CLS_SECOND = [(0, 1), (1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("path", "reference", "expected"),
    [
        (CLS_FIRST, CLS_REFERENCE, 0.8199491512586387),
        (CLS_REFERENCE, CLS_FIRST, 0.8199491512586387),
        (CLS_SECOND, CLS_REFERENCE, 0.6435694620652272),
        (CLS_REFERENCE, CLS_SECOND, 0.4419719610270256),  # the published doctest passes them in this order
        (CLS_REFERENCE, CLS_REFERENCE, 1.0),
    ],
)
def test_cls_matches_vectors_in_both_argument_orders(path, reference, expected):
    assert metrics.cls(path, reference, 3.0, distance=grid) == pytest.approx(expected, abs=1e-15)


def test_cls_of_single_points_is_defined():
    assert metrics.cls([(0.0, 0.0)], [(0.0, 0.0)], 1.0) == 1.0
    assert metrics.cls([(0.0, 0.0), (1.0, 0.0)], [(0.0, 0.0)], 1.0) == 0.0


def test_spl_weighs_success_by_detour():
    assert metrics.spl([1, 1, 0], [2.0, 2.0, 2.0], [2.0, 4.0, 2.0]) == metrics.Mean(0.5, 3, 0)


def test_spl_never_exceeds_one_when_path_is_shorter_than_geodesic():
    assert metrics.spl([1], [2.0], [1.5]).value == 1.0


@pytest.mark.parametrize("invalid", [0.0, float("inf"), float("nan"), None])
def test_spl_excludes_and_counts_invalid_geodesics(invalid):
    assert metrics.spl([1, 1], [invalid, 1.0], [1.0, 2.0]) == metrics.Mean(0.5, 1, 1)
    assert metrics.soft_spl([0.0, 0.0], [invalid, 1.0], [1.0, 2.0]) == metrics.Mean(0.5, 1, 1)
    assert metrics.spl([1], [invalid], [1.0]) == metrics.Mean(None, 0, 1)


def test_soft_spl_gives_credit_without_success_and_none_for_going_away():
    assert metrics.soft_spl([1.0, 5.0, None], [2.0, 2.0, 2.0], [1.0, 1.0, 1.0]).value == pytest.approx(0.5 / 3)


def test_progress_is_clipped_and_nan_for_invalid_geodesics():
    progress = metrics.progress_final([1.0, -0.5, 9.0, np.inf, 1.0], [2.0, 2.0, 2.0, 2.0, 0.0])
    np.testing.assert_array_equal(progress, [0.5, 1.0, 0.0, 0.0, np.nan])


def test_resample_keeps_ends_and_spacing():
    points = metrics.resample([(0, 0), (1, 0), (1, 1)], 0.4)
    np.testing.assert_allclose(points, [(0, 0), (0.4, 0), (0.8, 0), (1, 0.2), (1, 0.6), (1, 1)])
    assert len(metrics.resample([(1, 1), (1, 1)], 0.4)) == 1
    with pytest.raises(ValueError, match="spacing_m must be positive, got 0"):
        metrics.resample([(0, 0), (1, 0)], 0)


def test_points_of_a_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        metrics.dtw([1.0, 2.0, 3.0], [(0.0, 0.0)])


def test_collision_rates():
    assert metrics.collision_episode_rate([0, 2, 1, 0]) == 0.5
    assert metrics.collision_events_per_metre([0, 2, 1], [1.0, 2.0, 3.0]) == 0.5
    assert metrics.collision_events_per_metre([1], [0.0]) is None
    assert metrics.collision_episode_rate([]) is None


def test_clearance_ignores_empty_worlds():
    assert metrics.clearance([0.1, np.inf, 1.1]) == (0.1, pytest.approx(0.15))
    assert metrics.clearance([np.inf]) == (None, None)


def test_jerk_of_a_cubic_is_its_third_derivative():
    t = np.arange(6) * 0.1
    assert metrics.mean_jerk(np.stack([2 * t**3, 0 * t], axis=1), 0.1) == pytest.approx(12.0)
    assert metrics.mean_jerk([(0, 0)] * 3, 0.1) is None


def test_sparc_prefers_one_smooth_push_to_several_stops():
    t = np.arange(0, 2, 0.01)
    smooth = np.sin(np.pi * t / 2) ** 2
    jerky = smooth * (1 + np.sin(2 * np.pi * 4 * t)) / 2
    assert metrics.sparc(jerky, 0.01) < metrics.sparc(smooth, 0.01) < -1
    assert metrics.sparc(2 * smooth, 0.01) == pytest.approx(metrics.sparc(smooth, 0.01))
    assert metrics.sparc(np.zeros(10), 0.1) is None


def test_switching_rate_and_sign_flips():
    assert metrics.switching_rate([(1, 0), (1, 0), (0, 1), (1, 0)]) == pytest.approx(2 / 3)
    assert metrics.switching_rate([3, 3, 3]) == 0.0
    assert metrics.switching_rate([3]) is None
    assert metrics.sign_flips_per_metre([0.5, 0.01, -0.5, -0.2, 0.4], 2.0, dead_zone=0.1) == 1.0


def test_instruction_following_counts_nothing_realised_as_not_followed():
    assert metrics.instruction_following_rate(["left", "left", None, "right"], ["left", None, "left", "left"]) == (
        metrics.Mean(1 / 3, 3, 1)
    )


def test_ignore_rate_is_one_for_a_policy_that_always_goes_left():
    assert metrics.ignore_rate(["left"] * 3, ["left"] * 3) == metrics.Mean(1.0, 3, 0)
    assert metrics.ignore_rate(["left", "left", None], ["right", "left", None]) == metrics.Mean(0.5, 2, 1)
    assert metrics.ignore_rate([None], [None]) == metrics.Mean(None, 0, 1)


@pytest.mark.parametrize(("index", "name"), list(enumerate(metrics.HEADINGS[:8])))
def test_headings_turn_counter_clockwise_from_forward(index, name):
    action = (math.cos(index * math.pi / 4), math.sin(index * math.pi / 4))
    assert metrics.HEADINGS[metrics.direction_index([action])[0]] == name


def test_direction_accuracy_separates_stop_from_slow():
    actions = [(0.1, -0.1), (0.2, 0.0), (1.15, 1.15)]
    assert [metrics.HEADINGS[i] for i in metrics.direction_index(actions)] == ["stop", "forward", "forward_left"]
    assert metrics.direction_accuracy(actions, [(0, 0), (0, 1), (1, 1)]) == pytest.approx(2 / 3)
