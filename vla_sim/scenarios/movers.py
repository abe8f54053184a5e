"""Draws what moves by itself: a body and its motion. Used by `vla_sim.scenarios.sampling`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from vla_sim.core.types import Body, Kind, Motion, Pose2, Role
from vla_sim.scenarios.rooms import NoRoomError, Point, draw_point
from vla_sim.scenarios.surroundings import MoverDistribution
from vla_sim.scenarios.usual_sizes import MOVER_SIZES

# How fast it turns at a corner of its path.
TURN_RADPS = 3.0
# A path that is repeated is written out for so long.
REPEATED_S = 120.0
# Between poses of a swinging door: at a leaf of 1 m the straight way between them is 1 mm off the arc.
SWING_STEP_RAD = math.radians(5)


def draw_movers(
    plans: Sequence[MoverDistribution], rng: np.random.Generator
) -> tuple[tuple[Body, ...], tuple[Motion, ...]]:
    """Bodies where they stand at first, and how they move."""
    drawn = [_draw(plan, rng) for plan in plans]
    return tuple(body for body, _ in drawn), tuple(motion for _, motion in drawn)


def _draw(plan: MoverDistribution, rng: np.random.Generator) -> tuple[Body, Motion]:
    kind = Kind(plan.kind.draw(rng))
    usual = MOVER_SIZES[kind]
    depth, width, height = (
        float((own or general).draw(rng))
        for own, general in zip((plan.depth_m, plan.width_m, plan.height_m), usual, strict=True)
    )
    points = [draw_point(point, rng) for point in plan.path_m or plan.hinge_m]
    speed, wait_s = float(plan.speed_mps.draw(rng)), float(plan.start_s.draw(rng))
    facing = None if plan.yaw_deg is None else math.radians(plan.yaw_deg.draw(rng))
    if plan.hinge_m and facing is not None:
        angle = math.radians(plan.swing_deg.draw(rng))
        times, poses = _swing(points[0], (facing, angle), depth, (speed, wait_s), repeat=plan.repeat)
    else:
        times, poses = _schedule(points, speed, wait_s, facing, repeat=plan.repeat)
    motion = Motion(
        name=plan.name,
        times_s=times,
        poses=poses,
        reaction=plan.reacts.draw(rng),
        react_m=float(plan.react_m.draw(rng)),
        starts_within_m=None if plan.starts_within_m is None else float(plan.starts_within_m.draw(rng)),
    )
    round_ = kind in (Kind.PERSON, Kind.ROBOT)
    size = (depth, depth if round_ else width, height)
    first = poses[0]
    return Body(plan.name, kind, Role.MOVER, size, first.x_m, first.y_m, yaw_rad=first.yaw_rad), motion


def _schedule(
    points: list[Point], speed_mps: float, wait_s: float, facing_rad: float | None, *, repeat: bool
) -> tuple[tuple[float, ...], tuple[Pose2, ...]]:
    """Times and poses of a walk through points, turning on the spot at corners."""
    lengths = [math.dist(a, b) for a, b in itertools.pairwise(points)]
    if min(lengths) < 0.01:
        raise NoRoomError("two points of a path are the same")
    if repeat:
        there_and_back = points + points[-2:0:-1]
        rounds = math.ceil(REPEATED_S * speed_mps / (2 * sum(lengths)))
        points = there_and_back * rounds + points[:1]
    times, poses = [0.0], [Pose2(*points[0], _heading(points[0], points[1], facing_rad))]
    if wait_s > 0:
        times.append(wait_s)
        poses.append(poses[0])
    for here, there in itertools.pairwise(points):
        yaw = _heading(here, there, facing_rad)
        turn = abs(math.remainder(yaw - poses[-1].yaw_rad, 2 * math.pi))
        if turn > 1e-6:
            times.append(times[-1] + turn / TURN_RADPS)
            poses.append(Pose2(*here, yaw))
        times.append(times[-1] + math.dist(here, there) / speed_mps)
        poses.append(Pose2(*there, yaw))
    return tuple(times), tuple(poses)


def _swing(
    hinge: Point, turn_rad: tuple[float, float], length_m: float, pace: tuple[float, float], *, repeat: bool
) -> tuple[tuple[float, ...], tuple[Pose2, ...]]:
    """Times and poses of a door leaf about its hinge, straight from one small angle to the next.

    Args:
        hinge: one end of the leaf.
        turn_rad: yaw at first, and by how much it turns.
        length_m: of the leaf.
        pace: speed of its far edge in m/s, and how long it stands at first, s.
        repeat: whether it turns back and forth.
    """
    speed_mps, wait_s = pace
    closed, swing = turn_rad
    if abs(swing) < 0.01:
        raise NoRoomError("a door swings by no angle")
    turns = np.linspace(0.0, swing, math.ceil(abs(swing) / SWING_STEP_RAD) + 1).tolist()
    once_s = abs(swing) * length_m / speed_mps
    angles = [turn for _ in range(math.ceil(REPEATED_S / once_s / 2)) for turn in turns[:-1] + turns[:0:-1]]
    angles = [*angles, 0.0] if repeat else turns
    step_s = once_s / (len(turns) - 1)
    times = [wait_s + number * step_s for number in range(len(angles))]
    poses = [_hung(hinge, closed + angle, length_m) for angle in angles]
    return (tuple(times), tuple(poses)) if wait_s == 0 else ((0.0, *times), (poses[0], *poses))


def _hung(hinge: Point, yaw_rad: float, length_m: float) -> Pose2:
    half = length_m / 2
    return Pose2(hinge[0] + half * math.cos(yaw_rad), hinge[1] + half * math.sin(yaw_rad), yaw_rad)


def _heading(here: Point, there: Point, facing_rad: float | None) -> float:
    return math.atan2(there[1] - here[1], there[0] - here[0]) if facing_rad is None else facing_rad
