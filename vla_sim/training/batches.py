"""Labelled episodes and the augmented batches drawn from them. Used by `vla_sim.training.behaviour_cloning`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vla_sim.augmentation import colour_matrices, mirror_text, shifted, vary_text
from vla_sim.augmentation.mirroring import mirror_signs
from vla_sim.training.config import TrainConfig

if TYPE_CHECKING:
    from vla_sim.policies.models.backbones import Features


@dataclass
class Sequences:
    """Labelled episodes, padded to the longest.

    Attributes:
        images: uint8 (E, T, h, w, 3) at the model's resolution; an array or a memory map.
        texts: per episode, equivalent phrasings of its instruction, at least one.
        actions: float32 (E, T, A), the expert's twist at each step in m/s and rad/s.
        mask: bool (E, T), which steps exist; each episode starts at 0 and has no gap.
        groups: per episode, what it is counted under (a scenario, say): groups are drawn equally often. Empty: all one.
        goals: float32 (E, T, 2), where the goal is in each image: (right, down) as shares of its sides, NaN where it
            is outside. None: nowhere known.
        origins: per episode, where it comes from (`vla_sim.datasets.origins`). Empty: not known.
    """

    images: np.ndarray
    texts: list[list[str]]
    actions: np.ndarray
    mask: np.ndarray
    groups: list[str] = field(default_factory=list)
    goals: np.ndarray | None = None
    origins: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        episodes, steps = self.mask.shape
        if self.images.dtype != np.uint8 or self.images.ndim != 5 or self.images.shape[4] != 3:
            raise ValueError(f"images must be uint8 (E, T, h, w, 3), got {self.images.dtype} {self.images.shape}")
        if self.images.shape[:2] != (episodes, steps) or self.actions.shape[:2] != (episodes, steps):
            raise ValueError(
                f"images, actions and mask must agree on (E, T), got {self.images.shape[:2]}, "
                f"{self.actions.shape[:2]} and {self.mask.shape}"
            )
        if len(self.texts) != episodes or not all(self.texts):
            raise ValueError(f"texts must give each of {episodes} episodes at least one phrasing")
        self.groups = list(self.groups) or [""] * episodes
        if len(self.groups) != episodes:
            raise ValueError(f"groups must be one for each of {episodes} episodes, got {len(self.groups)}")
        self.origins = [tuple(names) for names in self.origins] or [()] * episodes
        if len(self.origins) != episodes:
            raise ValueError(f"origins must be one for each of {episodes} episodes, got {len(self.origins)}")
        lengths = self.mask.sum(axis=1)
        if not np.array_equal(self.mask, np.arange(steps) < lengths[:, None]) or (lengths == 0).any():
            raise ValueError("mask must be True from an episode's start on without a gap, and never empty")
        if not np.isfinite(self.actions[self.mask]).all():
            raise ValueError("actions must be finite")
        if self.goals is None:
            self.goals = np.full((episodes, steps, 2), np.nan, dtype=np.float32)
        if self.goals.shape != (episodes, steps, 2):
            raise ValueError(f"goals must have shape (E, T, 2), got {self.goals.shape}")


@dataclass(frozen=True)
class Batch:
    """What one step learns from: F frames of E episodes, episode after episode.

    Attributes:
        images: uint8 (F, h, w, 3).
        colour: matrix (F, 3, 3) and offset (F, 3) of the change of colour.
        texts: E instructions.
        actions: float32 (F, A), normalised.
        goals: float32 (F, 2), see `Sequences`.
        mask: bool (E, T).
    """

    images: np.ndarray
    colour: tuple[np.ndarray, np.ndarray]
    texts: tuple[str, ...]
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray

    @property
    def frames(self) -> int:
        """F."""
        return len(self.images)

    def read(self, reader: BatchReader) -> list[Features]:
        """What the reader's backbones make of it."""
        return reader.read(self)


class BatchReader(Protocol):
    """What has backbones."""

    def read(self, batch: Batch) -> list[Features]:
        """What each backbone reads out of a batch."""


# Frames, normalised actions, places of the goal, text.
_Augmented = tuple[np.ndarray, np.ndarray, np.ndarray, str]


