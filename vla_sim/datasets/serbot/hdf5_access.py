"""Access to HDF5 files of strangers: nothing outside the file is opened, nothing larger than the file is allocated.

HDF5 can point elsewhere in three ways, and h5py follows all of them without a word: external links, external storage
of raw values, and virtual datasets. A recording that does so would carry other files of its reader into tables, images
and reports. None of them is followed here; soft links, which stay in the file, are.
"""

from __future__ import annotations

import contextlib
import errno
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.hdf5_heaps import check_heaps
from vla_sim.datasets.untrusted import MAX_TEXT, PARSER_ERRORS, check_size, data_file, described, shown, text_of

# Soft links that lead to soft links, at most.
MAX_LINKS = 8
# Deflate makes at most about 1,032 bytes of one; a dataset that promises more does not hold what it declares.
MAX_RATIO = 1100
# Values of an attribute that are read, at most.
MAX_VALUES = 64
# Memory for texts while they are read.
TEXT_BYTES = 256 * 2**20
_LIMIT = threading.Lock()


def need_h5py() -> Any:
    """h5py, which the optional extra `data` brings.

    Raises:
        UserError: it is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError("HDF5 files need h5py: pip install 'vla-sim[data]'") from error
    return h5py


@contextlib.contextmanager
def opened(path: Path, root: Path | None = None) -> Iterator[Any]:
    """The open file; whatever HDF5 complains about becomes one sentence.

    Args:
        path: the file.
        root: see `data_file`.

    Raises:
        UserError: missing, no regular file, truncated, damaged, locked by another program, or no HDF5 file.
    """
    h5py = need_h5py()
    data_file(path, root)
    try:
        check_heaps(path)
        with h5py.File(path, "r") as file:
            yield file
    except PARSER_ERRORS as error:
        raise UserError(f"{path}: {_complaint(path, error)}") from error


def _complaint(path: Path, error: Exception) -> str:
    text, code = str(error), getattr(error, "errno", None)
    if not path.exists():
        return "no such file"
    if code == errno.EACCES or "Permission denied" in text:
        return "may not be read (permission denied)"
    if code in (errno.EAGAIN, errno.EWOULDBLOCK) or "unable to lock file" in text:
        return "is locked: another program is writing it; try again when that has ended"
    if "already open for write" in text or "consistency flags" in text:
        return "was not closed: a program writes it or was killed while it did (h5clear -s may save it)"
    if path.stat().st_size == 0:
        return "is empty"
    if "truncated" in text:
        return f"is truncated: its end is missing ({path.stat().st_size} bytes are left)"
    if "signature not found" in text:
        return "is not an HDF5 file"
    return f"is damaged: {described(error)}"


def member(file: Any, where: str, path: Path) -> Any:
    """A group or dataset of the file, or None where there is none.

    Args:
        file: the open file, or a group of it.
        where: its name, e.g. "observations/images".
        path: of the file, for messages.

    Raises:
        UserError: a part of the way is a link out of the file.
    """
    found: Any = file
    for name in where.split("/"):
        found = _child(found, name, path, MAX_LINKS)
        if found is None:
            return None
    return found


def _child(group: Any, name: str, path: Path, links_left: int) -> Any:
    """A direct member; asks for the kind of the link before anything is opened."""
    h5py = need_h5py()
    if not isinstance(group, h5py.Group) or not group.id.links.exists(name.encode()):
        return None
    kind = group.id.links.get_info(name.encode()).type
    if kind == h5py.h5l.TYPE_HARD:
        return group[name]
    if kind != h5py.h5l.TYPE_SOFT or not links_left:
        raise UserError(f"{path}: {name} is a link to another file; only what the file holds itself is read")
    target = group.get(name, getlink=True).path
    found: Any = group.file if target.startswith("/") else group
    for part in (part for part in target.split("/") if part not in ("", ".")):
        found = _child(found, part, path, links_left - 1)
    return found


def dataset(file: Any, where: str, path: Path) -> Any:
    """A dataset whose values lie in the file, or None where there is none of that name.

    Raises:
        UserError: its values lie in other files, it declares more than the file holds, or parts were never written.
    """
    h5py = need_h5py()
    found = member(file, where, path)
    if not isinstance(found, h5py.Dataset):
        return None
    settings = found.id.get_create_plist()
    layout = settings.get_layout()
    if layout == h5py.h5d.VIRTUAL or settings.get_external_count():
        raise UserError(f"{path}: the values of {where} lie in other files; only what the file holds itself is read")
    if found.shape is None:
        return None
    size = math.prod(map(int, found.shape)) * found.dtype.itemsize
    chunk = math.prod(map(int, found.chunks)) * found.dtype.itemsize if found.chunks else 0
    packed = MAX_RATIO if settings.get_nfilters() else 1
    if max(size, chunk) > packed * path.stat().st_size + MAX_RATIO:
        raise UserError(
            f"{path}: {where} declares {found.dtype} {found.shape}, {size} bytes, which a file of "
            f"{path.stat().st_size} bytes cannot hold"
        )
    check_size(f"{path}: {where}", max(size, chunk))
    _refuse_holes(found, where, path)
    return found


def _refuse_holes(found: Any, where: str, path: Path) -> None:
    """HDF5 gives zeros for what was never written, e.g. by a recorder that was killed."""
    if found.chunks:
        expected = math.prod(-(-have // chunk) for have, chunk in zip(found.shape, found.chunks, strict=True))
        written = found.id.get_num_chunks()
        if written < expected:
            raise UserError(f"{path}: {where} is not complete: {written} of {expected} blocks were written")
    elif math.prod(found.shape) and not found.id.get_storage_size():
        raise UserError(f"{path}: {where} is not complete: its values were never written")


def numbers(found: Any, where: str, path: Path) -> np.ndarray:
    """The numbers of a dataset, float32.

    Raises:
        UserError: it holds something else, or a group stands in its place.
    """
    if found is None:
        raise UserError(f"{path}: {where} must be numbers, got none")
    if found.dtype.kind not in "fiu":
        raise UserError(f"{path}: {where} must be numbers, got {found.dtype}")
    with np.errstate(over="ignore"):  # too large for float32: infinite, and refused as such
        return np.asarray(found[()], dtype=np.float32)


def texts(found: Any, where: str, path: Path, most: int) -> tuple[str, ...]:
    """The texts of a dataset.

    Args:
        found: the dataset.
        where: its name, for messages.
        path: of the file, for messages.
        most: number of texts that can be meant; more are refused before they are read.

    Raises:
        UserError: it holds something else or too much.
    """
    h5py = need_h5py()
    if h5py.check_string_dtype(found.dtype) is None or found.ndim > 1 or found.dtype.itemsize > MAX_TEXT:
        raise UserError(f"{path}: {where} must be a text or a list of texts, got {found.dtype} {found.shape}")
    if found.size > most:
        raise UserError(f"{path}: {where} holds {found.size} texts, at most {most} can be meant")
    with bounded_memory():  # one by one: many entries may point to one long text
        values = [found[i] for i in range(found.size)] if found.ndim else [found[()]]
    return tuple(text_of(plain(value).rstrip("\0"), f"{path}: {where}") for value in values)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Around the reading of texts: one may claim to be 4 GiB long, which the library takes before it looks further.

    The process may grow by `TEXT_BYTES` meanwhile (Linux; elsewhere there is no bound).
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # pragma: no cover
        yield
        return
    with _LIMIT:  # two threads would keep each other's bound
        before, hard = resource.getrlimit(resource.RLIMIT_AS)
        bound = pages * resource.getpagesize() + TEXT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (bound if before < 0 else min(before, bound), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (before, hard))


def attributes(owner: Any) -> dict[str, Any]:
    """The plain attributes of a file, group or dataset; large ones, and kinds without a meaning here, are left out."""
    h5py = need_h5py()
    found = {}
    with bounded_memory():
        for name in owner.attrs:
            entry = owner.attrs.get_id(name)
            simple = entry.dtype.kind in "biufS" or h5py.check_string_dtype(entry.dtype) is not None
            if simple and math.prod(entry.shape or ()) <= MAX_VALUES and entry.shape is not None:
                found[str(name)] = plain(owner.attrs[name])
    return found


def plain(value: Any) -> Any:
    """A Python value of what h5py gives."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def listed(group: Any) -> str:
    """The names in a group, for messages."""
    return shown(sorted(map(str, group.keys())))
