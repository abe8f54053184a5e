"""What identifies a policy: its code with the user's modules that it imports, its folders, every file that it reads.

The code and the folders are known without running anything: see `vla_sim.policies.registry.policy_hash`. Which other
files a policy opens is seen while it loads and drives (`FilesRead`). Who loads weights in a way that Python does not
see (a library in C) names them: `identity_files(self)` of a policy gives more paths.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError

_PACKAGE = Path(__file__).parents[1]
# Compiled modules, and what packages say of themselves, which is searched through by whoever looks for plug-ins.
_NOT_READ_FOR_DRIVING = ("__pycache__", ".egg-info", ".dist-info")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Below ~/.cache, what holds weights; the rest is made anew now and then by fonts, plots and compilers.
_WEIGHT_CACHES = ("huggingface", "torch", "open_clip", "clip")


@dataclass(frozen=True)
class Identity:
    """Everything that decides what a policy does.

    Attributes:
        code: its `policy_hash`.
        files: sha256 of other files that it read, by absolute path.
    """

    code: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def hash(self) -> str:
        """One hash over both; it does not depend on where the files lie."""
        return digest([self.code, *sorted({f"{Path(p).name} {sha}" for p, sha in self.files.items()})])

    def with_files(self, files: Mapping[str, str]) -> Identity:
        """With more files.

        Raises:
            UserError: one of them was read before with another content.
        """
        for path, sha in files.items():
            if self.files.get(path, sha) != sha:
                raise UserError(f"{path} changed while a policy that reads it was driving")
        return Identity(self.code, {**self.files, **files})

    def changed_file(self) -> str | None:
        """The first of its files that is no longer what it was, or None."""
        return next((path for path, sha in self.files.items() if not _is_file(path) or file_sha256(path) != sha), None)


def digest(parts: list[str]) -> str:
    """Sha256 of several texts, hex; of a single hash that hash."""
    return (
        parts[0] if len(parts) == 1 and len(parts[0]) == 64 else hashlib.sha256("\n".join(parts).encode()).hexdigest()
    )


def file_sha256(path: str | Path) -> str:
    """Sha256 of a file, hex; one of the same size and time of change is not read twice."""
    found = os.stat(path)
    return _sha256(str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@functools.lru_cache(maxsize=1024)
def _sha256(path: str, size: int, changed_ns: int, touched_ns: int) -> str:
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


# --- code ---------------------------------------------------------------------------------------------------------


def find_module(name: str) -> ModuleSpec | None:
    """Where a module is, without running it or the packages that it is in."""
    path: Any = None
    spec = None
    parts = name.split(".")
    if not all(map(str.isidentifier, parts)):
        return None
    for depth in range(len(parts)):
        finders = (finder for finder in sys.meta_path if hasattr(finder, "find_spec"))
        found = (finder.find_spec(".".join(parts[: depth + 1]), path) for finder in finders)
        spec = next((one for one in found if one is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is None and depth < len(parts) - 1:
            return None
    return spec


def imported_sources(module: str) -> dict[str, Path]:
    """Source files by name of the user's modules that a module imports, directly or through others; not its own.

    Modules of Python, of installed packages and of this one are not the user's.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        spec = find_module(name) if name not in found else None
        origin = Path(spec.origin) if spec is not None and spec.origin is not None else None
        if origin is None or origin.suffix != ".py" or not _counts(str(origin)):
            continue
        found[name] = origin
        package = name if spec is not None and spec.submodule_search_locations is not None else name.rpartition(".")[0]
        waiting += [parent for parent in _parents(name) if parent not in found]
        waiting += [other for other in _imports(origin, package) if other not in found]
    found.pop(module, None)
    return found


def _parents(name: str) -> Iterator[str]:
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _imports(source: Path, package: str) -> Iterator[str]:
    """Names that a source file may import; names of things in a module are among them and lead nowhere."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError, OSError, RecursionError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names if alias.name != "*")


@functools.cache
def _prefixes() -> tuple[str, ...]:
    """Folders whose files are not the user's: Python, installed packages, the system."""
    places = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    places |= {sys.prefix, sys.base_prefix} - {"/"}
    real = {os.path.realpath(place) for place in places} | places
    system = {"/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/run"}
    return tuple(f"{place}{os.sep}" for place in sorted(real | system))


def _counts(path: str) -> bool:
    """Whether a file may be part of a user's policy."""
    if path.endswith(".pyc") or any(part.endswith(_NOT_READ_FOR_DRIVING) for part in Path(path).parts):
        return False
    inside = Path(path).is_relative_to
    if inside(_PACKAGE) or any(inside(content_folder(kind)) for kind in ("envs", "scenarios")):
        return False
    cache = Path.home() / ".cache"
    if inside(cache):
        return Path(path).relative_to(cache).parts[0] in _WEIGHT_CACHES
    return not path.startswith(_prefixes())


# --- files --------------------------------------------------------------------------------------------------------


class FilesRead:
    """Notes which files are opened for reading in this process, while it is entered.

    Args:
        known: files that need no note, for the policy's `policy_hash` covers them.
    """

    def __init__(self, known: Iterable[Path] = ()) -> None:
        self._known = {os.path.realpath(path) for path in known}
        self._opened: set[str] = set()
        self._told: set[str] = set()
        self._modules: set[str] = set()

    def __enter__(self) -> FilesRead:
        _watch_opening()
        self._modules = set(sys.modules)
        _watching.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watching.remove(self)
        for name in set(sys.modules) - self._modules:
            origin = getattr(sys.modules[name], "__file__", None)
            if isinstance(origin, str):
                self.note(origin)  # whether or not it was opened, for it may lie compiled in a cache

    def note(self, path: Any, mode: Any = "r", flags: Any = 0) -> None:
        """A file was opened; one that is written to is no part of what decides."""
        try:
            text = os.path.realpath(os.fsdecode(path))
        except (TypeError, ValueError):
            return  # an open file's number
        writing = set("wax+") & set(mode) if isinstance(mode, str) else flags & _WRITING
        if writing:
            self._told.add(text)
        elif text not in self._opened and text not in self._known and _counts(text):
            self._opened.add(text)

    def new(self) -> dict[str, str]:
        """Sha256 by path of the files that were read since this was last asked."""
        fresh = [path for path in sorted(self._opened - self._told) if _is_file(path)]
        self._told |= self._opened
        return {path: file_sha256(path) for path in fresh}


_watching: list[FilesRead] = []


def _note(path: Any, mode: Any, flags: Any) -> None:
    for watcher in list(_watching):
        watcher.note(path, mode, flags)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Sources are noted when they are imported; who opens one may only want to show a line of it in a warning.
    if event == "open" and _watching and not str(arguments[0]).endswith(".py"):
        _note(*arguments)


@functools.cache
def _watch_opening() -> None:
    """From now on this process notices what is opened, by Python or by safetensors, which opens files in Rust."""
    import safetensors

    sys.addaudithook(_hook)
    opening: Callable[..., Any] = safetensors.safe_open

    def safe_open(filename: Any, *arguments: Any, **options: Any) -> Any:
        _note(filename, "r", 0)
        return opening(filename, *arguments, **options)

    for name in ("safetensors", "safetensors.torch", "safetensors.numpy"):
        if name in sys.modules:
            setattr(sys.modules[name], "safe_open", safe_open)  # noqa: B010
