"""Depth and labels of pixels from which triangle each of them shows. Pure numpy, used by `vla_sim.sim.panda`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vla_sim.sim.layers import Layer
from vla_sim.sim.lens import Lens


class Triangles:
    """All triangles of some layers, in order; a pixel shows number 0, nothing, or 1 + the index of a triangle.

    Attributes:
        corners: float64 (n, 3, 3), in metres in the world frame.
        labels: int32 (n + 1,), by number: the segmentation label, 0 for nothing.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.corners = np.concatenate([layer.vertices["position"][layer.triangles] for layer in layers]).astype(float)
        found = [layer.labels[layer.triangles[:, 0]] for layer in layers]
        self.labels = np.concatenate([[0], *found]).astype(np.int32)

    def depth(
        self,
        numbers: np.ndarray,
        position: np.ndarray,
        turn: np.ndarray,
        lens: Lens,
        near_m: float,
        far_m: float,
    ) -> np.ndarray:
        """Distance along the optical axis in metres: where each pixel's ray meets the plane of its triangle.

        Args:
            numbers: int (H, W), which triangle each drawn pixel shows.
            position: optical centre in the world, (3,) in metres.
            turn: rotation (3, 3) as from `camera_pose`.
            lens: rays of the drawn pixels.
            near_m: nothing is nearer.
            far_m: nothing is farther; the value where nothing is.

        Returns:
            float32 (H, W).
        """
        local = (self.corners - position) @ turn
        normals = np.cross(local[:, 1] - local[:, 0], local[:, 2] - local[:, 0])
        offsets = (normals * local[:, 0]).sum(axis=1)
        rows, columns = np.nonzero(numbers)
        rays = lens.rays[rows, columns]
        planes = _Planes(local, normals, offsets)
        index = numbers[rows, columns] - 1
        distance = planes.meet(index, rays)
        self._search(numbers, (rows, columns), rays, distance, planes)
        beside = np.flatnonzero(np.isinf(distance))
        with np.errstate(divide="ignore", invalid="ignore"):
            distance[beside] = offsets[index[beside]] / (rays[beside] * normals[index[beside]]).sum(axis=1)
        # The centre of a pixel at an outline may just miss the triangle, and meet its plane far away.
        ends = local[:, :, 0]
        low, high = np.maximum(ends.min(axis=1), near_m)[index[beside]], ends.max(axis=1)[index[beside]]
        distance[beside] = np.clip(distance[beside], low, high)
        depth = np.full(numbers.shape, far_m)
        depth[rows, columns] = np.where(np.isnan(distance), far_m, np.minimum(distance, far_m))
        return depth.astype(np.float32)

    def _search(
        self,
        numbers: np.ndarray,
        pixels: tuple[np.ndarray, np.ndarray],
        rays: np.ndarray,
        distance: np.ndarray,
        planes: _Planes,
    ) -> None:
        """Find what the rays (m, 3) of pixels meet that miss the triangle they show: their distance is infinite.

        Rasterisers give a pixel on an edge to either side. Most rays meet a triangle that is shown beside it, others
        one of the same body that is too narrow to be seen.
        """
        missed = np.flatnonzero(np.isinf(distance))
        rows, columns = pixels[0][missed], pixels[1][missed]
        labels = self.labels[numbers[rows, columns]]
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r = np.clip(rows + down, 0, numbers.shape[0] - 1)
                c = np.clip(columns + right, 0, numbers.shape[1] - 1)
                beside = numbers[r, c]
                same = (beside > 0) & (self.labels[beside] == labels)
                met = planes.meet(beside[same] - 1, rays[missed[same]])
                distance[missed[same]] = np.minimum(distance[missed[same]], met)
        still = np.isinf(distance[missed])
        for label in np.unique(labels[still]):
            left = missed[still & (labels == label)]
            of_body = np.flatnonzero(self.labels[1:] == label)
            distance[left] = planes.meet(of_body, rays[left][:, None]).min(axis=1)


class _Planes:
    """Triangles (n, 3, 3) in camera coordinates with the normals (n, 3) and offsets (n,) of their planes."""

    def __init__(self, local: np.ndarray, normals: np.ndarray, offsets: np.ndarray) -> None:
        self._normals, self._offsets = normals, offsets
        # Normals of the planes through the eye and each edge.
        self._edges = np.cross(local, np.roll(local, -1, axis=1))

    def meet(self, index: np.ndarray, rays: np.ndarray) -> np.ndarray:
        """Where rays (..., 3) meet triangles: distances along the optical axis, infinite beside them.

        Args:
            index: which triangles, (m,).
            rays: one a triangle (m, 3), or several for all of them (k, 1, 3).
        """
        sides = np.matmul(self._edges[index], rays[..., None])[..., 0]
        within = (sides >= 0).all(axis=-1) | (sides <= 0).all(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = self._offsets[index] / (rays * self._normals[index]).sum(axis=-1)
        return np.where(within & (distance > 0), distance, np.inf)
