"""The one reader of what users write, TOML or JSON: a dataclass declares the keys, this checks a table against it.

    @dataclass(frozen=True)
    class Body:
        radius_m: Annotated[float, Number(0.01, 5)] = 0.15

    read_table(Body, {"radius": 0.2}, Place("my.toml", "body"))
    # ConfigError: my.toml: body.radius is not a known key; did you mean 'radius_m'? (allowed: radius_m)

What a key may hold follows from the type of its field, or from a `Value` in an `Annotated`; its description is the
field's line under "Attributes:" of the docstring. Angles are degrees in files (`_deg`) and radians in fields (`_rad`).
The same declarations give the JSON schema (`Table.schema`) and pages of keys (`keys_of`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.values import (
    NAME_LENGTH,
    Anything,
    ConfigError,
    Flag,
    ListOf,
    Name,
    Number,
    OrNull,
    Place,
    Text,
    Value,
    one_line,
    shown,
)

__all__ = [
    "NAME_LENGTH",
    "Anything",
    "ConfigError",
    "Flag",
    "Key",
    "KeyForEach",
    "ListOf",
    "Name",
    "Number",
    "OrNull",
    "Place",
    "Table",
    "Text",
    "Value",
    "check_fields",
    "check_keys",
    "keys_of",
    "one_line",
    "read_json",
    "read_table",
    "shown",
    "value_of",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Table(Value):
    """A table of known keys, read as an instance of a dataclass."""

    cls: type

    def read(self, value: Any, place: Place) -> Any:
        """See `Value`."""
        return read_table(self.cls, value, place)

    def parse(self, value: Any) -> Any:
        """See `Value`."""
        return read_table(self.cls, value, Place(""))

    @property
    def words(self) -> str:
        """See `Value`."""
        return "a table"

    def schema(self) -> dict[str, Any]:
        """See `Value`; no key is required, for a table may be completed by another one that it is laid over."""
        properties = {key.name: key.schema() for key in keys_of(self.cls)}
        return {"type": "object", "properties": properties, "additionalProperties": False}


@dataclass(frozen=True)
class KeyForEach:
    """In an `Annotated`: a key for each of some names; the field holds pairs (name, value) of those that are given."""

    names: Callable[[], Iterable[str]]
    value: Value


@dataclass(frozen=True)
class Key:
    """One key of a table.

    Attributes:
        name: in the file.
        field: of the dataclass.
        value: what it may hold.
        description: one line for people; "" where the dataclass says nothing.
        default: of the field; `dataclasses.MISSING` for a key that must be there.
        each: whether it is one of a `KeyForEach`.
    """

    name: str
    field: str
    value: Value
    description: str
    default: Any
    each: bool = False

    def schema(self) -> dict[str, Any]:
        """Of the value, with its description."""
        described = {"description": self.description} if self.description else {}
        return {**described, **self.value.schema()}


def read_table(cls: type[T], table: Any, place: Place, **given: Any) -> T:
    """An instance of a dataclass from a table; fields that are `given` are no keys.

    Raises:
        UserError: of the kind that `place` names: no table, an unknown or missing key, a value of the wrong type or
            out of range, or one that the dataclass itself refuses with a ValueError.
    """
    keys = {key.name: key for key in keys_of(cls) if key.field not in given}
    check_keys(table, keys, place)
    values: dict[str, Any] = {}
    for name, value in table.items():
        field, read = keys[name].field, keys[name].value.read(value, place.at(name))
        if keys[name].each:
            values[field] = (*values.get(field, ()), (name, read))
        else:
            values[field] = _radians(read) if field.endswith("_rad") else read
    for key in keys.values():
        if key.default is dataclasses.MISSING and key.name not in table:
            raise place.at(key.name).wrong("is missing")
    try:
        return cls(**values, **given)
    except ValueError as error:
        raise place.error(f"{place.source}: {error}" if str(place.source) else str(error)) from error


def check_fields(instance: Any, owner: str) -> None:
    """Hold a dataclass to what a file may write for it; for `__post_init__`, so that no other way in is laxer.

    Raises:
        ValueError: a field out of range or of the wrong type, named `owner.key`.
    """
    for key in keys_of(type(instance)):
        if isinstance(key.value, Table) or key.each:
            continue
        value = getattr(instance, key.field)
        value = _degrees(value) if key.field.endswith("_rad") else value
        try:
            key.value.parse(value.value if isinstance(value, Enum) else value)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{owner}.{key.name} {error}" if owner else f"{key.name} {error}") from error


def check_keys(table: Any, known: Iterable[str], place: Place) -> None:
    """Refuse what is no table, and keys that are not known.

    Raises:
        UserError: of the kind that `place` names, with the nearest key and all that are allowed.
    """
    if not isinstance(table, Mapping):
        raise place.wrong(f"must be a table, got {shown(table)}")
    names = list(known)
    for key in table:
        if key not in names:
            raise place.at(key).wrong(f"is not a known key; {suggest(key, names, most=len(names))}")


def _radians(value: Any) -> Any:
    return tuple(map(math.radians, value)) if isinstance(value, tuple) else math.radians(value)


def _degrees(value: Any) -> Any:
    """As a file would write it: 90, not 90.00000000000001."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_degrees, value))
    return round(math.degrees(value), 9) if isinstance(value, (int, float)) else value


