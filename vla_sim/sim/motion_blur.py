"""Blur of an image while the shutter is open and the robot moves. Pure numpy."""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.specs import CameraSpec

# What a moving camera looks at is taken to be this far away.
TYPICAL_DISTANCE_M = 1.5
MAX_BLUR_PX = 16


def blur(image: np.ndarray, camera: CameraSpec, twist: tuple[float, float, float], shutter_s: float) -> np.ndarray:
    """An image, uint8 (H, W, 3), smeared along its rows.

    Turning moves all of the image by the same number of pixels near its middle; sideways motion moves what is
    `TYPICAL_DISTANCE_M` away. Forward motion spreads the image by less than a pixel at such speeds and is left out.
    """
    _, vy, wz = twist
    width = camera.image_px[0]
    per_rad = width / (2 * math.tan(camera.hfov_rad / 2))
    shift = abs(wz + vy / TYPICAL_DISTANCE_M) * shutter_s * per_rad
    taps = min(round(shift) + 1, MAX_BLUR_PX)
    if taps < 2:
        return image
    before = taps // 2
    padded = np.pad(image, ((0, 0), (before, taps - 1 - before), (0, 0)), mode="edge").astype(np.uint16)
    total = padded[:, :width].copy()
    for tap in range(1, taps):
        total += padded[:, tap : tap + width]
    # At most 16 times 255 times 256 / 16 fits into 16 bits.
    return ((total * np.uint16(256 // taps)) >> 8).astype(np.uint8)
