"""Whether a layout can be used: nothing overlaps, the start is free, the goal can be reached as asked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from vla_sim.core.geometry import resample, surface_distance, surface_distances
from vla_sim.core.legs import at_leg
from vla_sim.core.movers import Movers, placed
from vla_sim.core.planner import Planner
from vla_sim.core.timed_planner import TimedPlanner
from vla_sim.core.types import Body, Instruction, Kind, Leg, Look, Motion, Pose2, Role, Scene, Side, Task
from vla_sim.scenarios.layout import Layout, candidates
from vla_sim.scenarios.rooms import inside
from vla_sim.scenarios.scene_distribution import CANDIDATE, SceneDistribution

# Bodies that stand closer than this to each other overlap or look as if they did.
GAP_M = 0.02
# Objects that a sentence tells apart by place must be this far apart as seen from the start.
BEARING_GAP_RAD = math.radians(8)
# Gaps along a way are checked at points this far apart.
SPACING_M = 0.06
# Movers start at least this far from the robot; their paths are checked at points this far apart.
START_GAP_M = 0.3
TRACK_SPACING_M = 0.1
# A way among movers must do for the slowest robot, with this room to them, in this share of the time.
SLOW_MPS, PLAN_STEP_S, MOVER_MARGIN_M, TIME_SHARE = 0.38, 0.4, 0.15, 0.75


def why_infeasible(plan: SceneDistribution, layout: Layout, robot_radius_m: float) -> str | None:
    """Why a layout cannot be used, in words; None when it can.

    Where a side is asked for, the goal must be reachable on either one, so that both twins can use the world.
    """
    objects = [body for body in layout.bodies if body.role not in (Role.WALL, Role.MOVER)]
    goal = next((body for body in objects if body.role is Role.GOAL), None)
    if goal is None:
        return _why_crowded(layout, objects, robot_radius_m)
    if surface_distance(goal, *_at(layout.start)) - robot_radius_m <= plan.task.reach_m:
        early = "the goal is reached at the start"
    elif not _told_apart(plan, objects, layout.start):
        early = "candidates cannot be told apart by their place"
    else:
        early = None
    return (
        _why_crowded(layout, objects, robot_radius_m)
        or early
        or _why_run_over(layout, robot_radius_m)
        or _why_closed(plan, layout, robot_radius_m)
        or _why_never_free(plan, layout, robot_radius_m)
    )


def _at(pose: Pose2) -> tuple[float, float]:
    return pose.x_m, pose.y_m


def _why_crowded(layout: Layout, objects: Sequence[Body], robot_radius_m: float) -> str | None:
    """Whether something stands on the start, in a wall or in something else."""
    walled = _has_inner_walls(layout)
    walls = [body for body in layout.bodies if body.role is Role.WALL] if walled else []
    if walled and not _clear_of(walls, layout, _at(layout.start), robot_radius_m):
        return "the start is in a wall or outside of the room"
    for body in objects:
        if surface_distance(body, *_at(layout.start)) - robot_radius_m < GAP_M:
            return f"{body.name} stands on the start"
        if not _inside(body, layout.bounds_m):
            return f"{body.name} stands in a wall or outside of the room"
        if walled and (not inside(layout.outline, body.x_m, body.y_m) or any(_gap(body, w) < GAP_M for w in walls)):
            return f"{body.name} stands in a wall or outside of the room"
    for one, other in itertools.combinations(objects, 2):
        if _gap(one, other) < GAP_M:
            return f"{one.name} and {other.name} overlap"
    return None


def _has_inner_walls(layout: Layout) -> bool:
    """Whether the room is more than four walls around a start at its usual place."""
    walls = [body for body in layout.bodies if body.role is Role.WALL]
    return len(walls) > 4 or layout.start != Pose2(0.0, 0.0)


def _clear_of(walls: Sequence[Body], layout: Layout, point: tuple[float, float], radius_m: float) -> bool:
    return inside(layout.outline, *point) and all(surface_distance(w, *point) - radius_m >= GAP_M for w in walls)


def _why_run_over(layout: Layout, robot_radius_m: float) -> str | None:
    """Whether something that moves stands on the start at first or goes through what stands."""
    bodies = {body.name: body for body in layout.bodies}
    solid = [body for body in layout.bodies if body.role is not Role.MOVER]
    for motion in layout.motions:
        mover = bodies[motion.name]
        if surface_distance(mover, *_at(layout.start)) - robot_radius_m < START_GAP_M:
            return f"{mover.name} stands on the start"
        standing = [body for body in solid if mover.kind is not Kind.DOOR or body.role is not Role.WALL]
        for pose in _poses_on(motion):
            there = placed(mover, pose)
            hit = next((body for body in standing if _gap(there, body) < GAP_M), None)
            if hit is not None:
                return f"{mover.name} goes through {hit.name}"
            if mover.kind is not Kind.DOOR and not inside(layout.outline, pose.x_m, pose.y_m):
                return f"{mover.name} leaves the room"
    return None


def _poses_on(motion: Motion) -> list[Pose2]:
    """Poses of a path, close to each other; one that is repeated is given once."""
    points = list(dict.fromkeys(motion.poses))
    found = points[:1]
    for here, there in itertools.pairwise(points):
        count = max(1, math.ceil(math.dist(_at(here), _at(there)) / TRACK_SPACING_M))
        x, y, yaw = (
            np.linspace(getattr(here, key), getattr(there, key), count + 1)[1:] for key in ("x_m", "y_m", "yaw_rad")
        )
        found += map(Pose2, x.tolist(), y.tolist(), yaw.tolist())
    return found


def _why_never_free(plan: SceneDistribution, layout: Layout, robot_radius_m: float) -> str | None:
    """Whether what moves keeps the robot from its goal, were it to go its way whatever the robot does."""
    if not layout.motions:
        return None
    for side in (Side.LEFT, Side.RIGHT) if plan.task.side else (None,):
        scene = _scene(plan, layout, side)
        movers = Movers(scene, robot_radius_m)
        movers.start()
        planner = TimedPlanner(
            scene,
            robot_radius_m,
            margin_m=min(plan.task.clearance_m, 0.1),
            mover_margin_m=MOVER_MARGIN_M,
            speed_mps=SLOW_MPS,
            step_s=PLAN_STEP_S,
        )
        if not planner.solvable(movers, plan.task.time_limit_s * TIME_SHARE):
            return "no way to the goal while something moves" + (f" on the {side.value}" if side else "")
    return None


def _why_closed(plan: SceneDistribution, layout: Layout, robot_radius_m: float) -> str | None:
    simple = not _has_inner_walls(layout)
    if not simple and _through_a_wall(plan, layout):
        return "the goal can be reached through a wall"
    if plan.legs:
        return _why_a_leg_fails(plan, layout, robot_radius_m)
    for side in (Side.LEFT, Side.RIGHT) if plan.task.side else (None,):
        if simple and _obvious_way(plan, layout, robot_radius_m, side):
            continue
        scene = _scene(plan, layout, side)
        way = Planner(scene, robot_radius_m, plan.task.clearance_m).path(*_at(layout.start))
        asked = f" on the {side.value}" if side else ""
        if not len(way):
            return f"no way to the goal{asked}"
        if _gap_along(way, Role.DISTRACTOR, layout.bodies) - robot_radius_m <= plan.task.reach_m:
            return f"no way to the goal{asked} that does not come within reach of another object"
    return None


def _why_a_leg_fails(plan: SceneDistribution, layout: Layout, robot_radius_m: float) -> str | None:
    """Whether every leg can be driven, from where the one before it ended, without coming near another object."""
    for side in (Side.LEFT, Side.RIGHT) if plan.task.side else (None,):
        scene, at = _scene(plan, layout, side), _at(layout.start)
        legs = tuple(rule.leg for rule in plan.legs)
        scene = replace(scene, task=replace(scene.task, legs=legs))
        since = 0
        for index, leg in enumerate(legs):
            here = at_leg(scene, index)
            if not leg.is_target:
                if not _behind(here, leg, at, robot_radius_m):
                    return f"what comes next does not stand behind {leg.name}"
                continue
            doors, since = tuple(one for one in legs[since:index] if one.through), index + 1
            alone = replace(here, task=replace(here.task, legs=(*doors, leg), leg=0))
            # A path ends halfway to the surface of what it leads to, and the next one begins there.
            room_m = min(plan.task.clearance_m, plan.task.reach_m / 3)
            way = Planner(alone, robot_radius_m, room_m).path(*at)
            if not len(way):
                return f"no way to {leg.name}"
            gap_m = _gap_along(way, Role.DISTRACTOR, here.bodies) - robot_radius_m
            if gap_m <= plan.task.reach_m or len(way) < 2:
                return f"no way to {leg.name} that does not come within reach of another object"
            at = (float(way[-1][0]), float(way[-1][1]))
    return None


def _behind(scene: Scene, leg: Leg, at: tuple[float, float], robot_radius_m: float) -> bool:
    """Whether what comes after a body that is passed, or a doorway, can be reached only after it.

    Of a doorway: it lies on the other side of its line, seen from where the robot sets off for it.
    """
    goal, start = scene.goal, scene.start
    doorways = {one.wall: one for one in scene.doorways}
    later = [one for one in scene.task.legs[scene.task.leg + 1 :] if not one.past]
    next_door = doorways[later[0].name] if later[0].through else None
    if leg.through:
        before = [doorways[one.name] for one in scene.task.legs[: scene.task.leg] if one.through]
        since = before[-1].middle if before and scene.task.legs[scene.task.leg - 1].through else at
        return doorways[leg.name].apart(since, next_door.middle if next_door else (goal.x_m, goal.y_m))
    body = next(body for body in scene.bodies if body.name == leg.name)
    passed_m = start.seen_from(body.x_m, body.y_m)[0]
    if next_door is not None:
        return all(start.seen_from(*post)[0] > passed_m + robot_radius_m for post in next_door.posts)
    apart = start.seen_from(goal.x_m, goal.y_m)[0] - passed_m
    return apart > math.hypot(*goal.size_m[:2]) / 2 + scene.task.reach_m + robot_radius_m


def _through_a_wall(plan: SceneDistribution, layout: Layout) -> bool:
    """Whether the robot could come within reach of a goal or distractor from behind an inner wall."""
    named = candidates(layout.bodies, layout.start)
    walls = [body for body in layout.bodies if body.role is Role.WALL]
    return any(_gap(body, wall) + min(wall.size_m[:2]) <= plan.task.reach_m for body in named for wall in walls[4:])


def _obvious_way(plan: SceneDistribution, layout: Layout, robot_radius_m: float, side: Side | None) -> bool:
    """Whether the simplest way, straight or around all obstacles at once, is free: saves planning in most scenes."""
    goal = next(body for body in layout.bodies if body.role is Role.GOAL)
    obstacles = [body for body in layout.bodies if body.role is Role.OBSTACLE]
    points = [(0.0, 0.0), (goal.x_m, goal.y_m)]
    room_m = robot_radius_m + plan.task.clearance_m + SPACING_M / 2
    if obstacles and side:
        wide = [(body, math.hypot(*body.size_m[:2]) / 2) for body in obstacles]
        aside = side.sign * (max(side.sign * body.y_m + radius for body, radius in wide) + room_m + GAP_M)
        ahead = (min(body.x_m - radius for body, radius in wide), max(body.x_m + radius for body, radius in wide))
        # Beside every obstacle while it passes it, hence on the asked side.
        points[1:1] = [(max(0.0, ahead[0]), aside), (ahead[1], aside)]
    way = np.array(points)
    if (np.diff(way[:, 0]) < 0).any():
        return False
    reach_m = max(room_m, robot_radius_m + plan.task.reach_m + SPACING_M)
    free = min(_gap_along(way, role, layout.bodies) for role in (Role.OBSTACLE, Role.FURNITURE, Role.WALL))
    return free >= room_m and _gap_along(way, Role.DISTRACTOR, layout.bodies) >= reach_m


def _gap_along(way: np.ndarray, role: Role, bodies: Sequence[Body]) -> float:
    """Least gap in metres between a way (n, 2) and the bodies of a role, to within half of SPACING_M."""
    found = [body for body in bodies if body.role is role]
    points = resample(way, SPACING_M) if found else way
    return min((float(surface_distances(body, points).min()) for body in found), default=math.inf)


def _scene(plan: SceneDistribution, layout: Layout, side: Side | None) -> Scene:
    return Scene(
        scenario="",
        seed=0,
        start=layout.start,
        bodies=layout.bodies,
        bounds_m=layout.bounds_m,
        task=Task(side=side, reach_m=plan.task.reach_m),
        look=Look(),
        instruction=Instruction(""),
        motions=layout.motions,
        doorways=layout.doorways,
    )


def _outline(body: Body) -> np.ndarray:
    """Points (n, 2) around a footprint, close enough to judge gaps of centimetres."""
    if body.round:
        angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
        points = body.size_m[0] / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (np.array(body.size_m[:2]) / 2)
        shares = np.linspace(0, 1, 6, endpoint=False)[:, None, None]
        sides = corners + shares * (np.roll(corners, -1, axis=0) - corners)
        cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
        points = sides.reshape(-1, 2) @ np.array([[cos, sin], [-sin, cos]])
    return points + np.array((body.x_m, body.y_m))


def _gap(one: Body, other: Body) -> float:
    apart = math.hypot(one.x_m - other.x_m, one.y_m - other.y_m)
    reach = math.hypot(*one.size_m[:2]) / 2 + math.hypot(*other.size_m[:2]) / 2
    if apart - reach >= GAP_M:
        return apart - reach
    gaps = (surface_distances(one, _outline(other)).min(), surface_distances(other, _outline(one)).min())
    return float(min(gaps))


def _inside(body: Body, bounds_m: tuple[float, float, float, float]) -> bool:
    points = _outline(body)
    x_min, x_max, y_min, y_max = bounds_m
    return bool(
        points[:, 0].min() > x_min + GAP_M
        and points[:, 0].max() < x_max - GAP_M
        and points[:, 1].min() > y_min + GAP_M
        and points[:, 1].max() < y_max - GAP_M
    )


def _told_apart(plan: SceneDistribution, bodies: Sequence[Body], start: Pose2) -> bool:
    if not any(item.role == CANDIDATE for item in plan.objects):
        return True
    seen = [start.seen_from(body.x_m, body.y_m) for body in candidates(bodies, start)]
    bearings = [math.atan2(aside, ahead) for ahead, aside in seen]
    return all(here - there >= BEARING_GAP_RAD for here, there in itertools.pairwise(bearings))
