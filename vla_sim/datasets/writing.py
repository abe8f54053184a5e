"""Writes data sets: one interface for every command; a format is a class and one line in WRITERS.

Episodes may come in any order and from several processes: those put their files into `DatasetWriter.folder` with
`write_entry`, and the one that holds the writer counts them with `add`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from vla_sim.core.bounds import PositiveInt
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import discard_folder, file_name, link_or_copy, write_whole
from vla_sim.core.options import Folder, OptionalName
from vla_sim.datasets.base import AS_IT_IS, Dataset, ReadOptions
from vla_sim.datasets.serbot.actions import UNSCALED
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, serbot_hdf5_bytes
from vla_sim.datasets.store import Entry, EpisodeStore, content_hash

# Facts of an episode that its manifest line repeats, so that nobody needs to open files to count them.
FACTS = (
    *("simulated", "scenario", "suite", "seed", "side", "distance", "target", "obstacle", "obstacles"),
    *("language", "phrasing", "embodiment", "policy", "noise"),
)
HDF5, LEROBOT = "hdf5", "lerobot"
NOTHING: Mapping[str, Plain] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """How a new data set is written; the same for every command."""

    format: Literal["hdf5", "lerobot"] = "hdf5"
    """Of the new set."""
    layout: Literal["main", "nested", "groups"] | None = None
    """With --format hdf5: where things stand in a file (default: as in the source, else main)."""
    store_as: Literal["rgb", "bgr"] | None = None
    """With --format hdf5: channel order of the new files; serbot's own are bgr (default: as in the source,
    else rgb)."""
    fps: PositiveInt | None = None
    """With --format lerobot: frames a second (default: the lowest whole rate that fits: 5 for 0.4 s)."""
    images: bool = False
    """With --format lerobot: PNG images instead of H.264 films."""
    robot: OptionalName = None
    """With --format lerobot: name of the robot in the set (default: what the source says, else serbot)."""

    def __post_init__(self) -> None:
        if self.format not in WRITERS:
            raise UserError(f"unknown --format {self.format!r}; {suggest(self.format, WRITERS)}")
        for name, owner, unset in _ONLY_FOR:
            if owner != self.format and getattr(self, name) != unset:
                raise UserError(f"--{name.replace('_', '-')} is only for --format {owner}, not {self.format}")
        self.style({})

    def style(self, stored_as: Mapping[str, Any]) -> SerbotStyle:
        """How the HDF5 file of an episode is written; for another format, that in which it waits for its turn.

        Args:
            stored_as: how the source stores the episode, see `Dataset.stored_as`.
        """
        if self.format != HDF5:
            return SerbotStyle(scale=UNSCALED, compression=0, instruction=False)  # exact, and quickly written
        given = {"layout": self.layout, "channel_order": self.store_as}
        return SerbotStyle(**{**stored_as, **{key: value for key, value in given.items() if value is not None}})


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """Which data set is read, how, and how the new one is written."""

    data: Folder
    """The data set, of any format."""
    reading: ReadOptions = AS_IT_IS
    writing: WriteOptions = field(default_factory=WriteOptions)


# Options that mean something for one format only, and their value when nobody gives them.
_ONLY_FOR = (
    ("layout", HDF5, None),
    ("store_as", HDF5, None),
    ("fps", LEROBOT, None),
    ("images", LEROBOT, False),
    ("robot", LEROBOT, None),
)


@dataclass(frozen=True)
class Contents:
    """What the tables of a new set must know before the first episode is there.

    Attributes:
        step_s: seconds between two actions.
        image_px: (width, height).
        robot: its name; "" where nobody knows it.
        states, outcomes: whether all episodes have them; None: as the first has.
    """

    step_s: float
    image_px: tuple[int, int]
    robot: str = ""
    states: bool | None = None
    outcomes: bool | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Contents:
        """Those of a set whose episodes can all be read; reads no images."""
        episodes = list(dataset)
        height, width = episodes[0].images.shape[1:3]
        states = all(episode.states is not None for episode in episodes)
        outcomes = all(episode.outcome is not None for episode in episodes)
        return cls(episodes[0].step_s, (width, height), dataset.robot, states, outcomes)


class DatasetWriter(ABC):
    """A data set being written; interrupted, it goes on where the same plan is given again.

    Attributes:
        folder: where the files of single episodes are put, by this process or by others.
        options: how they are written.
    """

    def __init__(self, folder: Path, options: WriteOptions, store: EpisodeStore) -> None:
        self.folder, self.options, self._store = folder, options, store

    @property
    def entries(self) -> Mapping[int, Entry]:
        """The complete episodes whose files lie in `folder`, by index."""
        return self._store.entries

    def __contains__(self, index: int) -> bool:
        """Whether an episode is complete."""
        return index in self._store.entries

    @abstractmethod
    def __len__(self) -> int:
        """The number of complete episodes."""

    def add(self, entry: Entry) -> None:
        """Count an episode whose file lies in `folder`."""
        self._store.add(entry)

    def put(
        self, index: int, episode: Episode, stored_as: Mapping[str, Any], more: Mapping[str, Plain] = NOTHING
    ) -> None:
        """Write an episode and count it.

        Args:
            index: its place in the set.
            episode: with its images loaded.
            stored_as: how its source stores it, see `Dataset.stored_as`.
            more: what the manifest says of it besides.

        Raises:
            UserError: the format cannot hold it, or the disk is full.
        """
        self.add(write_entry(self.folder, index, episode, self.options.style(stored_as), more))

    def finish(self) -> None:
        """All episodes are there."""
        self._store.finish()


class Hdf5Writer(DatasetWriter):
    """A folder with one HDF5 file an episode and manifest.jsonl."""

    def __len__(self) -> int:
        return len(self._store.entries)

    @classmethod
    @contextmanager
    def opened(
        cls, out: Path, plan: Mapping[str, Any], options: WriteOptions, contents: Contents
    ) -> Iterator[DatasetWriter]:
        """The writer of this folder, locked."""
        with EpisodeStore(out, plan) as store:
            yield cls(out, options, store)


class LeRobotSetWriter(DatasetWriter):
    """A LeRobotDataset v3.0, in which episodes stand in order: those out of turn wait aside as exact HDF5 files."""

    def __init__(self, folder: Path, options: WriteOptions, store: EpisodeStore, lerobot: Any) -> None:
        super().__init__(folder, options, store)
        self._lerobot = lerobot
        self._drain()

    def __contains__(self, index: int) -> bool:
        return index < len(self._lerobot) or super().__contains__(index)

    def __len__(self) -> int:
        return len(self._lerobot) + sum(index >= len(self._lerobot) for index in self.entries)

    def add(self, entry: Entry) -> None:
        """See `DatasetWriter`."""
        super().add(entry)
        self._drain()

    def put(
        self, index: int, episode: Episode, stored_as: Mapping[str, Any], more: Mapping[str, Plain] = NOTHING
    ) -> None:
        """See `DatasetWriter`; what is in turn takes no way round."""
        if index == len(self._lerobot):
            self._lerobot.add(episode)
            self._drain()
        else:
            super().put(index, episode, stored_as, more)

    def _drain(self) -> None:
        from vla_sim.datasets.serbot.folder import SerbotRecording

        while (entry := self.entries.get(len(self._lerobot))) is not None:
            self._lerobot.add(SerbotRecording(self.folder / entry.file).load())

    @classmethod
    @contextmanager
    def opened(
        cls, out: Path, plan: Mapping[str, Any], options: WriteOptions, contents: Contents
    ) -> Iterator[DatasetWriter]:
        """The writer of this folder, locked."""
        from vla_sim.core.encoding import check_size
        from vla_sim.datasets.lerobot import LeRobotWriter, lowest_fps
        from vla_sim.datasets.lerobot.format import repeats

        fps = lowest_fps(contents.step_s) if options.fps is None else options.fps
        repeats(contents.step_s, fps)
        if not options.images:
            check_size(*contents.image_px)
        robot = options.robot or contents.robot or "serbot"
        aside = out.with_name(f".{out.name}.episodes")
        aside.parent.mkdir(parents=True, exist_ok=True)
        tables: dict[str, Any] = {"states": contents.states, "outcomes": contents.outcomes}
        with ExitStack() as stack:
            store = stack.enter_context(EpisodeStore(aside, plan))
            lerobot = stack.enter_context(
                LeRobotWriter(out, fps, robot, not options.images, resume=True, plan=plan, **tables)
            )
            yield cls(aside, options, store, lerobot)
        discard_folder(aside)


WRITERS: dict[str, type[Hdf5Writer] | type[LeRobotSetWriter]] = {HDF5: Hdf5Writer, LEROBOT: LeRobotSetWriter}


def is_complete(out: Path, plan: Mapping[str, Any], options: WriteOptions) -> bool:
    """Whether a whole set of this plan lies there, which need not even be opened.

    Raises:
        UserError: something else lies there.
    """
    if options.format != LEROBOT:
        return False  # the folder's manifest tells, see `EpisodeStore`
    from vla_sim.datasets.lerobot import is_finished

    if not is_finished(out, full_plan(plan, options)):
        return False
    discard_folder(out.with_name(f".{out.name}.episodes"))
    return True


def full_plan(plan: Mapping[str, Any], options: WriteOptions) -> dict[str, Any]:
    """A command's plan with how its files are written."""
    return {**plan, "written_as": asdict(options)}


