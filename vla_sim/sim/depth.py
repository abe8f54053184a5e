"""Depth of labelled pixels by cutting their rays with the triangles of what they show. Pure numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_sim.sim.layers import Layer
from vla_sim.sim.lens import Lens
from vla_sim.sim.mesh_scene import CEILING_LABEL, FLOOR_LABEL


def planar_depth(
    labels: np.ndarray,
    solids: Sequence[Layer],
    position: np.ndarray,
    turn: np.ndarray,
    lens: Lens,
    near_m: float,
    far_m: float,
    ceiling_m: float = 0.0,
) -> np.ndarray:
    """Distance along the optical axis in metres.

    Args:
        labels: int (H, W), what each drawn pixel shows.
        solids: triangles of the bodies with their labels, world frame.
        position: optical centre in the world, (3,) in metres.
        turn: rotation (3, 3) as from `camera_pose`.
        lens: rays of the drawn pixels.
        near_m: nothing is nearer.
        far_m: nothing is farther; the value where nothing is.
        ceiling_m: height of the ceiling.

    Returns:
        float32 (H, W).
    """
    rays = lens.rays @ turn.T
    depth = np.full(labels.shape, np.inf)
    for label, height_m, sign in ((FLOOR_LABEL, 0.0, -1), (CEILING_LABEL, ceiling_m, 1)):
        level = (labels == label) & (sign * rays[..., 2] > 0)
        depth[level] = (height_m - position[2]) / rays[level][:, 2]
    for layer in solids:
        corners = (layer.vertices["position"].astype(np.float64) - position) @ turn
        for triangle in layer.triangles:
            _cut(depth, labels, int(layer.labels[triangle[0]]), corners[triangle], lens, near_m)
    _fill_edges(depth, labels)
    depth[labels == 0] = far_m
    return np.minimum(depth, far_m).astype(np.float32)


def _cut(depth: np.ndarray, labels: np.ndarray, label: int, corners: np.ndarray, lens: Lens, near_m: float) -> None:
    """Lower `depth` where the rays of pixels with this label meet one triangle (3, 3) in camera coordinates."""
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    # Seen from behind, or on edge.
    if normal @ corners[0] >= 0 or (corners[:, 0] < near_m).all():
        return
    rows, columns = _window(corners, lens, near_m)
    inside = labels[rows, columns] == label
    if not inside.any():
        return
    rays = lens.rays[rows, columns][inside]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (normal @ corners[0]) / (rays @ normal)
    points = rays * distance[:, None]
    hit = (distance > near_m) & np.isfinite(distance)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        side = np.cross(normal, corners[end] - corners[start])
        with np.errstate(invalid="ignore"):
            hit &= (points - corners[start]) @ side >= -1e-9
    window = depth[rows, columns]
    window[inside] = np.where(hit, np.minimum(window[inside], distance), window[inside])


def _window(corners: np.ndarray, lens: Lens, near_m: float) -> tuple[slice, slice]:
    """Rows and columns that a triangle can cover; everything when it reaches behind the camera."""
    width, height = lens.draw_px
    if (corners[:, 0] < near_m).any():
        return slice(0, height), slice(0, width)
    right = (-corners[:, 1] / corners[:, 0] / lens.half_tan[0] + 1) / 2 * width
    down = (-corners[:, 2] / corners[:, 0] / lens.half_tan[1] + 1) / 2 * height
    return _range(down, height), _range(right, width)


def _range(values: np.ndarray, size: int) -> slice:
    low, high = np.clip([values.min() - 1, values.max() + 2], 0, size).astype(int)
    return slice(int(low), int(high))


def _fill_edges(depth: np.ndarray, labels: np.ndarray) -> None:
    """Pixels along an outline whose centre just misses their body take the depth of a neighbour of the same body."""
    for _ in range(4):
        rows, columns = np.nonzero(np.isinf(depth) & (labels > FLOOR_LABEL))
        if not len(rows):
            return
        best = np.full(len(rows), np.inf)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r = np.clip(rows + down, 0, labels.shape[0] - 1)
                c = np.clip(columns + right, 0, labels.shape[1] - 1)
                same = labels[r, c] == labels[rows, columns]
                best = np.minimum(best, np.where(same, depth[r, c], np.inf))
        depth[rows, columns] = best
