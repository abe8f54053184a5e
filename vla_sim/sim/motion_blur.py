"""Blur of an image while the shutter is open and the robot moves. Pure numpy."""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.specs import CameraSpec

# What a moving camera looks at is taken to be this far away.
TYPICAL_DISTANCE_M = 1.5
MAX_BLUR_PX = 16


def blur(wide: np.ndarray, camera: CameraSpec, twist: tuple[float, float, float], shutter_s: float) -> np.ndarray:
    """An image, uint16 (H, W, 3) with values up to 255, smeared along its rows; itself where nothing moves.

    Turning moves all of the image by the same number of pixels near its middle; sideways motion moves what is
    `TYPICAL_DISTANCE_M` away. Forward motion spreads the image by less than a pixel at such speeds and is left out.
    """
    _, vy, wz = twist
    width = camera.image_px[0]
    per_rad = width / (2 * math.tan(camera.hfov_rad / 2))
    moved_px = abs(wz + vy / TYPICAL_DISTANCE_M) * shutter_s * per_rad
    taps = min(round(moved_px) + 1, MAX_BLUR_PX)
    if taps < 2:
        return wide
    total = wide.copy()
    for shift in (*range(-(taps // 2), 0), *range(1, taps - taps // 2)):
        # Beyond the rim, what is at the rim.
        if shift < 0:
            total[:, -shift:] += wide[:, :shift]
            total[:, :-shift] += wide[:, :1]
        else:
            total[:, :-shift] += wide[:, shift:]
            total[:, -shift:] += wide[:, -1:]
    # At most 16 times 255 times 256 / 16 fits into 16 bits.
    total *= np.uint16(256 // taps)
    total >>= 8
    return total
