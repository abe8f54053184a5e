"""What `collect`, `expand` and `augment` share: options, recordings that can be read, the line that says how far."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vla_sim.core.bounds import NotNegative, Pixels
from vla_sim.core.options import Name

if TYPE_CHECKING:
    from vla_sim.datasets.store import Entry
    from vla_sim.datasets.writing import DatasetWriter
    from vla_sim.rollout.recording import RecordingSetup


@dataclass(frozen=True, kw_only=True)
class DriveOptions:
    """Of the simulated episodes."""

    noise: NotNegative = 0.0
    """Smooth noise on the steering in shares of full speed; labels stay the expert's."""
    keys: bool = False
    """Steer by the eight directions of serbot's keys, not any heading."""
    embodiment: Name = "serbot"
    """The robot, a name or a TOML file."""
    image_px: tuple[Pixels, Pixels] | None = None
    """Width and height of the images (default: the robot's; with expand: the recordings')."""
    language: Literal["en", "ko"] | None = None
    """Of the sentences (default: both)."""
    renderer: Literal["software", "gpu", "tiny"] = "software"
    """What draws; tiny is a slow reference; images differ a little."""

    def setup(self, policy: str = "expert") -> RecordingSetup:
        """What decides the episodes.

        Raises:
            UserError: unknown names, or options that this robot cannot do.
        """
        from vla_sim.rollout.recording import RecordingSetup

        return RecordingSetup(policy=policy, **asdict(self))


class Progress:
    """One line that says how far a collection is."""

    def __init__(self, jobs: Sequence[object], writer: DatasetWriter, setup: RecordingSetup) -> None:
        self._writer, self._total, self._first = writer, len(jobs), len(writer)
        self._step_s = setup.robot().control_s
        self._begin = self._shown = time.perf_counter()
        self._steps = 0
        if self._first:
            print(f"{self._first} of {self._total} episodes are complete already", flush=True)

    def __call__(self, entry: Entry) -> None:
        """Count an episode."""
        self._steps += entry.frames
        now = time.perf_counter()
        pause_s = 0.2 if sys.stdout.isatty() else 5.0
        if now - self._shown > pause_s:
            self._shown = now
            print(self._line(), end="\r" if sys.stdout.isatty() else "\n", flush=True)

    def end(self, out: Path) -> None:
        """Say what there is now."""
        outcomes = [str(entry.facts.get("outcome", "")) for entry in self._writer.entries.values()]
        driven = [outcome for outcome in outcomes if outcome]
        shares = ", ".join(f"{driven.count(name)} {name}" for name in dict.fromkeys(sorted(driven)))
        kept = len(outcomes) - len(driven)
        counts = f"{kept} recordings kept, {len(driven)} episodes added: " if kept else ""
        print(f"{self._line()}\n{out}: {len(self._writer)} episodes, {counts}{shares or 'none'}")

    def _line(self) -> str:
        taken_s = time.perf_counter() - self._begin
        speed = f"{self._steps * self._step_s / taken_s:.0f} x real time"
        return f"{len(self._writer)}/{self._total} episodes, {speed}, {taken_s:.1f} s"
