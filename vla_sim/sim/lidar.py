"""Ranges of a planar LiDAR by cutting its rays with the footprints of bodies: exact, numpy only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_sim.core.sensors import LidarSpec
from vla_sim.core.types import Body, Pose2
from vla_sim.sim.camera import Moved


def ray_angles(spec: LidarSpec) -> np.ndarray:
    """Angles of the rays to straight ahead, counter-clockwise positive, (rays,) in rad."""
    steps = np.arange(spec.rays) / (spec.rays if spec.full_circle else spec.rays - 1)
    return np.asarray(spec.fov_rad * (steps - 0.5))


class Footprints:
    """The footprints that a LiDAR at a height sees: rectangles and discs, as arrays.

    Args:
        bodies: of the scene, standing on the floor.
        height_m: of the LiDAR; lower bodies are not seen.
    """

    def __init__(self, bodies: Sequence[Body], height_m: float) -> None:
        self._seen = [body for body in bodies if body.size_m[2] >= height_m]
        self._half = np.array([body.size_m[:2] for body in self._seen]).reshape(-1, 2) / 2
        self._round = np.array([body.round for body in self._seen], dtype=bool)

    def ranges(self, origin: np.ndarray, angles: np.ndarray, moved: Moved = {}) -> np.ndarray:  # noqa: B006 - only read
        """Distance from a point to the first footprint along each ray; infinite where there is none, 0 inside one.

        Args:
            origin: (2,) in the world frame in metres.
            angles: of the rays in the world frame, (rays,) in rad.
            moved: centre and quaternion (x, y, z, w) of bodies that do not stand where the scene put them.

        Returns:
            float64 (rays,) in metres.
        """
        if not self._seen:
            return np.full(len(angles), np.inf)
        poses = np.array([_pose(body, moved) for body in self._seen])
        cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        dx, dy = origin[0] - poses[:, 0], origin[1] - poses[:, 1]
        start = np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=1)
        turned = angles[None] - poses[:, 2:]
        along = np.stack([np.cos(turned), np.sin(turned)], axis=2)
        discs = _to_discs(start, along, self._half[:, 0])
        return np.asarray(np.where(self._round[:, None], discs, _to_boxes(start, along, self._half)).min(axis=0))


def _pose(body: Body, moved: Moved) -> tuple[float, float, float]:
    if body.name not in moved:
        return body.x_m, body.y_m, body.yaw_rad
    (x, y, _), (qx, qy, qz, qw) = moved[body.name]
    return x, y, math.atan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))


def _to_boxes(start: np.ndarray, along: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Distances (bodies, rays) to boxes around the origin: the slabs of both axes are entered, none is left yet."""
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (-half[:, None] - start[:, None]) / along
        second = (half[:, None] - start[:, None]) / along
    # Along a side the slab is everywhere or nowhere: 0 / 0 is on its border, which counts as inside.
    enter = np.nan_to_num(np.minimum(first, second), nan=-np.inf, posinf=np.inf, neginf=-np.inf).max(axis=2)
    leave = np.nan_to_num(np.maximum(first, second), nan=np.inf, posinf=np.inf, neginf=-np.inf).min(axis=2)
    return np.asarray(np.where((enter <= leave) & (leave >= 0), np.maximum(enter, 0.0), np.inf))


def _to_discs(start: np.ndarray, along: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Distances (bodies, rays) to discs around the origin."""
    ahead = -(along * start[:, None]).sum(axis=2)
    beside = (start**2).sum(axis=1)[:, None] - ahead**2
    depth = radius[:, None] ** 2 - beside
    half_chord = np.sqrt(np.maximum(depth, 0.0))
    return np.asarray(np.where((depth >= 0) & (ahead + half_chord >= 0), np.maximum(ahead - half_chord, 0.0), np.inf))


class Lidar:
    """A LiDAR in one scene after another.

    Args:
        spec: of the sensor.
    """

    def __init__(self, spec: LidarSpec) -> None:
        self._spec, self._angles = spec, ray_angles(spec)
        self._footprints = Footprints((), 0.0)

    def load(self, bodies: Sequence[Body], rng: np.random.Generator) -> None:
        """An episode begins among these bodies; its noise comes from `rng`."""
        self._footprints, self._rng = Footprints(bodies, self._spec.mount_m[2]), rng

    def measure(self, robot: Pose2, moved: Moved) -> np.ndarray:
        """What it measures from a pose of the robot, float32 (rays,) in metres; each call draws new noise."""
        cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
        x, y, _ = self._spec.mount_m
        origin = np.array([robot.x_m + cos * x - sin * y, robot.y_m + sin * x + cos * y])
        ranges = self._footprints.ranges(origin, self._angles + robot.yaw_rad, moved)
        if self._spec.noise_m > 0:
            noise = self._spec.noise_m * self._rng.standard_normal(len(ranges))
            ranges = np.where(ranges < self._spec.range_m, np.maximum(ranges + noise, 0.0), ranges)
        return np.minimum(ranges, self._spec.range_m).astype(np.float32)
