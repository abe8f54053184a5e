"""Radial lens distortion as a table look-up on a wider pinhole picture. Used by renderers."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from vla_sim.specs import CameraSpec


@dataclass(frozen=True)
class Distortion:
    """First radial term of the Brown model: a ray at normalised radius r appears at r (1 + k1 r^2).

    Attributes:
        hfov_rad, vfov_rad: of the pinhole picture that holds everything the lens sees.
        source: int64 (H * W,), the pixel of that picture (row-major) that each pixel of the lens's picture shows.
    """

    hfov_rad: float
    vfov_rad: float
    source: np.ndarray

    @classmethod
    def of(cls, camera: CameraSpec) -> Distortion:
        """The table of a camera."""
        return _made(camera)

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """The lens's picture, (H, W, 3), of the pinhole's of the same size."""
        height, width, channels = picture.shape
        flat = np.ascontiguousarray(picture).reshape(-1, channels)
        return flat[self.source].reshape(height, width, channels)


def undistorted_radius(radius: np.ndarray, k1: float) -> np.ndarray:
    """Radius r whose distorted image r (1 + k1 r^2) is `radius`, by Newton's method."""
    r = np.array(radius, dtype=np.float64)
    for _ in range(20):
        r = r - (r * (1 + k1 * r**2) - radius) / np.maximum(1 + 3 * k1 * r**2, 0.1)
    return r


@functools.lru_cache(maxsize=8)
def _made(camera: CameraSpec) -> Distortion:
    width, height = camera.image_px
    half_x, half_y = math.tan(camera.hfov_rad / 2), math.tan(camera.vfov_rad / 2)
    columns, rows = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, (np.arange(height) + 0.5) / height * 2 - 1)
    # hfov is that of the undistorted picture: its edge appears at the distorted edge of the lens's picture.
    edge = half_x * (1 + camera.distortion * half_x**2)
    if edge <= 0:
        raise ValueError(
            f"camera.distortion {camera.distortion:g} folds the picture at {math.degrees(camera.hfov_rad):g} degrees"
        )
    seen_x, seen_y = columns * edge, rows * edge * half_y / half_x
    seen = np.hypot(seen_x, seen_y)
    radius = undistorted_radius(seen, camera.distortion)
    stretch = radius / np.maximum(seen, 1e-12)
    x, y = seen_x * stretch, seen_y * stretch
    wide_x, wide_y = np.abs(x).max(), np.abs(y).max()
    column = np.clip(((x / wide_x + 1) / 2 * width).astype(int), 0, width - 1)
    row = np.clip(((y / wide_y + 1) / 2 * height).astype(int), 0, height - 1)
    return Distortion(2 * math.atan(wide_x), 2 * math.atan(wide_y), (row * width + column).ravel())
