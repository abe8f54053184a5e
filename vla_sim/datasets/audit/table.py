"""All actions of a data set side by side, as the checks need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.datasets.audit.recorded import Recorded, side_of

# Actions equal to this much of the set's largest component are the same.
SAME = 0.01
# An action with all components below this share of the largest is a standstill.
STILL = 0.02
# Actions that are on no lattice are binned by this share of the largest component.
BIN = 0.2
# Where only signs count: components below this share of the largest are zero.
BAND = 0.2
# A set is on a lattice when no component takes more values than this.
LATTICE_VALUES = 9


@dataclass(frozen=True)
class ActionTable:
    """Actions of many episodes, padded to the longest.

    Attributes:
        recorded: the episodes.
        actions: float64 (E, T, A), zero behind an episode's end.
        lengths: int (E,).
        scale: the largest component, at least a tiny number.
        sides: "left", "right" or "" per episode.
    """

    recorded: tuple[Recorded, ...]
    actions: np.ndarray
    lengths: np.ndarray
    scale: float
    sides: tuple[str, ...]

    @classmethod
    def of(cls, recorded: Sequence[Recorded]) -> ActionTable:
        """The table of finite recordings with the same number of components."""
        lengths = np.array([len(r.actions) for r in recorded], dtype=int)
        parts = recorded[0].actions.shape[1] if recorded else 0
        actions = np.zeros((len(recorded), int(lengths.max(initial=0)), parts))
        for row, one in zip(actions, recorded, strict=True):
            row[: len(one.actions)] = one.actions
        scale = max(float(np.abs(actions).max(initial=0)), 1e-9)
        return cls(tuple(recorded), actions, lengths, scale, tuple(map(side_of, recorded)))

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self.recorded)

    @property
    def mask(self) -> np.ndarray:
        """Which steps exist: bool (E, T)."""
        return np.asarray(np.arange(self.actions.shape[1]) < self.lengths[:, None])

    @property
    def still(self) -> np.ndarray:
        """Which steps exist and are a standstill: bool (E, T)."""
        return np.asarray(self.mask & (np.abs(self.actions) < STILL * self.scale).all(axis=2))

    @property
    def values(self) -> list[np.ndarray]:
        """The values that each component takes, told apart by `SAME`."""
        steps = self.actions[self.mask]
        unit = SAME * self.scale
        return [np.unique(np.round(steps[:, a] / unit)) * unit for a in range(steps.shape[1])]

    @property
    def on_lattice(self) -> bool:
        """Whether every component takes a handful of values only."""
        return all(len(values) <= LATTICE_VALUES for values in self.values)

    def symbols(self, *, coarse: bool = False) -> np.ndarray:
        """Each action as a whole number: (E, T), -1 where there is none.

        On a lattice, equal numbers are equal actions. Else they are actions in the same bin or, coarse, actions whose
        components have the same signs: fewer symbols, so that a few noisy episodes still tell something.
        """
        if self.on_lattice:
            cells = np.round(self.actions / (SAME * self.scale)).astype(int)
        elif coarse:
            cells = np.sign(np.where(np.abs(self.actions) < BAND * self.scale, 0, self.actions)).astype(int)
        else:
            cells = np.round(self.actions / (BIN * self.scale)).astype(int)
        _, numbers = np.unique(cells.reshape(-1, cells.shape[2]), axis=0, return_inverse=True)
        return np.where(self.mask, numbers.reshape(self.mask.shape), -1)

    def sequences(self) -> np.ndarray:
        """For each episode the number of its action sequence, equal for equal ones."""
        cells = np.round(self.actions / (SAME * self.scale)).astype(np.int32)
        keys: dict[tuple[int, bytes], int] = {}
        return np.array(
            [
                keys.setdefault((int(n), row[:n].tobytes()), len(keys))
                for row, n in zip(cells, self.lengths, strict=True)
            ],
            dtype=int,
        )

    def rows(self, wanted: np.ndarray) -> ActionTable:
        """Some of the episodes, on the same scale."""
        index = np.flatnonzero(wanted) if wanted.dtype == bool else wanted
        return ActionTable(
            tuple(self.recorded[i] for i in index),
            self.actions[index],
            self.lengths[index],
            self.scale,
            tuple(self.sides[i] for i in index),
        )

    def groups(self) -> dict[str, np.ndarray]:
        """Episode numbers by side; one group "" when no side is known."""
        return {
            side: np.array([i for i, own in enumerate(self.sides) if own == side], dtype=int)
            for side in dict.fromkeys(sorted(self.sides, reverse=False))
        }

    def names(self, index: np.ndarray) -> list[str]:
        """Names of episodes by number."""
        return [self.recorded[int(i)].name for i in index]
