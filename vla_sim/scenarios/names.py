"""The names that a scenario file gives: plain ones, and patterns in which axes of its matrix stand in braces."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vla_sim.core.config import NAME_LENGTH, Place, Text, shown
from vla_sim.core.errors import suggest

MAX_NAMES = 1000
_AXIS = re.compile(r"\{([^{}]*)\}")
NAMES_SCHEMA = {
    "type": "array",
    "items": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
                "additionalProperties": {"type": "string"},
            },
        ]
    },
}


@dataclass(frozen=True)
class Named:
    """One scenario of a file.

    Attributes:
        name: e.g. "obstacle_left".
        pattern: what the name was made of, e.g. "obstacle_{side}".
        choices: axis of the matrix -> choice, as far as the name fixes them.
    """

    name: str
    pattern: str
    choices: dict[str, str]

    def filled(self, choices: Mapping[str, str]) -> str:
        """The pattern with these choices."""
        return _filled(self.pattern, choices)


def _filled(pattern: str, choices: Mapping[str, str]) -> str:
    return _AXIS.sub(lambda match: choices.get(match[1], match[0]), pattern)


def named_scenarios(entries: Any, axes: Mapping[str, Mapping[str, Any]], place: Place) -> list[Named]:
    """What a list of names stands for, in its order.

    Raises:
        UserError: of the kind that `place` names: no list, unknown axes or choices, or what can be no name.
    """
    if not isinstance(entries, list):
        raise place.wrong(f"must be a list of names, got {shown(entries)}")
    found: list[Named] = []
    for entry in entries:
        found += _unfolded(entry, axes, place)
        if len(found) > MAX_NAMES:
            raise place.wrong(f"stands for more than {MAX_NAMES} scenarios")
    return found


def _unfolded(entry: Any, axes: Mapping[str, Mapping[str, Any]], place: Place) -> Iterable[Named]:
    """An entry is a pattern with {axis} in it, or a table { name = "...", axis = "choice", ... }."""
    fixed = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    pattern = fixed.pop("name", None)
    if not isinstance(pattern, str) or not pattern:
        raise place.wrong(f"must hold names, got {shown(entry)}")
    for axis, choice in fixed.items():
        if axis not in axes:
            raise place.wrong(f"fixes {shown(axis)}, which is no axis of the matrix; {suggest(axis, axes)}")
        if choice not in list(axes[axis]):
            raise place.wrong(f"fixes {axis} to {shown(choice)}; {suggest(str(choice), axes[axis])}")
    free = list(dict.fromkeys(_AXIS.findall(pattern)))
    for axis in free:
        if axis not in axes:
            raise place.wrong(f"{shown(pattern)} names {shown(axis)}, which is no axis; {suggest(axis, axes)}")
    if math.prod(len(axes[axis]) for axis in free) > MAX_NAMES:
        raise place.wrong(f"{shown(pattern)} stands for more than {MAX_NAMES} scenarios")
    for choices in itertools.product(*(axes[axis] for axis in free)):
        decided = {**fixed, **dict(zip(free, choices, strict=True))}
        yield Named(_checked(_filled(pattern, decided), place), pattern, decided)


def _checked(name: str, place: Place) -> str:
    """Names stand in commands, tables and file names: "/" separates them from a suite and "#" from a file."""
    Text(longest=NAME_LENGTH).read(name, place)
    wrong = sorted({character for character in name if character in "/#\\{}"})
    if wrong:
        raise place.wrong(f"holds {shown(name)}: a name must not contain {' '.join(wrong)}")
    return name
