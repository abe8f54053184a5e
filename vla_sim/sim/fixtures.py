"""What hangs on one side of a wall, in metres: x out of the wall, y along it from its middle, z up. Pure numpy.

Rectangles lie beside each other, never over each other: seen at a flat angle, a rasteriser would mix them up.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from vla_sim.core.types import Vec3

# Nearer to the wall than this, a rasteriser cannot tell which of two faces is in front.
OFF_M = 0.012
DOOR_M = (0.95, 2.05)
Rect = tuple[float, float, float, float]

_WHITE = (0.9, 0.9, 0.88)
_STEEL = (0.6, 0.61, 0.63)
_SKIRTINGS = ((0.88, 0.88, 0.86), (0.5, 0.5, 0.5), (0.42, 0.29, 0.18), (0.25, 0.26, 0.28))
# Door frames, and those of doorways.
JAMB_M = 0.07
_JAMBS = ((0.85, 0.85, 0.83), (0.5, 0.36, 0.22), (0.62, 0.62, 0.6), (0.3, 0.32, 0.35))
_DOORS = ((0.78, 0.77, 0.74), (0.55, 0.38, 0.23), (0.68, 0.5, 0.32), (0.35, 0.42, 0.5), (0.5, 0.52, 0.53))
_VIEWS = (
    ((0.62, 0.7, 0.62), (0.97, 0.98, 1.0)),
    ((0.8, 0.82, 0.84), (1.0, 1.0, 1.0)),
    ((0.55, 0.58, 0.62), (0.85, 0.92, 1.0)),
)
_PAPERS = ((0.93, 0.92, 0.88), (0.82, 0.35, 0.25), (0.25, 0.42, 0.6), (0.9, 0.78, 0.4), (0.4, 0.55, 0.42))


class WallSide(Enum):
    """What hangs on a side of a wall: of an outer one with or without windows, of an inner one, or skirting alone."""

    SUNNY = "sunny"
    SHADY = "shady"
    INNER = "inner"
    BARE = "bare"


def fixtures(length_m: float, kind: WallSide, rng: np.random.Generator, style: int) -> Plates:
    """Skirting along a wall, and a row of what hangs there.

    Args:
        length_m: of the wall.
        kind: what may hang there.
        rng: decides what hangs where.
        style: any whole number, which is the same for all walls of a room: the colours of skirting and door frames.
    """
    skirting = _SKIRTINGS[style % len(_SKIRTINGS)]
    half = length_m / 2
    wall = Plates()
    wall.plate(-half, half, 0.0, 0.09, OFF_M, skirting)
    if kind is WallSide.INNER and length_m > 2 * JAMB_M:
        # Inner walls end at doorways.
        for low, high in ((-half, -half + JAMB_M), (half - JAMB_M, half)):
            wall.plate(low, high, 0.09, DOOR_M[1], OFF_M, _JAMBS[style % len(_JAMBS)])
    choices = _HANGING[kind]
    at = -half + float(rng.uniform(0.35, 0.9))
    while choices:
        make, least = choices[int(rng.integers(len(choices)))]
        wide = least * float(rng.uniform(1.0, 1.35))
        if at + wide > half - 0.3:
            break
        make(wall, at, at + wide, rng)
        socket = at + wide + 0.15
        if socket < half - 0.2 and rng.random() < 0.5:
            wall.plate(socket, socket + 0.15, 0.26, 0.34, OFF_M, _WHITE)
        at += wide + float(rng.uniform(0.3, 0.9))
    return wall


@dataclass
class Plates:
    """Flat rectangles before a wall, as plain numbers: arrays of single ones would take long.

    Attributes:
        rects: (y0, y1, z0, z1, distance from the wall, glow) of each.
        colors: RGB of the corners of each from the lower left one on, counter-clockwise: 12 numbers.
    """

    rects: list[tuple[float, ...]] = field(default_factory=list)
    colors: list[tuple[float, ...]] = field(default_factory=list)

    def plate(self, y0: float, y1: float, z0: float, z1: float, off: float, color: Vec3) -> None:
        """One of one colour."""
        self.rects.append((y0, y1, z0, z1, off, 0.0))
        self.colors.append(color * 4)

    def pane(self, y0: float, y1: float, z0: float, z1: float, below: Vec3, above: Vec3) -> None:
        """One that shines, with a colour of its own at the lower and at the upper edge."""
        self.rects.append((y0, y1, z0, z1, OFF_M, 1.0))
        self.colors.append(below * 2 + above * 2)

    def around(self, inner: Rect, outer: Rect, color: Vec3) -> None:
        """What lies between two rectangles (y0, y1, z0, z1), the first within the second."""
        for y0, y1, z0, z1 in (
            (outer[0], inner[0], outer[2], outer[3]),
            (inner[1], outer[1], outer[2], outer[3]),
            (inner[0], inner[1], outer[2], inner[2]),
            (inner[0], inner[1], inner[3], outer[3]),
        ):
            if y1 > y0 and z1 > z0:
                self.plate(y0, y1, z0, z1, OFF_M, color)


def _window(wall: Plates, y0: float, y1: float, rng: np.random.Generator) -> None:
    """Bright panes in a white frame over a sill and a radiator."""
    low, high = float(rng.uniform(0.8, 0.95)), 2.1
    below, above = _VIEWS[int(rng.integers(len(_VIEWS)))]
    horizon = low + (high - low) * float(rng.uniform(0.25, 0.5))
    wall.around((y0, y1, low, high), (y0 - 0.06, y1 + 0.06, low - 0.05, high + 0.06), _WHITE)
    panes = max(1, round((y1 - y0) / 0.8))
    edges = np.linspace(y0, y1, panes + 1).tolist()
    for number, (left, right) in enumerate(itertools.pairwise(edges)):
        left, right = left + 0.035 * (number > 0), right - 0.035 * (number < panes - 1)
        wall.pane(left, right, low, horizon, _darker(below, 0.8), below)
        wall.pane(left, right, horizon, high, _darker(above, 0.95), above)
    for middle in edges[1:-1]:
        wall.plate(middle - 0.035, middle + 0.035, low, high, OFF_M, _WHITE)
    # The camera is lower than sills and radiators: their fronts are all that it sees.
    wall.plate(y0 - 0.08, y1 + 0.08, low - 0.1, low - 0.05, 0.14, _WHITE)
    ribs = 2 * max(2, round((y1 - y0) / 0.35)) + 1
    for number, (left, right) in enumerate(itertools.pairwise(np.linspace(y0 + 0.05, y1 - 0.05, ribs + 1).tolist())):
        wall.plate(left, right, 0.14, 0.66, 0.1, (0.84, 0.84, 0.82) if number % 2 == 0 else (0.74, 0.74, 0.73))


def _door(wall: Plates, y0: float, y1: float, rng: np.random.Generator) -> None:
    """A closed door with frame and lever, some with a pane of glass, others with a kick plate."""
    color = _DOORS[int(rng.integers(len(_DOORS)))]
    frame = _WHITE if rng.random() < 0.5 else _darker(color, 0.8)
    y1, top = y0 + DOOR_M[0], DOOR_M[1]
    lever = y0 + 0.1 if rng.random() < 0.5 else y1 - 0.1
    tip = lever + (0.12 if lever < (y0 + y1) / 2 else -0.12)
    wall.around((y0, y1, 0.0, top), (y0 - 0.07, y1 + 0.07, 0.0, top + 0.07), frame)
    if rng.random() < 0.4:
        glass = (y0 + 0.3, y1 - 0.3, 1.1, 1.85)
        wall.around(glass, (y0, y1, 0.0, top), color)
        wall.plate(*glass, OFF_M, (0.66, 0.74, 0.76))
    else:
        wall.plate(y0, y1, 0.0, 0.2, OFF_M, _darker(color, 0.75))
        wall.plate(y0, y1, 0.2, top, OFF_M, color)
    wall.plate(min(lever, tip), max(lever, tip), 1.02, 1.06, 0.06, _STEEL)


def _darker(color: Vec3, factor: float) -> Vec3:
    red, green, blue = color
    return factor * red, factor * green, factor * blue


def _picture(wall: Plates, y0: float, y1: float, rng: np.random.Generator) -> None:
    """A poster or a framed print."""
    paper, other = (_PAPERS[int(rng.integers(len(_PAPERS)))] for _ in range(2))
    low, high = 1.15, 1.15 + (y1 - y0) * float(rng.uniform(0.7, 1.35))
    split = low + (high - low) * float(rng.uniform(0.3, 0.7))
    border = (0.16, 0.15, 0.14) if rng.random() < 0.6 else _WHITE
    wall.around((y0, y1, low, high), (y0 - 0.025, y1 + 0.025, low - 0.025, high + 0.025), border)
    wall.plate(y0, y1, low, split, OFF_M, paper)
    wall.plate(y0, y1, split, high, OFF_M, other)


def _whiteboard(wall: Plates, y0: float, y1: float, rng: np.random.Generator) -> None:
    """A whiteboard with some lines of writing."""
    wall.around((y0, y1, 0.9, 1.9), (y0 - 0.03, y1 + 0.03, 0.87, 1.93), _STEEL)
    white = (0.96, 0.97, 0.98)
    below = 0.9
    for line in sorted(rng.uniform(1.05, 1.8, int(rng.integers(2, 5))).tolist()):
        if line < below + 0.06:
            continue
        start = float(rng.uniform(y0 + 0.1, y1 - 0.5))
        written = (start, start + float(rng.uniform(0.15, 0.4)), line, line + 0.025)
        wall.around(written, (y0, y1, below, line + 0.025), white)
        wall.plate(*written, OFF_M, _PAPERS[1 + int(rng.integers(2))])
        below = line + 0.025
    wall.plate(y0, y1, below, 1.9, OFF_M, white)


def _rail(wall: Plates, y0: float, y1: float, rng: np.random.Generator) -> None:
    """A wooden rail against bumps of chairs, and a light switch."""
    switch = y0 + float(rng.uniform(0.0, 0.3))
    wall.plate(y0, y1, 0.72, 0.84, OFF_M, (0.55, 0.4, 0.26))
    wall.plate(switch, switch + 0.08, 1.06, 1.14, OFF_M, _WHITE)


_Make = Callable[[Plates, float, float, np.random.Generator], None]
# What may hang on a wall and its least width in metres; what is listed twice comes twice as often.
_HANGING: dict[WallSide, tuple[tuple[_Make, float], ...]] = {
    WallSide.SUNNY: ((_window, 1.1), (_window, 1.5), (_window, 1.3), (_picture, 0.4)),
    WallSide.SHADY: (
        (_door, DOOR_M[0]),
        (_door, DOOR_M[0]),
        (_picture, 0.5),
        (_picture, 0.35),
        (_whiteboard, 1.3),
        (_rail, 1.0),
    ),
    WallSide.INNER: ((_picture, 0.4), (_rail, 0.8), (_rail, 1.2)),
    WallSide.BARE: (),
}
