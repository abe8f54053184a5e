"""Intervals and tests for success rates and scores; sources stand at each.

Used by the summary and the report. Intervals are two-sided with 95 % by default. scipy loads when a test
that needs it is called.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
# The exact test of `sign_flip_exact` over fewer seeds cannot fall below 0.05: 2 / 2^5 is 0.0625.
FEWEST_SEEDS = 6
TOO_FEW = 4  # with this many policies or fewer a correlation between two orderings says next to nothing


@dataclass(frozen=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"interval must have low <= high, got [{self.low}, {self.high}]")

    @property
    def pair(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; both None when the data do not determine them.

    Attributes:
        value: the point estimate.
        interval: its interval.
        n: how many observations it is from.
        too_few: whether n is too small for the value to mean anything.
    """

    value: float | None
    interval: Interval | None
    n: int
    too_few: bool = False


# --- one proportion -----------------------------------------------------------------------------------------------


def wilson(k: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Wilson score interval for k successes in n; [0, 1] for n = 0."""
    _check_count(k, n)
    if n == 0:
        return Interval(0.0, 1.0)
    z, p = _z(confidence), k / n
    scale = 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half))


def clopper_pearson(k: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Exact (conservative) interval, for safety claims such as collision rates; [0, 1] for n = 0."""
    from scipy.special import betaincinv  # scipy.stats would take a second to import

    _check_count(k, n)
    alpha = 1 - confidence
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, alpha / 2))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - alpha / 2))
    return Interval(low, high)


def _check_count(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"successes must lie between 0 and n, got {k} of {n}")