@contextmanager
def write_dataset(
    out: Path, plan: Mapping[str, Any], options: WriteOptions, contents: Contents
) -> Iterator[DatasetWriter]:
    """Open a folder for a new set, or go on with one of the same plan.

    Args:
        out: its folder.
        plan: everything that decides the content, as plain JSON values.
        options: how it is written.
        contents: what the tables must know.

    Raises:
        UserError: another process writes there, the folder holds something else, or the format cannot hold the set.
    """
    with WRITERS[options.format].opened(out, full_plan(plan, options), options, contents) as writer:
        yield writer


def keep(
    writer: DatasetWriter,
    index: int,
    dataset: Dataset,
    number: int,
    more: Mapping[str, Plain],
    *,
    copy: bool,
    folders: bool = True,
) -> None:
    """Take an episode over as it is: its own file where the new format and the reading options allow it.

    Args:
        writer: of the new set.
        index: its place there.
        dataset: where it is from.
        number: its place in that.
        more: what the manifest says of it.
        copy: copy its file instead of linking it.
        folders: take folders of images over as they are, too.

    Raises:
        UserError: it cannot be read, or the disk is full.
    """
    file, reading = dataset.file(number), dataset.options
    altered = any((reading.action, reading.columns, reading.camera, reading.feature, reading.image_px))
    as_it_is = file is not None and not altered and writer.options.format == HDF5
    if file is None or not as_it_is or (file.is_dir() and not folders):
        writer.put(index, dataset[number].loaded(), dataset.stored_as(number), more)
        return
    episode, target = dataset[number], dataset.place(number)
    link_or_copy(file, writer.folder / target, copy=copy)
    writer.add(Entry(index, episode.name, target, content_hash(file), len(episode), more))


