"""Light on faces, computed once a scene and stored as a colour per vertex. Pure numpy."""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.types import Look

# A real camera sets its exposure: light levels (sun on the floor plus ambient) outside are drawn as if at the border.
EXPOSURE = (0.75, 1.08)
# Black paint still reflects, and no face is quite without light: dark things under dim light stay visible.
LEAST_ALBEDO = 0.15
LEAST_SHADE = 0.3
# Below 1, shaded sides are drawn lighter than light alone would make them, as a camera's tone curve does.
TONE = 0.75


class Light:
    """Lamps at the ceiling and daylight from a side: shades are soft, what faces up is lit best."""

    def __init__(self, look: Look) -> None:
        self.azimuth_rad = look.sun_azimuth_rad
        self.elevation_rad = min(max(look.sun_elevation_rad, 0.15), math.pi / 2 - 0.01)
        flat = math.cos(self.elevation_rad)
        self.toward = np.array(
            [flat * math.cos(self.azimuth_rad), flat * math.sin(self.azimuth_rad), math.sin(self.elevation_rad)]
        )
        level = look.ambient + look.sun * float(self.toward[2])
        gain = min(max(level, EXPOSURE[0]), EXPOSURE[1]) / max(level, 1e-3)
        self.sun, self.ambient = gain * look.sun, gain * look.ambient
        self.tint, self.exposure = np.array(look.tint), look.exposure

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Light on faces with these unit normals (n, 3): RGB factors (n, 3)."""
        up, facing = normals[:, 2], normals @ self.toward
        # A ceiling gets what floor and walls throw back.
        lamps = self.ambient * (0.92 + 0.2 * np.maximum(up, 0) - 0.1 * np.maximum(-up, 0))
        daylight = self.sun * (0.42 * np.maximum(facing, 0) + 0.2 * (1 + facing))
        return (np.maximum(lamps + daylight, LEAST_SHADE) ** TONE)[:, None] * self.tint * self.exposure
