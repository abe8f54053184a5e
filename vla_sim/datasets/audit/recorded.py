"""What the audit needs of a recording, whatever file it came from; images only when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from vla_sim.core.episode import Episode

# Sides that an instruction names.
LEFT_WORDS, RIGHT_WORDS = re.compile(r"\bleft\b|왼쪽|좌측", re.I), re.compile(r"\bright\b|오른쪽|우측", re.I)
TRAIN, EVALUATION = "train", "evaluation"


class Recorded(Protocol):
    """One recording."""

    @property
    def name(self) -> str:
        """Names it in messages."""

    @property
    def actions(self) -> np.ndarray:
        """(T, A) as stored; not necessarily finite."""

    @property
    def action_names(self) -> tuple[str, ...]:
        """Of the A columns."""

    @property
    def step_s(self) -> float:
        """Seconds between two actions."""

    @property
    def events(self) -> tuple[str, ...] | None:
        """One word per action, or None."""

    @property
    def instruction(self) -> str:
        """Its sentence, "" where there is none."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What is known: scenario, side, distance, seed, split, success (rule), outcome, channel_order; else absent."""

    def image(self, t: int) -> np.ndarray:
        """The image before action t, uint8 (height, width, 3): RGB where the file says its order, else as stored."""

    def load(self) -> Episode:
        """The whole episode, read as training reads it.

        Raises:
            UserError: it cannot be read.
        """


@dataclass(frozen=True)
class Broken:
    """A file or episode that cannot be read, and why."""

    name: str
    reason: str


class RecordedSet(Protocol):
    """A data set to look at."""

    @property
    def source(self) -> Path:
        """Where it lies."""

    @property
    def kind(self) -> str:
        """Its format in words."""

    def __iter__(self) -> Iterator[Recorded | Broken]:
        """All recordings, and what stands where one should."""


@dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """An `Episode` as the audit sees it.

    Attributes:
        episode: it, perhaps with images that are still on the disk.
        labels: see `Recorded`.
        loading: loads it as training does; None: as it is.
    """

    episode: Episode
    labels: Mapping[str, str] = field(default_factory=dict)
    loading: Callable[[], Episode] | None = None

    @property
    def name(self) -> str:
        """See `Recorded`."""
        return self.episode.name

    @property
    def actions(self) -> np.ndarray:
        """See `Recorded`."""
        return self.episode.actions

    @property
    def action_names(self) -> tuple[str, ...]:
        """See `Recorded`."""
        return self.episode.action_names

    @property
    def step_s(self) -> float:
        """See `Recorded`."""
        return self.episode.step_s

    @property
    def events(self) -> tuple[str, ...] | None:
        """See `Recorded`."""
        return self.episode.events

    @property
    def instruction(self) -> str:
        """See `Recorded`."""
        return self.episode.instruction

    def image(self, t: int) -> np.ndarray:
        """See `Recorded`."""
        return np.asarray(self.episode.images[t])

    def load(self) -> Episode:
        """See `Recorded`."""
        return self.loading() if self.loading else self.episode.loaded()


KNOWN_LABELS = ("scenario", "side", "distance", "seed", "split", "success")


def labels_of(provenance: Mapping[str, object]) -> dict[str, str]:
    """The labels among plain facts, as text."""
    return {key: str(provenance[key]) for key in KNOWN_LABELS if provenance.get(key) not in (None, "")}


def side_of(recorded: Recorded) -> str:
    """Left, right or nothing: from the label, otherwise from the words of the instruction."""
    label = str(recorded.labels.get("side", "")).lower()
    if label in ("left", "right"):
        return label
    left, right = bool(LEFT_WORDS.search(recorded.instruction)), bool(RIGHT_WORDS.search(recorded.instruction))
    return "" if left == right else "left" if left else "right"
