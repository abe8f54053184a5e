"""Triangles of every kind of object: plain arrays in metres about the body's centre. Used by renderers."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np

from vla_sim.types import Kind, Vec3

SEGMENTS = 14
Ring = tuple[float, float, float]


@dataclass(frozen=True)
class Mesh:
    """Triangles with flat data per vertex.

    Attributes:
        points, normals: float32 (n, 3); body frame, origin at the centre of the bounding box.
        uv: float32 (n, 2).
        albedo: float32 (n, 3), multiplied with the body's colour.
        triangles: int32 (m, 3), counter-clockwise seen from outside.
    """

    points: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    albedo: np.ndarray
    triangles: np.ndarray


def mesh_of(kind: Kind, size_m: Vec3) -> Mesh:
    """The mesh of a kind at a size; it lies inside the body's collision shape."""
    unit = _unit(kind)
    scale = np.array(size_m, dtype=np.float32)
    normals = unit.normals / scale
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    return Mesh(unit.points * scale, normals.astype(np.float32), unit.uv, unit.albedo, unit.triangles)


@functools.cache
def _unit(kind: Kind) -> Mesh:
    """The mesh in a cube of side 1 about the origin."""
    makers = {Kind.CUP: _cup, Kind.BOTTLE: _bottle, Kind.POT: _pot, Kind.BASKET: _basket}
    return makers.get(kind, _cuboid)()


def joined(parts: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    offsets = np.cumsum([0] + [len(part.points) for part in parts[:-1]])
    fields = ("points", "normals", "uv", "albedo")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    triangles = np.concatenate([p.triangles + offset for p, offset in zip(parts, offsets, strict=True)])
    return Mesh(**arrays, triangles=triangles)


def quad(corners: list[Vec3], shade: float = 1.0) -> Mesh:
    """A flat quad, corners counter-clockwise seen from its front."""
    points = np.array(corners, dtype=np.float32)
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    normal = normal / np.linalg.norm(normal)
    uv = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=np.float32)
    return Mesh(
        points,
        np.tile(normal, (4, 1)).astype(np.float32),
        uv,
        np.full((4, 3), shade, dtype=np.float32),
        np.array([(0, 1, 2), (0, 2, 3)], dtype=np.int32),
    )


def _cuboid() -> Mesh:
    h = 0.5
    return joined(
        [
            quad([(-h, -h, -h), (h, -h, -h), (h, -h, h), (-h, -h, h)]),
            quad([(h, -h, -h), (h, h, -h), (h, h, h), (h, -h, h)]),
            quad([(h, h, -h), (-h, h, -h), (-h, h, h), (h, h, h)]),
            quad([(-h, h, -h), (-h, -h, -h), (-h, -h, h), (-h, h, h)]),
            quad([(-h, -h, h), (h, -h, h), (h, h, h), (-h, h, h)]),
        ]
    )


def _lathe(rings: list[Ring], *, inward: bool = False) -> Mesh:
    """Surface of revolution through (z, radius, shade) rings from bottom to top; seen from inside if `inward`."""
    angles = np.linspace(0, 2 * math.pi, SEGMENTS + 1)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    parts = []
    for (z0, r0, s0), (z1, r1, s1) in itertools.pairwise(rings):
        low = np.concatenate([circle * r0, np.full((len(angles), 1), z0)], axis=1)
        high = np.concatenate([circle * r1, np.full((len(angles), 1), z1)], axis=1)
        slope = np.array([z1 - z0, r0 - r1])
        slope = slope / np.linalg.norm(slope)
        normals = np.concatenate([circle * slope[0], np.full((len(angles), 1), slope[1])], axis=1)
        uv = np.stack([angles / (2 * math.pi) * 2, np.zeros(len(angles))], axis=1)
        i = np.arange(SEGMENTS)
        n = len(angles)
        triangles = np.concatenate([np.stack([i, i + 1, n + i + 1], 1), np.stack([i, n + i + 1, n + i], 1)])
        if inward:
            triangles, normals = triangles[:, ::-1], -normals
        shades = np.repeat([s0, s1], n)[:, None] * np.ones(3)
        parts.append(
            Mesh(
                np.concatenate([low, high]).astype(np.float32),
                np.concatenate([normals, normals]).astype(np.float32),
                np.concatenate([uv, uv + np.array([0.0, 1.0])]).astype(np.float32),
                shades.astype(np.float32),
                triangles.astype(np.int32),
            )
        )
    return joined(parts)


