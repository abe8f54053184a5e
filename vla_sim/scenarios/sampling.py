"""Turns a blueprint and a seed into a Scene: places, looks and wording, each from a random stream of its own.

The streams know neither the scenario's name nor the side, so that a left and a right scenario of one file give the
same world for the same seed.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from vla_sim.geometry import surface_distance, surface_distances
from vla_sim.planner import Planner
from vla_sim.scenarios.blueprint import CANDIDATE, DEFAULTS, LINE, Blueprint, LookPlan, ObjectPlan
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.language import Facts
from vla_sim.types import Body, Instruction, Kind, Look, Pose2, Role, Scene, Side, Task, Vec3

TRIES = 200
WALL_THICKNESS_M = 0.05
# Bodies that stand closer than this to each other overlap or look as if they did.
GAP_M = 0.02
# Objects that a sentence tells apart by place must be this far apart as seen from the start.
BEARING_GAP_RAD = math.radians(8)
# Least distance in RGB between the colours of candidates, of an object and the floor, of the goal and the walls.
COLOR_GAP = 0.35
FLOOR_GAP = 0.25
WALL_GAP = 0.20
COLOR_JITTER = 0.04


class Stream(IntEnum):
    """Second word of the seed sequence: which part of a scene the numbers are for."""

    LAYOUT = 0
    LOOK = 1
    WORDING = 2


def stream(seed: int, which: Stream) -> np.random.Generator:
    """The random numbers of one part of a scene."""
    return np.random.default_rng([seed, int(which)])


@dataclass(frozen=True)
class Layout:
    """Bodies in place (colours come later), the inner faces of the walls, and which bodies are candidates."""

    bodies: tuple[Body, ...]
    bounds_m: tuple[float, float, float, float]
    plans: tuple[ObjectPlan, ...]


def draw_layout(
    plans: Sequence[Blueprint], rng: np.random.Generator, robot_radius_m: float
) -> tuple[Blueprint, Layout, Counter[str]]:
    """A feasible layout of one of the blueprints, or the last infeasible one; and why the others were not kept.

    The third value holds as many reasons as tries when none was feasible.
    """
    plan = plans[int(rng.integers(len(plans)))]
    reasons: Counter[str] = Counter()
    for _ in range(TRIES):
        layout = _layout(plan, rng)
        reason = why_infeasible(plan, layout, robot_radius_m)
        if reason is None:
            break
        reasons[reason] += 1
    return plan, layout, reasons


def _layout(plan: Blueprint, rng: np.random.Generator) -> Layout:
    kinds = _kinds(plan, rng)
    sizes = {item.name: _size(item, kinds[item.name], rng) for item in plan.objects}
    aheads = {item.name: float(item.ahead_m.draw(rng)) for item in plan.objects}
    asides = {item.name: float(item.aside_m.draw(rng)) for item in plan.objects}
    yaws = {item.name: math.radians(item.yaw_deg.draw(rng)) for item in plan.objects}
    masses = {item.name: float((item.mass_kg or DEFAULTS[kinds[item.name]].mass_kg).draw(rng)) for item in plan.objects}
    places = _places(plan, aheads, asides)
    chosen = _pick(plan, rng)
    bodies = tuple(
        Body(
            name=item.name,
            kind=kinds[item.name],
            role=_role(item, chosen),
            size_m=sizes[item.name],
            x_m=places[item.name][0],
            y_m=places[item.name][1],
            yaw_rad=yaws[item.name],
            mass_kg=masses[item.name],
        )
        for item in plan.objects
    )
    room = plan.room
    ahead, behind, width = (float(d.draw(rng)) for d in (room.ahead_m, room.behind_m, room.width_m))
    bounds = (-behind, ahead, -width / 2, width / 2)
    return Layout((*bodies, *_walls(bounds, float(room.wall_height_m.draw(rng)))), bounds, plan.objects)


def _kinds(plan: Blueprint, rng: np.random.Generator) -> dict[str, Kind]:
    while True:
        kinds = {item.name: Kind(item.kinds.draw(rng)) for item in plan.objects}
        found = [kinds[item.name] for item in plan.objects if item.role == CANDIDATE]
        if "kind" not in plan.differ or len(set(found)) == len(found):
            return kinds


def _size(item: ObjectPlan, kind: Kind, rng: np.random.Generator) -> Vec3:
    usual = DEFAULTS[kind]
    plans = (item.depth_m or usual.depth_m, item.width_m or usual.width_m, item.height_m or usual.height_m)
    depth, width, height = (float(plan.draw(rng)) for plan in plans)
    return (depth, depth if kind in (Kind.CUP, Kind.BOTTLE, Kind.POT) else width, height)


def _pick(plan: Blueprint, rng: np.random.Generator) -> str | None:
    candidates = [item.name for item in plan.objects if item.role == CANDIDATE]
    return candidates[int(rng.integers(len(candidates)))] if candidates else None


def _role(item: ObjectPlan, chosen: str | None) -> Role:
    if item.role == CANDIDATE:
        return Role.GOAL if item.name == chosen else Role.DISTRACTOR
    return Role(item.role)


def _places(
    plan: Blueprint, aheads: Mapping[str, float], asides: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """World positions; `ahead_from` and `aside_from` are followed to their end."""
    items = {item.name: item for item in plan.objects}

    def ahead(name: str) -> float:
        anchor = items[name].ahead_from
        return aheads[name] + (ahead(anchor) if anchor else 0.0)

    def aside(name: str) -> float:
        anchor = items[name].aside_from
        if anchor == LINE:
            goal = next(item.name for item in plan.objects if item.role == "goal")
            return asides[name] + aside(goal) * ahead(name) / max(ahead(goal), 1e-6)
        return asides[name] + (aside(anchor) if anchor else 0.0)

    return {name: (ahead(name), aside(name)) for name in items}


def _walls(bounds_m: tuple[float, float, float, float], height_m: float) -> tuple[Body, ...]:
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


def why_infeasible(plan: Blueprint, layout: Layout, robot_radius_m: float) -> str | None:
    """Why a layout cannot be used, in words; None when it can.

    Where a side is asked for, the goal must be reachable on either one, so that both twins can use the world.
    """
    movable = [body for body in layout.bodies if body.role is not Role.WALL]
    for body in movable:
        if surface_distance(body, 0.0, 0.0) - robot_radius_m < GAP_M:
            return f"{body.name} stands on the start"
        if not _inside(body, layout.bounds_m):
            return f"{body.name} stands in a wall or outside of the room"
    for one, other in itertools.combinations(movable, 2):
        if _gap(one, other) < GAP_M:
            return f"{one.name} and {other.name} overlap"
    goal = next(body for body in movable if body.role is Role.GOAL)
    if surface_distance(goal, 0.0, 0.0) - robot_radius_m <= plan.task.reach_m:
        return "the goal is reached at the start"
    if not _told_apart(plan, movable):
        return "candidates cannot be told apart by their place"
    return _why_closed(plan, layout, robot_radius_m)


def _why_closed(plan: Blueprint, layout: Layout, robot_radius_m: float) -> str | None:
    for side in (Side.LEFT, Side.RIGHT) if plan.task.side else (None,):
        scene = _scene(plan, layout, side)
        if math.isinf(Planner(scene, robot_radius_m, plan.task.clearance_m).distance(0.0, 0.0)):
            return f"no way to the goal on the {side.value}" if side else "no way to the goal"
    return None


def _scene(plan: Blueprint, layout: Layout, side: Side | None) -> Scene:
    return Scene(
        scenario="",
        seed=0,
        start=Pose2(0.0, 0.0),
        bodies=layout.bodies,
        bounds_m=layout.bounds_m,
        task=Task(side=side, reach_m=plan.task.reach_m),
        look=Look(),
        instruction=Instruction(""),
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


def _candidates(bodies: Sequence[Body]) -> list[Body]:
    """Goal and distractors from left to right."""
    named = [body for body in bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    return sorted(named, key=lambda body: -body.y_m)


def _told_apart(plan: Blueprint, bodies: Sequence[Body]) -> bool:
    if not any(item.role == CANDIDATE for item in plan.objects):
        return True
    bearings = [math.atan2(body.y_m, body.x_m) for body in _candidates(bodies)]
    return all(here - there >= BEARING_GAP_RAD for here, there in itertools.pairwise(bearings))


def dress(plan: Blueprint, layout: Layout, rng: np.random.Generator) -> tuple[tuple[Body, ...], Look, dict[str, str]]:
    """Colours and surfaces of the bodies, the look of the rest, and the colour names of the objects."""
    names, colors = _colors(plan, rng)
    textures = {item.name: _texture(item, body, rng) for item, body in zip(layout.plans, layout.bodies, strict=False)}
    look = _look(plan.look, rng, list(colors.values()))
    goal = next(body for body in layout.bodies if body.role is Role.GOAL)
    wall = _gray(plan.look.wall_brightness.draw, rng, [colors[goal.name]], WALL_GAP)
    look = replace(look, wall_color=wall)
    bodies = tuple(
        replace(body, color=wall, texture=look.wall_texture)
        if body.role is Role.WALL
        else replace(body, color=colors[body.name], texture=textures[body.name])
        for body in layout.bodies
    )
    return bodies, look, names


def _colors(plan: Blueprint, rng: np.random.Generator) -> tuple[dict[str, str], dict[str, Vec3]]:
    for _ in range(TRIES):
        names = {item.name: str(item.colors.draw(rng)) for item in plan.objects}
        found = [PALETTE[names[item.name]] for item in plan.objects if item.role == CANDIDATE]
        if "color" not in plan.differ or all(math.dist(a, b) >= COLOR_GAP for a, b in itertools.combinations(found, 2)):
            break
    return names, {name: _jittered(PALETTE[color], rng) for name, color in names.items()}


def _jittered(color: Vec3, rng: np.random.Generator) -> Vec3:
    red, green, blue = np.clip(np.array(color) + rng.uniform(-COLOR_JITTER, COLOR_JITTER, 3), 0.0, 1.0)
    return (float(red), float(green), float(blue))


def _texture(item: ObjectPlan, body: Body, rng: np.random.Generator) -> str:
    return str((item.textures or DEFAULTS[body.kind].textures).draw(rng))


def _gray(
    brightness: Callable[[np.random.Generator], float], rng: np.random.Generator, others: Sequence[Vec3], gap: float
) -> Vec3:
    """A pale colour of some brightness that none of the others resembles; the least alike of many tries."""
    best: tuple[float, Vec3] = (-1.0, (0.5, 0.5, 0.5))
    for _ in range(TRIES):
        level = brightness(rng)
        red, green, blue = np.clip(level + rng.uniform(-0.08, 0.08, 3), 0.05, 1.0)
        color = (float(red), float(green), float(blue))
        apart = min((math.dist(color, other) for other in others), default=math.inf)
        best = max(best, (apart, color))
        if apart >= gap:
            break
    return best[1]


def _look(plan: LookPlan, rng: np.random.Generator, colors: Sequence[Vec3]) -> Look:
    red, green, blue = (float(plan.tint.draw(rng)) for _ in range(3))
    roll, pitch, yaw = (math.radians(plan.camera_tilt_deg.draw(rng)) for _ in range(3))
    return Look(
        sun_azimuth_rad=math.radians(plan.sun_azimuth_deg.draw(rng)),
        sun_elevation_rad=math.radians(plan.sun_elevation_deg.draw(rng)),
        sun=float(plan.sun.draw(rng)),
        ambient=float(plan.ambient.draw(rng)),
        tint=(red, green, blue),
        floor_texture=str(plan.floor_texture.draw(rng)),
        floor_color=_gray(plan.floor_brightness.draw, rng, colors, FLOOR_GAP),
        wall_texture=str(plan.wall_texture.draw(rng)),
        camera_tilt_rad=(roll, pitch, yaw),
        texture_seed=int(rng.integers(2**31)),
    )


def facts_of(plan: Blueprint, bodies: Sequence[Body], colors: Mapping[str, str]) -> Facts:
    """What a sentence may say about a world."""
    goal = next(body for body in bodies if body.role is Role.GOAL)
    obstacles = [body for body in bodies if body.role is Role.OBSTACLE]
    return Facts(
        goal=goal.kind,
        color=colors[goal.name],
        side=plan.task.side,
        obstacle=obstacles[0].kind if obstacles else None,
        count=len(obstacles),
        references=_references(goal, _candidates(bodies), colors),
        sentences=plan.language.sentences,
    )


def _references(goal: Body, candidates: Sequence[Body], colors: Mapping[str, str]) -> tuple[str, ...]:
    """The ways to name the goal that fit no other object."""
    others = [body for body in candidates if body.name != goal.name]
    if not others:
        return ()
    same_kind = any(body.kind is goal.kind for body in others)
    same_color = any(colors[body.name] == colors[goal.name] for body in others)
    same_both = any(body.kind is goal.kind and colors[body.name] == colors[goal.name] for body in others)
    nameless = colors[goal.name] == "cardboard"
    places = {2: ("left", "right"), 3: ("left", "middle", "right")}.get(len(candidates), ())
    found = [
        *([] if same_kind else ["kind"]),
        *([] if same_color or nameless else ["color"]),
        *([] if same_both or nameless else ["color_kind"]),
        *places[candidates.index(goal) :][:1],
    ]
    return tuple(found)
