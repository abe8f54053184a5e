"""Models of what moves by itself: people, carts, robots and door leaves. Used by `meshes`.

They are placed like anything else that was moved: `Renderer.place(slot, robot, {name: (centre, quaternion)})`. Their
front is +x. A person's legs swing with the way that was walked: they follow from the pose alone, so that an image still
depends on nothing but the scene and its poses.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from vla_sim.core.types import Vec3
from vla_sim.sim.mesh_parts import Mesh, band, block, join, moved, to_unit

# A person of the usual size takes a double step in this length.
STRIDE_M = 1.1
GAIT_PHASES = 12
PERSON_SIZE_M = (0.56, 0.56, 1.72)
PEOPLE = 6

_SKIN = ((0.87, 0.68, 0.55), (0.76, 0.57, 0.43), (0.55, 0.38, 0.27), (0.36, 0.24, 0.17))
_TROUSERS = ((0.13, 0.17, 0.28), (0.17, 0.17, 0.18), (0.38, 0.34, 0.27), (0.24, 0.27, 0.32), (0.45, 0.45, 0.46))
_HAIR = ((0.09, 0.07, 0.06), (0.24, 0.16, 0.1), (0.5, 0.38, 0.22), (0.45, 0.45, 0.46))
_SHOES = ((0.1, 0.1, 0.1), (0.8, 0.8, 0.8), (0.32, 0.2, 0.12))
_HIP_M, _KNEE_M, _SHOULDER_M = 0.88, 0.48, 1.42
_STEEL = (0.55, 0.56, 0.58)
_RUBBER = (0.1, 0.1, 0.11)


@functools.cache
def person(variant: int, phase: int) -> Mesh:
    """A walking person: shirt in the body's colour, the rest by the variant.

    Args:
        variant: 0 to PEOPLE - 1: skin, hair, trousers, shoes, long or short sleeves.
        phase: 0 to GAIT_PHASES - 1, how far the legs have swung; the same vertices in other places.
    """
    swing = math.sin(2 * math.pi * phase / GAIT_PHASES)
    # The leg that comes forward bends its knee.
    lift = math.cos(2 * math.pi * phase / GAIT_PHASES)
    skin, trousers = _SKIN[variant % 4], _TROUSERS[variant % 5]
    shoes, hair = _SHOES[variant % 3], _HAIR[(variant + variant // 4) % 4]
    parts = [
        *_leg(0.08, 0.11 * swing, max(0.0, lift) * 0.3, trousers, shoes),
        *_leg(-0.08, -0.11 * swing, max(0.0, -lift) * 0.3, trousers, shoes),
        _round((0.15, _HIP_M - 0.06), (0.155, _HIP_M + 0.08), color=trousers, tint=0),
        _round((0.155, _HIP_M + 0.06), (0.165, 1.15), color=(0.92,) * 3),
        _round((0.165, 1.15), (0.19, _SHOULDER_M - 0.04)),
        _round((0.19, _SHOULDER_M - 0.04), (0.07, _SHOULDER_M + 0.05), color=(1.05,) * 3),
        band((0.055, _SHOULDER_M), (0.05, 1.54), segments=8, color=np.multiply(skin, 0.85), tint=0),
        *_arm(0.2, -0.15 * swing, skin, bare=variant % 2 == 0),
        *_arm(-0.2, 0.15 * swing, skin, bare=variant % 2 == 0),
        *_head(skin, hair),
    ]
    mesh = join(parts)
    # The lower foot stays on the floor.
    mesh.positions[:, 2] -= mesh.positions[:, 2].min()
    return to_unit(mesh, PERSON_SIZE_M)


def gait_phase(x_m: float, y_m: float, yaw_rad: float, height_m: float) -> int:
    """How far the legs of a person at this pose have swung: by the way along the heading."""
    along = x_m * math.cos(yaw_rad) + y_m * math.sin(yaw_rad)
    stride = STRIDE_M * height_m / PERSON_SIZE_M[2]
    return math.floor(along / stride * GAIT_PHASES) % GAIT_PHASES


def _round(low: tuple[float, float], high: tuple[float, float], **look: object) -> Mesh:
    """A ring that is flatter from front to back, as a trunk is."""
    ring = band(low, high, segments=10, **look)
    ring.positions[:, 0] *= 0.62
    return ring


def _pitched(mesh: Mesh, angle: float, hinge_m: float) -> Mesh:
    """Turned about the y axis at a height: positive angles swing what hangs below forward."""
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    mesh.positions[:, 2] -= hinge_m
    return moved(mesh, turn, (0.0, 0.0, hinge_m))


def _leg(y: float, swing: float, bend: float, trousers: Vec3, shoes: Vec3) -> list[Mesh]:
    shin = band((0.052, 0.06), (0.062, _KNEE_M), segments=8, color=trousers, tint=0)
    shin.colors[shin.positions[:, 2] < 0.1] *= 0.8
    shoe = block((-0.07, -0.045, 0.0), (0.14, 0.045, 0.08), underside=False, color=shoes, tint=0)
    thigh = band((0.064, _KNEE_M), (0.09, _HIP_M), segments=8, color=trousers, tint=0)
    lower = _pitched(join([shin, shoe]), -bend, _KNEE_M)
    leg = _pitched(join([lower, thigh]), swing, _HIP_M)
    leg.positions[:, 1] += y
    return [leg]


def _arm(y: float, swing: float, skin: Vec3, *, bare: bool) -> list[Mesh]:
    sleeve: dict[str, object] = {"color": skin, "tint": 0} if bare else {"color": (0.9,) * 3}
    upper = band((0.045, 1.12), (0.058, _SHOULDER_M), segments=7, color=(0.95,) * 3)
    lower = band((0.033, 0.86), (0.043, 1.12), segments=7, **sleeve)
    hand = block((-0.03, -0.03, 0.76), (0.04, 0.03, 0.86), color=skin, tint=0)
    arm = _pitched(join([upper, lower, hand]), swing, _SHOULDER_M)
    arm.positions[:, 1] += y
    return [arm]


def _head(skin: Vec3, hair: Vec3) -> list[Mesh]:
    profile = [(0.05, 1.49), (0.075, 1.54), (0.082, 1.62), (0.05, 1.68), (0.0, 1.7)]
    colors = (skin, skin, hair, hair)
    rings = [
        band(low, high, segments=10, color=color, tint=0)
        for low, high, color in zip(profile, profile[1:], colors, strict=False)
    ]
    back = band((0.084, 1.53), (0.09, 1.66), segments=10, color=hair, tint=0)
    # Hair covers the back half of the head only.
    back.positions[:, 0] = np.minimum(back.positions[:, 0], 0.0)
    return [*rings, back]


@functools.cache
def cart() -> Mesh:
    """A platform trolley with a push handle at its back and two cartons on it."""
    size = (0.9, 0.55, 0.95)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    deck = block((-x + 0.06, -y, 0.17), (x, y, 0.22))
    bumper = block((-x + 0.05, -y, 0.15), (x, y, 0.17), color=_RUBBER, tint=0, underside=False)
    wheels = [
        block((wx - 0.06, wy - 0.02, 0), (wx + 0.06, wy + 0.02, 0.13), color=_RUBBER, tint=0, underside=False)
        for wx in (-x + 0.2, x - 0.14)
        for wy in (-y + 0.06, y - 0.06)
    ]
    posts = [
        block((-x, s - 0.016, 0.17), (-x + 0.032, s + 0.016, z), color=_STEEL, tint=0, underside=False)
        for s in (-0.22, 0.22)
    ]
    levels = (0.55, z - 0.032)
    bars = [
        block((-x, -0.22, low), (-x + 0.032, 0.22, low + 0.032), color=_STEEL, tint=0, underside=False)
        for low in levels
    ]
    cartons = [
        block((-0.3, -0.22, 0.22), (0.12, 0.2, 0.52), color=(0.66, 0.5, 0.33), tint=0, underside=False),
        block((-0.28, -0.2, 0.521), (-0.02, 0.16, 0.72), color=(0.6, 0.45, 0.3), tint=0),
    ]
    return to_unit(join([deck, bumper, *wheels, *posts, *bars, *cartons]), size)


@functools.cache
def service_robot() -> Mesh:
    """Another robot: a round white tower in two parts with a dark screen in front and a band of the body's colour."""
    size = (0.4, 0.4, 0.9)
    rings = [
        band((0.19, 0.0), (0.2, 0.1), segments=18, color=_RUBBER, tint=0),
        band((0.2, 0.1), (0.2, 0.26), segments=18, color=(0.88, 0.89, 0.9), tint=0),
        band((0.2, 0.26), (0.14, 0.34), segments=18),
        band((0.14, 0.34), (0.13, 0.78), segments=18, color=(0.88, 0.89, 0.9), tint=0),
        band((0.13, 0.78), (0.13, 0.82), segments=18),
        band((0.13, 0.82), (0.08, 0.9), segments=18, color=(0.8, 0.81, 0.83), tint=0),
        band((0.08, 0.9), (0.0, 0.9), segments=18, color=(0.85, 0.86, 0.88), tint=0),
    ]
    screen = block((0.1, -0.075, 0.55), (0.142, 0.075, 0.76), color=(0.08, 0.1, 0.14), tint=0)
    eye = block((0.17, -0.04, 0.15), (0.194, 0.04, 0.2), color=_RUBBER, tint=0)
    return to_unit(join([*rings, screen, eye]), size)


@functools.cache
def door_leaf() -> Mesh:
    """A door leaf along x: smooth, in the body's colour, with a lever near +x and a kick plate on both sides."""
    size = (0.9, 0.06, 2.0)
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    parts = [block((-x, -y + 0.012, 0.0), (x, y - 0.012, z))]
    for side in (-1.0, 1.0):
        near, far = sorted((side * (y - 0.012), side * (y - 0.006)))
        parts.append(block((-x + 0.03, near, 0.02), (x - 0.03, far, 0.2), color=_STEEL, tint=0))
        near, far = sorted((side * (y - 0.012), side * y))
        parts.append(block((x - 0.2, near, 1.0), (x - 0.05, far, 1.03), color=_STEEL, tint=0))
        parts.append(block((x - 0.09, near, 0.93), (x - 0.04, far, 1.1), color=_STEEL, tint=0))
    return to_unit(join(parts), size)
