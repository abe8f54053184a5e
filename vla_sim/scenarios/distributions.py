"""What a scenario file may write for a value: a fixed one or a distribution, drawn anew for each scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from vla_sim.core.config import Name, Number, Value, shown
from vla_sim.core.errors import suggest

FORMS = ("uniform", "choice", "normal", "either_side")


@dataclass(frozen=True)
class Choice:
    """One of several values, all equally likely; a fixed value is a choice of one."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value; a fixed one takes nothing from the generator."""
        return self.values[0] if len(self.values) == 1 else self.values[int(rng.integers(len(self.values)))]

    @property
    def range(self) -> tuple[Any, Any]:
        """Least and largest value."""
        return min(self.values), max(self.values)


def fixed(value: float) -> Choice:
    """Always this number."""
    return Choice((value,))


@dataclass(frozen=True)
class Uniform:
    """Any number between two, or with `either_side` also between their negatives."""

    low: float
    high: float
    either_side: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        value = float(rng.uniform(self.low, self.high))
        return -value if self.either_side and rng.integers(2) else value

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value."""
        return (-self.high if self.either_side else self.low), self.high


@dataclass(frozen=True)
class Normal:
    """Normal numbers, cut off by drawing again outside low..high."""

    mean: float
    std: float
    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """One value."""
        while True:
            value = float(rng.normal(self.mean, self.std))
            if self.low <= value <= self.high:
                return value

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value."""
        return self.low, self.high


Distribution = Choice | Uniform | Normal


@dataclass(frozen=True)
class Numbers(Value):
    """A number within bounds, or a distribution over them."""

    low: float
    high: float

    def parse(self, value: Any) -> Distribution:
        """See `Value`."""
        found = parse_numbers(value)
        least, most = found.range
        if least < self.low or most > self.high:
            raise ValueError(f"must lie between {self.low:g} and {self.high:g}, got {shown(value)}")
        return found

    @property
    def words(self) -> str:
        """See `Value`."""
        return f"number or distribution between {self.low:g} and {self.high:g}"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"anyOf": [Number(self.low, self.high).schema(), {"$ref": "#/$defs/distribution"}]}


@dataclass(frozen=True)
class Points(Value):
    """Some points [x, y]; each of their numbers may be a distribution.

    Attributes:
        low, high: limits of every number.
        least, most: how many points.
    """

    low: float
    high: float
    least: int = 1
    most: int = 1

    def parse(self, value: Any) -> tuple[tuple[Distribution, Distribution], ...]:
        """See `Value`; a single point may stand without the outer list."""
        points = [value] if self.most == 1 else value
        if not isinstance(points, list) or not self.least <= len(points) <= self.most:
            raise ValueError(f"must be {self.words}, got {shown(value)}")
        return tuple(map(self._point, points))

    def _point(self, point: Any) -> tuple[Distribution, Distribution]:
        if not isinstance(point, list) or len(point) != 2:
            raise ValueError(f"a point is [x, y], e.g. [1.5, {{ uniform = [-0.5, 0.5] }}], got {shown(point)}")
        x, y = (Numbers(self.low, self.high).parse(number) for number in point)
        return x, y

    @property
    def words(self) -> str:
        """See `Value`."""
        if self.most == 1:
            return "a point [x, y]"
        return f"a list of {self.least} to {self.most} points [x, y]"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        number = Numbers(self.low, self.high).schema()
        point = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
        if self.most == 1:
            return point
        return {"type": "array", "items": point, "minItems": self.least, "maxItems": self.most}


