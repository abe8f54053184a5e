"""`open_dataset(path)`: lazy episodes of any format. A format is a file with a `Format`, and one line in FORMATS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import ASIDE_SUFFIX
from vla_sim.datasets import rounds
from vla_sim.datasets.base import Dataset, Format, Joined, ReadOptions
from vla_sim.datasets.lerobot import dataset as lerobot
from vla_sim.datasets.serbot import dataset as serbot
from vla_sim.datasets.serbot.formats import check_link
from vla_sim.datasets.untrusted import parsing

# In the order in which a folder is asked whether it is one.
FORMATS: tuple[Format, ...] = (
    lerobot.FORMAT,
    rounds.FORMAT,
    *serbot.FORMATS,
)
# Folders within folders that are searched.
MAX_DEPTH = 8


def open_dataset(path: str | Path, options: ReadOptions | None = None, **fields: Any) -> Dataset:
    """The data set in a folder (or file), whatever its format; several below one folder are joined.

    Nothing but indices is read until an episode is asked for, and no image until its pixels are.

        >>> dataset = open_dataset("data/expert", channel_order="bgr")   # doctest: +SKIP
        >>> dataset[0].actions.shape, dataset[0].instruction             # doctest: +SKIP

    Args:
        path: folder of a set, of several sets, or one recording.
        options: how it is to be read; or its fields by name.
        **fields: see `ReadOptions`.

    Raises:
        UserError: there is no such folder, or it holds nothing that is known; the message lists what was looked for.
    """
    path = Path(path)
    options = options or ReadOptions(**fields)
    sets = open_sets(path, options)
    return sets[0] if len(sets) == 1 else Joined(path, sets, options)


def open_sets(path: Path, options: ReadOptions) -> list[Dataset]:
    """All data sets in a folder, each on its own.

    Raises:
        UserError: see `open_dataset`.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder")
    found: dict[Format, list[Path]] = {}
    for place, format_ in _found_below(path, MAX_DEPTH):
        found.setdefault(format_, []).append(place)
    if not found:
        looked_for = "; ".join(format_.title for format_ in FORMATS)
        raise UserError(f"{path}: holds no data set; looked for: {looked_for}")
    return [format_.open(path, found[format_], options) for format_ in FORMATS if format_ in found]


def _found_below(path: Path, depth: int) -> Iterator[tuple[Path, Format]]:
    """What some format knows, in the order of names; hidden files and those being written do not count."""
    for format_ in FORMATS:
        if format_.looks_like(path):
            yield path, format_
            return
    if depth and path.is_dir():
        with parsing(path):
            children = sorted(path.iterdir())
        for child in children:
            if child.name.startswith(".") or child.name.endswith(ASIDE_SUFFIX):
                continue
            if child.is_dir() and child.is_symlink():
                check_link(child, path)
            else:
                yield from _found_below(child, depth - 1)
