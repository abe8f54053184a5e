"""Follows a path with a base that cannot turn on the spot. Used by the expert for cars.

Pure pursuit: the arc from here through a point a little ahead on the path, as R. C. Coulter describes it
(Implementation of the Pure Pursuit Path Tracking Algorithm, CMU-RI-TR-92-01), within the smallest turning circle.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Pose2
from vla_sim.sim.kinematics import Twist

# The arc leads through the point this far ahead on the path, in smallest turning radii.
AHEAD = 0.9
# An arc is looked at for this far, in smallest turning radii; where it comes nearer to a body than this, it is left.
LOOKED_AT, NEAREST_M = 1.4, 0.03
# The same of an arc that gives way.
GIVING_WAY = 0.6
# Beyond this bearing of the point ahead, the base backs until it faces it better.
FACING_RAD = math.radians(100)
POINTS = 8


def pursue(path: np.ndarray, pose: Pose2, embodiment: Embodiment, clearance: Callable[[float, float], float]) -> Twist:
    """Body twist (m/s, 0, rad/s) that follows a path.

    Args:
        path: corners (n, 2) in the world frame in metres, n at least 2; it starts at the pose.
        pose: of the base.
        embodiment: a base with a smallest turning circle.
        clearance: gap in metres between the base at a point (x, y) and what is nearest.
    """
    curvature = embodiment.drive.max_curvature
    ahead_m = AHEAD / curvature
    target = _ahead(path, ahead_m)
    dx, dy = target[0] - pose.x_m, target[1] - pose.y_m
    bearing = math.remainder(math.atan2(dy, dx) - pose.yaw_rad, 2 * math.pi)
    wanted = 2 * math.sin(bearing) / max(math.hypot(dx, dy), 1e-6)
    turn = min(max(wanted, -curvature), curvature)
    speed = embodiment.cruise_mps
    if abs(bearing) < FACING_RAD and _free(pose, turn, speed, LOOKED_AT / curvature, clearance):
        return (speed, 0.0, speed * turn)
    back = -math.copysign(curvature, bearing)
    if _free(pose, back, -speed, LOOKED_AT / curvature / 2, clearance):
        return (-speed, 0.0, -speed * back)
    return (speed, 0.0, speed * turn)


def steer_to(
    heading_rad: float, pose: Pose2, embodiment: Embodiment, clearance: Callable[[float, float], float]
) -> Twist:
    """Body twist (m/s, 0, rad/s) of the arc to a point near by, forwards or backwards, whichever it lies nearer to.

    Stands still where that arc leads into something.

    Args:
        heading_rad: of the point from the pose, in the world frame.
        pose: of the base.
        embodiment: a base with a smallest turning circle.
        clearance: gap in metres between the base at a point (x, y) and what is nearest.
    """
    curvature, speed = embodiment.drive.max_curvature, embodiment.cruise_mps
    bearing = math.remainder(heading_rad - pose.yaw_rad, 2 * math.pi)
    back = abs(bearing) > math.pi / 2
    facing = math.remainder(bearing + math.pi, 2 * math.pi) if back else bearing
    turn = min(max(2 * math.sin(facing) * curvature / AHEAD, -curvature), curvature)
    # Driving back, a positive rate of turn bends the way to the base's right.
    ahead, bent = (-speed, -turn) if back else (speed, turn)
    if not _free(pose, bent, ahead, GIVING_WAY / curvature, clearance):
        return (0.0, 0.0, 0.0)
    return (ahead, 0.0, speed * turn)


def _ahead(path: np.ndarray, ahead_m: float) -> np.ndarray:
    """The point of a path so far from its start along it; its end where it is shorter."""
    for here, there in itertools.pairwise(path):
        length = math.dist(here, there)
        if length >= ahead_m:
            return np.asarray(here + (there - here) * (ahead_m / length))
        ahead_m -= length
    return np.asarray(path[-1])


def _free(
    pose: Pose2, curvature: float, speed_mps: float, length_m: float, clearance: Callable[[float, float], float]
) -> bool:
    return min(clearance(x, y) for x, y in _arc(pose, curvature, math.copysign(length_m, speed_mps))) >= NEAREST_M


def _arc(pose: Pose2, curvature: float, length_m: float) -> Iterator[tuple[float, float]]:
    """Points along an arc from a pose; backwards for a negative length."""
    for share in range(1, POINTS + 1):
        length = length_m * share / POINTS
        angle = curvature * length
        chord = length if abs(angle) < 1e-6 else 2 * math.sin(angle / 2) / curvature
        heading = pose.yaw_rad + angle / 2
        yield pose.x_m + chord * math.cos(heading), pose.y_m + chord * math.sin(heading)
