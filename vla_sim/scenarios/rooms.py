"""Outer walls, inner walls and doorways of a scene, as boxes. Used by `vla_sim.scenarios.sampling`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from vla_sim.core.doorways import Doorway
from vla_sim.core.types import Body, Kind, Role
from vla_sim.scenarios.distributions import Distribution
from vla_sim.scenarios.surroundings import RoomDistribution, WallDistribution

WALL_THICKNESS_M = 0.05
Point = tuple[float, float]
Bounds = tuple[float, float, float, float]


class NoRoomError(Exception):
    """What was drawn makes no room; the message says why. Another draw may."""


def draw_room(room: RoomDistribution, rng: np.random.Generator) -> tuple[tuple[Point, ...], Bounds, tuple[Body, ...]]:
    """Corners of the outline, (x_min, x_max, y_min, y_max) of it, and the outer walls."""
    ahead, behind, width = (float(d.draw(rng)) for d in (room.ahead_m, room.behind_m, room.width_m))
    height = float(room.ceiling_m.draw(rng))
    if not room.outline_m:
        bounds = (-behind, ahead, -width / 2, width / 2)
        x_min, x_max, y_min, y_max = bounds
        return ((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)), bounds, _four_walls(bounds, height)
    outline = _outline([draw_point(point, rng) for point in room.outline_m])
    xs, ys = zip(*outline, strict=True)
    return outline, (min(xs), max(xs), min(ys), max(ys)), _walls_along(outline, height)


def draw_walls(
    plans: Sequence[WallDistribution], height_m: float, rng: np.random.Generator
) -> tuple[tuple[Body, ...], tuple[Doorway, ...]]:
    """The inner walls, two pieces where there is a doorway, and the doorways."""
    drawn = [_drawn(plan, height_m, rng) for plan in plans]
    return tuple(piece for pieces, _ in drawn for piece in pieces), tuple(one for _, one in drawn if one is not None)


def inside(outline: Sequence[Point], x_m: float, y_m: float) -> bool:
    """Whether a point lies in a polygon, by counting the edges that a ray along +x crosses."""
    crossed = 0
    for (x0, y0), (x1, y1) in pairwise([*outline, outline[0]]):
        if (y0 > y_m) != (y1 > y_m):
            crossed += x_m < x0 + (y_m - y0) * (x1 - x0) / (y1 - y0)
    return crossed % 2 == 1


def draw_point(point: tuple[Distribution, Distribution], rng: np.random.Generator) -> Point:
    """One value of each coordinate."""
    return float(point[0].draw(rng)), float(point[1].draw(rng))


def _four_walls(bounds_m: Bounds, height_m: float) -> tuple[Body, ...]:
    x_min, x_max, y_min, y_max = bounds_m
    half = WALL_THICKNESS_M / 2
    length, width = x_max - x_min + 2 * WALL_THICKNESS_M, y_max - y_min
    middle_x, middle_y = (x_min + x_max) / 2, (y_min + y_max) / 2
    across, along = (WALL_THICKNESS_M, width, height_m), (length, WALL_THICKNESS_M, height_m)
    return (
        Body("wall_front", Kind.WALL, Role.WALL, across, x_max + half, middle_y),
        Body("wall_back", Kind.WALL, Role.WALL, across, x_min - half, middle_y),
        Body("wall_left", Kind.WALL, Role.WALL, along, middle_x, y_max + half),
        Body("wall_right", Kind.WALL, Role.WALL, along, middle_x, y_min - half),
    )


def _outline(points: list[Point]) -> tuple[Point, ...]:
    """The corners counter-clockwise.

    Raises:
        NoRoomError: an edge that runs along neither axis, or has no length.
    """
    for (x0, y0), (x1, y1) in pairwise([*points, points[0]]):
        if (x0 == x1) == (y0 == y1):
            raise NoRoomError(f"the outline's edge from [{x0:g}, {y0:g}] to [{x1:g}, {y1:g}] runs along neither axis")
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairwise([*points, points[0]]))
    return tuple(points if area > 0 else points[::-1])


def _walls_along(outline: Sequence[Point], height_m: float) -> tuple[Body, ...]:
    """A wall outside of each edge; longer by its thickness where the next wall stands at right angles behind it."""
    corners = [outline[-1], *outline, outline[0], outline[1]]
    walls = []
    for number in range(len(outline)):
        before, here, there, after = corners[number : number + 4]
        along = np.subtract(there, here)
        length = float(np.abs(along).sum())
        unit = along / length
        start = np.subtract(here, unit * WALL_THICKNESS_M * _convex(before, here, there))
        end = np.add(there, unit * WALL_THICKNESS_M * _convex(here, there, after))
        # Counter-clockwise: the outside is on the right.
        middle = (start + end) / 2 + np.array((unit[1], -unit[0])) * WALL_THICKNESS_M / 2
        long = float(np.abs(end - start).sum())
        size = (long, WALL_THICKNESS_M, height_m) if unit[0] else (WALL_THICKNESS_M, long, height_m)
        walls.append(Body(f"wall_{number + 1}", Kind.WALL, Role.WALL, size, float(middle[0]), float(middle[1])))
    return tuple(walls)


def _convex(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) > 0


def _drawn(plan: WallDistribution, height_m: float, rng: np.random.Generator) -> tuple[list[Body], Doorway | None]:
    here, there = draw_point(plan.from_m[0], rng), draw_point(plan.to_m[0], rng)
    thickness = float(plan.thickness_m.draw(rng))
    length = math.dist(here, there)
    spans, doorway = [(0.0, length)], None
    if plan.door_at_m is not None:
        middle, width = float(plan.door_at_m.draw(rng)), float(plan.door_width_m.draw(rng))
        spans = [(0.0, middle - width / 2), (middle + width / 2, length)]
        if spans[0][1] < 0 or spans[1][0] > length:
            raise NoRoomError(f"the doorway of {plan.name} lies beside the wall")
        doorway = Doorway(plan.name, (_on(here, there, middle - width / 2), _on(here, there, middle + width / 2)))
    names = [plan.name] if len(spans) == 1 else [f"{plan.name}_1", f"{plan.name}_2"]
    pieces = [
        _piece(name, here, there, span, (thickness, height_m))
        for name, span in zip(names, spans, strict=True)
        if span[1] - span[0] > 0.01
    ]
    return pieces, doorway


def _on(here: Point, there: Point, along_m: float) -> Point:
    """The point of a wall so far from its first end."""
    share = along_m / math.dist(here, there)
    return here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])


def _piece(name: str, here: Point, there: Point, span: tuple[float, float], profile: tuple[float, float]) -> Body:
    """The part of a wall between two lengths from its first end; profile: thickness and height."""
    share = (span[0] + span[1]) / 2 / math.dist(here, there)
    x, y = here[0] + share * (there[0] - here[0]), here[1] + share * (there[1] - here[1])
    yaw = math.atan2(there[1] - here[1], there[0] - here[0])
    return Body(name, Kind.WALL, Role.WALL, (span[1] - span[0], *profile), x, y, yaw_rad=yaw)
