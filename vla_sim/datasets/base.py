"""What every format of data sets offers, and the options by which one is read. See `vla_sim.datasets.dataset`."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, overload

import numpy as np
from tyro.conf import Suppress

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import file_name
from vla_sim.core.options import OptionalName, named
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.datasets.channel_order import RGB, check_choice

log = logging.getLogger(__name__)

# Of the scripted collection of serbot's lab, for sets that do not say theirs: one key is 0.4 s of motion.
STEP_S = 0.4
# What `--feature` may name besides the images and the actions, which have options of their own.
FEATURES = ("state", "expert")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a data set is read; the same for every command and every format."""

    action: OptionalName = None
    """Feature with the actions, where the set does not call it action."""
    columns: Annotated[tuple[str, ...], named("NAME[=PART] ...")] = ()
    """Components of the actions to keep, in this order, perhaps as another PART (vx, vy in m/s, wz in rad/s); of
    serbot's files, which do not name theirs: what each column is (default: vx vy wz)."""
    camera: OptionalName = None
    """Feature with the images, where there are several."""
    feature: Annotated[tuple[str, ...], named("PART=NAME ...")] = ()
    """Other features by another name; PART is state or expert."""
    channel_order: Literal["auto", "rgb", "bgr"] = "auto"
    """Of the stored images; auto: what files say, else a guess from their colours."""
    skip_bad: bool = False
    """Leave episodes out that cannot be read, and say which and why."""
    image_px: Suppress[tuple[int, int] | None] = None
    """(width, height) that images are squeezed to; None keeps them."""
    as_stored: Suppress[bool] = False
    """For the audit, which judges what is there: all components of the actions, the first of several cameras, and
    channels as they are where no order is declared."""

    def __post_init__(self) -> None:
        check_choice(self.channel_order)
        for name in ("columns", "feature"):
            object.__setattr__(self, name, tuple(getattr(self, name) or ()))
        if self.action and "=" in self.action:
            raise UserError(f"--action names the feature with the actions; components: --columns {self.action}")
        self.renamed()
        self.features()
        if self.image_px is not None and min(self.image_px) < 1:
            raise UserError(f"--image-px must be at least 1 x 1, got {self.image_px[0]} x {self.image_px[1]}")

    def renamed(self) -> dict[str, str]:
        """The wanted components and what each is called from then on, in order.

        Raises:
            UserError: no name, an unknown part of a twist, or one component twice.
        """
        found: dict[str, str] = {}
        for text in self.columns:
            name, equals, part = text.rpartition("=") if "=" in text else (text, "", text)
            if not name or not part:
                raise UserError(f"--columns {text!r}: write NAME or NAME=PART, e.g. base_x=vx")
            if equals and part not in ACTION_NAMES:
                raise UserError(f"--columns {text!r}: unknown part {part!r}; {suggest(part, ACTION_NAMES)}")
            if name in found or part in found.values():
                raise UserError(f"--columns: {name if name in found else part} stands there twice")
            found[name] = part
        return found

    def features(self) -> dict[str, str]:
        """Names of features by what they are for.

        Raises:
            UserError: an unknown part, or no name.
        """
        found: dict[str, str] = {}
        for text in self.feature:
            part, _, name = text.partition("=")
            if part not in FEATURES:
                raise UserError(f"--feature {text!r}: unknown part {part!r}; {suggest(part, FEATURES)}")
            if not name:
                raise UserError(f"--feature {text!r}: write PART=NAME, e.g. state=observation.state.wheels")
            found[part] = name
        return found


AS_IT_IS = ReadOptions()


@dataclass(frozen=True)
class Problem:
    """An episode that cannot be read, and why."""

    name: str
    reason: str


