"""Low-poly models of the kinds of objects, as arrays. Used by `vla_sim.sim.mesh_scene`; knows no renderer.

A model fills the unit cube [-0.5, 0.5]^3 and is stretched to `Body.size_m`, so that boxes and baskets keep the
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


def mesh_of(kind: Kind, variant: int = 0) -> Mesh:
    """The model of a kind of object other than walls; built once a process.

    Args:
        kind: what it is.
        variant: any whole number; which of several models, where there are several.
    """
    return _MODELS[kind](variant)


def walking_person(variant: int, body: Body, center: Vec3, yaw_rad: float) -> Mesh:
    """The model of a person with its legs as they are at this pose: the vertices of `mesh_of` in other places."""
    phase = gait_phase(center[0], center[1], yaw_rad, body.size_m[2])
    return person(variant % PEOPLE, phase)


@functools.cache
def block() -> Mesh:
    """A box that is no carton."""
    return join([graded(cuboid(), 0.82, 1.0), _underside(1.0)])


def _underside(foot: float) -> Mesh:
    """The bottom of a block, which shows when it is tipped over."""
    h = foot / 2
    return quad([(-h, h, -0.5), (h, h, -0.5), (h, -h, -0.5), (-h, -h, -0.5)], color=(0.8, 0.8, 0.8))


def _disc(radius: float) -> Mesh:
    """The bottom of something round, which shows when it is tipped over."""
    return inward(band((radius, -0.5), (0.0, -0.5)), (0.6, 0.6, 0.6))


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
    Kind.BOX: lambda variant: carton(variant % CARTONS),
    Kind.CUP: _one(mug),
    Kind.BOTTLE: _one(pet_bottle),
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
