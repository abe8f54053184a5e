"""Whether stored pictures are RGB or BGR: files seldom say, and the seed robot's documents contradict its collector.

The guess rests on what stands in rooms: cardboard, wood, skin and lamps are warm (red over blue), and little is
strongly blue. Over the coloured pixels of some pictures,

    warmth = sum(first channel - third channel) / sum(|first channel - third channel|)

is near +1 for pictures stored as RGB and near -1 for BGR. Between -0.3 and 0.3 nothing is said. A large blue thing
can fool it, so what was found is always said, and a given order always wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_sim.errors import UserError, suggest

RGB, BGR = "rgb", "bgr"
AUTO = "auto"
CHOICES = (AUTO, RGB, BGR)
# Differences between the two channels that are noise and grey rather than colour.
COLOURED = 12
DECIDED = 0.3
# Share of the pixels that must be coloured at all.
ENOUGH = 0.005


@dataclass(frozen=True)
class Order:
    """A channel order and how it is known.

    Attributes:
        order: "rgb" or "bgr".
        source: "given", "file" (it says so), "guessed" (from colours) or "assumed" (colours did not tell).
        warmth: the figure behind a guess, -1 to 1; 0 where it was not computed or too little was coloured.
    """

    order: str
    source: str
    warmth: float = 0.0

    def __str__(self) -> str:
        return f"{self.order} ({self.source}" + (f", warmth {self.warmth:+.2f})" if self.warmth else ")")


def check_choice(order: str) -> str:
    """The order asked for, if it is one.

    Raises:
        UserError: any other word.
    """
    if order not in CHOICES:
        raise UserError(f"unknown channel order {order!r}; {suggest(order, CHOICES)}")
    return order


def warmth(images: np.ndarray) -> float:
    """First channel over third among coloured pixels, -1 to 1; 0 where too little is coloured.

    Args:
        images: uint8 (..., 3).
    """
    difference = images[..., 0].astype(np.int16) - images[..., 2]
    coloured = difference[np.abs(difference) >= COLOURED]
    if len(coloured) < ENOUGH * difference.size:
        return 0.0
    return float(coloured.sum(dtype=np.int64) / np.abs(coloured).sum(dtype=np.int64))


def guess(images: np.ndarray, *, otherwise: str) -> Order:
    """What the colours say; `otherwise` where they say nothing."""
    found = warmth(images)
    if abs(found) < DECIDED:
        return Order(otherwise, "assumed", found)
    return Order(RGB if found > 0 else BGR, "guessed", found)


def to_rgb(images: np.ndarray, order: str) -> np.ndarray:
    """Pictures as RGB; a copy where channels are swapped."""
    return np.ascontiguousarray(images[..., ::-1]) if order == BGR else images


# The way back is the same swap.
from_rgb = to_rgb
