"""Looks over the heaps of an HDF5 file before the library does, which loops for ever in a damaged one (HDF5 2.0.0).

Texts of variable length lie in global heaps: blocks that start with "GCOL", a version, their size, and then objects
with an index, a size and the content. An object of size zero and index zero keeps the library at the same place for
ever, and it cannot be interrupted. Can go when the library refuses such blocks (`H5HG__cache_heap_deserialize`).
"""

from __future__ import annotations

import functools
import mmap
from pathlib import Path

from vla_sim.core.errors import UserError

_SIGNATURE, _BLOCK = b"\x89HDF\r\n\x1a\n", b"GCOL\x01\0\0\0"
_HEADER = 16


def check_heaps(path: Path) -> None:
    """Refuse a file whose heaps would not be left again. Files that are no HDF5 files are not looked at.

    Raises:
        UserError: a heap is damaged.
    """
    state = path.stat()
    if state.st_size and _is_damaged(path, state.st_size, state.st_mtime_ns):
        raise UserError(f"{path}: is damaged: a heap of its texts is broken")


@functools.lru_cache(maxsize=4096)
def _is_damaged(path: Path, size: int, changed_ns: int) -> bool:
    del size, changed_ns  # so that a file is looked over once and again when it changes
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        base, at = _superblock(content), -1
        if base is None:
            return False
        version = content[base + 8]
        if content[base + (14 if version < 2 else 10)] != 8:
            return True  # sizes of other than 8 bytes: never written by anybody
        while (at := content.find(_BLOCK, at + 1)) >= 0:
            if not _ends(content, at):
                return True
        return False


def _superblock(content: mmap.mmap) -> int | None:
    """Where the file begins: at 0, or behind a block of the user's at 512, 1024, 2048 ..."""
    at = 0
    while at + 16 < len(content):
        if content[at : at + 8] == _SIGNATURE:
            return at
        at = max(512, 2 * at)
    return None


def _ends(content: mmap.mmap, at: int) -> bool:
    """Whether the objects of a heap lead to its end."""
    end = at + _number(content, at + 8, 8)
    if end > len(content):
        return False
    at += _HEADER
    while at + _HEADER <= end:
        index, size = _number(content, at, 2), _number(content, at + 8, 8)
        step = size if index == 0 else _HEADER + (size + 7) // 8 * 8
        if step < _HEADER or at + step > end:
            return False
        at += step
    return True


def _number(content: mmap.mmap, at: int, count: int) -> int:
    return int.from_bytes(content[at : at + count], "little")
