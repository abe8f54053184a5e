"""Labelled episodes and the augmented batches drawn from them. Used by `vla_sim.training.behaviour_cloning`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vla_sim.augmentation import colour_matrices, mirror_text, shifted, vary_text
from vla_sim.augmentation.mirroring import mirror_signs
from vla_sim.core.sensors import LidarSpec
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.training.config import TrainConfig

if TYPE_CHECKING:
    from vla_sim.policies.models.backbones import Features


@dataclass(frozen=True)
class Batch:
    """What one step learns from: F frames of E episodes, episode after episode.

    Attributes:
        images: uint8 (F, h, w, 3).
        colour: matrix (F, 3, 3) and offset (F, 3) of the change of colour.
        texts: the sentences, at least E, episode after episode.
        said: int64 (F,), which of them holds at each frame.
        actions: float32 (F, A), normalised.
        goals: float32 (F, 2), see `Demonstrations`.
        mask: bool (E, T).
        sensors: ranges of LiDARs by name, float32 (F, rays) in metres.
    """

    images: np.ndarray
    colour: tuple[np.ndarray, np.ndarray]
    texts: tuple[str, ...]
    said: np.ndarray
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray
    sensors: Mapping[str, np.ndarray] = field(default_factory=dict)

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


# What is said in a stretch of an episode: the frame from which it holds, the sentence.
_Said = list[tuple[int, str]]
# Frames, normalised actions, places of the goal, sentences, ranges by name.
_Augmented = tuple[np.ndarray, np.ndarray, np.ndarray, _Said, dict[str, np.ndarray]]


class Sampler:
    """Draws augmented batches from all episodes added so far.

    Args:
        config: how to augment.
        weights: how often each group is drawn, relative to the others; None: all alike.
    """

    def __init__(self, config: TrainConfig, weights: Mapping[str, float] | None = None) -> None:
        self._config = config
        self._weights = weights
        self._parts: list[Demonstrations] = []
        self._groups: dict[str, list[tuple[int, int]]] = {}
        self._sign = mirror_signs(config.action_names)

    @property
    def episodes(self) -> int:
        """How many there are."""
        return sum(len(part.mask) for part in self._parts)

    @property
    def lidars(self) -> dict[str, LidarSpec]:
        """The LiDARs of all episodes by name; what not all have is left out of batches."""
        each = [{name: ranges.lidar for name, ranges in part.sensors.items()} for part in self._parts] or [{}]
        return {name: lidar for name, lidar in each[0].items() if all(have.get(name) == lidar for have in each)}

    def add(self, part: Demonstrations) -> None:
        """Add episodes, perhaps of another robot: the wanted components are taken by their names.

        Raises:
            ValueError: they cannot be learned from, or not together with those that are there.
        """
        part.check_learnable()
        part = _columns(part, self._config.action_names)
        steps = {known.step_s for known in (*self._parts, part) if known.step_s is not None}
        if len(steps) > 1:
            raise ValueError(f"episodes with steps of {' and '.join(f'{s:g} s' for s in sorted(steps))} do not mix")
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
        frames, actions, goals, sentences, ranges = zip(*made, strict=True)
        lengths = np.array([len(part) for part in frames])
        matrix, offset = colour_matrices(len(made), rng, strength=self._config.jitter)
        texts, said = _in_turn(sentences, lengths)
        return Batch(
            images=np.concatenate(frames),
            colour=(matrix.repeat(lengths, axis=0), offset.repeat(lengths, axis=0)),
            texts=texts,
            said=said,
            actions=np.concatenate(actions),
            goals=np.concatenate(goals),
            mask=np.arange(lengths.max()) < lengths[:, None],
            sensors={name: np.concatenate([part[name] for part in ranges]) for name in self.lidars},
        )

    def _any(self, rng: np.random.Generator) -> tuple[Demonstrations, int]:
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

    def _augmented(self, part: Demonstrations, episode: int, rng: np.random.Generator) -> _Augmented:
        """See `_Augmented`."""
        config = self._config
        span = _span(int(part.mask[episode].sum()), config.max_steps, rng)
        frames, actions = (
            part.images[episode, span],
            part.actions[episode, span] / np.asarray(config.scale, dtype=np.float32),
        )
        goals, said = np.array(part.goals[episode, span]), _said(part, episode, span, rng)
        ranges = {name: sensor.values[episode, span] for name, sensor in part.sensors.items()}
        if rng.random() < config.mirror:
            frames, actions = frames[:, :, ::-1], actions * self._sign
            said = [(step, mirror_text(text)) for step, text in said]
            goals[:, 0] = 1 - goals[:, 0]
            ranges = {name: part.sensors[name].lidar.mirrored(values) for name, values in ranges.items()}
        down, right = rng.integers(-config.shift_px, config.shift_px + 1, size=2)
        goals += np.array([right / frames.shape[2], down / frames.shape[1]], dtype=np.float32)
        frames = shifted(frames, int(down), int(right))
        said = [(step, vary_text(text, rng, share=config.vary_words)) for step, text in said]
        return frames, actions.astype(np.float32), goals, said, ranges


def _columns(part: Demonstrations, names: Sequence[str]) -> Demonstrations:
    """The same with these components of the actions."""
    given = part.action_names or tuple(names)
    if not set(names) <= set(given) or len(given) != part.actions.shape[2]:
        raise ValueError(
            f"actions must have columns {list(names)}, got {part.actions.shape[2]} ({', '.join(given) or 'no names'})"
        )
    if given == tuple(names):
        return part
    return replace(part, actions=part.actions[..., [given.index(name) for name in names]], action_names=tuple(names))


def _said(part: Demonstrations, episode: int, span: slice, rng: np.random.Generator | None = None) -> _Said:
    """What is said in a stretch of an episode, in phrasings drawn by `rng`, else the first ones."""
    told = [(0, part.texts[episode]), *part.later[episode]]
    begin = max(number for number, (step, _) in enumerate(told) if step <= span.start)
    heard = [(max(0, step - span.start), texts) for step, texts in told[begin:] if step < span.stop]
    return [(step, texts[int(rng.integers(len(texts))) if rng else 0]) for step, texts in heard]


def _in_turn(sentences: Sequence[_Said], lengths: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """All sentences in a row, and int64 (F,), which of them holds at each frame."""
    texts, counts = [], []
    for said, length in zip(sentences, lengths, strict=True):
        texts += [text for _, text in said]
        counts.append(np.diff([*(step for step, _ in said), length]))
    return tuple(texts), np.arange(len(texts)).repeat(np.concatenate(counts))


def _span(length: int, longest: int, rng: np.random.Generator) -> slice:
    """The stretch of an episode to learn from: its start half of the time, else anywhere."""
    spare = length - longest
    start = int(rng.integers(spare + 1)) if spare > 0 and rng.random() < 0.5 else 0
    return slice(start, min(length, start + longest))


def whole_batch(sequences: Demonstrations, episodes: Sequence[int], config: TrainConfig) -> Batch:
    """These episodes as they are, with the first phrasings."""
    mask = sequences.mask[list(episodes)]
    frames, lengths = int(mask.sum()), mask.sum(axis=1)
    told = [_said(sequences, e, slice(0, int(n))) for e, n in zip(episodes, lengths, strict=True)]
    texts, said = _in_turn(told, lengths)
    return Batch(
        images=sequences.images[list(episodes)][mask],
        colour=(np.tile(np.eye(3, dtype=np.float32), (frames, 1, 1)), np.zeros((frames, 3), dtype=np.float32)),
        texts=texts,
        said=said,
        actions=(sequences.actions[list(episodes)][mask] / np.asarray(config.scale, dtype=np.float32)).astype(
            np.float32
        ),
        goals=sequences.goals[list(episodes)][mask],
        mask=mask,
        sensors={name: ranges.values[list(episodes)][mask] for name, ranges in sequences.sensors.items()},
    )


def goal_cells(goals: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the cell of each goal that is in its image, int64 (n,), and which those are, bool (F,)."""
    with np.errstate(invalid="ignore"):
        seen: np.ndarray = np.all((goals >= 0) & (goals < 1), axis=1)
    columns, rows = (goals[seen] * grid).astype(np.int64).T
    return rows * grid + columns, seen