class Dataset(ABC, Sequence[Episode]):
    """Episodes of one data set in order. Indexing reads labels and actions; images when they are asked for.

    Attributes:
        path: where it lies.
        options: how it is read.
        format: its format's name.
        faults: what is wrong with the set as a whole, where it is read all the same (with `skip_bad`): episodes that
            its index promises and that are not there, for example.
    """

    format: str = ""
    faults: tuple[str, ...] = ()

    def __init__(self, path: Path, options: ReadOptions = AS_IT_IS) -> None:
        self.path, self.options = path, options

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def episode(self, index: int) -> Episode:
        """One episode, its images still on the disk.

        Raises:
            UserError: it cannot be read; says what is wrong and where.
        """

    @abstractmethod
    def place(self, index: int) -> str:
        """Where an episode lies, for people and provenance: its file below `path`, or its number in the set."""

    def file(self, index: int) -> Path | None:
        """The file or folder that holds this episode and nothing else; None where episodes share files."""
        return None

    def declared_order(self, index: int) -> str:
        """The channel order that the set declares for an episode: "rgb", "bgr", or "" where it says nothing."""
        return RGB

    def check(self) -> None:
        """Refuse what is wrong with the set as a whole, before its episodes are looked at.

        Raises:
            UserError: says what to do.
        """

    def stored_as(self, index: int) -> dict[str, Any]:
        """How its own file stores an episode (`SerbotStyle`): {} where the format has nothing of the kind."""
        return {}

    @property
    def robot(self) -> str:
        """Name of the robot, "" where the set does not say."""
        return ""

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | Sequence[Episode]:
        if isinstance(index, slice):
            return Selection(self, range(len(self))[index])
        return self.episode(range(len(self))[index])

    def __iter__(self) -> Iterator[Episode]:
        return (self.episode(index) for index in range(len(self)))

    def examined(self, index: int, *, images: bool = False) -> Episode:
        """An episode that can be read; with `images`, all of them are decoded too.

        Raises:
            UserError: it cannot.
        """
        episode = self.episode(index)
        if images:
            np.asarray(episode.images)
        return episode

    def readable(self) -> Dataset:
        """The episodes that can be read.

        With `options.skip_bad` every image is decoded and what cannot be read is left out with a warning.
        Without, what cannot be read refuses the set; images are not looked at. Of episodes with
        one name (in folders of their own, for example) each gets the name of its place.

        Raises:
            UserError: some cannot be read and are not to be skipped, or none is left.
        """
        skip = self.options.skip_bad
        self.check()
        names: dict[int, str] = {}
        problems: dict[int, Problem] = {}
        for index in range(len(self)):
            try:
                names[index] = self.examined(index, images=skip).name
            except UserError as error:
                problems[index] = Problem(self.place(index), str(error))
        for fault in self.faults:
            log.warning(f"left out: {fault}")
        for problem in problems.values():
            named = problem.reason if problem.name in problem.reason else f"{problem.name}: {problem.reason}"
            log.warning(f"left out: {named}" if skip else named)
        if problems and not skip:
            raise UserError(f"{len(problems)} of {len(self)} episodes cannot be read; --skip-bad leaves them out")
        if not names:
            raise UserError(f"{self.path}: no episode can be read")
        count = Counter(names.values())
        twice = {index: file_name(self.place(index)) for index, name in names.items() if count[name] > 1}
        return Selection(self, list(names), twice)


class Selection(Dataset):
    """Some episodes of a set, in a given order, some by another name.

    Attributes:
        indices: of the episodes in the whole set.
    """

    def __init__(self, whole: Dataset, indices: Sequence[int], names: Mapping[int, str] | None = None) -> None:
        super().__init__(whole.path, whole.options)
        self.faults = whole.faults
        self.format, self._whole, self.indices, self._names = whole.format, whole, tuple(indices), names or {}

    def __len__(self) -> int:
        return len(self.indices)

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        number = self.indices[index]
        episode = self._whole.episode(number)
        return replace(episode, name=self._names[number]) if number in self._names else episode

    def place(self, index: int) -> str:
        """See `Dataset`."""
        return self._whole.place(self.indices[index])

    def file(self, index: int) -> Path | None:
        """See `Dataset`."""
        return self._whole.file(self.indices[index])

    def declared_order(self, index: int) -> str:
        """See `Dataset`."""
        return self._whole.declared_order(self.indices[index])

    def stored_as(self, index: int) -> dict[str, Any]:
        """See `Dataset`."""
        return self._whole.stored_as(self.indices[index])

    @property
    def robot(self) -> str:
        """See `Dataset`."""
        return self._whole.robot


