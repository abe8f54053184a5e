"""From any value to that of a result's field, by the field's annotation; what cannot be one is refused by name.

Used by `vla_sim.rollout.result`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vla_sim.core.types import Outcome, Side

MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 20  # of lists and objects within an extra fact


def _text(name: str, value: Any) -> str:
    """The text with lone surrogates (from undecodable bytes in a traceback) spelled out, so that it is UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, got {value!r:.60}")
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _integer(name: str, value: Any) -> int:
    number = _number(name, value)
    if not number.is_integer() or abs(number) > MAX_INTEGER:
        raise ValueError(f"{name} must be a whole number, got {value!r:.60}")
    return int(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, (str, bytes, bool)) or value is None:
        raise TypeError(f"{name} must be a number, got {value!r:.60}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite and not negative, got {value!r:.60}")
    return number


def _flag(name: str, value: Any) -> bool:
    if not (isinstance(value, bool) or type(value).__name__ in ("bool", "bool_")):  # numpy's has two names
        raise TypeError(f"{name} must be true or false, got {value!r:.60}")
    return bool(value)


def finite_or_none(value: Any) -> float | None:
    """The value as a float, None where it is missing, NaN or infinite."""
    if value is None:
        return None
    if isinstance(value, (str, bytes, bool)):
        raise TypeError(f"expected a number, got {value!r:.60}")
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _path(name: str, value: Any) -> tuple[tuple[float, float, float], ...]:
    poses = tuple(tuple(finite_or_none(v) for v in pose) for pose in _rows(name, value))
    for pose in poses:
        if len(pose) != 3 or None in pose:
            raise ValueError(f"{name} must hold finite (x, y, yaw), got {pose!r:.60}")
    return poses  # type: ignore[return-value]


def _actions(name: str, value: Any) -> tuple[tuple[float | None, ...], ...]:
    return tuple(tuple(finite_or_none(v) for v in action) for action in _rows(name, value))


def _series(name: str, value: Any) -> dict[str, tuple[float | None, ...]]:
    return {_text(name, k): tuple(finite_or_none(v) for v in values) for k, values in sorted(value.items())}


def _rows(name: str, value: Any) -> Iterable[Any]:
    if isinstance(value, (str, Mapping)):
        raise TypeError(f"{name} must be a list, got {value!r:.60}")
    return value


def _facts(name: str, value: Any) -> dict[str, Any]:
    return {_text(name, key): plain(fact) for key, fact in sorted(value.items())}


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value as JSON knows it: arrays and tuples become lists, numpy's scalars Python's, NaN and infinity None."""
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, str):
        return _text("text", value)
    if not depth:
        raise ValueError("lists or objects are nested too deeply")
    if isinstance(value, Mapping):
        return {_text("key", k): plain(v, depth - 1) for k, v in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist(), depth)
    if isinstance(value, (list, tuple)):
        return [plain(v, depth - 1) for v in value]
    return finite_or_none(value)


def _optional(convert: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else convert(name, value)


# How a value becomes that of its field, by the field's annotation; equal results compare equal.
CONVERTERS: dict[str, Callable[[str, Any], Any]] = {
    "str": _text,
    "str | None": _optional(_text),
    "int": _integer,
    "float": _number,
    "float | None": lambda name, value: finite_or_none(value),
    "bool": _flag,
    "Outcome": lambda name, value: Outcome(value),
    "Side | None": _optional(lambda name, value: Side(value)),
    "tuple[tuple[float, float, float], ...]": _path,
    "tuple[tuple[float | None, ...], ...]": _actions,
    "dict[str, tuple[float | None, ...]]": _series,
    "dict[str, Any]": _facts,
}
