"""Draws how a layout looks: colours, surfaces, light, camera tilt. Nothing here moves a body."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vla_sim.core.types import Body, Look, Role, Vec3
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.layout import Layout
from vla_sim.scenarios.reading import InfeasibleScenarioError
from vla_sim.scenarios.scene_distribution import (
    CANDIDATE,
    DEFAULTS,
    AppearanceDistribution,
    ObjectDistribution,
    SceneDistribution,
)

TRIES = 200
# Least distance in RGB between the colours of candidates, of an object and the floor, of the goal and the walls.
COLOR_GAP = 0.35
FLOOR_GAP = 0.25
WALL_GAP = 0.20
COLOR_JITTER = 0.04


def draw_appearance(
    plan: SceneDistribution, layout: Layout, rng: np.random.Generator
) -> tuple[tuple[Body, ...], Look, dict[str, str]]:
    """Colours and surfaces of the bodies, the look of the rest, and the colour names of the objects.

    Raises:
        InfeasibleScenarioError: the colours of the candidates were to differ and never did.
    """
    names, colors = _colors(plan, rng)
    textures = {item.name: _texture(item, body, rng) for item, body in zip(layout.plans, layout.bodies, strict=False)}
    look = _look(plan.look, rng, list(colors.values()))
    named = [body for body in layout.bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    goal = next((body for body in named if body.role is Role.GOAL), named[0])
    wall = _gray(plan.look.wall_brightness.draw, rng, [colors[goal.name]], WALL_GAP)
    look = replace(look, wall_color=wall)
    clothes = {mover.name: str(mover.color.draw(rng)) for mover in plan.movers}
    bodies = tuple(
        replace(body, color=wall, texture=look.wall_texture)
        if body.role is Role.WALL
        else replace(body, color=_jittered(PALETTE[clothes[body.name]], rng))
        if body.role is Role.MOVER
        else replace(body, color=colors[body.name], texture=textures[body.name])
        for body in layout.bodies
    )
    return bodies, look, names


def _colors(plan: SceneDistribution, rng: np.random.Generator) -> tuple[dict[str, str], dict[str, Vec3]]:
    for _ in range(TRIES):
        names = {item.name: str(item.color.draw(rng)) for item in plan.objects}
        found = [PALETTE[names[item.name]] for item in plan.objects if item.role == CANDIDATE]
        if "color" not in plan.differ or all(math.dist(a, b) >= COLOR_GAP for a, b in itertools.combinations(found, 2)):
            return names, {name: _jittered(PALETTE[color], rng) for name, color in names.items()}
    raise InfeasibleScenarioError(f"the colours of the candidates were too much alike in all of {TRIES} tries")


def _jittered(color: Vec3, rng: np.random.Generator) -> Vec3:
    red, green, blue = np.clip(np.array(color) + rng.uniform(-COLOR_JITTER, COLOR_JITTER, 3), 0.0, 1.0)
    return (float(red), float(green), float(blue))


def _texture(item: ObjectDistribution, body: Body, rng: np.random.Generator) -> str:
    return str((item.texture or DEFAULTS[body.kind].textures).draw(rng))


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


def _look(plan: AppearanceDistribution, rng: np.random.Generator, colors: Sequence[Vec3]) -> Look:
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
