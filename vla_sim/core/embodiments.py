"""Reads `envs/*.toml` into `Embodiment`s. Angles are degrees in files (`_deg`) and radians in specs (`_rad`)."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from vla_sim.core.content import embodiment_path
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ActuationSpec, BodySpec, CameraSpec, DriveSpec, Embodiment
from vla_sim.core.toml_files import read_toml

FORMAT = 1
SECTIONS = {"body": BodySpec, "drive": DriveSpec, "actuation": ActuationSpec, "camera": CameraSpec}
TIMING = ("control_s", "physics_hz")
ACTION = ("names", "max_mps", "max_radps")


class EmbodimentError(UserError):
    """An embodiment file that cannot be used; the message names file, field and value."""


@functools.lru_cache(maxsize=64)
def load_embodiment(name_or_path: str) -> Embodiment:
    """The embodiment of that name (in `envs/`) or file.

    Raises:
        UserError: no such embodiment (with the nearest name), or the file is wrong.
    """
    path = embodiment_path(name_or_path)
    table = _merged(path)
    try:
        return _embodiment(table)
    except (ValueError, TypeError) as error:
        raise EmbodimentError(f"{error} ({path})") from error


def _merged(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tables over those of the file it extends."""
    if path in seen:
        raise EmbodimentError(f"extends goes in a circle: {' -> '.join(p.stem for p in (*seen, path))}")
    table = read_toml(path)
    if table.get("format") != FORMAT:
        raise EmbodimentError(f"format must be {FORMAT}, got {table.get('format')!r} ({path})")
    base = table.pop("extends", None)
    if base is None:
        return table
    sibling = path.with_name(f"{base}.toml")
    merged = _merged(sibling if sibling.exists() else embodiment_path(str(base)), (*seen, path))
    for key, value in table.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, Mapping) else value
    return merged


def _embodiment(table: dict[str, Any]) -> Embodiment:
    canonical = json.dumps(table, sort_keys=True)
    _known(table, ("format", "name", "description", "timing", "action", *SECTIONS), "")
    if not isinstance(table.get("name"), str):
        raise ValueError(f"name must be text, got {table.get('name')!r}")
    timing, action = _table(table, "timing"), _table(table, "action")
    _known(timing, TIMING, "timing.")
    _known(action, ACTION, "action.")
    values: dict[str, Any] = {
        section: _spec(kind, _table(table, section), section) for section, kind in SECTIONS.items()
    }
    values |= {key: _number(f"timing.{key}", value) for key, value in timing.items()}
    values |= {key: _number(f"action.{key}", value) for key, value in action.items() if key != "names"}
    if "names" in action:
        values["action_names"] = _strings("action.names", action["names"])
    if "physics_hz" in values:
        values["physics_hz"] = _whole("timing.physics_hz", values["physics_hz"])
    return Embodiment(
        name=table["name"],
        description=str(table.get("description", "")),
        content_hash=hashlib.sha256(canonical.encode()).hexdigest(),
        **values,
    )


def _spec(kind: type, table: Mapping[str, Any], section: str) -> Any:
    """A spec from its table; `x_deg` in the file is `x_rad` in the spec."""
    hints = get_type_hints(kind)
    names = {f.name.removesuffix("_rad") + "_deg" if f.name.endswith("_rad") else f.name: f.name for f in fields(kind)}
    _known(table, names, f"{section}.")
    values = {}
    for key, value in table.items():
        field = names[key]
        values[field] = _value(f"{section}.{key}", value, hints[field], degrees=key.endswith("_deg"))
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    assert not missing, "every spec field has a default"
    return kind(**values)


def _value(where: str, value: Any, hint: Any, *, degrees: bool) -> Any:
    if isinstance(hint, type) and issubclass(hint, Enum):
        allowed = [member.value for member in hint]
        if value not in allowed:
            raise ValueError(f"{where}: unknown {value!r}; {suggest(str(value), allowed)}")
        return hint(value)
    if getattr(hint, "__origin__", None) is tuple:
        return _numbers(where, value, hint.__args__, degrees=degrees)
    number = _number(where, value)
    return math.radians(number) if degrees else number


def _numbers(where: str, value: Any, kinds: tuple[Any, ...], *, degrees: bool) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list of numbers, got {value!r}")
    if Ellipsis not in kinds and len(value) != len(kinds):
        raise ValueError(f"{where} must hold {len(kinds)} numbers, got {len(value)}: {value}")
    numbers = [_number(where, item) for item in value]
    if kinds[0] is int:
        return tuple(_whole(where, number) for number in numbers)
    return tuple(math.radians(n) if degrees else n for n in numbers)


def _number(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{where} must be a number, got {value!r}")
    return float(value)


def _whole(where: str, number: float) -> int:
    if number != int(number):
        raise ValueError(f"{where} must be a whole number, got {number:g}")
    return int(number)


def _strings(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{where} must be a list of texts, got {value!r}")
    return tuple(value)


def _table(table: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = table.get(key, {})
    if not isinstance(found, Mapping):
        raise ValueError(f"[{key}] must be a table, got {found!r}")
    return found


def _known(table: Mapping[str, Any], names: Any, prefix: str) -> None:
    for key in table:
        if key not in names:
            raise ValueError(f"unknown key {prefix}{key}; {suggest(key, list(names))}")