def write_entry(
    folder: Path, index: int, episode: Episode, style: SerbotStyle, more: Mapping[str, Plain] = NOTHING
) -> Entry:
    """Write the HDF5 file of an episode; what the manifest should say of it.

    Raises:
        UserError: the episode cannot be written so, or the disk is full.
    """
    try:
        content = serbot_hdf5_bytes(episode, style)
    except ValueError as error:
        raise UserError(str(error)) from error
    file = f"{file_name(episode.name)}.h5"
    write_whole(folder / file, content)
    facts = {**manifest_facts(episode), **more}
    return Entry(index, episode.name, file, hashlib.sha256(content).hexdigest(), len(episode), facts)


def manifest_facts(episode: Episode) -> dict[str, Any]:
    """What the manifest repeats of an episode."""
    known = episode.provenance
    facts = {key: known[key] for key in FACTS if key in known}
    return facts | {"instruction": episode.instruction, "outcome": episode.outcome.value if episode.outcome else ""}


def source_hashes(dataset: Dataset) -> dict[str, str]:
    """What a set is made of: the content of each episode's file, or of the whole set where they share files."""
    files = {dataset.place(i): dataset.file(i) for i in range(len(dataset))}
    if all(files.values()):
        return {place: content_hash(file) for place, file in files.items() if file}
    return {".": content_hash(dataset.path), "episodes": str(len(dataset))}


def refuse_inside(out: Path, source: Path) -> None:
    """Refuse to write into the data set that is read.

    Raises:
        UserError: `out` is the source or lies below it.
    """
    inside = source.resolve()
    if out.resolve() == inside or inside in out.resolve().parents:
        raise UserError(f"--out {out} must not lie in the data set that is read, {source}")