class Joined(Dataset):
    """Several sets one after the other, as a folder of data sets has them; its format is theirs, or "several"."""

    def __init__(self, path: Path, sets: Sequence[Dataset], options: ReadOptions = AS_IT_IS) -> None:
        super().__init__(path, options)
        self.sets = tuple(sets)
        formats = {one.format for one in sets}
        self.format = formats.pop() if len(formats) == 1 else "several"
        self.faults = tuple(fault for one in sets for fault in one.faults)
        self._ends = np.cumsum([len(one) for one in sets]).tolist()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._ends else 0

    def check(self) -> None:
        """See `Dataset`."""
        for one in self.sets:
            one.check()

    def _of(self, index: int) -> tuple[Dataset, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self.sets[number], index - (self._ends[number - 1] if number else 0)

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        one, own = self._of(index)
        return one.episode(own)

    def place(self, index: int) -> str:
        """See `Dataset`; below the folder of all."""
        one, own = self._of(index)
        below = one.path.relative_to(self.path).as_posix() if one.path.is_relative_to(self.path) else str(one.path)
        return one.place(own) if below == "." else f"{below}/{one.place(own)}"

    def file(self, index: int) -> Path | None:
        """See `Dataset`."""
        one, own = self._of(index)
        return one.file(own)

    def declared_order(self, index: int) -> str:
        """See `Dataset`."""
        one, own = self._of(index)
        return one.declared_order(own)

    def stored_as(self, index: int) -> dict[str, Any]:
        """See `Dataset`."""
        one, own = self._of(index)
        return one.stored_as(own)

    @property
    def robot(self) -> str:
        """See `Dataset`: where all say the same."""
        robots = {one.robot for one in self.sets}
        return robots.pop() if len(robots) == 1 else ""


def open_all(path: Path, found: Sequence[Path], options: ReadOptions, kind: Callable[..., Dataset]) -> Dataset:
    """The set that was found, or several as one.

    Args:
        path: folder that was searched.
        found: folders of the sets.
        options: with `skip_bad`, sets that cannot be opened are told as faults of the whole.
        kind: opens one, called with its folder and the options.

    Raises:
        UserError: one cannot be opened, or, with `skip_bad`, none.
    """
    sets: list[Dataset] = []
    faults: list[UserError] = []
    for one in found:
        try:
            sets.append(kind(one, options))
        except UserError as error:
            faults.append(error)
    if faults and not (options.skip_bad and sets):
        raise faults[0]
    if len(found) == 1:
        return sets[0]
    joined = Joined(path, sets, options)
    joined.faults += tuple(map(str, faults))
    return joined


@dataclass(frozen=True)
class Format:
    """One format that data sets may have.

    Attributes:
        name: one word, "lerobot".
        title: for people, with what it is told by: "LeRobotDataset v3.0 (meta/info.json)".
        looks_like: whether a file or folder is a set, or one episode, of this format; looks at names only.
        open: the set of what was found below a folder.
    """

    name: str
    title: str
    looks_like: Callable[[Path], bool]
    open: Callable[[Path, Sequence[Path], ReadOptions], Dataset]


def picked(
    values: np.ndarray, names: Sequence[str], wanted: Mapping[str, str], where: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The wanted components of a table of actions, in the wanted order and by their new names; all if none is named.

    Args:
        values: float (T, C).
        names: of the C components.
        wanted: new names by old ones, see `ReadOptions.renamed`.
        where: the set, for messages.

    Raises:
        UserError: a wanted component is not there.
    """
    if not wanted:
        return values, tuple(names)
    for name in wanted:
        if name not in names:
            raise UserError(f"{where}: its actions have no component {name!r}; {suggest(name, names)}")
    return values[:, [list(names).index(name) for name in wanted]], tuple(wanted.values())


def squeezed(images: np.ndarray, size_px: tuple[int, int] | None) -> np.ndarray:
    """Images (T, h, w, 3) at this (width, height)."""
    if size_px is None or images.shape[1:3] == size_px[::-1]:
        return images
    from PIL import Image

    sizes = [Image.fromarray(image).resize(size_px, Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in sizes]) if sizes else images
