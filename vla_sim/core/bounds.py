"""Numbers with bounds, declared where a value is declared: `episodes: PositiveInt = 50`.

Used by the options of commands and by configs that check themselves. No import of anything heavy.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from vla_sim.core.errors import UserError
from vla_sim.core.terminal import shortened

MAX_COUNT = 1_000_000
# Below 2^53: exact in JSON, and a seed plus a count of episodes stays an int64.
MAX_SEED = 2**53 - 1
MAX_WORKERS = 256
MAX_SECONDS = 10.0 * 365 * 86_400
MAX_PX = 4_096


@dataclass(frozen=True)
class Range:
    """The numbers that a field may hold; infinities and NaN are never among them.

    Attributes:
        low, high: bounds, both allowed.
        above: the low bound itself is not allowed.
    """

    low: float
    high: float
    above: bool = False

    def __contains__(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        return over and value <= self.high

    def complaint(self, value: float) -> str:
        """What is wrong with a number outside: 'must be at least 1', 'must lie between 0 and 1', ..."""
        if isinstance(value, float) and not math.isfinite(value):
            return "must be a finite number"
        if self.high <= 1:
            return f"must lie between {self.low:g} and {self.high:g}" + (
                f" and not be {self.low:g}" if self.above else ""
            )
        if value > self.high:
            return f"must be at most {_shown(self.high)}"
        if self.above:
            return "must be positive"
        return "must not be negative" if self.low == 0 else f"must be at least {_shown(self.low)}"


def _shown(bound: float) -> str:
    return f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


PositiveInt = Annotated[int, Range(1, MAX_COUNT)]
"""How many of something: 1 to a million."""
Count = Annotated[int, Range(0, MAX_COUNT)]
"""How many of something, perhaps none."""
Steps = Annotated[int, Range(1, 10**10)]
"""Steps of a training."""
Seed = Annotated[int, Range(0, MAX_SEED)]
"""Where random numbers, or worlds, begin."""
Workers = Annotated[int, Range(1, MAX_WORKERS)]
"""Processes or threads."""
Pixels = Annotated[int, Range(8, MAX_PX)]
"""Width or height of an image."""
Seconds = Annotated[float, Range(0, MAX_SECONDS, above=True)]
"""A time that is not over before it begins."""
Positive = Annotated[float, Range(0, 1e9, above=True)]
"""A positive number."""
NotNegative = Annotated[float, Range(0, 1e9)]
"""Zero or a positive number."""
Fraction = Annotated[float, Range(0, 1)]
"""From 0 to 1."""
PositiveFraction = Annotated[float, Range(0, 1, above=True)]
"""From 0 to 1, but not 0."""


def check_bounds(values: Any, name_of: Callable[[str], str] = str) -> None:
    """Refuse a dataclass with a number outside the bounds that its fields declare.

    Args:
        values: an instance.
        name_of: makes of a field's name the one that the user knows, such as "--first-seed".

    Raises:
        UserError: names the field, its value and what is allowed.
    """
    for name, bounds, value in bounded(values):
        if value not in bounds:
            raise UserError(f"{name_of(name)} {bounds.complaint(value)}, got {shortened(repr(value))}")


def bounded(values: Any) -> Iterator[tuple[str, Range, float]]:
    """(field, its bounds, value) of all bounded numbers of a dataclass instance, nested ones included."""
    hints = typing.get_type_hints(type(values), include_extras=True)
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if dataclasses.is_dataclass(value):
            yield from bounded(value)
        else:
            for bounds, number in _within(hints[field.name], value):
                yield field.name, bounds, number


def _within(hint: Any, value: Any) -> Iterator[tuple[Range, float]]:
    """The bounds in a type hint, with the part of the value that each is for."""
    if value is None:
        return
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        yield from ((mark, value) for mark in arguments[1:] if isinstance(mark, Range))
        yield from _within(arguments[0], value)
    elif origin in (typing.Union, types.UnionType):
        for part in arguments:
            yield from _within(part, value)
    elif origin is tuple and isinstance(value, tuple):
        parts = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        for part, item in zip(parts, value, strict=False):
            yield from _within(part, item)
