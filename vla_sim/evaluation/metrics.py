"""Navigation metrics as pure functions of arrays; sources stand at each.

Used by the summary and by anyone who recomputes figures from `episodes.jsonl`. Every deviation from a
published definition is named. Points are (T, 2) or (T, 3) arrays in metres unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Distance = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Mean:
    """A mean over the episodes for which it is defined.

    Attributes:
        value: the mean, None when no episode is left.
        n: how many episodes it is over.
        excluded: how many had no valid value and were left out.
    """

    value: float | None
    n: int
    excluded: int


# --- success and efficiency ---------------------------------------------------------------------------------------


def spl(successes: ArrayLike, shortest_m: ArrayLike, taken_m: ArrayLike) -> Mean:
    """Success weighted by path length, mean of S * l / max(p, l) (Anderson et al., arXiv 1807.06757).

    Args:
        successes: (N,) 0 or 1.
        shortest_m: (N,) geodesic length from start to goal, l; None, NaN, inf and 0 make an episode invalid.
        taken_m: (N,) length of the path driven, p.
    """
    success, shortest, taken = _floats(successes), _floats(shortest_m), _floats(taken_m)
    return _mean_where(_valid(shortest), lambda ok: success[ok] * _efficiency(shortest[ok], taken[ok]))


def soft_spl(final_distance_m: ArrayLike, shortest_m: ArrayLike, taken_m: ArrayLike) -> Mean:
    """Mean of max(0, 1 - d_T / l) * l / max(p, l), as SoftSPL of habitat-lab: no success test.

    Args:
        final_distance_m: (N,) geodesic distance left, d_T; None, NaN and inf count as no progress.
        shortest_m: (N,) as in `spl`.
        taken_m: (N,) as in `spl`.
    """
    left, shortest, taken = _floats(final_distance_m), _floats(shortest_m), _floats(taken_m)
    left = np.where(np.isfinite(left), left, np.inf)

    def values(ok: NDArray[np.bool_]) -> Array:
        return np.maximum(0.0, 1.0 - left[ok] / shortest[ok]) * _efficiency(shortest[ok], taken[ok])

    return _mean_where(_valid(shortest), values)


def progress_final(final_distance_m: ArrayLike, shortest_m: ArrayLike) -> Array:
    """Share of the way that was covered at the end, clip(1 - d_T / l, 0, 1); NaN where l is invalid.

    An unknown or infinite d_T counts as no progress.
    """
    left, shortest = _floats(final_distance_m), _floats(shortest_m)
    left = np.where(np.isfinite(left), left, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        progress = np.clip(1.0 - left / shortest, 0.0, 1.0)
    return np.where(_valid(shortest), progress, np.nan)


def _efficiency(shortest: Array, taken: Array) -> Array:
    return shortest / np.maximum(taken, shortest)


def _valid(shortest: Array) -> NDArray[np.bool_]:
    return np.isfinite(shortest) & (shortest > 0)


def _mean_where(ok: NDArray[np.bool_], values: Callable[[NDArray[np.bool_]], Array]) -> Mean:
    n = int(ok.sum())
    return Mean(float(values(ok).mean()) if n else None, n, int(ok.size) - n)


def _floats(values: ArrayLike) -> Array:
    """As float64, None becoming NaN."""
    return np.asarray(values, dtype=np.float64)


# --- paths --------------------------------------------------------------------------------------------------------


def euclidean(a: Array, b: Array) -> Array:
    """(n, m) distances between (n, D) and (m, D) points."""
    return np.linalg.norm(a[:, None, :] - b[None, :, :], axis=-1)


def resample(points: ArrayLike, spacing_m: float) -> Array:
    """The same polyline with points every `spacing_m` along it, both ends included.

    nDTW and CLS depend on how densely the reference is sampled: resample it and state the spacing.
    """
    if not spacing_m > 0:
        raise ValueError(f"spacing_m must be positive, got {spacing_m}")
    line = _points(points)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    if along[-1] == 0:
        return line[:1]
    marks = np.append(np.arange(0.0, along[-1] - 1e-9, spacing_m), along[-1])
    return np.stack([np.interp(marks, along, line[:, axis]) for axis in range(line.shape[1])], axis=1)


def dtw(path: ArrayLike, reference: ArrayLike, *, distance: Distance | None = None) -> float:
    """Exact dynamic time warping cost (not the approximate fastdtw of VLN-CE), in metres.

    Args:
        path: (n, D) executed positions.
        reference: (m, D) reference positions.
        distance: maps (n, D), (m, D) to (n, m) distances; Euclidean by default.
    """
    cost = (distance or euclidean)(_points(path), _points(reference))
    n, m = cost.shape
    # Anti-diagonals: every cell of one depends on the two before it only, so numpy does a whole one at once.
    before = np.full(n + 1, np.inf)  # before[i + 1], last[i + 1] hold row i of the diagonals k - 2, k - 1
    last = np.full(n + 1, np.inf)
    before[0] = 0.0  # lets the corner cell start at its own cost
    for k in range(n + m - 1):
        rows = np.arange(max(0, k - m + 1), min(n, k + 1))
        best = np.minimum(np.minimum(last[rows], last[rows + 1]), before[rows])
        current = np.full(n + 1, np.inf)
        current[rows + 1] = cost[rows, k - rows] + best
        before, last = last, current
    return float(last[n])


def ndtw(path: ArrayLike, reference: ArrayLike, success_radius_m: float, *, distance: Distance | None = None) -> float:
    """Normalised DTW, exp(-DTW / (|R| * d_th)) in 0..1, |R| the number of REFERENCE points (arXiv 1907.05446)."""
    count = len(_points(reference))
    return float(np.exp(-dtw(path, reference, distance=distance) / (count * success_radius_m)))


def cls(path: ArrayLike, reference: ArrayLike, success_radius_m: float, *, distance: Distance | None = None) -> float:
    """Coverage weighted by length score in 0..1 (Jain et al., arXiv 1905.12255).

    Argument order is (executed, reference); the doctest published with the paper passes them the other way round.
    """
    measure = distance or euclidean
    executed, wanted = _points(path), _points(reference)
    coverage = float(np.exp(-measure(wanted, executed).min(axis=1) / success_radius_m).mean())
    expected = coverage * _length_by(wanted, measure)
    if expected == 0:
        return coverage if _length_by(executed, measure) == 0 else 0.0
    return coverage * expected / (expected + abs(expected - _length_by(executed, measure)))


def _length_by(points: Array, measure: Distance) -> float:
    return float(sum(measure(a[None], b[None])[0, 0] for a, b in pairwise(points)))


def _points(points: ArrayLike) -> Array:
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or len(array) == 0:
        raise ValueError(f"points must have shape (T, 2) or (T, 3) with T at least 1, got {array.shape}")
    return array


# --- safety -------------------------------------------------------------------------------------------------------


def collision_episode_rate(events: ArrayLike) -> float | None:
    """Share of episodes with at least one contact; which pairs count is the recorder's to say."""
    counts = _floats(events)
    return float((counts > 0).mean()) if counts.size else None


