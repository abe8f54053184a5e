"""Where an overview image is taken from, and which walls it must leave out to show the robot. Pure numpy.

Two views: "chase" from behind and above the robot, "above" straight down on the whole room, the start's ahead up.
"""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.geometry import surface_distances
from vla_sim.core.types import Kind, Pose2, Scene
from vla_sim.sim.camera import FIRST_BODY_LABEL

BEHIND_M = 1.15
ABOVE_M = 1.25
AHEAD_M = 0.75

CHASE, ABOVE = VIEWS = ("chase", "above")
# Tangent of half the field of view across, and the room around the arena that "above" shows.
HALF_TAN = 0.75
AROUND_M = 0.25


def view_pose(view: str, scene: Scene, robot: Pose2) -> tuple[np.ndarray, np.ndarray]:
    """The eye of a view: position (3,) and rotation as from `camera_pose`."""
    return overview_pose(robot) if view == CHASE else _above(scene)


def _above(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """High enough to see the whole arena in a square image; up in the image is +x, left is +y."""
    x_min, x_max, y_min, y_max = scene.bounds_m
    half_m = max(x_max - x_min, y_max - y_min) / 2 + AROUND_M
    eye = np.array([(x_min + x_max) / 2, (y_min + y_max) / 2, half_m / HALF_TAN])
    return eye, np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])


def overview_pose(robot: Pose2) -> tuple[np.ndarray, np.ndarray]:
    """Behind and above the robot, looking at a point ahead of it: position (3,) and rotation as from `camera_pose`."""
    ahead = np.array([math.cos(robot.yaw_rad), math.sin(robot.yaw_rad), 0.0])
    here = np.array([robot.x_m, robot.y_m, 0.0])
    eye = here - BEHIND_M * ahead + np.array([0.0, 0.0, ABOVE_M])
    forward = here + AHEAD_M * ahead + np.array([0.0, 0.0, 0.1]) - eye
    forward /= np.linalg.norm(forward)
    left = np.cross([0.0, 0.0, 1.0], forward)
    left /= np.linalg.norm(left)
    return eye, np.column_stack([forward, left, np.cross(forward, left)])


def walls_between(scene: Scene, eye: np.ndarray, robot: Pose2) -> frozenset[int]:
    """Labels of the walls that stand between the eye and the robot, or so near to the eye that they fill its view."""
    share = np.linspace(-0.6, 1.0, 60)[:, None]
    line = eye[:2] + share * (np.array([robot.x_m, robot.y_m]) - eye[:2])
    return frozenset(
        FIRST_BODY_LABEL + index
        for index, body in enumerate(scene.bodies)
        if body.kind is Kind.WALL and float(surface_distances(body, line).min()) < 0.05
    )
