"""A folder of episodes under construction: which are complete, from what plan, with which content.

`manifest.jsonl` says so: its first line is the plan, every other one a complete episode. While a collection runs, lines
stand in the order in which episodes were finished; at the end they are put in order, so that equal plans give equal
files however they were run and interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Any

from vla_sim.core.episode import Plain
from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, append_line, clear_errors, inside, sweep_aside, write_whole
from vla_sim.core.run_folder import check_same

FORMAT = 1
MANIFEST_FILE = "manifest.jsonl"


@dataclass(frozen=True)
class Entry:
    """One complete episode.

    Attributes:
        index: its place in the plan.
        name: of the episode.
        file: its file or folder, relative to the manifest's folder.
        sha256: of its content, see `content_hash`.
        frames: number of actions.
        facts: where it comes from: scenario, seed, side, outcome and so on.
    """

    index: int
    name: str
    file: str
    sha256: str
    frames: int
    facts: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.index, bool) or not isinstance(self.index, int) or not isinstance(self.frames, int):
            raise ValueError(f"index and frames must be whole numbers, got {self.index!r} and {self.frames!r}")
        try:
            inside(Path("."), self.file)
        except (UserError, AttributeError, TypeError) as error:
            raise ValueError(f"file must be the name of one in the folder, got {self.file!r}") from error
        object.__setattr__(self, "facts", MappingProxyType(dict(sorted(self.facts.items()))))

    def __reduce__(self) -> tuple[Any, ...]:
        """Entries travel between processes; read-only views do not."""
        return Entry.from_json, (self.to_json(),)

    def to_json(self) -> str:
        """One line."""
        values = {key: getattr(self, key) for key in ("index", "name", "file", "sha256", "frames")}
        return _dump({**values, "facts": dict(self.facts)})

    @classmethod
    def from_json(cls, line: str) -> Entry:
        """The entry of a line.

        Raises:
            ValueError: it is none.
        """
        values = json.loads(line)
        try:
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not an entry: {line[:80]!r}") from error


@dataclass(frozen=True)
class Manifest:
    """What a folder holds: the plan it was made by, and its complete episodes by index."""

    plan: Mapping[str, Any]
    entries: Mapping[int, Entry]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; a last line that a killed run left unfinished is not counted.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = folder / MANIFEST_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    whole, _, _ = content.rpartition(b"\n")
    lines = whole.decode("utf-8", "replace").split("\n")
    try:
        plan = json.loads(lines[0])
        if plan.pop("format") != FORMAT:
            raise UserError(f"{path}: has another format than {FORMAT}")
        entries = [Entry.from_json(line) for line in lines[1:]]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: is damaged: {error}") from error
    return Manifest(MappingProxyType(plan), MappingProxyType({entry.index: entry for entry in entries}))


def content_hash(path: Path) -> str:
    """Sha256 of a file; of a folder, over the names and contents of its files."""
    if path.is_file():
        with path.open("rb") as file:
            found = hashlib.sha256()
            for block in iter(lambda: file.read(1 << 20), b""):
                found.update(block)
        return found.hexdigest()
    lines = [f"{file.relative_to(path)} {content_hash(file)}" for file in sorted(path.rglob("*")) if file.is_file()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class EpisodeStore:
    """The folder, open for one writer; what an earlier run of the same plan completed is kept.

    Args:
        folder: made if it is missing.
        plan: everything that decides the content, as plain JSON values.
        verify: whether kept files are hashed again; damaged ones count as missing.

    Raises:
        UserError: another process writes there, or the folder holds something else.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], *, verify: bool = True) -> None:
        self.folder = folder
        self._plan = json.loads(json.dumps(plan))
        self._lock = FolderLock(folder)
        try:
            sweep_aside(folder, deep=True)
            self.entries = self._kept(verify)
            self._files = {entry.file for entry in self.entries.values()}
            self._manifest: IO[bytes] = self._rewritten()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manifest.close()
        self._lock.release()

    def add(self, entry: Entry) -> None:
        """Count an episode whose file is in its place.

        Raises:
            UserError: another episode has the same file, or the disk is full.
        """
        if entry.file in self._files:
            raise UserError(f"{self.folder}: two episodes would have one file, {entry.file}")
        append_line(self._manifest, entry.to_json())
        self.entries[entry.index] = entry
        self._files.add(entry.file)

    def finish(self) -> None:
        """Put the manifest in order.

        Raises:
            UserError: the disk is full.
        """
        self._manifest.close()
        self._manifest = self._rewritten()

    def _kept(self, verify: bool) -> dict[int, Entry]:
        path = self.folder / MANIFEST_FILE
        strangers = sorted(
            p.name for p in self.folder.iterdir() if not p.name.startswith(".") and p.name != MANIFEST_FILE
        )
        if not path.exists():
            if strangers:
                raise UserError(f"{self.folder}: holds other files ({strangers[0]}); choose a new or empty folder")
            return {}
        manifest = read_manifest(self.folder)
        if not strangers and not manifest.entries:
            return {}  # a run that came to nothing binds nobody to its plan
        check_same(self.folder, manifest.plan, self._plan)
        return {index: entry for index, entry in manifest.entries.items() if self._is_whole(entry, verify)}

    def _is_whole(self, entry: Entry, verify: bool) -> bool:
        path = self.folder / entry.file
        return path.exists() and (not verify or content_hash(path) == entry.sha256)

    def _rewritten(self) -> IO[bytes]:
        path = self.folder / MANIFEST_FILE
        lines = [_dump({"format": FORMAT, **self._plan}), *(self.entries[i].to_json() for i in sorted(self.entries))]
        write_whole(path, "".join(f"{line}\n" for line in lines).encode())
        with clear_errors(path):
            return path.open("ab")


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, allow_nan=False)
