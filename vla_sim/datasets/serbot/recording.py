"""One of the lab's recordings as an episode, whatever its format: read when asked for, images only by `load`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vla_sim.core.episode import Episode, lazy_images
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome, Side
from vla_sim.datasets.base import STEP_S, picked, squeezed
from vla_sim.datasets.channel_order import AUTO, RGB, Order, check_choice, guess, to_rgb
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, LabelScale, check_columns, pick_columns
from vla_sim.datasets.serbot.formats import HDF5, RecordingFormat, format_of
from vla_sim.datasets.serbot.hdf5 import GROUPS
from vla_sim.datasets.serbot.names import SerbotLabels, has_labels, parse_name
from vla_sim.datasets.serbot.raw import RawFacts, RawSteps
from vla_sim.datasets.untrusted import check_size, text_of

# Images of a recording that are looked at for the order of its channels.
SAMPLED_IMAGES = 3
# Names of folders with recordings that are not for learning.
EVALUATION_FOLDERS = ("val", "valid", "validation", "eval", "evaluation", "test", "heldout", "held_out")
INSTRUCTION_SOURCES = ("file", "labels", "both")


@dataclass(frozen=True)
class SerbotReading:
    """How recordings are to be understood; what a file written by the simulator says of itself wins over defaults.

    Attributes:
        channel_order: "rgb", "bgr", or "auto": what the file says, else a guess from the colours of the whole
            folder, else the collector's (BGR in HDF5, RGB in image files).
        columns: what the action columns are; None: the file's own names, else forward, left, yaw rate.
        action_names: components wanted in the episodes, left-out columns must be zero; None: what the file says, else
            forward and left.
        scale: what a label means; None: what the file says, else 1.15 is 0.5 m/s.
        image_px: (width, height) to squeeze images to, as the robot does; None keeps them.
        instruction: "file", "labels" (the sentence that loaders make from the file name) or "both": the file's
            where it has one.
        language: of sentences made from labels: "en" or "ko".
        step_s: seconds between actions, where the file does not say.
        unknown_names: take labels that are not understood for unknown; names that have none are read anyway.
        renamed: components to keep by their columns' names and what each is called, in order; {}: see `action_names`.
        as_stored: see `ReadOptions`.
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
    renamed: Mapping[str, str] = field(default_factory=dict)
    as_stored: bool = False

    def __post_init__(self) -> None:
        check_choice(self.channel_order)
        if self.columns is not None:
            check_columns(self.columns)
        if self.instruction not in INSTRUCTION_SOURCES:
            raise UserError(
                f"unknown instruction source {self.instruction!r}; {suggest(self.instruction, INSTRUCTION_SOURCES)}"
            )


AS_RECORDED = SerbotReading()


class _Folder(Protocol):
    """Where a recording is from."""

    @property
    def guessed_order(self) -> Order:
        """Channel order of its recordings that do not say theirs."""


