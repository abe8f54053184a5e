"""Exact depth and segmentation: the pixels' rays against the triangles that the renderers draw. numpy only."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_sim.render.distortion import undistorted_radius
from vla_sim.render.meshes import mesh_of
from vla_sim.specs import CameraSpec
from vla_sim.types import Pose2, Scene

NOTHING, FLOOR, FIRST_BODY = 0, 1, 2


def depth_picture(
    scene: Scene, camera: CameraSpec, robot: Pose2, moved: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Depth, float32 (H, W), metres along the optical axis (far_m where nothing is), and segmentation, int32 (H, W)."""
    width, height = camera.image_px
    rotation = camera_rotation(scene, camera, robot)
    origin = np.array(_position(camera, robot))
    local = _rays(camera)
    rays = local @ rotation.T
    depth = np.full(len(rays), camera.far_m)
    what = np.full(len(rays), NOTHING)
    with np.errstate(divide="ignore"):
        to_floor = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
    hit = to_floor < depth
    depth[hit], what[hit] = to_floor[hit], FLOOR
    for index, body in enumerate(scene.bodies):
        mesh = mesh_of(body.kind, body.size_m)
        points = _placed(mesh.points, body, moved.get(body.name))
        for a, b, c in points[mesh.triangles]:
            distance = _hits(origin, rays, a, b, c)
            nearer = (distance < depth) & (distance > camera.near_m)
            depth[nearer], what[nearer] = distance[nearer], FIRST_BODY + index
    return depth.reshape(height, width).astype(np.float32), what.reshape(height, width).astype(np.int32)


def camera_rotation(scene: Scene, camera: CameraSpec, robot: Pose2) -> np.ndarray:
    """Columns: the optical axis, the picture's left and its up, in the world frame."""
    roll, pitch, yaw = scene.look.camera_tilt_rad
    heading, down = robot.yaw_rad + yaw, camera.pitch_rad + pitch
    turn = np.array([[math.cos(heading), -math.sin(heading), 0], [math.sin(heading), math.cos(heading), 0], [0, 0, 1]])
    dip = np.array([[math.cos(down), 0, math.sin(down)], [0, 1, 0], [-math.sin(down), 0, math.cos(down)]])
    lean = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    return turn @ dip @ lean


def _rays(camera: CameraSpec) -> np.ndarray:
    """Directions (H * W, 3) with length 1 along the optical axis: (ahead, left, up)."""
    width, height = camera.image_px
    half_x, half_y = math.tan(camera.hfov_rad / 2), math.tan(camera.vfov_rad / 2)
    right, down = np.meshgrid((np.arange(width) + 0.5) / width * 2 - 1, (np.arange(height) + 0.5) / height * 2 - 1)
    x, y = right.ravel() * half_x, down.ravel() * half_y
    if camera.distortion:
        edge = 1 + camera.distortion * half_x**2
        seen = np.hypot(x, y) * edge
        stretch = undistorted_radius(seen, camera.distortion) / np.maximum(np.hypot(x, y), 1e-12)
        x, y = x * stretch, y * stretch
    return np.stack([np.ones_like(x), -x, -y], axis=1)


def _position(camera: CameraSpec, robot: Pose2) -> tuple[float, float, float]:
    forward, left, up = camera.mount_m
    cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
    return (robot.x_m + cos * forward - sin * left, robot.y_m + sin * forward + cos * left, up)


def _placed(points: np.ndarray, body: Any, moved: Any) -> np.ndarray:
    if moved is None:
        cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return points @ rotation.T + [body.x_m, body.y_m, body.size_m[2] / 2]
    position, (x, y, z, w) = moved
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return points @ rotation.T + np.array(position)


def _hits(origin: np.ndarray, rays: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Distance along each ray to the front of a triangle, inf where it misses (Moeller-Trumbore)."""
    ab, ac = b - a, c - a
    across = np.cross(rays, ac)
    scale = across @ ab
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (across @ (origin - a)) / scale
        turned = np.cross(origin - a, ab)
        v = (rays @ turned) / scale
        distance = (turned @ ac) / scale
    inside = (scale > 1e-12) & (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0)
    return np.where(inside, distance, np.inf)
