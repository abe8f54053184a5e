"""A folder of serbot's recordings, read lazily: labels and actions first, images one episode at a time.

`for recording in SerbotFolder(path)` gives handles; `recording.labels` and `recording.actions()` read no image,
`recording.load()` reads those of this one recording.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.channel_order import BGR, RGB, Order
from vla_sim.datasets.serbot.formats import KNOWN, recordings_below
from vla_sim.datasets.serbot.recording import AS_RECORDED, SerbotReading, SerbotRecording

__all__ = ["AS_RECORDED", "SerbotFolder", "SerbotReading", "SerbotRecording", "read_episodes"]

# Recordings whose images are looked at for the channel order of a folder.
SAMPLED_RECORDINGS = 48
# Share of those with a clear look that must contradict the others before a folder counts as mixed, and their least
# number: single recordings do mislead.
MIXED_SHARE, MIXED_LEAST = 0.15, 2


class SerbotFolder:
    """All recordings below a folder in the order of their names; nothing is opened before it is asked for."""

    def __init__(
        self, path: Path, reading: SerbotReading = AS_RECORDED, *, files: Sequence[Path] | None = None
    ) -> None:
        """Find the recordings, or take those that were found below `path`.

        Raises:
            UserError: no such folder, or no recordings in it.
        """
        self.path = path
        self.reading = reading
        if not path.is_dir():
            raise UserError(f"{path}: no such folder")
        self.paths = tuple(sorted(recordings_below(path)) if files is None else files)
        if not self.paths:
            raise UserError(f"{path}: holds no recordings ({KNOWN})")

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[SerbotRecording]:
        for path in self.paths:
            yield SerbotRecording(path, self.reading, root=self.path, folder=self)

    def __getitem__(self, index: int) -> SerbotRecording:
        return SerbotRecording(self.paths[index], self.reading, root=self.path, folder=self)

    def problems(self) -> list[tuple[Path, str]]:
        """What is wrong with which recording, without stopping at the first; reads no images."""
        found = []
        for recording in self:
            try:
                recording.check()
            except UserError as error:
                found.append((recording.path, str(error)))
        return found

    @functools.cached_property
    def guessed_order(self) -> Order:
        """Channel order of the recordings that do not say theirs, from the colours of some of them.

        Raises:
            UserError: some look like RGB and some like BGR.
        """
        looks = [(recording, look) for recording in self._some() if (look := _look_of_silent(recording)) is not None]
        clear = [(recording, look) for recording, look in looks if look.source == "guessed"]
        votes = Counter(look.order for _, look in clear)
        if min(votes[RGB], votes[BGR]) >= max(MIXED_LEAST, MIXED_SHARE * len(clear)):
            odd_order = votes.most_common()[-1][0]
            odd = next(recording for recording, look in clear if look.order == odd_order)
            raise UserError(
                f"{self.path}: mixed channel order: {votes[RGB]} recordings look like RGB and {votes[BGR]} like BGR "
                f"({odd.name} is {odd_order}); sort them into two folders, or say which it is with --channel-order"
            )
        if clear:
            order = votes.most_common(1)[0][0]
            return Order(order, "guessed", float(np.mean([look.brownness for _, look in clear])))
        return looks[0][1] if looks else Order(RGB, "assumed")

    def _some(self) -> list[SerbotRecording]:
        picked = np.unique(np.linspace(0, len(self) - 1, min(SAMPLED_RECORDINGS, len(self))).round().astype(int))
        return [self[int(index)] for index in picked]


def _look_of_silent(recording: SerbotRecording) -> Order | None:
    """By its colours; None where the recording says its order, or cannot be read and so has no vote."""
    try:
        return None if "channel_order" in recording.facts.ours else recording.looks_like
    except UserError:
        return None


def read_episodes(path: Path, reading: SerbotReading = AS_RECORDED) -> Iterator[Episode]:
    """The episodes of a folder, one in memory at a time."""
    return (recording.load() for recording in SerbotFolder(path, reading))
