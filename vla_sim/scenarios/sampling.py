"""Draws what stands where from a blueprint and a seed; looks and wording have random streams of their own.

The streams know neither the scenario's name nor the side, so that a left and a right scenario of one file give the
same world for the same seed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import IntEnum

import numpy as np

from vla_sim.core.types import Body, Kind, Pose2, Role, Vec3
from vla_sim.scenarios.feasibility import why_infeasible
from vla_sim.scenarios.layout import Layout
from vla_sim.scenarios.movers import draw_movers
from vla_sim.scenarios.reading import InfeasibleScenarioError
from vla_sim.scenarios.rooms import NoRoomError, draw_room, draw_walls
from vla_sim.scenarios.scene_distribution import CANDIDATE, LINE, ObjectDistribution, SceneDistribution
from vla_sim.scenarios.task_rules import Refusal
from vla_sim.scenarios.usual_sizes import usual

TRIES = 200
# Draws of kinds in one try, until those of the candidates differ.
KIND_DRAWS = 1000


class Stream(IntEnum):
    """Second word of the seed sequence: which part of a scene the numbers are for."""

    LAYOUT = 0
    LOOK = 1
    WORDING = 2
    REFUSAL = 12
    LATER = 13


def stream(seed: int, which: Stream) -> np.random.Generator:
    """The random numbers of one part of a scene."""
    return np.random.default_rng([seed, int(which)])


def draw_layout(
    plans: Sequence[SceneDistribution], rng: np.random.Generator, robot_radius_m: float
) -> tuple[SceneDistribution, Layout]:
    """One of the distributions, and a feasible layout drawn from it.

    Raises:
        InfeasibleScenarioError: no try was feasible; says which check failed how often.
    """
    plan = plans[int(rng.integers(len(plans)))]
    reasons: Counter[str] = Counter()
    for _ in range(TRIES):
        kinds = _kinds(plan, rng)
        if kinds is None:
            reasons["the kinds of the candidates did not differ"] += 1
            continue
        try:
            layout = _layout(plan, kinds, rng)
        except NoRoomError as error:
            reasons[str(error)] += 1
            continue
        reason = why_infeasible(plan, layout, robot_radius_m)
        if reason is None:
            return plan, layout
        reasons[reason] += 1
    why = ", ".join(f"{reason} ({count} times)" for reason, count in reasons.most_common(3))
    raise InfeasibleScenarioError(f"in {TRIES} tries {why}")


def _layout(plan: SceneDistribution, kinds: Mapping[str, Kind], rng: np.random.Generator) -> Layout:
    sizes = {item.name: _size(item, kinds[item.name], plan.sizes, rng) for item in plan.objects}
    aheads = {item.name: float(item.ahead_m.draw(rng)) for item in plan.objects}
    asides = {item.name: float(item.aside_m.draw(rng)) for item in plan.objects}
    yaws = {item.name: math.radians(item.yaw_deg.draw(rng)) for item in plan.objects}
    masses = {item.name: _mass(item, kinds[item.name], plan.sizes, rng) for item in plan.objects}
    chosen = _pick(plan, rng)
    outline, bounds, outer = draw_room(plan.room, rng)
    start = _start(plan, rng)
    inner, doorways = draw_walls(plan.walls, outer[0].size_m[2], rng)
    movers, motions = draw_movers(plan.movers, rng)
    places = _places(plan, aheads, asides, start)
    bodies = tuple(
        Body(
            name=item.name,
            kind=kinds[item.name],
            role=_role(item, chosen),
            size_m=sizes[item.name],
            x_m=places[item.name][0],
            y_m=places[item.name][1],
            yaw_rad=yaws[item.name] + (start.yaw_rad if item.frame == "start" else 0.0),
            mass_kg=masses[item.name],
            mesh=item.mesh,
        )
        for item in plan.objects
    )
    return Layout((*bodies, *outer, *inner, *movers), bounds, plan.objects, start, motions, outline, doorways)


def _start(plan: SceneDistribution, rng: np.random.Generator) -> Pose2:
    at = plan.start
    return Pose2(float(at.x_m.draw(rng)), float(at.y_m.draw(rng)), math.radians(at.yaw_deg.draw(rng)))


def _kinds(plan: SceneDistribution, rng: np.random.Generator) -> dict[str, Kind] | None:
    """The kind of each object; None when those of the candidates were to differ, or to be alike, and never did."""
    alike = plan.task.refuse is Refusal.AMBIGUOUS
    for _ in range(KIND_DRAWS):
        kinds = {item.name: Kind(item.kind.draw(rng)) for item in plan.objects}
        found = [kinds[item.name] for item in plan.objects if item.role == CANDIDATE]
        different = len(set(found)) == len(found)
        fits = not different if alike else different or "kind" not in plan.differ
        if fits:
            return kinds
    return None


def _mass(item: ObjectDistribution, kind: Kind, sizes: str, rng: np.random.Generator) -> float:
    return float((item.mass_kg or usual(kind, sizes).mass_kg).draw(rng))


def _size(item: ObjectDistribution, kind: Kind, sizes: str, rng: np.random.Generator) -> Vec3:
    default = usual(kind, sizes)
    plans = (item.depth_m or default.depth_m, item.width_m or default.width_m, item.height_m or default.height_m)
    depth, width, height = (float(plan.draw(rng)) for plan in plans)
    return (depth, depth if kind.round and item.mesh is None else width, height)


def _pick(plan: SceneDistribution, rng: np.random.Generator) -> str | None:
    candidates = [item.name for item in plan.objects if item.role == CANDIDATE]
    chosen = candidates[int(rng.integers(len(candidates)))] if candidates else None
    if plan.legs:
        return next(leg.to for leg in plan.legs if leg.to)
    return None if plan.task.refuse in (Refusal.ABSENT, Refusal.AMBIGUOUS) else chosen


def _role(item: ObjectDistribution, chosen: str | None) -> Role:
    if item.role == CANDIDATE:
        return Role.GOAL if item.name == chosen else Role.DISTRACTOR
    return Role(item.role)


def _places(
    plan: SceneDistribution, aheads: Mapping[str, float], asides: Mapping[str, float], start: Pose2
) -> dict[str, tuple[float, float]]:
    """World positions; `ahead_from` and `aside_from` are followed to their end, within one frame."""
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

    return {
        name: start.point(ahead(name), aside(name)) if item.frame == "start" else (ahead(name), aside(name))
        for name, item in items.items()
    }
