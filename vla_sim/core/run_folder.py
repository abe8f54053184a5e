"""A folder of one run: one process writes there, one plan belongs to it, and files in it are read with care."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, sweep_aside, write_whole

PLAN_FILE = "plan.json"
LISTED = 3
SHOWN = 80


@contextlib.contextmanager
def run_folder(
    folder: Path, plan: Mapping[str, Any], *, file: str = PLAN_FILE, free: Sequence[str] = ()
) -> Iterator[None]:
    """Hold a folder for a run of this plan; what an earlier run of the same plan left there is gone on with.

    Args:
        folder: made if it is missing.
        plan: everything that decides what comes out, as plain JSON values.
        file: where the plan is kept.
        free: keys that may change.

    Raises:
        UserError: another process holds it, it belongs to another plan, or it holds other things.
    """
    with FolderLock(folder):
        sweep_aside(folder)
        if not (folder / file).exists():
            refuse_strangers(folder)
        bind(folder, plan, file=file, free=free)
        yield


def bind(folder: Path, plan: Mapping[str, Any], *, file: str = PLAN_FILE, free: Sequence[str] = ()) -> None:
    """Mark a folder with its plan, or refuse it; for who holds its lock and knows what else lies there."""
    path, now = folder / file, json.loads(json.dumps({"format": 1, **plan}))
    if path.exists():
        was = read_object(path)
        check_same(folder, was, now, free=free)
        if was == now:
            return
    write_whole(path, (json.dumps(now, indent=1, ensure_ascii=False) + "\n").encode())


def refuse_strangers(folder: Path, allowed: Sequence[str] = ()) -> None:
    """Raise for a folder that holds anything (but hidden files and those allowed): it is somebody else's."""
    held = folder.iterdir() if folder.exists() else ()
    others = sorted(p.name for p in held if not p.name.startswith(".") and p.name not in allowed)
    if others:
        raise UserError(f"{folder}: holds other files ({others[0]}); choose a new or empty folder")


def check_same(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any], *, free: Sequence[str] = ()) -> None:
    """Raise if the plan that a folder belongs to is not the one of now; keys that only one has count as None."""
    found = differing(
        {key: value for key, value in was.items() if key not in free},
        {key: value for key, value in now.items() if key not in free},
    )
    if found:
        raise UserError(f"{folder} belongs to another plan: {found}; repeat that plan or choose another folder")


def differing(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first differing keys of two plans in words; "" when they are equal."""
    one, other = _flat(json.loads(json.dumps(was))), _flat(json.loads(json.dumps(now)))
    keys = [key for key in dict.fromkeys([*one, *other]) if one.get(key) != other.get(key)]
    # Hashes tell people nothing, unless there is nothing else to tell.
    keys.sort(key=lambda key: "hash" in key or "sha256" in key)
    return "; ".join(f"{key} was {_shown(one.get(key))}, now {_shown(other.get(key))}" for key in keys[:LISTED])


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        found = parse_json(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}: is damaged: {error!s:.200}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: is damaged: it must hold an object, got {type(found).__name__}")
    return found


def parse_json(text: str) -> Any:
    """The value that a JSON text holds.

    Raises:
        ValueError: no JSON, NaN or Infinity, nested too deeply, or a number that is too long.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("lists or objects are nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"must not hold {name}")


def _flat(plan: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Its values by dotted keys."""
    found: dict[str, Any] = {}
    for key, value in plan.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
