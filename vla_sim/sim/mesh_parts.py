"""Parts that models are made of: faces, blocks and rings as arrays. Used by the models; knows no renderer.

A model fills the unit cube [-0.5, 0.5]^3 and is stretched to `Body.size_m`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.core.types import Vec3

ROUND_SEGMENTS = 14


@dataclass(frozen=True)
class Mesh:
    """Triangles of one model in unit coordinates.

    Attributes:
        positions: float32 (n, 3), inside [-0.5, 0.5]^3.
        normals: float32 (n, 3), unit length, outward.
        uv: float32 (n, 2), texture coordinates.
        in_metres: bool (n,), whether texture coordinates count metres; else a texture covers a face once.
        colors: float32 (n, 3), a factor of what is drawn (shading of parts, own colours of caps and tape).
        tint: float32 (n,), 1 where the body's colour shows and 0 where the part has its own colour.
        triangles: int32 (m, 3), counter-clockwise seen from outside.
    """

    positions: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    in_metres: np.ndarray
    colors: np.ndarray
    tint: np.ndarray
    triangles: np.ndarray


def join(parts: Sequence[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(part.positions) for part in parts[:-1]])
    fields = ("positions", "normals", "uv", "in_metres", "colors", "tint")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    triangles = np.concatenate([part.triangles + start for part, start in zip(parts, starts, strict=True)])
    return Mesh(**arrays, triangles=triangles.astype(np.int32))


def part(
    positions: np.ndarray,
    normals: np.ndarray,
    uv: np.ndarray,
    triangles: np.ndarray,
    *,
    color: Vec3 | np.ndarray = (1.0, 1.0, 1.0),
    tint: float = 1.0,
) -> Mesh:
    """A mesh of one colour from its arrays; see `Mesh`."""
    count = len(positions)
    return Mesh(
        positions=np.asarray(positions, np.float32),
        normals=np.asarray(normals, np.float32),
        uv=np.asarray(uv, np.float32),
        in_metres=np.zeros(count, bool),
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
    return part(points, np.tile(normal, (4, 1)), uv, np.array([(0, 1, 2), (0, 2, 3)]), **look)  # type: ignore[arg-type]


# Faces of a cuboid seen from outside: the direction of the texture's u and v axis for each outward normal.
FACES = (
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
)


def cuboid(**look: object) -> Mesh:
    """A block without underside; `look` is passed to its faces."""
    parts = []
    for normal, u_axis, v_axis in FACES:
        n, u, v = np.array(normal) / 2, np.array(u_axis) / 2, np.array(v_axis) / 2
        parts.append(quad([tuple(c) for c in (n - u - v, n + u - v, n + u + v, n - u + v)], **look))
    return join(parts)


def inward(mesh: Mesh, color: Vec3) -> Mesh:
    """The same surface seen from its other side."""
    return Mesh(
        positions=mesh.positions,
        normals=-mesh.normals,
        uv=mesh.uv,
        in_metres=mesh.in_metres,
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
    return part(np.concatenate([bottom, top]), np.tile(normals, (2, 1)), uv, triangles, **look)  # type: ignore[arg-type]


def graded(mesh: Mesh, low: float, high: float) -> Mesh:
    """Darkened toward its lower end: what stands on a floor gets less light there."""
    z = mesh.positions[:, 2]
    factor = low + (high - low) * (z + 0.5)
    mesh.colors[:] *= factor[:, None].astype(np.float32)
    return mesh


def block(low: Vec3, high: Vec3, *, underside: bool = True, **look: object) -> Mesh:
    """A block between two corners, in metres.

    Args:
        low: least x, y and z.
        high: greatest x, y and z.
        underside: whether it is seen from below.
        look: passed to the faces.
    """
    solid = cuboid(**look)  # type: ignore[arg-type]
    if underside:
        h = 0.5
        bottom = quad([(-h, h, -h), (h, h, -h), (h, -h, -h), (-h, -h, -h)], **look)
        bottom.colors[:] *= 0.75
        solid = join([solid, bottom])
    size = np.subtract(high, low)
    solid.positions[:] = (solid.positions + 0.5) * size + np.array(low)
    return solid


def moved(mesh: Mesh, turn: np.ndarray, shift: Vec3 = (0.0, 0.0, 0.0)) -> Mesh:
    """A mesh after a rotation (3, 3) and a shift, in place."""
    mesh.positions[:] = mesh.positions @ turn.T + np.array(shift)
    mesh.normals[:] = mesh.normals @ turn.T
    return mesh


def to_unit(mesh: Mesh, size_m: Vec3) -> Mesh:
    """A model built in metres, standing on z = 0 around the z axis, as one that fills the unit cube; in place."""
    size = np.array(size_m)
    mesh.positions[:] = mesh.positions / size - np.array([0.0, 0.0, 0.5])
    normals = mesh.normals * size
    mesh.normals[:] = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return mesh
