"""Triangles that share a texture, and soft shadows on the floor: what a scene is drawn from. Pure numpy."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from vla_sim.sim.materials import SHADOW

VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 4), ("uv", "<f4", 2)])


@dataclass
class Layer:
    """Triangles that share one texture.

    Attributes:
        texture: name for `material_pixels`; "" for none.
        variant: which grain of it.
        vertices: VERTEX (n,), world frame.
        triangles: uint16 (m, 3), counter-clockwise seen from outside.
        labels: uint16 (n,), the segmentation label of what each vertex belongs to; 0 where it has none.
    """

    texture: str
    variant: int
    vertices: np.ndarray
    triangles: np.ndarray
    labels: np.ndarray


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Colours from 0 on to uint8; those above 1 are clipped."""
    return np.minimum(np.rint(values * 255), 255).astype(np.uint8)


@functools.lru_cache(maxsize=256)
def grid_triangles(columns: int, rows: int) -> np.ndarray:
    """Triangles between the points of a grid, of which those of a column follow each other: int32 (m, 3), read-only."""
    first = (np.arange(columns - 1)[:, None] * rows + np.arange(rows - 1)).ravel()
    right, above, across = first + rows, first + 1, first + rows + 1
    found = np.concatenate([np.stack([first, right, across], 1), np.stack([first, across, above], 1)]).astype(np.int32)
    found.setflags(write=False)
    return found


def quad_triangles(count: int) -> np.ndarray:
    """Triangles of rectangles with four corners each: int32 (2 count, 3)."""
    corners = np.array([(0, 1, 2), (0, 2, 3)], np.int32)
    return (corners + 4 * np.arange(count, dtype=np.int32)[:, None, None]).reshape(-1, 3)


def soft_patches(count: int) -> Layer:
    """Room for `count` shadows, each one triangle.

    The shadow fills the unit square of the texture and is clear outside; a triangle around that square has no diagonal
    inside, along which a rasteriser may blend pixels twice.
    """
    vertices = np.zeros(3 * count, VERTEX)
    vertices["uv"] = np.tile(np.array([(0, 0), (2, 0), (0, 2)], np.float32), (count, 1))
    triangles = np.arange(3 * count, dtype=np.uint16).reshape(-1, 3)
    return Layer(SHADOW, 0, vertices, triangles, np.zeros(3 * count, np.uint16))


def around(positions: np.ndarray, yaw: float, ahead: float, margin: float, *, forward_only: bool = False) -> np.ndarray:
    """Where a shadow of points lies on the floor: a rectangle along `yaw`, as the triangle for `soft_patches`.

    Args:
        positions: world points (n, 3).
        yaw: direction of the rectangle's first side.
        ahead: longer by this: a share of its size at both ends, or metres at the far end with `forward_only`.
        margin: wider by this share of its width.
        forward_only: see ahead.

    Returns:
        (3, 2): the rectangle's first corner, and the points at twice its sides from there.
    """
    along = np.array([math.cos(yaw), math.sin(yaw)])
    aside = np.array([-along[1], along[0]])
    u, v = positions[:, :2] @ along, positions[:, :2] @ aside
    u0, u1, v0, v1 = float(u.min()), float(u.max()), float(v.min()), float(v.max())
    wide = margin * (v1 - v0)
    if forward_only:
        start, end = (u0 + u1) / 2 - 0.3 * (u1 - u0), u1 + ahead + 0.15 * (u1 - u0)
        wide *= 0.5
    else:
        extra = ahead * (u1 - u0)
        start, end = u0 - extra, u1 + extra
    low, high = v0 - wide, v1 + wide
    corners = [(start, low), (2 * end - start, low), (start, 2 * high - low)]
    return np.array([a * along + b * aside for a, b in corners])