class Sampler:
    """Draws augmented batches from all episodes added so far.

    Args:
        config: how to augment.
        weights: how often each group is drawn, relative to the others; None: all alike.
    """

    def __init__(self, config: TrainConfig, weights: Mapping[str, float] | None = None) -> None:
        self._config = config
        self._weights = weights
        self._parts: list[Sequences] = []
        self._groups: dict[str, list[tuple[int, int]]] = {}
        self._sign = mirror_signs(config.action_names)

    @property
    def episodes(self) -> int:
        """How many there are."""
        return sum(len(part.mask) for part in self._parts)

    def add(self, part: Sequences) -> None:
        """Add episodes."""
        if part.actions.shape[2] != len(self._config.action_names):
            raise ValueError(
                f"actions must have columns {list(self._config.action_names)}, got {part.actions.shape[2]}"
            )
        for episode, group in enumerate(part.groups):
            self._groups.setdefault(group, []).append((len(self._parts), episode))
        self._parts.append(part)

    def draw(self, rng: np.random.Generator) -> Batch:
        """The next batch."""
        return self._batch([self._augmented(*self._any(rng), rng) for _ in range(self._config.batch_episodes)], rng)

    def of(self, episodes: Sequence[int], rng: np.random.Generator) -> Batch:
        """These episodes of the first part, in this order, augmented like any other."""
        return self._batch([self._augmented(self._parts[0], episode, rng) for episode in episodes], rng)

    def _batch(self, made: Sequence[_Augmented], rng: np.random.Generator) -> Batch:
        frames, actions, goals, texts = zip(*made, strict=True)
        lengths = np.array([len(part) for part in frames])
        matrix, offset = colour_matrices(len(made), rng, strength=self._config.jitter)
        return Batch(
            images=np.concatenate(frames),
            colour=(matrix.repeat(lengths, axis=0), offset.repeat(lengths, axis=0)),
            texts=texts,
            actions=np.concatenate(actions),
            goals=np.concatenate(goals),
            mask=np.arange(lengths.max()) < lengths[:, None],
        )

    def _any(self, rng: np.random.Generator) -> tuple[Sequences, int]:
        """One of the episodes; each group as often as any other."""
        names = list(self._groups)
        members = self._groups[names[self._group(names, rng)]]
        part, episode = members[rng.integers(len(members))]
        return self._parts[part], episode

    def _group(self, names: Sequence[str], rng: np.random.Generator) -> int:
        if self._weights is None:
            return int(rng.integers(len(names)))
        weights = np.array([self._weights[name] for name in names])
        return int(rng.choice(len(names), p=weights / weights.sum()))

    def _augmented(self, part: Sequences, episode: int, rng: np.random.Generator) -> _Augmented:
        """Frames, normalised actions, places of the goal and text of one augmented episode."""
        config = self._config
        span = _span(int(part.mask[episode].sum()), config.max_steps, rng)
        frames, actions = (
            part.images[episode, span],
            part.actions[episode, span] / np.asarray(config.scale, dtype=np.float32),
        )
        assert part.goals is not None
        goals, texts = np.array(part.goals[episode, span]), part.texts[episode]
        text = texts[rng.integers(len(texts))]
        if rng.random() < config.mirror:
            frames, actions, text = frames[:, :, ::-1], actions * self._sign, mirror_text(text)
            goals[:, 0] = 1 - goals[:, 0]
        down, right = rng.integers(-config.shift_px, config.shift_px + 1, size=2)
        goals += np.array([right / frames.shape[2], down / frames.shape[1]], dtype=np.float32)
        frames = shifted(frames, int(down), int(right))
        return frames, actions.astype(np.float32), goals, vary_text(text, rng, share=config.vary_words)


def _span(length: int, longest: int, rng: np.random.Generator) -> slice:
    """The stretch of an episode to learn from: its start half of the time, else anywhere."""
    spare = length - longest
    start = int(rng.integers(spare + 1)) if spare > 0 and rng.random() < 0.5 else 0
    return slice(start, min(length, start + longest))


def whole_batch(sequences: Sequences, episodes: Sequence[int], config: TrainConfig) -> Batch:
    """These episodes as they are, each with its first phrasing."""
    mask = sequences.mask[list(episodes)]
    frames = int(mask.sum())
    return Batch(
        images=sequences.images[list(episodes)][mask],
        colour=(np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1)), np.zeros((frames, 3), dtype=np.float32)),
        texts=tuple(sequences.texts[episode][0] for episode in episodes),
        actions=(sequences.actions[list(episodes)][mask] / np.asarray(config.scale, dtype=np.float32)).astype(
            np.float32
        ),
        goals=sequences.goals[list(episodes)][mask],  # type: ignore[index]
        mask=mask,
    )


def goal_cells(goals: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the cell of each goal that is in its image, int64 (n,), and which those are, bool (F,)."""
    with np.errstate(invalid="ignore"):
        seen: np.ndarray = np.all((goals >= 0) & (goals < 1), axis=1)
    columns, rows = (goals[seen] * grid).astype(np.int64).T
    return rows * grid + columns, seen
