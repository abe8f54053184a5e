"""Low-poly models of the kinds of objects, as arrays. Used by `vla_sim.sim.mesh_scene`; knows no renderer.

A model fills the unit cube [-0.5, 0.5]^3 and is stretched to `Body.size_m`, so that boxes, baskets and walls keep the
outline of their collision cuboid, and cups, bottles and pots lie inside their collision cylinder.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.core.types import Kind, Vec3

ROUND_SEGMENTS = 14
# Marks a texture coordinate that is not stretched with the body's size.
FIXED = 3


@dataclass(frozen=True)
class Mesh:
    """Triangles of one model in unit coordinates.

    Attributes:
        positions: float32 (n, 3), inside [-0.5, 0.5]^3.
        normals: float32 (n, 3), unit length, outward.
        uv: float32 (n, 2), texture coordinates, before stretching.
        uv_axes: int (n, 2), index of the extent in `size_m` that each coordinate is multiplied with; FIXED for none.
        colors: float32 (n, 3), a factor of what is drawn (shading of parts, own colours of caps and tape).
        tint: float32 (n,), 1 where the body's colour shows and 0 where the part has its own colour.
        triangles: int32 (m, 3), counter-clockwise seen from outside.
    """

    positions: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    uv_axes: np.ndarray
    colors: np.ndarray
    tint: np.ndarray
    triangles: np.ndarray


def mesh_of(kind: Kind) -> Mesh:
    """The model of a kind of object; built once a process."""
    return _MODELS[kind]()


def join(parts: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(part.positions) for part in parts[:-1]])
    fields = ("positions", "normals", "uv", "uv_axes", "colors", "tint")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    triangles = np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=True)])
    return Mesh(**arrays, triangles=triangles.astype(np.int32))


def _part(
    positions: np.ndarray,
    normals: np.ndarray,
    uv: np.ndarray,
    triangles: np.ndarray,
    *,
    color: Vec3 | np.ndarray = (1.0, 1.0, 1.0),
    tint: float = 1.0,
    uv_axes: tuple[int, int] = (FIXED, FIXED),
) -> Mesh:
    count = len(positions)
    return Mesh(
        positions=np.asarray(positions, np.float32),
        normals=np.asarray(normals, np.float32),
        uv=np.asarray(uv, np.float32),
        uv_axes=np.tile(np.array(uv_axes), (count, 1)),
        colors=np.broadcast_to(np.asarray(color, np.float32), (count, 3)).copy(),
        tint=np.full(count, tint, np.float32),
        triangles=np.asarray(triangles, np.int32),
    )


def quad(corners: Sequence[Vec3], **look: object) -> Mesh:
    """Four corners counter-clockwise seen from outside, the first at texture coordinate (0, 0)."""
    points = np.array(corners, dtype=np.float64)
    normal = np.cross(points[1] - points[0], points[3] - points[0])
    normal /= np.linalg.norm(normal)
    uv = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
    return _part(points, np.tile(normal, (4, 1)), uv, np.array([(0, 1, 2), (0, 2, 3)]), **look)  # type: ignore[arg-type]


# Faces of a cuboid seen from outside: the direction of the texture's u and v axis for each outward normal.
_FACES = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
)


def cuboid(*, foot: float = 1.0, stretch: bool = False, low: float = -0.5, high: float = 0.5, **look: object) -> Mesh:
    """A block without underside.

    Args:
        foot: width at the lower end relative to the upper one.
        stretch: texture coordinates grow with the size in metres.
        low: lower end.
        high: upper end.
        look: passed to the faces.
    """
    parts = []
    for normal, u_axis, v_axis in _FACES:
        n, u, v = np.array(normal) / 2, np.array(u_axis) / 2, np.array(v_axis) / 2
        corners = np.array([n - u - v, n + u - v, n + u + v, n - u + v])
        corners[:, :2] *= np.where(corners[:, 2:] < 0, foot, 1.0)
        corners[:, 2] = low + (corners[:, 2] + 0.5) * (high - low)
        axes = (int(np.argmax(np.abs(u_axis))), int(np.argmax(np.abs(v_axis)))) if stretch else (FIXED, FIXED)
        parts.append(quad([tuple(c) for c in corners], uv_axes=axes, **look))
    return join(parts)


def _inward(mesh: Mesh, color: Vec3) -> Mesh:
    """The same surface seen from its other side."""
    return Mesh(
        positions=mesh.positions,
        normals=-mesh.normals,
        uv=mesh.uv,
        uv_axes=mesh.uv_axes,
        colors=mesh.colors * np.asarray(color, np.float32),
        tint=mesh.tint,
        triangles=mesh.triangles[:, ::-1].copy(),
    )


def band(
    low: tuple[float, float], high: tuple[float, float], *, segments: int = ROUND_SEGMENTS, **look: object
) -> Mesh:
    """A ring around the z axis from (radius, z) to (radius, z), facing outward, or upward when it is flat."""
    (r0, z0), (r1, z1) = low, high
    angles = np.linspace(0, 2 * math.pi, segments + 1)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    share = np.linspace(0, 1, segments + 1)
    bottom = np.column_stack([circle * r0, np.full(segments + 1, z0)])
    top = np.column_stack([circle * r1, np.full(segments + 1, z1)])
    length = math.hypot(z1 - z0, r0 - r1)
    radial, upward = (z1 - z0) / length, (r0 - r1) / length
    normals = np.column_stack([circle * radial, np.full(segments + 1, upward)])
    uv = np.concatenate([np.column_stack([2 * share, 0 * share]), np.column_stack([2 * share, 0 * share + 1])])
    i = np.arange(segments)
    j = i + segments + 1
    triangles = np.concatenate([np.column_stack([i, i + 1, j + 1]), np.column_stack([i, j + 1, j])])
    # A ring of no radius is a point: the triangles that share it twice have no area.
    if r1 == 0:
        triangles = triangles[:segments]
    elif r0 == 0:
        triangles = triangles[segments:]
    return _part(np.concatenate([bottom, top]), np.tile(normals, (2, 1)), uv, triangles, **look)  # type: ignore[arg-type]


def _graded(mesh: Mesh, low: float, high: float) -> Mesh:
    """Darkened toward its lower end: what stands on a floor gets less light there."""
    z = mesh.positions[:, 2]
    factor = low + (high - low) * (z + 0.5)
    mesh.colors[:] *= factor[:, None].astype(np.float32)
    return mesh


@functools.cache
def _box() -> Mesh:
    return join([_graded(cuboid(), 0.82, 1.0), _underside(1.0)])


def _underside(foot: float) -> Mesh:
    """The bottom of a block, which shows when it is tipped over."""
    h = foot / 2
    return quad([(-h, h, -0.5), (h, h, -0.5), (h, -h, -0.5), (-h, -h, -0.5)], color=(0.8, 0.8, 0.8))


def _disc(radius: float) -> Mesh:
    """The bottom of something round, which shows when it is tipped over."""
    return _inward(band((radius, -0.5), (0.0, -0.5)), (0.6, 0.6, 0.6))


@functools.cache
def _wall() -> Mesh:
    return _graded(cuboid(stretch=True), 0.8, 1.0)


@functools.cache
def _cup() -> Mesh:
    """A tapered mug: handle on the +x side, dark inside."""
    rim, foot, thickness = 0.42, 0.34, 0.035
    outside = _graded(band((foot, -0.5), (rim, 0.5)), 0.75, 1.0)
    lip = band((rim, 0.5), (rim - thickness, 0.5), color=(1.15, 1.15, 1.15))
    inside = _inward(band((foot - thickness, -0.35), (rim - thickness, 0.5)), (0.5, 0.5, 0.5))
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
    outside = _graded(band((0.33, -0.5), (0.44, 0.26)), 0.72, 1.0)
    ledge = band((0.44, 0.26), (0.49, 0.26), color=(0.55, 0.55, 0.55))
    rim = band((0.49, 0.26), (0.5, 0.5), color=(1.12, 1.12, 1.12))
    lip = band((0.5, 0.5), (0.44, 0.5), color=(1.2, 1.2, 1.2))
    inside = _inward(band((0.42, 0.2), (0.44, 0.5)), (0.5, 0.5, 0.5))
    soil = band((0.43, 0.3), (0.0, 0.3), color=(0.17, 0.13, 0.1), tint=0.0)
    return join([outside, ledge, rim, lip, inside, soil, _disc(0.33)])


@functools.cache
def _basket() -> Mesh:
    """A laundry basket: tapered, slotted, open, with a rim."""
    foot, rim_z, wall = 0.8, 0.36, 0.05
    walls = join([_cuboid_side(i, foot=foot, low=-0.5, high=rim_z) for i in range(4)])
    rim = join([_cuboid_side(i, foot=1.0, low=rim_z, high=0.5, plain=True) for i in range(4)])
    inside = join([_inward(_cuboid_side(i, foot=foot, low=-0.5, high=0.5), (0.55, 0.55, 0.55)) for i in range(4)])
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
    normal, u_axis, v_axis = _FACES[index]
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
    normal, u_axis, _ = _FACES[index]
    n, u = np.array(normal) / 2, np.array(u_axis) / 2
    inner = 1 - 2 * wall
    up = np.array([0, 0, 0.5])
    corners = [n - u + up, n + u + up, (n + u) * inner + up, (n - u) * inner + up]
    lip = quad([tuple(c) for c in corners], color=(1.2, 1.2, 1.2))
    lip.uv[:] = 0.02
    return lip


@functools.cache
def _person() -> Mesh:
    """A standing figure: dark legs, clothes in the body's colour, a head."""
    legs = band((0.3, -0.5), (0.36, -0.02), color=(0.22, 0.24, 0.3), tint=0.0)
    coat = [band((0.42, -0.02), (0.5, 0.22)), band((0.5, 0.22), (0.44, 0.32)), band((0.44, 0.32), (0.12, 0.36))]
    face = band((0.2, 0.36), (0.24, 0.43), color=(0.86, 0.68, 0.56), tint=0.0)
    head = [face, band((0.24, 0.43), (0.0, 0.5), color=(0.25, 0.2, 0.16), tint=0.0)]
    return join([_graded(legs, 0.8, 1.0), *coat, *head])


@functools.cache
def _machine() -> Mesh:
    """A round robot: a low drum with a dark top."""
    return join(
        [_graded(band((0.48, -0.5), (0.5, 0.3)), 0.75, 1.0), band((0.5, 0.3), (0.0, 0.5), color=(0.4, 0.4, 0.4))]
    )


_MODELS: dict[Kind, Callable[[], Mesh]] = {
    Kind.BOX: _box,
    Kind.WALL: _wall,
    Kind.CUP: _cup,
    Kind.BOTTLE: _bottle,
    Kind.POT: _pot,
    Kind.BASKET: _basket,
    Kind.PERSON: _person,
    Kind.CART: _box,
    Kind.ROBOT: _machine,
    Kind.DOOR: _wall,
}