def _z(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


# --- two proportions ----------------------------------------------------------------------------------------------


def paired_difference(b: int, c: int, n: int, *, confidence: float = 0.95, effect: float = 1.0) -> Interval:
    """Interval for p1 - p2 over n pairs (Bonett and Price 2012: Wald with one more in each discordant cell).

    Args:
        b: pairs in which only the first succeeds.
        c: pairs in which only the second succeeds.
        n: all pairs.
        confidence: two-sided level.
        effect: of pairs that come in groups, see `design_effect`; the interval is wider by its root.
    """
    if min(b, c) < 0 or b + c > n:
        raise ValueError(f"discordant pairs must be at least 0 and at most n together, got {b} and {c} of {n}")
    first, second = (b + 1) / (n + 2), (c + 1) / (n + 2)
    centre = first - second
    half = _z(confidence) * math.sqrt(effect * (first + second - centre**2) / (n + 2))
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided exact p value for "both succeed equally often" from the discordant pairs of paired episodes."""
    if min(b, c) < 0:
        raise ValueError(f"discordant pairs must not be negative, got {b} and {c}")
    n = b + c
    tail = sum(math.comb(n, i) for i in range(min(b, c) + 1))
    return min(1.0, 2 * tail / 2**n)  # integers of any size divide exactly here


def sign_flip_exact(sums: Sequence[int]) -> float:
    """Two-sided exact p value for "either policy might as well have been the other", group by group.

    For paired episodes that come in groups that are not independent inside, such as all episodes of one seed. The sign
    of every group's sum is flipped in all ways; groups of one pair give McNemar's exact test.

    Args:
        sums: of each group, episodes that only the first won minus those that only the second won.
    """
    sizes = [abs(value) for value in sums if value]
    reached = abs(sum(sums))
    # Chances of every possible sum, from -sum(sizes) to sum(sizes).
    chances = np.ones(1)
    for size in sizes:
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    distance = np.abs(np.arange(len(chances)) - sum(sizes))
    return min(1.0, float(chances[distance >= reached].sum()))


def design_effect(groups: Sequence[Sequence[float]]) -> float:
    """How much larger the variance of a mean is because values come in groups (Kish 1965); at least 1.

    Args:
        groups: values of each group; 1.0 comes back where they do not differ.
    """
    values = np.concatenate([np.asarray(group, dtype=float) for group in groups])
    centred = values - values.mean()
    alone = float((centred**2).sum())
    together = sum(float((np.asarray(group, dtype=float) - values.mean()).sum()) ** 2 for group in groups)
    return max(1.0, together / alone) if alone > 0 else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for many comparisons (Holm's step-down), in the order given."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


# --- bootstrap ----------------------------------------------------------------------------------------------------


def stratified_bootstrap(
    groups: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Mean over all values with a percentile interval that resamples WITHIN each group.

    For "how would this policy do on these same scenarios with other seeds".

    Args:
        groups: one (n_g,) array a scenario.
        rng: source of the resampling; the same generator state gives the same interval.
        resamples: number of bootstrap samples.
        confidence: two-sided level.
    """
    arrays = [a for a in (np.asarray(g, dtype=np.float64) for g in groups) if a.size]
    total = sum(a.size for a in arrays)
    if total == 0:
        return Estimate(None, None, 0)
    sums = np.sum([_resampled_sums(a, rng, resamples) for a in arrays], axis=0)
    return Estimate(float(sum(a.sum() for a in arrays)) / total, _percentiles(sums / total, confidence), total)


def cluster_bootstrap(
    groups: Sequence[ArrayLike],
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """As `stratified_bootstrap`, but resamples whole groups: "how would it do on other scenarios like these".

    The interval is None for fewer than two groups; with a handful it is rough and usually too short.
    """
    arrays = [a for a in (np.asarray(g, dtype=np.float64) for g in groups) if a.size]
    sums, sizes = np.array([a.sum() for a in arrays]), np.array([a.size for a in arrays])
    if not len(arrays):
        return Estimate(None, None, 0)
    value, total = float(sums.sum() / sizes.sum()), int(sizes.sum())
    if len(arrays) < 2:
        return Estimate(value, None, total, too_few=True)
    picks = rng.integers(len(arrays), size=(resamples, len(arrays)))
    means = sums[picks].sum(axis=1) / sizes[picks].sum(axis=1)
    return Estimate(value, _percentiles(means, confidence), total, too_few=len(arrays) <= TOO_FEW)


def _resampled_sums(values: Array, rng: np.random.Generator, resamples: int) -> Array:
    """(resamples,) sums of samples with replacement, drawn as how often each distinct value comes up."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= 16:
        return rng.multinomial(values.size, counts / values.size, size=resamples) @ distinct
    return np.array([values[rng.integers(values.size, size=values.size)].sum() for _ in range(resamples)])


def _percentiles(samples: Array, confidence: float) -> Interval:
    tail = 50 * (1 - confidence)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return Interval(float(low), float(high))


# --- agreement of two lists of scores -----------------------------------------------------------------------------


def spearman(x: ArrayLike, y: ArrayLike, rng: np.random.Generator, *, resamples: int = 2000) -> Estimate:
    """Rank correlation (ties share their mean rank) with a bootstrap interval over the pairs."""
    return _correlation(x, y, rng, resamples, _ranks)


def _correlation(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, resamples: int, prepare: Callable[[Array], Array]
) -> Estimate:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"correlation needs two lists of equal length, got shapes {first.shape} and {second.shape}")
    n = len(first)
    value = _pearson_of(prepare(first), prepare(second)) if n >= 2 else None
    if value is None:
        return Estimate(None, None, n, too_few=n <= TOO_FEW)
    picks = rng.integers(n, size=(resamples, n))
    drawn = [_pearson_of(prepare(first[i]), prepare(second[i])) for i in picks]
    defined = np.array([r for r in drawn if r is not None])
    interval = _percentiles(defined, 0.95) if defined.size else None
    return Estimate(value, interval, n, too_few=n <= TOO_FEW)


def _pearson_of(x: Array, y: Array) -> float | None:
    dx, dy = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(dx @ dx) * float(dy @ dy))
    return float(np.clip(dx @ dy / scale, -1.0, 1.0)) if scale > 0 else None


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def mmrv(simulated: ArrayLike, real: ArrayLike) -> float:
    """Mean maximum rank violation of SimplerEnv: 0 when both order the policies alike.

    For policy i the worst violation is the largest |R_i - R_j| over the j that the two orderings disagree on.
    NOT symmetric: the simulated (or open-loop) scores come first, the real (or closed-loop) ones second.
    """
    sim, truth = np.asarray(simulated, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if sim.shape != truth.shape or sim.ndim != 1 or not len(sim):
        raise ValueError(f"MMRV needs two lists of equal length, got shapes {sim.shape} and {truth.shape}")
    disagree = (sim[:, None] > sim[None]) != (truth[:, None] > truth[None])
    return float((np.abs(truth[:, None] - truth[None]) * disagree).max(axis=1).mean())
