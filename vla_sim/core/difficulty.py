"""How hard a scene is, as one number: from the shortest path and what moves beside it. Used by results and reports."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from vla_sim.core.geometry import resample, surface_distances
from vla_sim.core.types import Body, Role, Scene

# Passages are measured at points this far apart, by looking so far to both sides in such steps.
_EVERY_M, _SIDE_M, _RAY_M = 0.08, 1.0, 0.05
# Movers whose path comes this near to the shortest path are met.
_MET_M = 1.0
_SMALLEST_M = 1e-9


def difficulty(scene: Scene, corners: np.ndarray, robot_radius_m: float) -> float:
    """0 for a straight way through open space; each part adds about 0 to 1, a mover 1.

    The sum of: how much longer the shortest path is than the straight line (0.5 for half as long again); how much it
    turns (1 for 180 degrees in all); how narrow its narrowest passage is (1 where the robot just fits, 0 from 1 m of
    room on); and the movers that come within 1 m of it.

    Args:
        scene: the scene.
        corners: (n, 2) of the shortest path from the start, metres; n < 2 gives 0.
        robot_radius_m: of the disc.
    """
    if len(corners) < 2:
        return 0.0
    steps = np.diff(corners, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    straight = math.dist(corners[0], corners[-1])
    detour = float(lengths.sum()) / straight - 1 if straight > 0 else 0.0
    headings = np.arctan2(steps[:, 1], steps[:, 0])[lengths > 1e-6].tolist()
    turns = sum(abs(math.remainder(after - before, 2 * math.pi)) for before, after in pairwise(headings)) / math.pi
    points = resample(corners, _EVERY_M)
    tight = 1 - min(1.0, max(0.0, _passage_m(scene, points) - 2 * robot_radius_m))
    return detour + turns + tight + _met(scene, points)


def _passage_m(scene: Scene, points: np.ndarray) -> float:
    """Width of the narrowest passage on a path, seen at right angles to it; at most twice the length of the look."""
    bodies = [body for body in scene.bodies if body.role not in (Role.GOAL, Role.MOVER)]
    if len(points) < 2 or not bodies:
        return 2 * _SIDE_M
    along = np.gradient(points, axis=0)
    # Where a path turns back it has no direction, and nothing is narrow.
    lengths = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), _SMALLEST_M)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / lengths
    reach = np.arange(_RAY_M, _SIDE_M + _RAY_M / 2, _RAY_M)
    free = [_free_m(bodies, points, sign * across, reach) for sign in (1, -1)]
    return float((free[0] + free[1]).min())


def _free_m(bodies: list[Body], points: np.ndarray, way: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """How far each point (n, 2) sees along its unit vector (n, 2) until a body, at most the longest reach; (n,)."""
    seen = (points[:, None] + reach[:, None] * way[:, None]).reshape(-1, 2)
    hit = np.zeros(len(seen), dtype=bool)
    for body in bodies:
        hit |= surface_distances(body, seen) <= 0
    hits = hit.reshape(len(points), -1)
    return np.where(hits.any(axis=1), reach[hits.argmax(axis=1)], reach[-1])


def _met(scene: Scene, points: np.ndarray) -> int:
    places = [np.array([(pose.x_m, pose.y_m) for pose in dict.fromkeys(motion.poses)]) for motion in scene.motions]
    tracks = [resample(track, _EVERY_M) if len(track) > 1 else track for track in places]
    return sum(float(np.linalg.norm(track[:, None] - points[None], axis=2).min()) <= _MET_M for track in tracks)
