"""Serbot's recordings as the audit sees them: numbers as stored, names as labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.audit.recorded import EVALUATION, Broken, Recorded, labels_of
from vla_sim.datasets.channel_order import RGB, to_rgb
from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
from vla_sim.datasets.serbot.recording import EVALUATION_FOLDERS, SerbotRecording


def split_of(parts: tuple[str, ...], otherwise: str) -> str:
    """Which split the names of folders say."""
    return EVALUATION if any(part.lower() in EVALUATION_FOLDERS for part in parts) else otherwise


def serbot_recordings(folder: Path, split: str, *, twists: bool = False) -> Iterator[Recorded | Broken]:
    """All recordings below a folder, and those that cannot be read with the reason.

    Args:
        folder: searched with what is below it.
        split: of recordings in whose path no folder names one.
        twists: actions in m/s and rad/s instead of labels as stored.
    """
    for recording in SerbotFolder(folder, SerbotReading(unknown_names=True, instruction="file")):
        try:
            yield _FromSerbot(recording, split_of(recording.path.relative_to(folder).parts[:-1], split), twists)
        except UserError as error:
            yield Broken(recording.name, str(error))


class _FromSerbot:
    """A seed recording as the audit sees it; actions are labels as stored (1.15 is a full move), or twists."""

    def __init__(self, recording: SerbotRecording, split: str, twists: bool) -> None:
        self._recording = recording
        self.name, self.instruction, self.events = recording.name, recording.instruction, recording.events
        self.actions = recording.actions() if twists else recording.steps.actions
        self.action_names = recording.action_names if twists else recording.columns
        self._order = str(recording.facts.ours.get("channel_order", ""))
        said = recording.facts.ours.get("provenance", {})
        known = labels_of(said if isinstance(said, dict) else {})
        named = {
            "scenario": recording.scenario,
            "side": recording.side.value if recording.side else "",
            "distance": recording.distance,
            "channel_order": self._order,
            "outcome": str(recording.facts.ours.get("outcome", "")),
            "split": split,
        }
        self.labels: Mapping[str, str] = {**known, **{key: value for key, value in named.items() if value}}

    def image(self, t: int) -> np.ndarray:
        """See `Recorded`."""
        image = next(iter(self._recording.images(slice(t, t + 1), last=False)))
        return to_rgb(image, self._order or RGB)

    def load(self) -> Episode:
        """See `Recorded`."""
        return self._recording.load()
