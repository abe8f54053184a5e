"""Which episodes are for the validation loss: copies of one episode stay together, whatever set or source holds them.

Augmented, converted and linked copies, and other drives through one simulated scene, show what their original shows:
one of them in training would make the validation loss flatter the policy. Used by `vla_sim.training.sources`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np


def copies_together(origins: Sequence[Iterable[str]]) -> list[list[int]]:
    """The episodes in groups that share an origin, directly or through others; groups and members in order."""
    leader = list(range(len(origins)))

    def first_of(number: int) -> int:
        while leader[number] != number:
            leader[number] = number = leader[leader[number]]
        return number

    known: dict[str, int] = {}
    for number, names in enumerate(origins):
        for name in names:
            one, other = first_of(known.setdefault(name, number)), first_of(number)
            leader[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = {}
    for number in range(len(origins)):
        groups.setdefault(first_of(number), []).append(number)
    return list(groups.values())


def held_out(sources: Sequence[Sequence[Iterable[str]]], share: float, seed: int) -> list[np.ndarray]:
    """Which episodes of each source are for validation, bool (E,) each; copies are on one side.

    Groups of copies are drawn in an order that their origins and the seed decide, not the names, order or sizes of
    sources, as long as they bring the sources nearer to their shares.

    Args:
        sources: the origins of each episode of each source, at least one.
        share: of each source's episodes.
        seed: of the drawing.
    """
    place = [(number, episode) for number, source in enumerate(sources) for episode in range(len(source))]
    origins = [tuple(sources[number][episode]) for number, episode in place]
    groups = copies_together(origins)
    missing = np.array([round(share * len(source)) for source in sources])
    held = [np.zeros(len(source), dtype=bool) for source in sources]
    for group in sorted(groups, key=lambda members: _rank(seed, {name for i in members for name in origins[i]})):
        count = np.bincount([place[i][0] for i in group], minlength=len(sources))
        if np.abs(missing - count).sum() < np.abs(missing).sum():
            missing -= count
            for i in group:
                number, episode = place[i]
                held[number][episode] = True
    return held


def _rank(seed: int, origins: Iterable[str]) -> str:
    return hashlib.sha256(f"{seed} {max(origins)}".encode("utf-8", "surrogatepass")).hexdigest()
