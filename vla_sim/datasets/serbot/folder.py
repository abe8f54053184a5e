"""A folder of serbot's recordings, read lazily: labels and actions first, pictures one episode at a time.

`for recording in SerbotFolder(path)` gives handles; `recording.labels` and `recording.actions()` read no picture,
`recording.load()` reads those of this one recording.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import ASIDE_SUFFIX
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome, Side
from vla_sim.datasets.channel_order import AUTO, BGR, RGB, Order, check_choice, guess, to_rgb
from vla_sim.datasets.serbot import frames as serbot_frames
from vla_sim.datasets.serbot import hdf5 as serbot_hdf5
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, LabelScale, check_columns, pick_columns
from vla_sim.datasets.serbot.hdf5 import RawFacts, RawSteps
from vla_sim.datasets.serbot.names import SerbotLabels, parse_name

ENDINGS = (".h5", ".hdf5")
# Of the scripted collection: one key is 0.4 s of motion.
STEP_S = 0.4
# Recordings that are looked at for the channel order of a folder, and pictures of each.
LOOKS, LOOK_FRAMES = 48, 3
# Share of those with a clear look that must contradict the others before a folder counts as mixed, and their least
# number: single recordings do mislead.
MIXED_SHARE, MIXED_LEAST = 0.15, 2
# Names of folders with recordings that are not for learning.
EVALUATION_FOLDERS = ("val", "valid", "validation", "eval", "evaluation", "test", "heldout", "held_out")
INSTRUCTION_SOURCES = ("file", "labels", "both")


@dataclass(frozen=True)
class SerbotReading:
    """How recordings are to be understood; what a file written by the simulator says of itself wins over defaults.

    Attributes:
        channel_order: "rgb", "bgr", or "auto": what the file says, else a guess from the colours of the whole
            folder, else the collector's (BGR in HDF5, RGB in picture files).
        columns: what the action columns are; None: the file's own names, else forward, left, yaw rate.
        action_names: components wanted in the episodes, left-out columns must be zero; None: what the file says, else
            forward and left.
        scale: what a label means; None: what the file says, else 1.15 is 0.5 m/s.
        image_px: (width, height) to squeeze pictures to, as the robot does; None keeps them.
        instruction: "file", "labels" (the sentence that loaders make from the file name) or "both": the file's
            where it has one.
        language: of sentences made from labels: "en" or "ko".
        step_s: seconds between actions, where the file does not say.
        unknown_names: accept file names without labels.
    """

    channel_order: str = AUTO
    columns: tuple[str, ...] | None = None
    action_names: tuple[str, ...] | None = None
    scale: LabelScale | None = None
    image_px: tuple[int, int] | None = None
    instruction: str = "both"
    language: str = "en"
    step_s: float = STEP_S
    unknown_names: bool = False

    def __post_init__(self) -> None:
        check_choice(self.channel_order)
        if self.columns is not None:
            check_columns(self.columns)
        if self.instruction not in INSTRUCTION_SOURCES:
            raise UserError(
                f"unknown instruction source {self.instruction!r}; {suggest(self.instruction, INSTRUCTION_SOURCES)}"
            )


AS_RECORDED = SerbotReading()


class SerbotFolder:
    """All recordings below a folder in the order of their names; nothing is opened before it is asked for."""

    def __init__(self, path: Path, reading: SerbotReading = AS_RECORDED) -> None:
        """Find the recordings.

        Raises:
            UserError: no such folder, or no recordings in it.
        """
        self.path = path
        self.reading = reading
        if not path.is_dir():
            raise UserError(f"{path}: no such folder")
        self.paths = tuple(sorted(_recordings_below(path)))
        if not self.paths:
            raise UserError(f"{path}: holds no recordings (*.h5, *.hdf5, or folders with {serbot_frames.ACTIONS_FILE})")

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[SerbotRecording]:
        for path in self.paths:
            yield SerbotRecording(path, self.reading, root=self.path, folder=self)

    def __getitem__(self, index: int) -> SerbotRecording:
        return SerbotRecording(self.paths[index], self.reading, root=self.path, folder=self)

    def problems(self) -> list[tuple[Path, str]]:
        """What is wrong with which recording, without stopping at the first; reads no pictures."""
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
                f"({odd.name} is {odd_order}); sort them into two folders, or say which it is with channel_order"
            )
        if clear:
            order = votes.most_common(1)[0][0]
            return Order(order, "guessed", float(np.mean([look.brownness for _, look in clear])))
        return looks[0][1] if looks else Order(RGB, "assumed")

    def _some(self) -> list[SerbotRecording]:
        picked = np.unique(np.linspace(0, len(self) - 1, min(LOOKS, len(self))).round().astype(int))
        return [self[int(index)] for index in picked]


@dataclass(frozen=True)
class SerbotRecording:
    """One recording: what it says is read when asked for, pictures only by `load`.

    Attributes:
        path: its file or folder.
        reading: how it is to be understood.
        root: folder that provenance paths are relative to; None: the recording's own.
        folder: where it is from, for the channel order.
    """

    path: Path
    reading: SerbotReading = AS_RECORDED
    root: Path | None = None
    folder: SerbotFolder | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """File name without ending."""
        return self.path.stem if self.is_hdf5 else self.path.name

    @property
    def is_hdf5(self) -> bool:
        """Whether it is one HDF5 file (otherwise a folder of pictures)."""
        return self.path.suffix in ENDINGS

    @functools.cached_property
    def facts(self) -> RawFacts:
        """What it says about itself: layout, attributes, instruction."""
        return serbot_hdf5.read_facts(self.path) if self.is_hdf5 else serbot_frames.frames_facts(self.path)

    @functools.cached_property
    def labels(self) -> SerbotLabels | None:
        """What its file name says; None for simulated ones with other names, or where unknown names are accepted.

        Raises:
            UserError: not a recording's name.
        """
        try:
            return parse_name(self.name)
        except UserError as error:
            if self.facts.ours or self.reading.unknown_names:
                return None
            raise UserError(f"{self.path}: {error}") from error

    @property
    def scenario(self) -> str:
        """Scenario of the simulator, or of the file name; "" where unknown."""
        said = self._provenance_said().get("scenario")
        return str(said) if said else self.labels.scenario if self.labels else ""

    @property
    def side(self) -> Side | None:
        """Side on which the obstacle is to be passed."""
        if self.labels:
            return self.labels.side
        said = str(self._provenance_said().get("side") or self.facts.metadata.get("side", ""))
        return Side(said) if said in ("left", "right") else None

    @property
    def distance(self) -> str:
        """close, medium, far or ""."""
        return self.labels.distance if self.labels else str(self._provenance_said().get("distance", ""))

    @functools.cached_property
    def steps(self) -> RawSteps:
        """Actions, events and states as the file has them."""
        return serbot_hdf5.read_steps(self.path) if self.is_hdf5 else serbot_frames.frames_steps(self.path)

    @property
    def events(self) -> tuple[str, ...] | None:
        """One word per action, or None."""
        return self.steps.events

    @property
    def columns(self) -> tuple[str, ...]:
        """What the columns of its actions are."""
        count = self.steps.actions.shape[1]
        columns = self.reading.columns or self.steps.columns or COLLECTOR_COLUMNS
        if len(columns) < count:
            raise UserError(f"{self.path}: its actions have {count} columns, got names for {len(columns)}: {columns}")
        return tuple(columns[:count])

    @property
    def action_names(self) -> tuple[str, ...]:
        """Components of its actions as episodes have them."""
        said = self.reading.action_names or tuple(self.facts.ours.get("action_names", ()))
        if not said and self.facts.layout == serbot_hdf5.GROUPS and "vy" not in (self.steps.columns or ("vy",)):
            said = tuple(name for name in ACTION_NAMES if name in self.columns)  # its members are named: believe them
        return said or ("vx", "vy")

    @property
    def scale(self) -> LabelScale:
        """What its labels mean."""
        if self.reading.scale is not None:
            return self.reading.scale
        said = self.facts.ours.get("label_scale")
        return LabelScale(**said) if said else LabelScale()

    def actions(self) -> np.ndarray:
        """Body twists, float32 (T, A), in m/s and rad/s, with the components `action_names`."""
        return self._twists(self.steps.actions)

    def _twists(self, labels: np.ndarray) -> np.ndarray:
        names = self.action_names
        return self.scale.twists(pick_columns(labels, self.columns, names, str(self.path)), names)

    @property
    def instruction(self) -> str:
        """The sentence, see `SerbotReading.instruction`; "" where there is none."""
        said = self.facts.instruction if self.reading.instruction != "labels" else ""
        if said or self.reading.instruction == "file" or self.labels is None:
            return said
        return self.labels.instruction(self.reading.language)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, where it says so; the proposed group `metadata` knows success only."""
        said = self.facts.ours.get("outcome")
        if said:
            return Outcome(said)
        return Outcome.SUCCESS if self.facts.metadata.get("success") in (True, 1, "True", "true") else None

    @functools.cached_property
    def looks_like(self) -> Order:
        """Channel order by the colours of a few of its pictures."""
        every = slice(None, None, max(1, self.facts.frames // LOOK_FRAMES))
        pictures = list(self._pictures(every, final=False))[:LOOK_FRAMES]
        return guess(np.stack([picture[::4, ::4] for picture in pictures]), otherwise=BGR if self.is_hdf5 else RGB)

    @property
    def channel_order(self) -> Order:
        """The order of its channels and how that is known.

        Raises:
            UserError: nobody said, and its folder mixes both.
        """
        if self.reading.channel_order != AUTO:
            return Order(self.reading.channel_order, "given")
        if "channel_order" in self.facts.ours:
            return Order(check_choice(str(self.facts.ours["channel_order"])), "file")
        return self.looks_like if self.folder is None else self.folder.guessed_order

    def check(self) -> None:
        """Look at everything but the pictures.

        Raises:
            UserError: what is wrong.
        """
        _ = self.labels, self.instruction, self.facts
        self.actions()

    def load(self) -> Episode:
        """The whole episode, pictures included and as RGB.

        Raises:
            UserError: anything about it is wrong.
        """
        order = self.channel_order
        pictures = [self._squeezed(picture) for picture in self._pictures()]
        sizes = {picture.shape for picture in pictures}
        if len(sizes) > 1:
            raise UserError(f"{self.path}: its pictures differ in size: {sorted(sizes)}")
        images = np.stack(pictures)
        steps, ours = self.steps, self.facts.ours
        try:
            return Episode(
                name=self.name,
                images=to_rgb(images, order.order),
                actions=self.actions(),
                action_names=self.action_names,
                instruction=self.instruction,
                step_s=float(ours.get("step_s", self.reading.step_s)),
                labels=None if steps.expert is None else self._twists(steps.expert),
                states=steps.states,
                state_names=steps.state_names,
                events=steps.events,
                outcome=self.outcome,
                provenance=self.provenance(),
            )
        except ValueError as error:
            raise UserError(f"{self.path}: {error}") from error

    def provenance(self) -> dict[str, Any]:
        """What is known about where it comes from, and how it was understood."""
        labels = self.labels
        found: dict[str, Any] = {
            "source": str(self.path.relative_to(self.root) if self.root else self.path.name),
            "source_layout": self.facts.layout,
            "source_channel_order": str(self.channel_order),
            "source_columns": " ".join(self.columns),
            "scenario": self.scenario,
            "distance": self.distance,
            "simulated": bool(self.facts.ours),
        }
        if labels:
            found |= {"family": labels.family, "pattern": labels.pattern, "simulated_scenario": labels.simulated}
            found |= {"taken": labels.taken.isoformat()} if labels.taken and not self.facts.ours else {}
        if self.side:
            found["side"] = self.side.value
        split = self.facts.attributes.get("split") or self._split_folder
        if split:
            found["split"] = str(split)
        if not self.facts.instruction:
            found["instruction_source"] = "labels" if self.instruction else "none"
        proposed = {key: self.facts.metadata[key] for key in ("target", "obstacle") if key in self.facts.metadata}
        return {**found, **proposed, **self._provenance_said()}

    @property
    def _split_folder(self) -> str:
        """The name of the folder that says which split it is of; "" where none does."""
        folders = self.path.relative_to(self.root).parts[:-1] if self.root else ()
        named = [name.lower() for name in folders if name.lower() in (*EVALUATION_FOLDERS, "train")]
        return named[0] if named else ""

    def _provenance_said(self) -> dict[str, Any]:
        said = self.facts.ours.get("provenance", {})
        return dict(said) if isinstance(said, dict) else {}

    def _pictures(self, every: slice = slice(None), *, final: bool = True) -> Iterator[np.ndarray]:
        if self.is_hdf5:
            return serbot_hdf5.read_pictures(self.path, every, final=final)
        return serbot_frames.frames_pictures(self.path, every)

    def _squeezed(self, picture: np.ndarray) -> np.ndarray:
        size = self.reading.image_px
        if size is None or size == (picture.shape[1], picture.shape[0]):
            return picture
        from PIL import Image

        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def _look_of_silent(recording: SerbotRecording) -> Order | None:
    """By its colours; None where the recording says its order, or cannot be read and so has no vote."""
    try:
        return None if "channel_order" in recording.facts.ours else recording.looks_like
    except UserError:
        return None


def _recordings_below(path: Path) -> Iterator[Path]:
    """HDF5 files and folders of pictures; hidden ones and what is being written aside do not count."""
    for child in path.iterdir():
        if child.name.startswith(".") or child.name.endswith(ASIDE_SUFFIX):
            continue
        if child.is_dir():
            if serbot_frames.is_frames_folder(child):
                yield child
            else:
                yield from _recordings_below(child)
        elif child.suffix in ENDINGS:
            yield child


def read_episodes(path: Path, reading: SerbotReading = AS_RECORDED) -> Iterator[Episode]:
    """The episodes of a folder, one in memory at a time."""
    return (recording.load() for recording in SerbotFolder(path, reading))
