"""Where the pixels of a camera look: pinhole rays, and the index table of a distorted lens. Pure numpy."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.specs import CameraSpec


class LensError(UserError, ValueError):
    """A camera that no lens can have."""


@dataclass(frozen=True)
class Lens:
    """What has to be drawn for one camera, and how its image is made of that.

    Attributes:
        draw_px: (width, height) of the pinhole image to draw.
        half_tan: (horizontal, vertical) tangent of half the field of view of that image.
        table: int32 (H * W,), for each pixel of the camera the flat index of the drawn pixel; None for a pinhole.
        rays: float64 (H, W, 3), direction of each drawn pixel's centre as (forward, left, up) with forward 1.
    """

    draw_px: tuple[int, int]
    half_tan: tuple[float, float]
    table: np.ndarray | None
    rays: np.ndarray

    def apply(self, image: np.ndarray, image_px: tuple[int, int]) -> np.ndarray:
        """The camera's image (H, W, ...) from the drawn one."""
        if self.table is None:
            return image
        width, height = image_px
        flat = image.reshape(-1, *image.shape[2:])
        return flat[self.table].reshape(height, width, *image.shape[2:])


@functools.lru_cache(maxsize=32)
def lens_of(camera: CameraSpec) -> Lens:
    """The lens of a camera.

    Distortion follows the first term of the Brown model in OpenCV's direction: a point at r = tan(angle to the
    optical axis) appears at r (1 + k1 r^2). Pixels take the nearest drawn pixel.

    Raises:
        LensError: the distortion folds the image over within the field of view.
    """
    half_tan = (math.tan(camera.hfov_rad / 2), math.tan(camera.vfov_rad / 2))
    if camera.distortion == 0:
        return Lens(camera.image_px, half_tan, None, _rays(camera.image_px, half_tan))
    width, height = camera.image_px
    x, y = _pixel_tangents(camera.image_px, half_tan)
    x, y = np.broadcast_arrays(x[None, :], y[:, None])
    true = undistort(np.hypot(x, y), camera.distortion)
    scale = np.where(np.hypot(x, y) > 0, true / np.maximum(np.hypot(x, y), 1e-12), 1.0)
    x, y = x * scale, y * scale
    # Whole pixels more on every side, at the density of the camera's own image, so the middle stays as sharp.
    density = width / (2 * half_tan[0]), height / (2 * half_tan[1])
    draw = tuple(
        max(8, 2 * math.ceil(float(np.abs(axis).max()) * d + 0.5)) for axis, d in zip((x, y), density, strict=True)
    )
    draw_tan = draw[0] / (2 * density[0]), draw[1] / (2 * density[1])
    columns = np.clip(np.floor((x / draw_tan[0] + 1) / 2 * draw[0]).astype(int), 0, draw[0] - 1)
    rows = np.clip(np.floor((y / draw_tan[1] + 1) / 2 * draw[1]).astype(int), 0, draw[1] - 1)
    table = (rows * draw[0] + columns).astype(np.int32).reshape(-1)
    return Lens((draw[0], draw[1]), draw_tan, table, _rays((draw[0], draw[1]), draw_tan))


def undistort(radius: np.ndarray, k1: float) -> np.ndarray:
    """The true tangent of the angle that appears at `radius`: solves r (1 + k1 r^2) = radius for the smallest r."""
    radius = np.asarray(radius, dtype=np.float64)
    if k1 == 0:
        return radius
    largest = float(radius.max())
    if k1 < 0 and largest >= 2 / (3 * math.sqrt(-3 * k1)):
        least = -4 / (27 * largest**2)
        raise LensError(
            f"distortion {k1:g} folds the corners of this field of view over; it must be greater than {least:.4f} here"
        )
    true = radius.copy()
    for _ in range(60):
        # Newton's method from below converges monotonically on this concave or convex branch.
        step = (true * (1 + k1 * true**2) - radius) / (1 + 3 * k1 * true**2)
        true -= step
        if float(np.abs(step).max()) < 1e-12:
            break
    return true


def _pixel_tangents(size_px: tuple[int, int], half_tan: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Tangents of pixel centres: to the right for each column, downward for each row."""
    width, height = size_px
    right = ((np.arange(width) + 0.5) / width * 2 - 1) * half_tan[0]
    down = ((np.arange(height) + 0.5) / height * 2 - 1) * half_tan[1]
    return right, down


def _rays(size_px: tuple[int, int], half_tan: tuple[float, float]) -> np.ndarray:
    right, down = _pixel_tangents(size_px, half_tan)
    rays = np.empty((size_px[1], size_px[0], 3))
    rays[..., 0] = 1
    rays[..., 1] = -right
    rays[..., 2] = -down[:, None]
    rays.setflags(write=False)
    return rays
