"""Which demonstrations are learned from and how often each is drawn, as `--data NAME=DIR:WEIGHT` says it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vla_sim.core.errors import UserError


@dataclass(frozen=True)
class SourceSpec:
    """One source.

    Attributes:
        name: in logs; "real", for example.
        folder: where it lies.
        weight: how often it is drawn, relative to the others.
    """

    name: str
    folder: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise UserError(f"source {self.name}: its weight must be positive, got {self.weight}")
        if not self.name or "/" in self.name:
            raise UserError(f"a source's name must not be empty or have a slash, got {self.name!r}")

    @classmethod
    def parse(cls, text: str) -> SourceSpec:
        """From "real=recordings:0.5"; name and weight may be left out.

        Raises:
            UserError: no such folder, or a weight that is none.
        """
        name, equals, place = text.partition("=")
        if not equals:
            name, place = "", text
        elif not name:
            raise UserError(f"source {text!r}: its name is empty (write NAME=DIR:WEIGHT)")
        place, weight = _split_weight(place)
        folder = Path(place)
        if not folder.is_dir():
            raise UserError(f"source {text!r}: no such folder: {folder} (write NAME=DIR:WEIGHT)")
        return cls(name or folder.resolve().name, folder, weight)


def _split_weight(place: str) -> tuple[str, float]:
    before, colon, last = place.rpartition(":")
    if colon:
        try:
            return before, float(last)
        except ValueError:
            if not Path(place).exists():
                raise UserError(f"weight must be a number, got {last!r} in {place!r}") from None
    return place, 1.0


def parse_sources(texts: Sequence[str]) -> list[SourceSpec]:
    """All sources; their names must differ.

    Raises:
        UserError: see `SourceSpec.parse`; or two have one name.
    """
    specs = [SourceSpec.parse(text) for text in texts]
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two sources are named {name!r}: write NAME=DIR to tell them apart")
    return specs
