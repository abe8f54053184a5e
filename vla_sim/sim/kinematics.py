"""Wheel kinematics: which twist the wheels can really make. Used by `vla_sim.sim.actuation`."""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.specs import DriveKind, DriveSpec

Twist = tuple[float, float, float]


class Drive:
    """Wheel speeds for a body twist, and the motors' limit.

    Omni wheels follow the LeKiwi driver: speed of wheel i along the floor is cos(a_i) vx + sin(a_i) vy + R wz.
    """

    def __init__(self, spec: DriveSpec) -> None:
        self.spec = spec
        if spec.kind is DriveKind.OMNI3:
            rows = [[math.cos(a), math.sin(a), spec.base_radius_m] for a in spec.wheel_angles_rad]
        else:
            rows = [[1.0, 0.0, -spec.base_radius_m], [1.0, 0.0, spec.base_radius_m]]
        self._to_wheels = np.array(rows) / spec.wheel_radius_m
        self._from_wheels = np.linalg.pinv(self._to_wheels)
        self._limited: dict[Twist, Twist] = {}

    def wheel_speeds(self, twist: Twist) -> np.ndarray:
        """Wheel rates in rad/s, shape (wheels,), for a body twist (m/s, m/s, rad/s), before any limit."""
        return self._to_wheels @ np.asarray(twist, dtype=np.float64)

    def limit(self, twist: Twist) -> Twist:
        """The twist that comes out: all wheels scaled down together when one would pass the motors' limit."""
        if twist not in self._limited:
            if len(self._limited) > 4096:
                self._limited.clear()
            self._limited[twist] = self._limit(twist)
        return self._limited[twist]

    def possible(self, twist: Twist) -> Twist:
        """The nearest twist of the same speed ahead that the wheels can make at all, whatever their speed."""
        if self.spec.kind is DriveKind.OMNI3:
            return twist
        vx, _, wz = twist
        if self.spec.kind is DriveKind.ACKERMANN:
            most = abs(vx) * self.spec.max_curvature
            wz = min(max(wz, -most), most)
        return (vx, 0.0, wz)

    def with_gains(self, twist: Twist, gains: np.ndarray) -> Twist:
        """What becomes of a twist when wheels make only a share (wheels,) of their speed."""
        vx, vy, wz = (self._from_wheels @ (gains * self.wheel_speeds(twist))).tolist()
        return (vx, vy, wz)

    def _limit(self, twist: Twist) -> Twist:
        vx, vy, wz = self.possible(twist)
        peak = float(np.abs(self.wheel_speeds((vx, vy, wz))).max())
        share = min(1.0, self.spec.max_wheel_radps / peak) if peak > 0 else 1.0
        return (share * vx, share * vy, share * wz)