def collision_events_per_metre(events: ArrayLike, taken_m: ArrayLike) -> float | None:
    """Contacts of all episodes over the metres of all episodes; None when nothing moved."""
    metres = float(_floats(taken_m).sum())
    return float(_floats(events).sum()) / metres if metres > 0 else None


def clearance(gaps_m: ArrayLike) -> tuple[float | None, float | None]:
    """(smallest, 5th percentile) of the finite gaps in metres; (None, None) without any."""
    gaps = _floats(gaps_m)
    gaps = gaps[np.isfinite(gaps)]
    return (float(gaps.min()), float(np.percentile(gaps, 5))) if gaps.size else (None, None)


# --- smoothness ---------------------------------------------------------------------------------------------------


def mean_jerk(points: ArrayLike, step_s: float) -> float | None:
    """Mean size of the third derivative of position in m/s^3, from finite differences; None below 4 points."""
    line = _points(points)
    if len(line) < 4:
        return None
    return float(np.linalg.norm(np.diff(line, n=3, axis=0), axis=1).mean() / step_s**3)


def sparc(speed: ArrayLike, step_s: float, *, cutoff_hz: float = 10.0, threshold: float = 0.05) -> float | None:
    """Spectral arc length of a speed profile: below 0, nearer to 0 is smoother (Balasubramanian et al. 2015).

    Args:
        speed: (T,) speeds in m/s.
        step_s: sampling interval in seconds.
        cutoff_hz: highest frequency that counts.
        threshold: the band ends at the last frequency whose normalised magnitude reaches this.

    Returns:
        The arc length; None for fewer than two samples or a robot that never moved.
    """
    profile = _floats(speed)
    if profile.size < 2 or not np.any(profile):
        return None
    size = int(2 ** (np.ceil(np.log2(profile.size)) + 4))
    frequency = np.arange(size) / (size * step_s)
    magnitude = np.abs(np.fft.fft(profile, size))
    magnitude /= magnitude.max()
    keep = frequency <= min(cutoff_hz, 0.5 / step_s)
    frequency, magnitude = frequency[keep], magnitude[keep]
    loud = np.flatnonzero(magnitude >= threshold)
    frequency, magnitude = frequency[loud[0] : loud[-1] + 1], magnitude[loud[0] : loud[-1] + 1]
    if frequency.size < 2:
        return 0.0
    across = np.diff(frequency) / (frequency[-1] - frequency[0])
    return float(-np.sqrt(across**2 + np.diff(magnitude) ** 2).sum())


