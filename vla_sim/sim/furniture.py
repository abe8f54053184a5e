"""Models of furniture, built in metres at a usual size and stretched to the size of a body. Used by `meshes`.

The front is +x. Wood, metal and cloth have the body's colour or a colour of their own; none has a texture, which keeps
furnished scenes as cheap as empty ones.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from vla_sim.core.types import Vec3
from vla_sim.sim.mesh_parts import Mesh, band, block, join, quad, to_unit

_STEEL = (0.45, 0.46, 0.48)
_DARK = (0.13, 0.13, 0.14)
_BOOKS = (
    (0.55, 0.16, 0.14),
    (0.14, 0.26, 0.45),
    (0.85, 0.82, 0.74),
    (0.2, 0.38, 0.26),
    (0.75, 0.6, 0.25),
    (0.3, 0.3, 0.33),
    (0.6, 0.35, 0.2),
)


@functools.cache
def table() -> Mesh:
    """A desk: top in the body's colour, steel legs with a crossbar at the back."""
    size = (0.7, 1.3, 0.74)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    top = block((-x, -y, z - 0.035), (x, y, z))
    rail = block(
        (-x + 0.05, -y + 0.06, z - 0.1), (-x + 0.08, y - 0.06, z - 0.035), underside=False, color=_STEEL, tint=0
    )
    return to_unit(join([top, rail, *_legs(x - 0.02, y - 0.03, z - 0.035, 0.045, _STEEL)]), size)


def _legs(x: float, y: float, height: float, thick: float, color: Vec3) -> list[Mesh]:
    """Four legs whose outer faces are at +-x and +-y."""
    legs = []
    for sx, sy in itertools.product((-1, 1), (-1, 1)):
        corners = np.sort([[sx * x, sx * (x - thick)], [sy * y, sy * (y - thick)]], axis=1)
        low, high = (*corners[:, 0], 0.0), (*corners[:, 1], height)
        legs.append(block(low, high, underside=False, color=color, tint=0))
    return legs


@functools.cache
def chair() -> Mesh:
    """A visitor's chair: seat and back in the body's colour, dark legs that go on as the frame of the back."""
    size = (0.48, 0.46, 0.84)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    seat = block((-x + 0.03, -y, 0.42), (x, y, 0.47))
    back = block((-x + 0.01, -y + 0.02, 0.56), (-x + 0.04, y - 0.02, z))
    posts = [
        block((-x, s * y - 0.015, 0.42), (-x + 0.03, s * y + 0.015, z - 0.08), underside=False, color=_DARK, tint=0)
        for s in (-0.93, 0.93)
    ]
    return to_unit(join([seat, back, *posts, *_legs(x - 0.02, y - 0.01, 0.43, 0.03, _DARK)]), size)


@functools.cache
def shelf() -> Mesh:
    """A bookcase with books on its boards."""
    size = (0.32, 0.9, 1.8)
    x, y, z, t = size[0] / 2, size[1] / 2, size[2], 0.025
    sides = [block((-x, s * (y - t / 2) - t / 2, 0), (x, s * (y - t / 2) + t / 2, z)) for s in (-1, 1)]
    levels = np.linspace(0.08, z - t, 6)
    boards = [block((-x, -y + t, float(level)), (x - 0.005, y - t, float(level) + t)) for level in levels]
    back = quad([(-x + 0.02, -y, 0), (-x + 0.02, y, 0), (-x + 0.02, y, z), (-x + 0.02, -y, z)], color=(0.45,) * 3)
    rear = quad([(-x, y, 0), (-x, -y, 0), (-x, -y, z), (-x, y, z)], color=(0.8,) * 3)
    rng = np.random.default_rng(5)
    rows = [book for level in levels[:-1] for book in _books(rng, float(level) + t, x - 0.06, y - t - 0.01)]
    return to_unit(join([*sides, *boards, back, rear, *rows]), size)


def _books(rng: np.random.Generator, floor: float, x: float, y: float) -> list[Mesh]:
    """Spines along a board, in groups of one colour, with a gap at the end of the board."""
    books, at = [], -y
    end = y - float(rng.uniform(0.05, 0.3))
    while at < end:
        wide, high = float(rng.uniform(0.03, 0.11)), float(rng.uniform(0.19, 0.28))
        color = _BOOKS[int(rng.integers(len(_BOOKS)))]
        stop = min(at + wide, end)
        corners = [(x, at, floor), (x, stop, floor), (x, stop, floor + high), (x, at, floor + high)]
        books.append(quad(corners, color=color, tint=0))
        at = stop + 0.002
    return books


