"""Low-poly models of the kinds of objects, as arrays. Used by `vla_sim.sim.mesh_scene`; knows no renderer.

A model fills the unit cube [-0.5, 0.5]^3 and is stretched to `Body.size_m`, so that boxes, baskets and walls keep the
outline of their collision cuboid, and cups, bottles and pots lie inside their collision cylinder.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from vla_sim.core.types import Body, Kind, Vec3
from vla_sim.sim.furniture import cabinet, chair, plant, shelf, sofa, table
from vla_sim.sim.household import CARTONS, carton, mug, pet_bottle
from vla_sim.sim.mesh_parts import FACES, Mesh, band, cuboid, graded, inward, join, quad
from vla_sim.sim.movers import PEOPLE, cart, door_leaf, gait_phase, person, service_robot


def mesh_of(kind: Kind, variant: int = 0, *, indoor: bool = False) -> Mesh:
    """The model of a kind of object; built once a process.

    Args:
        kind: what it is.
        variant: any whole number; which of several models, where there are several.
        indoor: the models of the indoor style, for kinds that have one.
    """
    if indoor and kind in _INDOOR:
        return _INDOOR[kind](variant)
    return _MODELS[kind](variant)


def walking_person(variant: int, body: Body, center: Vec3, yaw_rad: float) -> Mesh:
    """The model of a person with its legs as they are at this pose: the vertices of `mesh_of` in other places."""
    phase = gait_phase(center[0], center[1], yaw_rad, body.size_m[2])
    return person(variant % PEOPLE, phase)


@functools.cache
def _box() -> Mesh:
    return join([graded(cuboid(), 0.82, 1.0), _underside(1.0)])


def _underside(foot: float) -> Mesh:
    """The bottom of a block, which shows when it is tipped over."""
    h = foot / 2
    return quad([(-h, h, -0.5), (h, h, -0.5), (h, -h, -0.5), (-h, -h, -0.5)], color=(0.8, 0.8, 0.8))


def _disc(radius: float) -> Mesh:
    """The bottom of something round, which shows when it is tipped over."""
    return inward(band((radius, -0.5), (0.0, -0.5)), (0.6, 0.6, 0.6))


@functools.cache
def _wall() -> Mesh:
    return graded(cuboid(stretch=True), 0.8, 1.0)


@functools.cache
def _cup() -> Mesh:
    """A tapered mug: handle on the +x side, dark inside."""
    rim, foot, thickness = 0.42, 0.34, 0.035
    outside = graded(band((foot, -0.5), (rim, 0.5)), 0.75, 1.0)
    lip = band((rim, 0.5), (rim - thickness, 0.5), color=(1.15, 1.15, 1.15))
    inside = inward(band((foot - thickness, -0.35), (rim - thickness, 0.5)), (0.5, 0.5, 0.5))
    bottom = band((foot, -0.2), (0.0, -0.2), color=(0.22, 0.2, 0.2))
    return join([outside, lip, inside, bottom, *_handle(), _disc(foot)])


def _handle() -> list[Mesh]:
    """A C-shaped strap, as three small blocks, that stays inside the collision cylinder."""
    parts = []
    for x0, x1, z0, z1 in ((0.36, 0.5, 0.2, 0.34), (0.33, 0.5, -0.3, -0.16), (0.44, 0.5, -0.3, 0.34)):
        block = cuboid(color=(0.9, 0.9, 0.9))
        center = np.array([(x0 + x1) / 2, 0.0, (z0 + z1) / 2])
        scale = np.array([x1 - x0, 0.13, z1 - z0])
        block.positions[:] = block.positions * scale + center
        # A little inside the circle at its corners.
        block.positions[:, 0] = np.minimum(block.positions[:, 0], 0.494)
        parts.append(block)
    return parts


@functools.cache
def _bottle() -> Mesh:
    """A bottle with shoulder, narrow neck, light label and cap."""
    glass = [
        band((0.46, -0.5), (0.49, -0.44), color=(0.6, 0.6, 0.6)),
        band((0.49, -0.44), (0.49, -0.3), color=(0.85, 0.85, 0.85)),
        band((0.49, 0.02), (0.47, 0.12), color=(1.0, 1.0, 1.0)),
        band((0.47, 0.12), (0.19, 0.28), color=(1.1, 1.1, 1.1)),
        band((0.19, 0.28), (0.16, 0.4), color=(0.95, 0.95, 0.95)),
    ]
    label = band((0.495, -0.3), (0.495, 0.02), color=(0.93, 0.93, 0.88), tint=0.15)
    cap = band((0.2, 0.4), (0.2, 0.5), color=(0.92, 0.92, 0.95), tint=0.0)
    top = band((0.2, 0.5), (0.0, 0.5), color=(0.95, 0.95, 0.98), tint=0.0)
    return join([*glass, label, cap, top, _disc(0.46)])


@functools.cache
def _pot() -> Mesh:
    """A flower pot: tapered, with a broad rim and dark soil."""
    outside = graded(band((0.33, -0.5), (0.44, 0.26)), 0.72, 1.0)
    ledge = band((0.44, 0.26), (0.49, 0.26), color=(0.55, 0.55, 0.55))
    rim = band((0.49, 0.26), (0.5, 0.5), color=(1.12, 1.12, 1.12))
    lip = band((0.5, 0.5), (0.44, 0.5), color=(1.2, 1.2, 1.2))
    inside = inward(band((0.42, 0.2), (0.44, 0.5)), (0.5, 0.5, 0.5))
    soil = band((0.43, 0.3), (0.0, 0.3), color=(0.17, 0.13, 0.1), tint=0.0)
    return join([outside, ledge, rim, lip, inside, soil, _disc(0.33)])


@functools.cache
def _basket() -> Mesh:
    """A laundry basket: tapered, slotted, open, with a rim."""
    foot, rim_z, wall = 0.8, 0.36, 0.05
    walls = join([_cuboid_side(i, foot=foot, low=-0.5, high=rim_z) for i in range(4)])
    rim = join([_cuboid_side(i, foot=1.0, low=rim_z, high=0.5, plain=True) for i in range(4)])
    inside = join([inward(_cuboid_side(i, foot=foot, low=-0.5, high=0.5), (0.55, 0.55, 0.55)) for i in range(4)])
    inside.positions[:, :2] *= 1 - 2 * wall
    lip = [_lip(i, wall) for i in range(4)]
    half = foot * (0.5 - wall)
    floor = quad(
        [(-half, -half, -0.45), (half, -half, -0.45), (half, half, -0.45), (-half, half, -0.45)],
        color=(0.35, 0.35, 0.35),
    )
    floor.uv[:] = 0.02
    return join([walls, rim, inside, *lip, floor, _underside(foot)])


def _cuboid_side(index: int, *, foot: float, low: float, high: float, plain: bool = False) -> Mesh:
    """One of the four upright faces of a tapered block; a plain one takes a single texel at the texture's edge."""
    normal, u_axis, v_axis = FACES[index]
    n, u, v = np.array(normal) / 2, np.array(u_axis) / 2, np.array(v_axis) / 2
    corners = np.array([n - u - v, n + u - v, n + u + v, n - u + v])
    corners[:, :2] *= np.where(corners[:, 2:] < 0, foot, 1.0)
    corners[:, 2] = np.where(corners[:, 2] < 0, low, high)
    side = quad([tuple(c) for c in corners], color=(1.1, 1.1, 1.1) if plain else (1.0, 1.0, 1.0))
    if plain:
        side.uv[:] = 0.02
    return side