def keys_of(cls: type) -> tuple[Key, ...]:
    """The keys that a file may write for a dataclass, in the order of its fields."""
    hashable: Any = cls
    return _keys_of(hashable)


@functools.lru_cache(maxsize=128)
def _keys_of(cls: Any) -> tuple[Key, ...]:
    hints, described = typing.get_type_hints(cls, include_extras=True), _descriptions(cls)
    found: list[Key] = []
    for f in (f for f in dataclasses.fields(cls) if f.init):
        description = described.get(f.name, "")
        each = next((one for one in typing.get_args(hints[f.name]) if isinstance(one, KeyForEach)), None)
        if each:
            found += [Key(name, f.name, each.value, description, None, each=True) for name in each.names()]
            continue
        name = f.name.removesuffix("_rad") + "_deg" if f.name.endswith("_rad") else f.name
        default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
        found.append(Key(name, f.name, value_of(hints[f.name]), description, default))
    return tuple(found)


def value_of(hint: Any) -> Value:
    """What a field of that type may hold in a file.

    Raises:
        TypeError: a type that no file can write; annotate the field with a `Value`.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return next((extra for extra in arguments[1:] if isinstance(extra, Value)), None) or value_of(arguments[0])
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        return OrNull(value_of(next(a for a in arguments if a is not type(None))))
    if origin is typing.Literal:
        return Name(tuple(map(str, arguments)))
    if origin is tuple:
        length = None if Ellipsis in arguments else len(arguments)
        return ListOf(value_of(arguments[0]), length)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return Name(tuple(member.value for member in hint), hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return Table(hint)
    simple: dict[Any, Value] = {
        float: Number(),
        int: Number(whole=True),
        bool: Flag(),
        str: Text(),
        Any: Anything(),
    }
    if hint in simple:
        return simple[hint]
    raise TypeError(f"no value of a file is known for the type {hint}")


def _descriptions(cls: type) -> dict[str, str]:
    """Field -> its line under "Attributes:" of the class's docstring; "a, b: text" describes both."""
    _, _, section = (cls.__doc__ or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        entry = re.match(r"^ {8}(\w+(?:, \w+)*): (.*)$", line)
        if entry:
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2].strip())
        elif line.strip() and line.startswith(" " * 9):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return found


# More digits than this do not fit into a float, and nothing here means such a number.
MAX_DIGITS = 300


def _whole_number(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"it holds a number of {len(text)} digits")
    return int(text)


def read_json(path: Path, error: type[UserError] = ConfigError) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        UserError: of that kind: it cannot be read, is no JSON, too deeply nested, or holds something else.
    """
    try:
        content = json.loads(path.read_text("utf-8"), parse_int=_whole_number)
    except OSError as problem:
        raise error(f"cannot read {path}: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise error(f"{path} is no JSON: {one_line(problem)}") from problem
    if not isinstance(content, dict):
        raise error(f"{path} must hold one object, got {shown(content)}")
    return content
