import numpy as np
import pytest
import scipy.stats

from vla_sim.evaluation import statistics as stats
from vla_sim.evaluation.statistics import Interval


def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0, 0.277533),
        (9, 10, 0.595850, 0.982124),
        (10, 10, 0.722467, 1),
        (25, 50, 0.366445, 0.633555),
        (45, 50, 0.786398, 0.956524),
        (50, 50, 0.928652, 1),
    ],
)
def test_wilson_vectors(k, n, low, high):
    interval = stats.wilson(k, n)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0, 0.308497),
        (9, 10, 0.554984, 0.997471),
        (45, 50, 0.781865, 0.966725),
        (50, 50, 0.928878, 1),
    ],
)
def test_clopper_pearson_vectors(k, n, low, high):
    interval = stats.clopper_pearson(k, n)
    assert (interval.low, interval.high) == (pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6))


@pytest.mark.parametrize("method", [stats.wilson, stats.clopper_pearson])
def test_no_episodes_say_nothing_and_bad_counts_are_refused(method):
    assert method(0, 0) == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="got 3 of 2"):
        method(3, 2)


@pytest.mark.parametrize(("n", "half"), [(50, 0.134), (100, 0.096), (200, 0.069), (400, 0.049)])
def test_half_widths_that_the_page_promises(n, half):
    interval = stats.wilson(n // 2, n)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, abs=6e-4)


@pytest.mark.parametrize(("b", "c", "p"), [(8, 1, 0.0390625), (12, 2, 0.0129395), (5, 5, 1.0), (0, 0, 1.0)])
def test_mcnemar_vectors_either_way_round(b, c, p):
    assert stats.mcnemar_exact(b, c) == pytest.approx(p, abs=1e-7)
    assert stats.mcnemar_exact(c, b) == stats.mcnemar_exact(b, c)


def test_mcnemar_takes_thousands_of_pairs():
    expected = scipy.stats.binomtest(2400, 5000, 0.5).pvalue
    assert stats.mcnemar_exact(2600, 2400) == pytest.approx(expected)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (8, 0), (5, 3), (40, 22), (300, 240)])
def test_flipping_the_signs_of_single_pairs_is_mcnemars_test(b, c):
    assert stats.sign_flip_exact([1] * b + [-1] * c + [0, 0]) == pytest.approx(stats.mcnemar_exact(b, c), rel=1e-9)


def test_flipping_the_signs_of_groups_counts_groups():
    # Of the eight ways to sign 5, 2 and 1, two reach 8; four reach 6.
    assert stats.sign_flip_exact([5, 2, 1]) == pytest.approx(2 / 8)
    assert stats.sign_flip_exact([5, 2, -1]) == pytest.approx(4 / 8)


def test_the_design_effect_of_equal_members_is_the_size_of_the_group():
    rng = np.random.default_rng(0)
    values = rng.integers(-1, 2, 2000).astype(float)
    assert stats.design_effect([[v] * 4 for v in values]) == pytest.approx(4)
    assert stats.design_effect([[v] for v in values]) == pytest.approx(1)
    assert stats.design_effect([[0.0, 0.0], [0.0]]) == 1


def test_paired_difference_is_antisymmetric_and_inside_minus_one_to_one():
    forth, back = stats.paired_difference(8, 1, 50), stats.paired_difference(1, 8, 50)
    assert (forth.low, forth.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert forth.low > 0
    assert stats.paired_difference(3, 0, 3).high <= 1


def test_paired_difference_covers_the_truth():
    cells = rng().multinomial(60, [0.15, 0.05, 0.80], size=2000)
    hits = [i.low <= 0.10 <= i.high for i in (stats.paired_difference(int(b), int(c), 60) for b, c, _ in cells)]
    assert 0.93 <= np.mean(hits) <= 0.99


def test_paired_difference_refuses_more_discordant_pairs_than_pairs():
    with pytest.raises(ValueError, match="got 3 and 3 of 5"):
        stats.paired_difference(3, 3, 5)


def test_holm_steps_down_and_keeps_the_order_given():
    assert stats.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert stats.holm([]) == []


def test_bootstraps_repeat_with_equal_generators():
    groups = [[1, 1, 0, 1], [0, 0, 1, 1, 0]]
    for method in (stats.stratified_bootstrap, stats.cluster_bootstrap):
        assert method(groups, rng()) == method(groups, rng())


def test_stratified_interval_is_a_point_when_scenarios_differ_but_not_within():
    estimate = stats.stratified_bootstrap([[1] * 50, [0] * 50], rng())
    assert (estimate.value, estimate.interval) == (0.5, Interval(0.5, 0.5))
    assert stats.cluster_bootstrap([[1] * 50, [0] * 50], rng()).interval == Interval(0.0, 1.0)


def test_stratified_interval_of_one_group_agrees_with_wilson():
    interval = stats.stratified_bootstrap([[1] * 120 + [0] * 80], rng(), resamples=20000).interval
    expected = stats.wilson(120, 200)
    assert (interval.low, interval.high) == (
        pytest.approx(expected.low, abs=0.01),
        pytest.approx(expected.high, abs=0.01),
    )


def test_bootstrap_of_continuous_values_brackets_the_mean():
    values = rng().normal(3.0, 1.0, size=400)
    estimate = stats.stratified_bootstrap([values], rng())
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.interval.high - estimate.interval.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.15)


def test_bootstrap_of_nothing_is_none():
    assert stats.stratified_bootstrap([], rng()).value is None
    assert stats.cluster_bootstrap([[]], rng()).value is None
    assert stats.cluster_bootstrap([[1, 0]], rng()).interval is None


SIM, REAL = [0.1, 0.4, 0.3, 0.8], [0.2, 0.3, 0.5, 0.7]


def test_mmrv_vector_and_its_asymmetry():
    assert stats.mmrv(SIM, REAL) == pytest.approx(0.1)
    assert stats.mmrv(REAL, SIM) == pytest.approx(0.05)
    assert stats.mmrv(REAL, REAL) == 0.0


def test_spearman_agrees_with_scipy_with_ties():
    x, y = [1, 2, 2, 3, 5, 4], [2, 1, 3, 3, 6, 6]
    estimate = stats.spearman(x, y, rng())
    assert estimate.value == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert estimate.interval.low <= estimate.value <= estimate.interval.high
    assert not estimate.too_few


def test_correlation_of_constants_is_none():
    assert stats.spearman([1, 1, 1], [1, 2, 3], rng()).value is None
    with pytest.raises(ValueError, match="equal length"):
        stats.spearman([1, 2], [1, 2, 3], rng())