def switching_rate(actions: ArrayLike) -> float | None:
    """Share of steps whose action differs from the one before; None below two actions.

    Meant for discrete actions: pass headings (see `direction_index`) when they are continuous.
    """
    array = np.asarray(actions)
    if len(array) < 2:
        return None
    changed = array[1:] != array[:-1]
    return float((changed.any(axis=1) if changed.ndim > 1 else changed).mean())


def sign_flips_per_metre(values: ArrayLike, length_m: float, *, dead_zone: float = 0.0) -> float | None:
    """How often a command (vy or wz) changes sign per metre driven; values within the dead zone are skipped."""
    signs = np.sign([v for v in _floats(values) if abs(v) > dead_zone])
    return float((signs[1:] != signs[:-1]).sum()) / length_m if length_m > 0 else None


# --- language -----------------------------------------------------------------------------------------------------


def instruction_following_rate(asked: Sequence[object], realised: Sequence[object]) -> Mean:
    """Share of episodes that did as asked (IFR, ours): realised == asked.

    An episode that asks for nothing (None) is excluded; one that realised nothing counts as not followed.
    """
    pairs = [(a, r) for a, r in zip(asked, realised, strict=True) if a is not None]
    value = float(np.mean([a == r for a, r in pairs])) if pairs else None
    return Mean(value, len(pairs), len(asked) - len(pairs))


def ignore_rate(realised_left: Sequence[object], realised_right: Sequence[object]) -> Mean:
    """Share of worlds passed on the same side under opposite instructions (ours).

    Args:
        realised_left: (N,) side realised when told left.
        realised_right: (N,) side realised in the same worlds when told right. A world where either is None
            (nothing was passed) is excluded: it says nothing about listening.
    """
    pairs = [(a, b) for a, b in zip(realised_left, realised_right, strict=True) if a is not None and b is not None]
    value = float(np.mean([a == b for a, b in pairs])) if pairs else None
    return Mean(value, len(pairs), len(realised_left) - len(pairs))


# --- open loop ----------------------------------------------------------------------------------------------------

HEADINGS = ("forward", "forward_left", "left", "back_left", "back", "back_right", "right", "forward_right", "stop")


def mean_absolute_error(predicted: ArrayLike, actual: ArrayLike) -> Array:
    """(A,) mean absolute error per axis over (N, A) actions, in their unit."""
    return np.abs(_floats(predicted) - _floats(actual)).mean(axis=0)


def root_mean_square_error(predicted: ArrayLike, actual: ArrayLike) -> Array:
    """(A,) root mean square error per axis over (N, A) actions, in their unit."""
    return np.sqrt(((_floats(predicted) - _floats(actual)) ** 2).mean(axis=0))


def direction_index(actions: ArrayLike, *, dead_zone: float = 0.15) -> NDArray[np.int64]:
    """(N,) index into HEADINGS: nearest of the eight headings, or stop.

    Args:
        actions: (N, 2 or more) body twists, vx forward and vy left first; the rest is ignored.
        dead_zone: largest |vx| and |vy| in m/s that still count as standing.
    """
    moves = _floats(actions)[:, :2]
    angle = np.arctan2(moves[:, 1], moves[:, 0])
    octant = np.round(angle / (np.pi / 4)).astype(np.int64) % 8
    return np.where((np.abs(moves) <= dead_zone).all(axis=1), 8, octant)


def direction_accuracy(predicted: ArrayLike, actual: ArrayLike, *, dead_zone: float = 0.15) -> float:
    """Share of steps whose heading (or stop) is the right one."""
    same = direction_index(predicted, dead_zone=dead_zone) == direction_index(actual, dead_zone=dead_zone)
    return float(same.mean())