@functools.cache
def cabinet() -> Mesh:
    """A cupboard with two doors, a plinth and steel handles."""
    size = (0.45, 0.9, 1.1)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    front = x - 0.012
    body = block((-x, -y, 0.06), (front - 0.006, y, z - 0.03), underside=False, color=(0.8, 0.8, 0.8))
    plinth = block((-x + 0.02, -y + 0.02, 0), (front - 0.04, y - 0.02, 0.06), underside=False, color=_DARK, tint=0)
    top = block((-x, -y, z - 0.03), (x, y, z))
    parts = [body, plinth, top]
    for low, high in ((-y + 0.006, -0.004), (0.004, y - 0.006)):
        parts.append(block((front - 0.006, low, 0.07), (front, high, z - 0.04), underside=False))
        hinge = -0.05 if high < 0.1 else 0.05
        parts.append(block((front, hinge - 0.01, 0.55), (x, hinge + 0.01, 0.7), color=_STEEL, tint=0))
    return to_unit(join(parts), size)


@functools.cache
def sofa() -> Mesh:
    """A couch with two seats, arms and a back, in the body's colour, on dark feet."""
    size = (0.85, 1.7, 0.8)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    base = block((-x + 0.05, -y + 0.05, 0.1), (x - 0.03, y - 0.05, 0.28), color=(0.78,) * 3, underside=False)
    back = block((-x, -y + 0.04, 0.1), (-x + 0.24, y - 0.04, z), color=(0.92,) * 3, underside=False)
    arms = [
        block((-x + 0.04, s * (y - 0.1) - 0.1, 0.1), (x - 0.02, s * (y - 0.1) + 0.1, 0.6), underside=False)
        for s in (-1, 1)
    ]
    seats = [
        block((-x + 0.22, low, 0.27), (x, high, 0.44), color=(1.08,) * 3, underside=False)
        for low, high in ((-y + 0.21, -0.008), (0.008, y - 0.21))
    ]
    cushions = [
        block((-x + 0.22, low, 0.44), (-x + 0.36, high, 0.74), color=(1.04,) * 3, underside=False)
        for low, high in ((-y + 0.22, -0.01), (0.01, y - 0.22))
    ]
    feet = _legs(x - 0.05, y - 0.05, 0.1, 0.05, _DARK)
    return to_unit(join([base, back, *arms, *seats, *cushions, *feet]), size)


@functools.cache
def plant() -> Mesh:
    """A rubber plant: pot in the body's colour, leaves around thin stems."""
    pot = [
        band((0.11, 0.0), (0.155, 0.3), segments=12),
        band((0.155, 0.3), (0.14, 0.3), segments=12, color=(1.15,) * 3),
        band((0.15, 0.27), (0.0, 0.27), segments=12, color=(0.16, 0.12, 0.09), tint=0),
    ]
    rng = np.random.default_rng(11)
    stems = [_stem(angle, lean) for angle, lean in ((0.4, 0.1), (2.5, 0.16), (4.6, 0.13))]
    leaves = [_leaf(rng, index) for index in range(26)]
    whole = join([*pot, *stems, *(side for leaf in leaves for side in leaf)])
    return to_unit(whole, (0.5, 0.5, float(whole.positions[:, 2].max())))


def _stem(angle: float, lean: float) -> Mesh:
    stem = band((0.012, 0.27), (0.008, 0.85), segments=5, color=(0.3, 0.24, 0.14), tint=0)
    stem.positions[:, 0] += (stem.positions[:, 2] - 0.27) * lean * math.cos(angle)
    stem.positions[:, 1] += (stem.positions[:, 2] - 0.27) * lean * math.sin(angle)
    return stem


def _leaf(rng: np.random.Generator, index: int) -> tuple[Mesh, Mesh]:
    """A folded leaf that points outward from the stems, upper and lower side."""
    angle = index * 2.4 + float(rng.uniform(-0.3, 0.3))
    low = 0.42 + 0.5 * index / 26
    length, wide = float(rng.uniform(0.15, 0.2)), float(rng.uniform(0.045, 0.065))
    rise = float(rng.uniform(-0.25, 0.7))
    along = np.array([math.cos(angle) * math.cos(rise), math.sin(angle) * math.cos(rise), math.sin(rise)])
    aside = np.array([-math.sin(angle), math.cos(angle), 0.0])
    root = np.array([0.03 * math.cos(angle), 0.03 * math.sin(angle), low])
    middle = root + 0.5 * length * along
    tip = root + length * along - np.array([0.0, 0.0, 0.04])
    corners = np.array([root, middle - wide * aside, tip, middle + wide * aside])
    green = np.array([0.13, 0.34, 0.13]) * float(rng.uniform(0.75, 1.35))
    upper = quad([tuple(c) for c in corners], color=green, tint=0)
    lower = quad([tuple(c) for c in corners[::-1]], color=green * 0.7, tint=0)
    return upper, lower