@dataclass(frozen=True)
class SerbotRecording:
    """One recording.

    Attributes:
        path: its file or folder.
        reading: how it is to be understood.
        root: folder that provenance paths are relative to; None: the recording's own.
        folder: where it is from, for the channel order.
    """

    path: Path
    reading: SerbotReading = AS_RECORDED
    root: Path | None = None
    folder: _Folder | None = field(default=None, repr=False)

    @functools.cached_property
    def format(self) -> RecordingFormat:
        """How it is stored."""
        return format_of(self.path)

    @property
    def name(self) -> str:
        """Name of its file or folder, without ending."""
        return self.format.name(self.path)

    @property
    def is_hdf5(self) -> bool:
        """Whether it is one HDF5 file."""
        return self.format is HDF5

    @functools.cached_property
    def facts(self) -> RawFacts:
        """What it says about itself: layout, attributes, instruction."""
        return self.format.facts(self.path, self.root)

    @functools.cached_property
    def labels(self) -> SerbotLabels | None:
        """What its file name says; None where it says nothing, or unknown labels are accepted.

        Raises:
            UserError: it has labels that are not understood.
        """
        if not has_labels(self.name):
            return None
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
        return self.format.steps(self.path, self.root)

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
        if self.reading.renamed:
            return tuple(self.reading.renamed.values())
        said = self.reading.action_names or tuple(self.facts.ours.get("action_names", ()))
        if not said and self.facts.layout == GROUPS and "vy" not in (self.steps.columns or ("vy",)):
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
        if self.reading.renamed:
            return self.scale.twists(picked(labels, self.columns, self.reading.renamed, str(self.path))[0], names)
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
        """Channel order by the colours of a few of its images."""
        every = slice(None, None, max(1, self.facts.frames // SAMPLED_IMAGES))
        images = list(self.images(every, last=False))[:SAMPLED_IMAGES]
        pixels = np.concatenate([image[::4, ::4].reshape(-1, 3) for image in images])
        return guess(pixels, otherwise=self.format.order)

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
        if self.reading.as_stored:
            return Order(RGB, "assumed")
        return self.looks_like if self.folder is None else self.folder.guessed_order

    def check(self) -> None:
        """Look at everything but the images.

        Raises:
            UserError: what is wrong.
        """
        facts = self.facts
        # As large as the images will be, without taking memory.
        stand_in = np.broadcast_to(np.uint8(0), (facts.frames + facts.last_image, 1, 1, 3))
        self._episode(stand_in, {})

    def load(self) -> Episode:
        """The whole episode, images included and as RGB.

        Raises:
            UserError: anything about it is wrong.
        """
        return self.episode().loaded()

    def episode(self) -> Episode:
        """The episode; its images are read when they are asked for, as RGB.

        Raises:
            UserError: anything but its images is wrong.
        """
        width, height = self.reading.image_px or self.facts.image_px
        count = self.facts.frames + self.facts.last_image
        check_size(f"{self.path}: its images", count * width * height * 3)
        return self._episode(lazy_images((count, height, width, 3), self._read), self.provenance())

    def _read(self, which: slice) -> np.ndarray:
        """Some of its images as RGB; the one after the last action is the last.

        Raises:
            UserError: they are damaged, fewer than declared, or differ in size.
        """
        wanted = range(self.facts.frames + self.facts.last_image)[which]
        last = bool(wanted) and wanted[-1] == self.facts.frames
        stored = slice(wanted.start, min(wanted.stop, self.facts.frames), wanted.step)
        images: list[np.ndarray] = []
        for number, image in zip(wanted, self.images(stored, last=last), strict=False):
            found, declared = (image.shape[1], image.shape[0]), self.facts.image_px
            if found != declared and self.reading.image_px is None:
                raise UserError(
                    f"{self.path}: its images differ in size: {declared[0]} x {declared[1]} and, at {number}, "
                    f"{found[0]} x {found[1]}"
                )
            images.append(squeezed(image[None], self.reading.image_px)[0])
        if len(images) != len(wanted):
            raise UserError(f"{self.path}: {len(wanted)} images were asked for, it holds {len(images)} of them")
        width, height = self.reading.image_px or self.facts.image_px
        stacked = np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8)
        return to_rgb(stacked, self.channel_order.order)

    def _sentences(self, steps: int) -> tuple[str, ...]:
        """The sentence of each step, where the file's are used and change."""
        said = self.facts.sentences[:steps]
        return said if len(set(said)) > 1 and self.instruction == said[0] else ()

    def _episode(self, images: np.ndarray, provenance: dict[str, Any]) -> Episode:
        steps, ours = self.steps, self.facts.ours
        try:
            return Episode(
                name=text_of(self.name, f"{self.path}: its name"),
                images=images,
                actions=self.actions(),
                action_names=self.action_names,
                instruction=self.instruction,
                step_s=float(ours.get("step_s", self.reading.step_s)),
                labels=None if steps.expert is None else self._twists(steps.expert),
                states=steps.states,
                state_names=steps.state_names,
                sensors=steps.sensors,
                events=steps.events,
                outcome=self.outcome,
                provenance=provenance,
                sentences=self._sentences(len(steps.actions)),
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

    def images(self, every: slice = slice(None), *, last: bool = True) -> Iterator[np.ndarray]:
        """Its images one by one, channels as stored.

        Args:
            every: which of them.
            last: also the one after the last action, where there is one.
        """
        return self.format.images(self.path, self.root, every, last=last)