def _disc(z: float, radius: float, shade: float) -> Mesh:
    """A disc that faces up."""
    angles = np.arange(SEGMENTS) * (2 * math.pi / SEGMENTS)
    points = np.stack([np.cos(angles) * radius, np.sin(angles) * radius, np.full(SEGMENTS, z)], axis=1)
    i = np.arange(1, SEGMENTS - 1)
    return Mesh(
        points.astype(np.float32),
        np.tile([0, 0, 1], (SEGMENTS, 1)).astype(np.float32),
        (points[:, :2] + 0.5).astype(np.float32),
        np.full((SEGMENTS, 3), shade, dtype=np.float32),
        np.stack([np.zeros_like(i), i, i + 1], axis=1).astype(np.int32),
    )


def _cup() -> Mesh:
    handle = []
    bows = [(0.36, 0.32), (0.47, 0.24), (0.5, 0.05), (0.47, -0.14), (0.34, -0.24)]
    for (x0, z0), (x1, z1) in itertools.pairwise(bows):
        for y, flip in ((-0.06, False), (0.06, True)):
            inner0, inner1 = (x0 - 0.1, z0), (x1 - 0.1, z1)
            corners = [(inner0[0], y, inner0[1]), (inner1[0], y, inner1[1]), (x1, y, z1), (x0, y, z0)]
            handle.append(quad(corners[::-1] if flip else corners, 0.9))
        handle.append(quad([(x0, -0.06, z0), (x1, -0.06, z1), (x1, 0.06, z1), (x0, 0.06, z0)], 0.95))
    return joined(
        [
            _lathe([(-0.5, 0.27, 0.9), (-0.45, 0.3, 1.0), (0.5, 0.38, 1.0)]),
            _lathe([(0.1, 0.33, 0.35), (0.5, 0.35, 0.7)], inward=True),
            _lathe([(0.5, 0.38, 1.0), (0.499, 0.35, 1.0)]),
            _disc(0.2, 0.34, 0.22),
            *handle,
        ]
    )


def _bottle() -> Mesh:
    body = _lathe(
        [
            (-0.5, 0.42, 0.7),
            (-0.46, 0.48, 0.9),
            (-0.18, 0.48, 1.0),
            (-0.18, 0.49, 1.6),
            (0.02, 0.49, 1.6),
            (0.02, 0.48, 1.0),
            (0.14, 0.46, 1.0),
            (0.32, 0.18, 1.1),
            (0.4, 0.16, 1.1),
        ]
    )
    cap = _lathe([(0.4, 0.2, 2.2), (0.5, 0.2, 2.2)])
    return joined([body, cap, _disc(0.5, 0.2, 2.2)])


def _pot() -> Mesh:
    return joined(
        [
            _lathe([(-0.5, 0.33, 0.85), (0.28, 0.44, 1.0)]),
            _lathe([(0.28, 0.5, 0.8), (0.3, 0.5, 1.1), (0.5, 0.5, 1.15)]),
            _lathe([(0.2, 0.44, 0.35), (0.5, 0.46, 0.8)], inward=True),
            _lathe([(0.5, 0.5, 1.15), (0.499, 0.46, 1.15)]),
            _disc(0.34, 0.45, 0.25),
        ]
    )


def _basket() -> Mesh:
    low, top, inside, z, floor = 0.42, 0.5, 0.46, 0.5, 0.0
    outer, inner = [], []
    bottom = [(-low, -low), (low, -low), (low, low), (-low, low)]
    rim = [(-top, -top), (top, -top), (top, top), (-top, top)]
    hole = [(-inside, -inside), (inside, -inside), (inside, inside), (-inside, inside)]
    for k in range(4):
        n = (k + 1) % 4
        outer.append(quad([(*bottom[k], -z), (*bottom[n], -z), (*rim[n], z), (*rim[k], z)]))
        inner.append(quad([(*hole[n], floor), (*hole[k], floor), (*hole[k], z), (*hole[n], z)], 0.6))
        inner.append(quad([(*rim[k], z), (*rim[n], z), (*hole[n], z), (*hole[k], z)], 1.15))
    inner.append(quad([(*corner, floor) for corner in hole], 0.4))
    return joined(outer + inner)
