"""The model of a mesh from a file, as `vla_sim.sim.meshes` has them of kinds. Knows no renderer."""

from __future__ import annotations

import functools

import numpy as np

from vla_sim.core.obj_mesh import ObjMesh
from vla_sim.core.types import Vec3
from vla_sim.sim.mesh_parts import Mesh


@functools.lru_cache(maxsize=32)
def model_of(mesh: ObjMesh) -> Mesh:
    """Its triangles in the unit cube, flat and seen from both sides: files disagree on which one is the outside.

    Where a material says no colour, it is the body's.
    """
    corners = mesh.triangles.reshape(-1, 3)
    low, high = corners.min(axis=0), corners.max(axis=0)
    front = (mesh.triangles - low) / (high - low) - 0.5
    normals = np.cross(front[:, 1] - front[:, 0], front[:, 2] - front[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    positions = np.concatenate([front, front[:, ::-1]]).reshape(-1, 3)
    plain = np.isnan(mesh.colors).any(axis=1)
    colors = np.where(plain[:, None], 1.0, mesh.colors)
    count = len(positions)
    return Mesh(
        positions=positions.astype(np.float32),
        normals=np.repeat(np.concatenate([normals, -normals]), 3, axis=0).astype(np.float32),
        uv=np.zeros((count, 2), np.float32),
        in_metres=np.zeros(count, bool),
        colors=np.repeat(np.tile(colors, (2, 1)), 3, axis=0).astype(np.float32),
        tint=np.repeat(np.tile(plain, 2), 3).astype(np.float32),
        triangles=np.arange(count, dtype=np.int32).reshape(-1, 3),
    )


def mean_color(mesh: ObjMesh) -> Vec3:
    """What its materials are on average, by area."""
    edges = mesh.triangles[:, 1:] - mesh.triangles[:, :1]
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    said = np.isfinite(mesh.colors).all(axis=1)
    red, green, blue = np.average(mesh.colors[said], axis=0, weights=area[said]).tolist()
    return red, green, blue
