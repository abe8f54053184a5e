"""What lens and sensor make of a drawn image: blur, vignette, haze and noise. Pure numpy, used by `vla_sim.sim.panda`.

All of it follows from the look, the number of the control step and the robot's motion, so equal episodes give equal
images.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Look
from vla_sim.sim.camera import Shot
from vla_sim.sim.motion_blur import blur

# Noise is cut from one long table; a step begins at one of so many places in it.
_STARTS = 65_521


class Sensor:
    """Of one camera under one look; without any effect it copies what was drawn."""

    def __init__(self, look: Look, camera: CameraSpec) -> None:
        self._look, self._camera = look, camera
        width, height = camera.image_px
        self._gain = _vignette(camera.image_px, look.vignette, look.haze) if look.vignette or look.haze else None
        self._veil = np.uint16(255 * look.haze)
        self._noise = _noise(3 * width * height, round(2 * look.noise) / 2) if look.noise > 0 else None
        self._wide = np.empty((height, width, 3), np.uint16)

    def expose(self, drawn: np.ndarray, image: np.ndarray, shot: Shot) -> None:
        """Make an image of what was drawn.

        Args:
            drawn: uint8 (H, W, 3), any view.
            image: uint8 (H, W, 3), C-contiguous; is overwritten.
            shot: by whose step noise differs, and by whose twist blur.
        """
        if self._gain is None and self._look.shutter_s == 0:
            np.copyto(image, drawn)
        else:
            # In 16 bits: several times as fast as in floats, or as one call that converts by itself.
            np.copyto(self._wide, drawn)
            wide = blur(self._wide, self._camera, shot.twist, self._look.shutter_s)
            if self._gain is not None:
                np.multiply(wide, self._gain, out=wide)
                np.right_shift(wide, 8, out=wide)
                if self._veil:
                    np.add(wide, self._veil, out=wide)
            np.copyto(image, wide, casting="unsafe")
        if self._noise is not None:
            room, plus, minus = self._noise
            start = (self._look.texture_seed * 7919 + shot.step * 104_729) % _STARTS
            end = start + image.size
            flat = image.reshape(-1)
            np.minimum(flat, room[start:end], out=flat)
            np.add(flat, plus[start:end], out=flat)
            np.maximum(flat, minus[start:end], out=flat)
            np.subtract(flat, minus[start:end], out=flat)


@functools.lru_cache(maxsize=8)
def _noise(size: int, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal noise as uint8: 255 less what is added, what is added, what is taken away."""
    grey = np.random.default_rng(size).standard_normal((size + _STARTS) // 3 + 1)
    color = np.random.default_rng(size + 1).standard_normal(size + _STARTS)
    # Most of a sensor's noise is left in brightness once its colours are reconstructed.
    mixed = strength * (0.8 * np.repeat(grey, 3)[: size + _STARTS] + 0.6 * color)
    values = np.clip(np.rint(mixed), -100, 100).astype(np.int16)
    plus = np.maximum(values, 0).astype(np.uint8)
    return 255 - plus, plus, np.maximum(-values, 0).astype(np.uint8)


def _vignette(image_px: tuple[int, int], loss: float, haze: float) -> np.ndarray:
    """Factor of every value times 256, uint16 (H, W, 3): less toward the corners, where `loss` is lost."""
    gain = np.rint(256 * (1 - haze) * (1 - loss * _fall(image_px))).astype(np.uint16)
    return np.repeat(gain[..., None], 3, axis=2)


@functools.lru_cache(maxsize=8)
def _fall(image_px: tuple[int, int]) -> np.ndarray:
    """How far light has fallen at each pixel: 0 in the middle, 1 in the corners, (H, W)."""
    width, height = image_px
    x, y = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    return np.asarray((np.hypot(x, y) / math.sqrt(2)) ** 2.5)
