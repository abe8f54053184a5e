"""Cameras: where they look, and what every renderer offers. `vla_sim.sim.renderers` makes one by name.

A renderer holds a number of slots. Each slot shows one scene from one robot's camera; an image depends on nothing but
its own scene, camera and poses: not on the slot, on what other slots hold, or on what was drawn before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Look, Pose2, Scene, Vec3

Quat = tuple[float, float, float, float]
Moved = Mapping[str, tuple[Vec3, Quat]]

SKY_LABEL = 0
FLOOR_LABEL = 1
FIRST_BODY_LABEL = 2


@dataclass(frozen=True)
class Shot:
    """When an image is taken, for what sensors add to it: noise and blur.

    Attributes:
        step: number of the control step.
        twist: velocity of the robot at that moment in its body frame, (vx, vy, wz) in m/s and rad/s.
    """

    step: int = 0
    twist: Vec3 = (0.0, 0.0, 0.0)


class Renderer(Protocol):
    """Draws scenes as a robot's camera sees them. The robot itself is not in its own image."""

    slots: int

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Show this scene in a slot, in place of what was there; the robot is at the scene's start."""

    def place(self, slot: int, robot: Pose2, moved: Moved = ..., shot: Shot = ...) -> None:
        """Set the robot's pose in the world frame, and where bodies are that were pushed or moved by themselves.

        Args:
            slot: which scene.
            robot: pose of the robot's centre; the camera is mounted on it.
            moved: by name, centre (x, y, z) in metres and quaternion (x, y, z, w). Bodies that are not named
                stand where the scene put them. People walk as far as their pose has come.
            shot: for scenes whose look has noise or blur.
        """

    def render(self) -> np.ndarray:
        """Images of all slots: uint8 RGB (slots, H, W, 3), C-contiguous; the next call overwrites them."""

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis in metres, float32 (H, W); the camera's far_m where nothing is."""

    def segmentation(self, slot: int) -> np.ndarray:
        """What each pixel shows, int32 (H, W): 0 background, 1 floor, 2 + index into scene.bodies."""

    def overview(self, slot: int, width: int, height: int, view: str = ...) -> np.ndarray:
        """The scene with the robot in it, in a view of `overview.VIEWS`: uint8 RGB (height, width, 3)."""

    def close(self) -> None:
        """Give everything back; the renderer is not used after."""


def camera_in(look: Look, camera: CameraSpec) -> CameraSpec:
    """A camera with the lens that it has under a look."""
    return replace(camera, distortion=camera.distortion + look.distortion) if look.distortion else camera


def camera_pose(camera: CameraSpec, look: Look, robot: Pose2) -> tuple[np.ndarray, np.ndarray]:
    """Where the optical centre is and how the camera is turned, in the world frame.

    Returns:
        Position (3,) in metres and rotation (3, 3); its columns are the directions forward, left and up of the camera.
    """
    roll, tilt, pan = look.camera_tilt_rad
    yaw = robot.yaw_rad
    x, y, z = camera.mount_m
    position = np.array(
        [
            robot.x_m + math.cos(yaw) * x - math.sin(yaw) * y,
            robot.y_m + math.sin(yaw) * x + math.cos(yaw) * y,
            z,
        ]
    )
    return position, _about_z(yaw + camera.yaw_rad + pan) @ _about_y(camera.pitch_rad + tilt) @ _about_x(roll)


def place_in_image(camera: CameraSpec, look: Look, robot: Pose2, point_m: Vec3) -> tuple[float, float] | None:
    """Where a world point appears: (right, down) as shares of the image's sides, 0..1; None outside the image."""
    position, turn = camera_pose(camera, look, robot)
    forward, left, up = (np.array(point_m) - position) @ turn
    if forward < camera.near_m:
        return None
    right, down = -left / forward, -up / forward
    bend = 1 + camera_in(look, camera).distortion * (right**2 + down**2)
    share_right = (bend * right / math.tan(camera.hfov_rad / 2) + 1) / 2
    share_down = (bend * down / math.tan(camera.vfov_rad / 2) + 1) / 2
    inside = 0 <= share_right < 1 and 0 <= share_down < 1
    return (float(share_right), float(share_down)) if inside else None


def _about_x(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(angle: float) -> np.ndarray:
    """Positive turns forward (x) toward down (-z)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _about_z(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
