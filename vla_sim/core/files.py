"""Files that are complete or absent, and folders with one writer. Used by everything that writes data sets.

A file is written beside its place under a hidden name, flushed to the disk and renamed, so that no reader and no crash
ever sees half of it. What a killed process left aside is swept away by the next writer of the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType
from typing import IO

from vla_sim.core.errors import FULL_DISK, UserError

LOCK_FILE = ".lock"
ASIDE_SUFFIX = ".part"
# Bytes of a file name that leave room for endings and for what stands before it while it is written aside.
MAX_NAME_BYTES = 150
# Names that some systems keep for devices, whatever follows the first dot.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


def file_name(name: str) -> str:
    """A name from a data file as the name of one file: no folder, nothing hidden, no device, not too long.

    A name that is fine stays as it is; in any other, what may not stand there becomes "_" and a part of its hash
    follows, so that two names never become one.
    """
    kept = "".join(letter if letter.isalnum() or letter in "-_.+=@,()[]# " else "_" for letter in name)
    kept = (
        kept.encode("utf-8", "replace")[:MAX_NAME_BYTES].decode("utf-8", "ignore").strip(" ").lstrip(".").rstrip(". ")
    )
    if _DEVICES.fullmatch(kept.partition(".")[0]):
        kept = f"_{kept}"
    if kept and kept == name:
        return name
    return f"{kept or 'unnamed'}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def inside(folder: Path, relative: str) -> Path:
    """The path of a file that a data set names, which must lie in its own folder.

    Raises:
        UserError: the name is absolute, goes up, is empty or no path at all. (Links are not followed here.)
    """
    path = PurePosixPath(relative.replace("\\", "/"))
    parts = path.parts
    if not parts or path.is_absolute() or "\0" in relative or ".." in parts or PureWindowsPath(relative).drive:
        raise UserError(f"{folder}: names a file {relative!r}, which does not lie in this folder")
    return folder.joinpath(*parts)


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place, or leave the place as it was.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing stays behind.
    """
    aside = _aside(path)
    with clear_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A new folder to fill, which gets its name only when the block ends well.

    Raises:
        UserError: the folder exists already, the disk is full, or it cannot be written; nothing stays behind.
    """
    aside = _aside(path)
    with clear_errors(path):
        if path.exists():
            raise UserError(f"{path} exists already")
        try:
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            yield aside
            for file in sorted(p for p in aside.rglob("*") if p.is_file()):
                _sync(file)
            aside.replace(path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync_folder(path.parent)


def link_or_copy(source: Path, target: Path, *, copy: bool) -> None:
    """Link or copy a file or folder to a place where it appears whole.

    Raises:
        UserError: the disk is full.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    with clear_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, aside, copy_function=shutil.copy2 if copy else _linked)
            elif copy:
                shutil.copy2(source, aside)
            else:
                _linked(source, aside)
            aside.replace(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            if aside.is_file():
                aside.unlink()


def _linked(source: str | Path, target: str | Path) -> str | Path:
    """A hard link; across disks a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def sweep_aside(folder: Path, *, deep: bool = False) -> None:
    """Remove what killed writers left aside; only for who holds the folder's lock.

    Args:
        folder: where to look.
        deep: whether to look in the folders below as well.
    """
    found = folder.rglob if deep else folder.glob
    for left in [*found(f".*{ASIDE_SUFFIX}"), *found(".*.gone")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def discard_folder(folder: Path) -> None:
    """Remove a folder that is whole at one moment and gone at the next, and what a killed removal left of one."""
    gone = folder.with_name(f".{folder.name}.gone")  # hidden: nobody takes what is left of it for a part
    shutil.rmtree(gone, ignore_errors=True)
    if folder.exists():
        folder.rename(gone)
        shutil.rmtree(gone)


def append_line(file: IO[bytes], text: str) -> None:
    """Add one line to an open file and see it on the disk; a line that does not fit is taken back.

    Raises:
        UserError: the disk is full.
    """
    end = file.seek(0, os.SEEK_END)
    with clear_errors(Path(str(file.name))):
        try:
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                file.truncate(end)
            raise


class FolderLock:
    """Held while one process writes into a folder; the system takes it from a process that dies.

    On systems without `fcntl` nothing is locked.
    """

    def __init__(self, folder: Path) -> None:
        """Take the lock of a folder, which is made if it is missing.

        Raises:
            UserError: another process holds it.
        """
        self.path = folder / LOCK_FILE
        with clear_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+")
        try:
            self._take(folder)
        except BaseException:
            self._file.close()
            raise

    def _take(self, folder: Path) -> None:
        try:
            import fcntl
        except ImportError:  # pragma: no cover
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            raise UserError(f"{folder}: {holder} is writing there; wait for it or choose another folder") from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"process {os.getpid()}")
        self._file.flush()

    def release(self) -> None:
        """Let others write. The file stays: removing it could take the lock from who has just found it."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file.close()

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextlib.contextmanager
def clear_errors(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK:
            raise UserError(
                f"{path}: no space left on the disk; what was complete is kept, start again later"
            ) from error
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """See the names in a folder on the disk, so that a rename outlives a power cut (where the system allows it)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{ASIDE_SUFFIX}")
