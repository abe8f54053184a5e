"""Draws how a layout looks: colours, surfaces, light, camera tilt. Nothing here moves a body."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from vla_sim.core.types import Body, Look, Role, Vec3
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import Distribution
from vla_sim.scenarios.layout import Layout
from vla_sim.scenarios.reading import InfeasibleScenarioError
from vla_sim.scenarios.scene_distribution import (
    CANDIDATE,
    AppearanceDistribution,
    ObjectDistribution,
    SceneDistribution,
)
from vla_sim.scenarios.usual_sizes import usual

TRIES = 200
# Least distance in RGB between the colours of candidates, of an object and the floor, of the goal and the walls.
COLOR_GAP = 0.35
FLOOR_GAP = 0.25
WALL_GAP = 0.20
COLOR_JITTER = 0.04
# Lenses come in steps, so that few have to be worked out.
LENS_STEP = 0.005
# Colours that such surfaces are sold in; textures add their tones.
_GREYS = ((0.75, 0.75, 0.74), (0.58, 0.58, 0.58), (0.42, 0.43, 0.44))
FLOOR_COLORS: dict[str, tuple[Vec3, ...]] = {
    "plain": (*_GREYS, (0.60, 0.64, 0.60), (0.52, 0.58, 0.64), (0.68, 0.62, 0.52)),
    "tiles": (*_GREYS, (0.82, 0.79, 0.73), (0.66, 0.60, 0.52), (0.58, 0.42, 0.34)),
    "wood": ((0.70, 0.54, 0.36), (0.58, 0.41, 0.25), (0.80, 0.68, 0.52), (0.40, 0.29, 0.20), (0.62, 0.59, 0.54)),
    "carpet": ((0.38, 0.41, 0.46), (0.30, 0.31, 0.33), (0.55, 0.50, 0.43), (0.36, 0.42, 0.40), (0.52, 0.52, 0.53)),
    "concrete": (*_GREYS, (0.66, 0.64, 0.60)),
}
WALL_COLORS: tuple[Vec3, ...] = (
    (0.92, 0.92, 0.90),
    (0.88, 0.85, 0.78),
    (0.80, 0.81, 0.82),
    (0.78, 0.82, 0.84),
    (0.80, 0.83, 0.77),
    (0.84, 0.76, 0.66),
    (0.62, 0.66, 0.70),
)


def draw_appearance(
    plan: SceneDistribution, layout: Layout, rng: np.random.Generator
) -> tuple[tuple[Body, ...], Look, dict[str, str]]:
    """Colours and surfaces of the bodies, the look of the rest, and the colour names of the objects.

    Raises:
        InfeasibleScenarioError: the colours of the candidates were to differ and never did.
    """
    names, colors = _colors(plan, rng)
    textures = {
        item.name: _texture(item, body, plan.sizes, rng)
        for item, body in zip(layout.plans, layout.bodies, strict=False)
    }
    look = _look(plan.look, rng, list(colors.values()))
    named = [body for body in layout.bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    goal = next((body for body in named if body.role is Role.GOAL), named[0])
    wall = _unlike(_wall_colors(plan.look), rng, [colors[goal.name]], WALL_GAP)
    look = replace(look, wall_color=wall, ceiling_m=next(b.size_m[2] for b in layout.bodies if b.role is Role.WALL))
    clothes = {mover.name: str(mover.color.draw(rng)) for mover in plan.movers}
    bodies = tuple(
        replace(body, color=wall, texture=look.wall_texture)
        if body.role is Role.WALL
        else replace(body, color=_jittered(PALETTE[clothes[body.name]], rng))
        if body.role is Role.MOVER
        else replace(body, color=colors[body.name], texture=textures[body.name])
        for body in layout.bodies
    )
    return bodies, _through_camera(plan.look, look, rng), names


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


def _through_camera(plan: AppearanceDistribution, look: Look, rng: np.random.Generator) -> Look:
    """What sensor and lens add to a look."""
    return replace(
        look,
        exposure=float(plan.exposure.draw(rng)),
        vignette=float(plan.vignette.draw(rng)),
        haze=float(plan.haze.draw(rng)),
        noise=float(plan.noise.draw(rng)),
        shutter_s=float(plan.shutter_s.draw(rng)),
        distortion=LENS_STEP * round(float(plan.lens.draw(rng)) / LENS_STEP),
    )


def _texture(item: ObjectDistribution, body: Body, sizes: str, rng: np.random.Generator) -> str:
    return str((item.texture or usual(body.kind, sizes).textures).draw(rng))


Draw = Callable[[np.random.Generator], np.ndarray]


def _gray(brightness: Distribution) -> Draw:
    """Pale colours of some brightness."""
    return lambda rng: float(brightness.draw(rng)) + rng.uniform(-0.08, 0.08, 3)


def _one_of(colors: Sequence[Vec3]) -> Draw:
    """Colours like one of these, a little lighter or darker."""
    return lambda rng: np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.9, 1.1)


def _wall_colors(plan: AppearanceDistribution) -> Draw:
    return _gray(plan.wall_brightness) if plan.wall_brightness else _one_of(WALL_COLORS)


def _floor_colors(plan: AppearanceDistribution, texture: str) -> Draw:
    return _gray(plan.floor_brightness) if plan.floor_brightness else _one_of(FLOOR_COLORS[texture])


def _unlike(draw: Draw, rng: np.random.Generator, others: Sequence[Vec3], gap: float) -> Vec3:
    """A colour that none of the others resembles; the least alike of many tries."""
    best: tuple[float, Vec3] = (-1.0, (0.5, 0.5, 0.5))
    for _ in range(TRIES):
        red, green, blue = np.clip(draw(rng), 0.05, 1.0)
        color = (float(red), float(green), float(blue))
        apart = min((math.dist(color, other) for other in others), default=math.inf)
        best = max(best, (apart, color))
        if apart >= gap:
            break
    return best[1]


def _look(plan: AppearanceDistribution, rng: np.random.Generator, colors: Sequence[Vec3]) -> Look:
    red, green, blue = (float(plan.tint.draw(rng)) for _ in range(3))
    roll, pitch, yaw = (math.radians(plan.camera_tilt_deg.draw(rng)) for _ in range(3))
    azimuth, elevation = float(plan.sun_azimuth_deg.draw(rng)), float(plan.sun_elevation_deg.draw(rng))
    sun, ambient = float(plan.sun.draw(rng)), float(plan.ambient.draw(rng))
    floor_texture = str(plan.floor_texture.draw(rng))
    return Look(
        sun_azimuth_rad=math.radians(azimuth),
        sun_elevation_rad=math.radians(elevation),
        sun=sun,
        ambient=ambient,
        tint=(red, green, blue),
        floor_texture=floor_texture,
        floor_color=_unlike(_floor_colors(plan, floor_texture), rng, colors, FLOOR_GAP),
        wall_texture=str(plan.wall_texture.draw(rng)),
        camera_tilt_rad=(roll, pitch, yaw),
        texture_seed=int(rng.integers(2**31)),
    )
