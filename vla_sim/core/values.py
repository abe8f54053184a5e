"""What a key of a config file may hold: each kind reads a value, tells it in words and as JSON schema.

Used through `vla_sim.core.config`, which finds the kind by the type of a dataclass's field.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError, suggest

SHOWN_LENGTH = 120
# Names become parts of file names: those of films, records and data sets.
NAME_LENGTH = 100


class ConfigError(UserError, ValueError):
    """A file's table that cannot be used; the message names file, key, value and what would be right."""


def shown(value: Any) -> str:
    """A value from a file as one short line, whatever it holds."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        kind = type(value).__name__
        return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind} too long to show"
    text = text if text.isprintable() else " ".join(text.split())
    return text if len(text) <= SHOWN_LENGTH else f"{text[: SHOWN_LENGTH - 4]} ..."


@dataclass(frozen=True)
class Place:
    """Where in which file a value stands, for messages.

    Attributes:
        source: the file; "" for none.
        key: dotted path from the top of the file; "" for the top.
        error: kind of error that is raised.
    """

    source: str | Path
    key: str = ""
    error: type[UserError] = ConfigError

    def at(self, key: str) -> Place:
        """The place of a key in the table that is here."""
        name = key if key.isprintable() and len(key) <= SHOWN_LENGTH else shown(key)
        return replace(self, key=f"{self.key}.{name}" if self.key else name)

    def wrong(self, message: str) -> UserError:
        """The error to raise for what stands here."""
        words = f"{self.key} {message}" if self.key else message
        return self.error(f"{self.source}: {words}" if str(self.source) else words)


class Value(ABC):
    """What a key may hold."""

    def read(self, value: Any, place: Place) -> Any:
        """The checked value.

        Raises:
            UserError: of the kind that `place` names; says place, value and what would be right.
        """
        try:
            return self.parse(value)
        except (ValueError, OverflowError) as error:
            raise place.wrong(str(error)) from error

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """The checked value; a ValueError says what is wrong with it, without its place."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What it may be, for people, e.g. "a number between 0 and 1"."""

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The same as JSON schema."""


@dataclass(frozen=True)
class Number(Value):
    """A finite number within bounds (included), or a whole one."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    def parse(self, value: Any) -> float:
        """See `Value`; gives an int where a whole number is asked for and a float else."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not _finite(value):
            noun = self._noun.replace("a ", "one ", 1) if isinstance(value, Mapping) else self._noun
            raise ValueError(f"must be {noun}, got {shown(value)}")
        if self.whole and value != int(value):
            raise ValueError(f"must be a whole number, got {value:g}")
        if not self.low <= value <= self.high:
            raise ValueError(f"must {self._range}, got {shown(value)}")
        return int(value) if self.whole else float(value)

    @property
    def words(self) -> str:
        """See `Value`."""
        bounds = self._range.removeprefix("lie ").removeprefix("be ")
        return self._noun if bounds == "finite" else f"{self._noun}, {bounds}"

    @property
    def _noun(self) -> str:
        return "a whole number" if self.whole else "a number"

    @property
    def _range(self) -> str:
        if math.isfinite(self.low) and math.isfinite(self.high):
            return f"lie between {self.low:g} and {self.high:g}"
        if math.isfinite(self.low):
            return f"be at least {self.low:g}"
        return f"be at most {self.high:g}" if math.isfinite(self.high) else "be finite"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        bounds = {"minimum": self.low, "maximum": self.high}
        limits = {key: bound for key, bound in bounds.items() if math.isfinite(bound)}
        return {"type": "integer" if self.whole else "number", **limits}


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


@dataclass(frozen=True)
class Flag(Value):
    """True or false."""

    def parse(self, value: Any) -> bool:
        """See `Value`."""
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, got {shown(value)}")
        return value

    @property
    def words(self) -> str:
        """See `Value`."""
        return "true or false"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Text(Value):
    """A text; given a length, one that can be a name: printable, not empty, not longer."""

    longest: int | None = None

    def parse(self, value: Any) -> str:
        """See `Value`."""
        if not isinstance(value, str):
            raise ValueError(f"must be a text, got {shown(value)}")
        if self.longest is not None:
            if not value.isprintable() or value != value.strip() or not value:
                raise ValueError(f"must be printable text without spaces around it, got {shown(value)}")
            if len(value) > self.longest:
                raise ValueError(f"must have at most {self.longest} characters, got {len(value)}: {shown(value)}")
        return value

    @property
    def words(self) -> str:
        """See `Value`."""
        return "a text"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"type": "string"}


@dataclass(frozen=True)
class Name(Value):
    """One of some names; given an Enum class, its member of that value."""

    allowed: tuple[str, ...]
    enum: type[Enum] | None = None

    def parse(self, value: Any) -> Any:
        """See `Value`."""
        if not isinstance(value, str):
            raise ValueError(f"must be a name, got {shown(value)}")
        if value not in self.allowed:
            raise ValueError(f"unknown {shown(value)}; {suggest(value, self.allowed, most=len(self.allowed))}")
        return self.enum(value) if self.enum else value

    @property
    def words(self) -> str:
        """See `Value`."""
        return " or ".join(f'"{name}"' for name in self.allowed)

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"enum": list(self.allowed)}


@dataclass(frozen=True)
class ListOf(Value):
    """A list of values of one kind, of any length or of the given one; read as a tuple."""

    item: Value
    length: int | None = None

    def parse(self, value: Any) -> tuple[Any, ...]:
        """See `Value`."""
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be a list ({self.words}), got {shown(value)}")
        if self.length is not None and len(value) != self.length:
            raise ValueError(f"must hold {self._size}, got {len(value)}: {shown(value)}")
        return tuple(self.item.parse(item) for item in value)

    @property
    def _size(self) -> str:
        plural = "numbers" if isinstance(self.item, Number) else "values"
        return f"{self.length} {plural}"

    @property
    def words(self) -> str:
        """See `Value`."""
        return f"a list, each {self.item.words}" if self.length is None else f"{self.length} times {self.item.words}"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        size = {} if self.length is None else {"minItems": self.length, "maxItems": self.length}
        return {"type": "array", "items": self.item.schema(), **size}


@dataclass(frozen=True)
class OrNull(Value):
    """A value or JSON's null, which TOML does not know."""

    value: Value

    def read(self, value: Any, place: Place) -> Any:
        """See `Value`."""
        return None if value is None else self.value.read(value, place)

    def parse(self, value: Any) -> Any:
        """See `Value`."""
        return None if value is None else self.value.parse(value)

    @property
    def words(self) -> str:
        """See `Value`."""
        return self.value.words

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return self.value.schema()


@dataclass(frozen=True)
class Anything(Value):
    """Whatever stands there; checked by whoever uses it."""

    words: str = "anything"  # type: ignore[assignment]
    json: dict[str, Any] = field(default_factory=dict, hash=False)

    def parse(self, value: Any) -> Any:
        """See `Value`."""
        return value

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return dict(self.json)


def one_line(error: BaseException) -> str:
    """An error's words as one line."""
    return " ".join(str(error).split()) or type(error).__name__