def _lip(index: int, wall: float) -> Mesh:
    """The upper edge of one side of an open box."""
    normal, u_axis, _ = FACES[index]
    n, u = np.array(normal) / 2, np.array(u_axis) / 2
    inner = 1 - 2 * wall
    up = np.array([0, 0, 0.5])
    corners = [n - u + up, n + u + up, (n + u) * inner + up, (n - u) * inner + up]
    lip = quad([tuple(c) for c in corners], color=(1.2, 1.2, 1.2))
    lip.uv[:] = 0.02
    return lip


def _one(model: Callable[[], Mesh]) -> Callable[[int], Mesh]:
    """A model without variants."""
    return lambda _: model()


_MODELS: dict[Kind, Callable[[int], Mesh]] = {
    Kind.BOX: _one(_box),
    Kind.WALL: _one(_wall),
    Kind.CUP: _one(_cup),
    Kind.BOTTLE: _one(_bottle),
    Kind.POT: _one(_pot),
    Kind.BASKET: _one(_basket),
    Kind.TABLE: _one(table),
    Kind.CHAIR: _one(chair),
    Kind.SHELF: _one(shelf),
    Kind.CABINET: _one(cabinet),
    Kind.SOFA: _one(sofa),
    Kind.PLANT: _one(plant),
    Kind.PERSON: lambda variant: person(variant % PEOPLE, 1),
    Kind.CART: _one(cart),
    Kind.ROBOT: _one(service_robot),
    Kind.DOOR: _one(door_leaf),
}
_INDOOR: dict[Kind, Callable[[int], Mesh]] = {
    Kind.BOX: lambda variant: carton(variant % CARTONS),
    Kind.CUP: _one(mug),
    Kind.BOTTLE: _one(pet_bottle),
}
