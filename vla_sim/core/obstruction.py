"""Footprints as a round robot's centre must avoid them: grown by its radius and a margin, and gates on a named side.

Used by `vla_sim.core.planner`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_sim.core.types import Body, Pose2, Role, Scene

# Corners are rounded with 12-gons drawn around the circle: paths get at most 3.5 % of the radius longer.
CORNERS = 12
EPS = 1e-7


def turned(points: np.ndarray, yaw_rad: float) -> np.ndarray:
    """Points (n, 2) turned counter-clockwise about the origin."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    return points @ np.array([[cos, sin], [-sin, cos]])


def seen_from(pose: Pose2, points: np.ndarray) -> np.ndarray:
    """World points (n, 2) as metres ahead of a pose and to its left."""
    return turned(points - np.array((pose.x_m, pose.y_m)), -pose.yaw_rad)


def _centre(body: Body) -> np.ndarray:
    return np.array((body.x_m, body.y_m))


def _circle(radius_m: float) -> np.ndarray:
    """Corners (12, 2) on a circle, counter-clockwise, none straight ahead or aside."""
    angles = (np.arange(CORNERS) + 0.5) * (2 * math.pi / CORNERS)
    return radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def corners_of(body: Body) -> np.ndarray:
    """Corners (4, 2) of a rectangular footprint in the world, counter-clockwise."""
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (np.array(body.size_m[:2]) / 2)
    return turned(half, body.yaw_rad) + _centre(body)


def grown(body: Body, by_m: float) -> np.ndarray:
    """Convex polygon (n, 2) around a footprint, everywhere at least `by_m` away from it; counter-clockwise."""
    around = 1 / math.cos(math.pi / CORNERS)
    if body.round:
        return _circle((body.size_m[0] / 2 + by_m) * around) + _centre(body)
    arcs = turned(_circle(by_m * around), body.yaw_rad).reshape(4, CORNERS // 4, 2)
    return (corners_of(body)[:, None, :] + arcs).reshape(-1, 2)


def nearest_on(body: Body, points: np.ndarray) -> np.ndarray:
    """Points of a footprint that are nearest to the given ones (n, 2)."""
    centre = _centre(body)
    if body.round:
        away = points - centre
        length = np.maximum(np.linalg.norm(away, axis=1, keepdims=True), EPS)
        return centre + away * np.minimum(1.0, body.size_m[0] / 2 / length)
    half = np.array(body.size_m[:2]) / 2
    return centre + turned(np.clip(turned(points - centre, -body.yaw_rad), -half, half), body.yaw_rad)


class Obstruction:
    """Convex polygons and forbidden crossings: which straight moves are free."""

    def __init__(self, polygons: Sequence[np.ndarray], gates: Sequence[tuple[float, float, int]], start: Pose2) -> None:
        """Gates are (ahead_m, aside_m, sign), seen from the start.

        That line ahead may be crossed forward only where (aside - aside_m) * sign > 0.
        """
        self._gates = gates
        self._start = start
        self.corners = np.concatenate(polygons) if polygons else np.zeros((0, 2))
        edges = [np.roll(p, -1, axis=0) - p for p in polygons]
        normals = [np.stack([e[:, 1], -e[:, 0]], axis=1) / np.linalg.norm(e, axis=1, keepdims=True) for e in edges]
        self._normals = np.concatenate(normals) if polygons else np.zeros((0, 2))
        self._offsets = np.einsum("ij,ij->i", self._normals, self.corners)
        self._starts = np.cumsum([0, *(len(p) for p in polygons)])[:-1]

    def _outside(self, points: np.ndarray) -> np.ndarray:
        """Distance (n, edges) of points from every edge's line, positive outside."""
        return points @ self._normals.T - self._offsets

    def free(self, points: np.ndarray) -> np.ndarray:
        """Which points (n, 2) lie in no polygon."""
        if not len(self.corners):
            return np.ones(len(points), dtype=bool)
        inside = np.logical_and.reduceat(self._outside(points) < -EPS, self._starts, axis=1)
        return np.logical_not(inside.any(axis=1))

    def moved_out(self, point: np.ndarray, most_m: float) -> np.ndarray | None:
        """The point, or the nearest one outside its polygons; None when that is farther than `most_m`."""
        moved = point
        for _ in range(4 if len(self.corners) else 0):
            outside = self._outside(moved[None])[0]
            depth = np.maximum.reduceat(outside, self._starts)
            worst = int(np.argmin(depth))
            if depth[worst] >= -EPS:
                break
            start = self._starts[worst]
            stop = self._starts[worst + 1] if worst + 1 < len(self._starts) else len(outside)
            edge = start + int(np.argmax(outside[start:stop]))
            moved = moved - self._normals[edge] * (outside[edge] - EPS)
        near = math.dist(moved, point) <= most_m
        return moved if near and self.free(moved[None])[0] else None

    def blocked(self, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Which straight moves here -> there, both (n, 2), cut a polygon or cross a gate on the wrong side."""
        blocked = crossing(self._gates, self._start, here, there)
        if len(self.corners):
            blocked |= self._cut(here, there)
        return blocked

    def _cut(self, here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Separating axes: a move misses a convex polygon if an edge's line or its own line keeps them apart."""
        apart = (self._outside(here) >= -EPS) & (self._outside(there) >= -EPS)
        missed = np.logical_or.reduceat(apart, self._starts, axis=1)
        move = there - here
        cross = move @ np.stack([self.corners[:, 1], -self.corners[:, 0]])
        cross -= (move[:, 0] * here[:, 1] - move[:, 1] * here[:, 0])[:, None]
        slack = EPS * np.linalg.norm(move, axis=1)[:, None]
        missed |= np.minimum.reduceat(cross, self._starts, axis=1) >= -slack
        missed |= np.maximum.reduceat(cross, self._starts, axis=1) <= slack
        return np.logical_not(missed.all(axis=1))


def gates_of(scene: Scene) -> list[tuple[float, float, int]]:
    """One beside each obstacle that must be passed on a side; see `Obstruction`."""
    side = scene.task.side
    if side is None:
        return []
    return [(*scene.start.seen_from(b.x_m, b.y_m), side.sign) for b in scene.with_role(Role.OBSTACLE)]


def crossing(
    gates: Sequence[tuple[float, float, int]], start: Pose2, here: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """Which straight moves here -> there, both (n, 2), cross a gate on the wrong side."""
    blocked = np.zeros(len(here), dtype=bool)
    if not gates:
        return blocked
    here, there = seen_from(start, here), seen_from(start, there)
    for x, y, sign in gates:
        ahead = (here[:, 0] < x) & (there[:, 0] >= x)
        if ahead.any():
            run = np.where(ahead, there[:, 0] - here[:, 0], 1.0)
            crossing = here[:, 1] + (there[:, 1] - here[:, 1]) * (x - here[:, 0]) / run
            blocked |= ahead & ((crossing - y) * sign < 0)
    return blocked
