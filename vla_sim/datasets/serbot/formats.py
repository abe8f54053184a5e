"""The formats of the lab's recordings. A new one is a file with three functions, and a line here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.files import ASIDE_SUFFIX
from vla_sim.datasets.channel_order import BGR, RGB
from vla_sim.datasets.serbot import dump, frames, hdf5_reading
from vla_sim.datasets.serbot.raw import RawFacts, RawSteps
from vla_sim.datasets.untrusted import parsing

ENDINGS = (".h5", ".hdf5")


@dataclass(frozen=True)
class RecordingFormat:
    """How recordings of one kind are found and read.

    Attributes:
        matches: whether a file or folder is one.
        name: of the recording, from its path.
        facts: what it says about itself, see `RawFacts`; called with the path and the folder that it must not leave.
        steps: its actions, see `RawSteps`.
        images: the images one by one; called with a slice besides, and `last`: the one after the last action too.
        order: order of the channels where neither file nor colours tell.
    """

    matches: Callable[[Path], bool]
    name: Callable[[Path], str]
    facts: Callable[[Path, Path | None], RawFacts]
    steps: Callable[[Path, Path | None], RawSteps]
    images: Callable[..., Iterator[np.ndarray]]
    order: str = RGB


HDF5 = RecordingFormat(
    lambda path: path.suffix in ENDINGS and not path.is_dir(),
    lambda path: path.stem,
    hdf5_reading.read_facts,
    hdf5_reading.read_steps,
    lambda *arguments, **options: hdf5_reading.read_images(*arguments, **options),
    BGR,
)
FRAMES = RecordingFormat(
    frames.is_frames_folder, lambda path: path.name, frames.read_facts, frames.read_steps, frames.read_images
)
DUMP = RecordingFormat(
    dump.is_dump,
    lambda path: path.name.removesuffix(dump.ENDING),
    dump.read_facts,
    dump.read_steps,
    dump.read_images,
)
FORMATS = (HDF5, FRAMES, DUMP)
# What to look for, in messages.
KNOWN = f"*.h5, *.hdf5, *{dump.ENDING} with images, or folders with {frames.ACTIONS_FILE}"


def format_of(path: Path) -> RecordingFormat:
    """The format of a recording; of what is none, the one that says why."""
    return next((one for one in FORMATS if one.matches(path)), HDF5 if path.suffix in ENDINGS else FRAMES)


def recordings_below(root: Path) -> Iterator[Path]:
    """Recordings in a folder and the folders below; hidden ones and what is being written aside do not count.

    Raises:
        UserError: a folder cannot be listed, or is a link to a folder elsewhere.
    """
    folders = [root]
    while folders:
        folder = folders.pop()
        with parsing(folder):
            children = sorted(folder.iterdir())
        for path in children:
            if path.name.startswith(".") or path.name.endswith(ASIDE_SUFFIX):
                continue
            if path.is_dir() and path.is_symlink():
                check_link(path, root)
            elif any(one.matches(path) for one in FORMATS):
                yield path
            elif path.is_dir():
                folders.append(path)


def check_link(path: Path, root: Path) -> None:
    """A folder linked from the same data set is found anyway; one elsewhere is not part of it."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise UserError(f"{path}: is a link to a folder outside of the data set; name that folder itself")
