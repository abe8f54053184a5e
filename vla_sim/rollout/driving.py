"""What `collect`, `expand` and `augment` share: options of simulated episodes, and how far they are."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vla_sim.core.bounds import NotNegative, Pixels
from vla_sim.core.cli import counted
from vla_sim.core.options import Name, OptionalName

if TYPE_CHECKING:
    from vla_sim.datasets.store import Entry
    from vla_sim.datasets.writing import DatasetWriter
    from vla_sim.rollout.recording import RecordingSetup

log = logging.getLogger(__name__)

# Seconds between two lines.
PAUSE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class DriveOptions:
    """Of the simulated episodes."""

    noise: NotNegative = 0.0
    """Smooth noise on the steering in shares of full speed; labels stay the expert's."""
    keys: bool = False
    """Steer by the eight directions of serbot's keys, not any heading."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    image_px: tuple[Pixels, Pixels] | None = None
    """Width and height of the images (default: the robot's; with expand: the recordings')."""
    language: OptionalName = None
    """Only this language, e.g. ko (default: the scenario's mix)."""
    renderer: Literal["software", "gpu", "tiny"] = "software"
    """What draws; tiny is a slow reference; images differ a little."""

    def __post_init__(self) -> None:
        if self.language is not None:
            from vla_sim.scenarios.languages import check_language

            check_language(self.language)

    def setup(self, policy: str = "expert") -> RecordingSetup:
        """What decides the episodes.

        Raises:
            UserError: unknown names, or options that this robot cannot do.
        """
        from vla_sim.rollout.recording import RecordingSetup

        return RecordingSetup(policy=policy, **asdict(self))


class Progress:
    """Logs how far the filling of a data set is.

    Args:
        total: episodes that there will be.
        writer: what they are written with.
        step_s: seconds of a step, where the speed beside real time means something.
    """

    def __init__(self, total: int, writer: DatasetWriter, step_s: float | None = None) -> None:
        self._writer, self._total, self._step_s = writer, total, step_s
        self._begin = self._shown = time.perf_counter()
        self._steps = 0
        if len(writer):
            log.info(f"{len(writer)} of {total} episodes are complete already")

    def __call__(self, entry: Entry) -> None:
        """Count an episode."""
        self._steps += entry.frames
        now = time.perf_counter()
        if now - self._shown > PAUSE_S:
            self._shown = now
            log.info(self._line())

    def end(self, out: Path, note: str = "") -> None:
        """Say what there is now, with a note or else with the outcomes of what was driven."""
        log.info(self._line())
        log.info(f"{out}: {counted(len(self._writer), 'episode')}, {note or self._outcomes()}")

    def _outcomes(self) -> str:
        outcomes = [str(entry.facts.get("outcome", "")) for entry in self._writer.entries.values()]
        driven = [outcome for outcome in outcomes if outcome]
        shares = ", ".join(f"{driven.count(name)} {name}" for name in dict.fromkeys(sorted(driven)))
        kept = len(outcomes) - len(driven)
        return f"{kept} recordings kept, {len(driven)} episodes added: {shares or 'none'}" if kept else shares or "none"

    def _line(self) -> str:
        taken_s = time.perf_counter() - self._begin
        speed = f"{self._steps * self._step_s / taken_s:.0f} x real time, " if self._step_s else ""
        return f"{len(self._writer)}/{self._total} episodes, {speed}{taken_s:.1f} s"
