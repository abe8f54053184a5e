"""Where the content is: scenarios, policies and embodiments by name or path."""

from __future__ import annotations

import functools
import os
from os import PathLike
from pathlib import Path

from vla_sim.core.errors import UserError, suggest

_PACKAGE = Path(__file__).parents[1]


def content_folder(kind: str) -> Path:
    """The folder `envs`, `scenarios` or `policies`: beside the package in a checkout, inside it when installed."""
    return _found(_PACKAGE, kind)


@functools.cache
def _found(package: Path, kind: str) -> Path:
    beside = package.parent / kind
    if (package.parent / "pyproject.toml").exists() and beside.is_dir():
        return beside
    return package / "_content" / kind


def embodiment_names() -> list[str]:
    """Names of all shipped embodiments."""
    return sorted(path.stem for path in content_folder("envs").glob("*.toml"))


def embodiment_path(name_or_path: str | PathLike[str]) -> Path:
    """The TOML file of an embodiment, by name or path.

    Raises:
        UserError: no such name; says the nearest one.
    """
    name_or_path = os.fspath(name_or_path)
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        return Path(name_or_path)
    known = embodiment_names()
    if name_or_path not in known:
        raise UserError(f"unknown embodiment {name_or_path!r}; {suggest(name_or_path, known)}")
    return content_folder("envs") / f"{name_or_path}.toml"
