"""Which data sets a folder holds, as recordings for the audit: LeRobot sets and serbot's HDF5 files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.audit.recorded import EVALUATION, TRAIN, Broken, Recorded, RecordedSet, labels_of
from vla_sim.datasets.audit.serbot import serbot_recordings, split_of
from vla_sim.datasets.base import ReadOptions
from vla_sim.datasets.channel_order import RGB
from vla_sim.datasets.lerobot.format import INFO_PATH, read_info
from vla_sim.datasets.lerobot.reader import LeRobotReader, LeRobotRecording, component_names
from vla_sim.datasets.serbot.folder import SerbotFolder
from vla_sim.datasets.serbot.recording import EVALUATION_FOLDERS

# Where sets lie below the folder that is named.
DEEPEST = 2


def open_folder(folder: Path, split: str = TRAIN) -> list[RecordedSet]:
    """All data sets in a folder, which may be one itself; `split` is theirs unless folder names say evaluation.

    Raises:
        UserError: there is none.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    if (folder / "meta").is_dir():
        read_info(folder)  # says what is wrong with a set of another version
        return [LeRobotSet(folder, split)]
    found: list[RecordedSet] = [
        LeRobotSet(path.parent.parent, split_of(path.relative_to(folder).parts[:-2], split))
        for depth in range(1, DEEPEST + 1)
        for path in sorted(folder.glob("*/" * depth + INFO_PATH))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    with suppress(UserError):  # says that there are none
        SerbotFolder(folder)
        found.append(SerbotSet(folder, split))
    if not found:
        raise UserError(
            f"{folder} holds no data set: neither {INFO_PATH} (LeRobot) nor recordings (*.h5, or folders of pictures)"
        )
    return found


@dataclass(frozen=True)
class LeRobotSet:
    """A LeRobot data set.

    Attributes:
        source: its folder.
        split: of all its episodes, unless info.json has splits of its own.
    """

    source: Path
    split: str = TRAIN
    kind: str = "LeRobotDataset v3.0"

    def __iter__(self) -> Iterator[Recorded | Broken]:
        """See `RecordedSet`."""
        try:
            reader = LeRobotReader(self.source, ReadOptions(as_stored=True), partial=True)
        except UserError as error:
            yield Broken(str(self.source), str(error))
            return
        yield from (Broken(str(self.source), fault) for fault in reader.faults)
        own = _splits(reader, self.split)
        for number in range(len(reader)):
            try:
                names, factors, columns = _columns(reader)
                recording = reader.recording(number)
                actions = recording.column(reader.action)[:, columns].astype(np.float64) * factors
                yield _FromLeRobot(recording, actions, names, own[number])
            except UserError as error:
                yield Broken(f"{self.source.name}#{number}", str(error))


class _FromLeRobot:
    """A LeRobot episode as the audit sees it."""

    def __init__(self, recording: LeRobotRecording, actions: np.ndarray, names: tuple[str, ...], split: str) -> None:
        self._recording = recording
        self.name, self.instruction = recording.name, recording.instruction
        self.actions, self.action_names = actions, names
        self.events = tuple(recording.facts["events"]) if recording.facts.get("events") else None
        said = recording.facts.get("provenance", {})
        known = {"split": split_of((str(said.get("split", "")),), split), "channel_order": RGB}
        if recording.outcome:
            known["outcome"] = recording.outcome.value
        self.labels: Mapping[str, str] = {**labels_of(said), **known}

    def image(self, t: int) -> np.ndarray:
        """See `Recorded`."""
        return np.asarray(self._recording.episode().images[t])

    def load(self) -> Episode:
        """See `Recorded`."""
        return self._recording.load()


def _columns(reader: LeRobotReader) -> tuple[tuple[str, ...], np.ndarray, list[int]]:
    """Names, factors and numbers of the action's columns; all as they are where they are no twist."""
    try:
        twist = reader.components()
    except UserError:
        names = component_names(reader.features, reader.action)
        return tuple(names), np.ones(len(names)), list(range(len(names)))
    return tuple(name for _, name, _ in twist), np.array([f for _, _, f in twist]), [i for i, _, _ in twist]


def _splits(reader: LeRobotReader, otherwise: str) -> list[str]:
    """The split of each episode."""
    splits = [otherwise] * len(reader)
    for name, span in (reader.info.get("splits") or {}).items():
        start, _, stop = str(span).partition(":")
        if name.lower() in EVALUATION_FOLDERS and re.fullmatch(r"\d{1,9}:\d{1,9}", str(span)):
            splits[int(start) : int(stop)] = [EVALUATION] * len(splits[int(start) : int(stop)])
    return splits


@dataclass(frozen=True)
class SerbotSet:
    """A folder of serbot's HDF5 recordings.

    Attributes:
        source: the folder.
        split: of recordings whose folders name none.
        twists: actions in m/s and rad/s instead of labels as stored.
    """

    source: Path
    split: str = TRAIN
    kind: str = "serbot recordings"
    twists: bool = False

    def __iter__(self) -> Iterator[Recorded | Broken]:
        """See `RecordedSet`."""
        return serbot_recordings(self.source, self.split, twists=self.twists)


def comparable(sets: Sequence[RecordedSet]) -> list[RecordedSet]:
    """The sets; beside LeRobot sets, whose actions are twists, recordings give twists too instead of labels."""
    mixed = any(isinstance(one, LeRobotSet) for one in sets)
    return [replace(one, twists=True) if mixed and isinstance(one, SerbotSet) else one for one in sets]
