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
    points = [draw_point(point, rng) for point in plan.path_m]
    speed, wait_s = float(plan.speed_mps.draw(rng)), float(plan.start_s.draw(rng))
    facing = None if plan.yaw_deg is None else math.radians(plan.yaw_deg.draw(rng))
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


def _heading(here: Point, there: Point, facing_rad: float | None) -> float:
    return math.atan2(there[1] - here[1], there[0] - here[0]) if facing_rad is None else facing_rad