@dataclass(frozen=True)
class Names(Value):
    """One of some names, or a choice among several of them; given an Enum class, its members."""

    allowed: tuple[str, ...]
    enum: type[Enum] | None = None

    def parse(self, value: Any) -> Choice:
        """See `Value`."""
        found = parse_names(value, self.allowed)
        return Choice(tuple(map(self.enum, found.values))) if self.enum else found

    @property
    def words(self) -> str:
        """See `Value`."""
        return f"name or choice of names: {', '.join(self.allowed)}"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        name = {"enum": list(self.allowed)}
        choice = {"type": "array", "items": name, "minItems": 1}
        form = {"type": "object", "properties": {"choice": choice}, "required": ["choice"]}
        return {"anyOf": [name, {**form, "additionalProperties": False}]}


_PAIR = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
# Of the four forms; kept once in a schema, under `$defs/distribution`.
DISTRIBUTION_SCHEMA = {
    "description": "drawn anew for each scene",
    "anyOf": [
        {"type": "object", "properties": properties, "required": [form], "additionalProperties": False}
        for form, properties in {
            "uniform": {"uniform": _PAIR},
            "choice": {"choice": {"type": "array", "items": {"type": "number"}, "minItems": 1}},
            "normal": {"normal": _PAIR, "clip": _PAIR},
            "either_side": {"either_side": _PAIR},
        }.items()
    ],
}

_number = Number().parse


def _pair(form: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{form} needs two numbers, e.g. {{ {form} = [0.3, 0.5] }}, got {shown(value)}")
    return _number(value[0]), _number(value[1])


def _ordered(form: str, value: Any) -> tuple[float, float]:
    low, high = _pair(form, value)
    if low > high:
        raise ValueError(f"{form} must go from low to high, got {shown(value)}")
    return low, high


def _normal(table: Mapping[str, Any]) -> Normal:
    mean, std = _pair("normal", table["normal"])
    if std <= 0:
        raise ValueError(f"normal is [mean, std] with a positive std, got {shown(table['normal'])}")
    low, high = _ordered("clip", table.get("clip", [mean - 2 * std, mean + 2 * std]))
    if low > mean + 2 * std or high < mean - 2 * std or high - low < std / 100:
        raise ValueError(f"clip must keep a fair part of the normal distribution, got {shown(table.get('clip'))}")
    return Normal(mean, std, low, high)


def parse_numbers(value: Any) -> Distribution:
    """A number, `{ uniform = [a, b] }`, `{ choice = [...] }`, `{ normal = [mean, std], clip = [a, b] }` or
    `{ either_side = [a, b] }` (that magnitude, either sign).

    Raises:
        ValueError: says what is wrong with the value.
    """  # noqa: D205
    if not isinstance(value, Mapping):
        return Choice((_number(value),))
    form = _form(value, FORMS)
    if form == "choice":
        return Choice(tuple(_number(v) for v in _listed(value)))
    if form == "normal":
        return _normal(value)
    low, high = _ordered(form, value[form])
    if form == "either_side" and low < 0:
        raise ValueError(f"either_side needs magnitudes, got {shown(value[form])}")
    return Uniform(low, high, either_side=form == "either_side")


def parse_names(value: Any, allowed: tuple[str, ...]) -> Choice:
    """A name or `{ choice = [...] }` of names, all among the allowed ones.

    Raises:
        ValueError: says what is wrong with the value.
    """
    if isinstance(value, Mapping):
        _form(value, ("choice",))
    names = _listed(value) if isinstance(value, Mapping) else [value]
    return Choice(tuple(map(Name(allowed).parse, names)))


def _form(table: Mapping[str, Any], forms: tuple[str, ...]) -> str:
    """The one key that says which distribution it is."""
    for key in table:
        if key not in forms and not (key == "clip" and "normal" in table):
            raise ValueError(f"unknown distribution {shown(key)}; {suggest(key, forms)}")
    found = [key for key in table if key in forms]
    if len(found) != 1:
        raise ValueError(f"must be one of {', '.join(forms)}, got {shown(dict(table))}")
    return found[0]


def _listed(table: Mapping[str, Any]) -> list[Any]:
    values = table["choice"]
    if not isinstance(values, list) or not values:
        raise ValueError(f"choice needs a list of values, got {shown(values)}")
    return values
