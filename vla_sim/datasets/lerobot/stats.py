"""Statistics of a LeRobot data set: of each episode, and of all from those of each.

The rules are LeRobot's (`compute_stats.py`), because its normalisers read these numbers: images are sampled and
thinned, mean and variance are pooled exactly, quantiles of the whole are the means of the episodes' quantiles, weighed
by their frames, not the quantiles of the pooled values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Stats = dict[str, np.ndarray]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)
# Images: how many of an episode are looked at, and how far large ones are thinned.
FEWEST, MOST, POWER = 100, 10_000, 0.75
THIN_FROM_PX, THIN_TO_PX = 300, 150


def vector_stats(values: np.ndarray) -> Stats:
    """Statistics over the frames of one feature.

    Args:
        values: (T,) or (T, N).

    Returns:
        Each of `NAMES`, float64 (1,) or (N,); count int64 (1,).
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim == 1:
        table = table[:, None]
    stats = {"min": table.min(0), "max": table.max(0), "mean": table.mean(0), "std": table.std(0)}
    stats["count"] = np.array([len(table)])
    # A value that occurs, as LeRobot's histograms give it, never one between two.
    stats.update({n: np.quantile(table, share, axis=0, method="inverted_cdf") for n, share in QUANTILES.items()})
    return stats


def image_stats(images: np.ndarray, held: int = 1) -> Stats:
    """Statistics of images per channel, as shares of full brightness.

    Args:
        images: uint8 (T, height, width, 3).
        held: frames that each image fills.

    Returns:
        Each of `NAMES`, float64 (3, 1, 1) in 0..1; count int64 (1,): frames looked at.
    """
    length = len(images) * held
    sampled = np.round(np.linspace(0, length - 1, _samples(length))).astype(int) // held
    counts = np.zeros((3, 256), dtype=np.int64)
    for t, times in zip(*np.unique(sampled, return_counts=True), strict=True):
        thin = _thinned(images[t])
        counts += times * np.stack([np.bincount(thin[..., c].ravel(), minlength=256) for c in range(3)])
    stats = {name: values.reshape(3, 1, 1) for name, values in _of_counts(counts).items()}
    stats["count"] = np.array([len(sampled)])
    return stats


def _samples(length: int) -> int:
    return max(min(length, FEWEST), min(int(length**POWER), MOST))


def _thinned(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    if max(height, width) < THIN_FROM_PX:
        return image
    every = int(max(height, width) / THIN_TO_PX)
    return image[::every, ::every]


def _of_counts(counts: np.ndarray) -> Stats:
    """Statistics of values 0..255 from how often each occurs, int64 (3, 256)."""
    values, total = np.arange(256) / 255, counts.sum(axis=1)
    mean = counts @ values / total
    spread = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0))
    first = (counts > 0).argmax(axis=1)
    last = 255 - (counts[:, ::-1] > 0).argmax(axis=1)
    stats = {"min": values[first], "max": values[last], "mean": mean, "std": spread}
    cumulative = counts.cumsum(axis=1) / total[:, None]
    for name, share in QUANTILES.items():
        stats[name] = values[(cumulative >= share).argmax(axis=1)]
    return stats


def pooled_stats(parts: Sequence[Mapping[str, np.ndarray]]) -> Stats:
    """Statistics of all episodes from those of each, for one feature."""
    counts = np.stack([part["count"] for part in parts]).astype(np.float64)
    means = np.stack([part["mean"] for part in parts])
    weights = counts.reshape(len(parts), *[1] * (means.ndim - 1)) / counts.sum()
    mean = (weights * means).sum(axis=0)
    variance = (weights * (np.stack([part["std"] for part in parts]) ** 2 + (means - mean) ** 2)).sum(axis=0)
    pooled = {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([int(counts.sum())]),
    }
    for name in QUANTILES:
        pooled[name] = (weights * np.stack([part[name] for part in parts])).sum(axis=0)
    return pooled


def as_lists(stats: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Statistics as JSON and parquet take them."""
    return {name: values.tolist() for name, values in stats.items()}
