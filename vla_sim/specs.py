"""Embodiments as data: body, drive, camera. Read from `envs/*.toml`; used by sim, envs and policies."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_sim.types import Vec3


@dataclass(frozen=True)
class CameraSpec:
    """A camera on the robot.

    Attributes:
        sensor_px: (width, height) of the real sensor; gives the aspect ratio.
        image_px: (width, height) of the observation. The sensor picture is squeezed to it, aspect not preserved.
        hfov_rad: horizontal field of view of the undistorted sensor picture. The vertical one follows
            from the aspect ratio of the sensor (square pixels): see `vfov_rad`.
        mount_m: optical centre in the body frame (x forward, y left, z up from the floor).
        pitch_rad: positive looks down.
        distortion: first radial coefficient k1 of the Brown model on normalised image coordinates;
            negative is barrel distortion as a wide-angle lens has; 0 is a pinhole.
        near_m, far_m: range in which things are drawn.
    """

    sensor_px: tuple[int, int] = (1280, 720)
    image_px: tuple[int, int] = (224, 224)
    hfov_rad: float = math.radians(90)
    mount_m: Vec3 = (0.1, 0.0, 0.3)
    pitch_rad: float = math.radians(12)
    distortion: float = 0.0
    near_m: float = 0.03
    far_m: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.hfov_rad < math.pi:
            raise ValueError(f"hfov must lie between 0 and 180 degrees, got {math.degrees(self.hfov_rad):g}")
        if min(*self.sensor_px, *self.image_px) < 8:
            raise ValueError(f"pictures need 8 pixels a side, got {self.sensor_px} and {self.image_px}")
        if not 0 < self.near_m < self.far_m:
            raise ValueError(f"near_m must lie between 0 and far_m, got {self.near_m} and {self.far_m}")

    @property
    def vfov_rad(self) -> float:
        """Vertical field of view that square sensor pixels imply."""
        width, height = self.sensor_px
        return 2 * math.atan(math.tan(self.hfov_rad / 2) * height / width)
