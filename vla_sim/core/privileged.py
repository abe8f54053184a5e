"""Privileged state as a short vector: what a privileged learner reads, in training and in driving.

Shared by the env for reinforcement learning and by the policy that drives with what was learned; see TRUTH_NAMES.
Bodies stand where the scene put them: one that was pushed is reported at its old place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from vla_sim.core.geometry import surface_distance
from vla_sim.core.types import Body, Pose2, Role, Scene, SuccessRule

# Bodies that are described, the nearest first.
NEAREST = 4

# All places and directions are in the robot's frame (x forward, y left), gaps from its disc to a surface.
_GENERAL = (
    "goal_x_m",
    "goal_y_m",
    "goal_gap_m",
    "side",  # on which obstacles must be passed: 1 left, -1 right, 0 either
    "stop_asked",  # 1 where the robot must stand still at the goal
    "vx_mps",
    "vy_mps",
    "wz_radps",
    "ahead_x",  # unit vector along the first heading, which the rule of sides is about
    "ahead_y",
    "room_front_m",  # from the robot's disc to the ends of the arena, along the world's axes
    "room_left_m",
    "room_back_m",
    "room_right_m",
)
_OF_BODY = (
    "there",  # 1, or 0 where there are fewer bodies; all other values are 0 then
    "obstacle",  # 1 if it must be passed on the side that was asked for
    "distractor",  # 1 if it must not be reached
    "x_m",  # its middle
    "y_m",
    "half_x_m",  # half the extents of its footprint along the robot's axes
    "half_y_m",
    "gap_m",
)
PRIVILEGED_NAMES = _GENERAL + tuple(f"body_{i}_{name}" for i in range(NEAREST) for name in _OF_BODY)

SIDE = PRIVILEGED_NAMES.index("side")
# What changes its sign in a world mirrored left to right, and where each value is found in it.
_TURNED = ("goal_y_m", "side", "vy_mps", "wz_radps", "ahead_y", *(f"body_{i}_y_m" for i in range(NEAREST)))
_SIGNS = np.array([-1.0 if name in _TURNED else 1.0 for name in PRIVILEGED_NAMES], dtype=np.float32)
_SWAPPED = {"room_left_m": "room_right_m", "room_right_m": "room_left_m"}
_ORDER = np.array([PRIVILEGED_NAMES.index(_SWAPPED.get(name, name)) for name in PRIVILEGED_NAMES])


def privileged_vector(scene: Scene, pose: Pose2, twist: Sequence[float], robot_radius_m: float) -> np.ndarray:
    """Privileged state as seen by a robot, float32 (len(TRUTH_NAMES),) in the order of TRUTH_NAMES.

    Args:
        scene: the world and the task.
        pose: of the robot in the world frame.
        twist: the robot's own velocity in its frame: vx, vy in m/s, wz in rad/s.
        robot_radius_m: of its disc.
    """
    cos, sin = math.cos(pose.yaw_rad), math.sin(pose.yaw_rad)
    task = scene.task
    x_min, x_max, y_min, y_max = scene.bounds_m
    values = [
        *_goal_seen(scene, pose, cos, sin, robot_radius_m),
        float(task.side.sign if task.side else 0),
        float(task.success is SuccessRule.STOPPED),
        *map(float, twist),
        math.cos(pose.yaw_rad - scene.start.yaw_rad),
        -math.sin(pose.yaw_rad - scene.start.yaw_rad),
        x_max - pose.x_m - robot_radius_m,
        y_max - pose.y_m - robot_radius_m,
        pose.x_m - x_min - robot_radius_m,
        pose.y_m - y_min - robot_radius_m,
    ]
    gaps = [(surface_distance(b, pose.x_m, pose.y_m) - robot_radius_m, b) for b in scene.bodies if _matters(b, scene)]
    for gap_m, body in sorted(gaps, key=lambda pair: pair[0])[:NEAREST]:
        values += [1.0, float(body.role is Role.OBSTACLE), float(body.role is Role.DISTRACTOR)]
        values += [*_seen(body, pose, cos, sin), *_half_extents(body, pose.yaw_rad), gap_m]
    values += [0.0] * (len(PRIVILEGED_NAMES) - len(values))
    return np.array(values, dtype=np.float32)


def mirrored_privileged(state_vectors: np.ndarray) -> np.ndarray:
    """What is true in the worlds mirrored left to right: truth vectors (..., len(TRUTH_NAMES)) to such."""
    return state_vectors[..., _ORDER] * _SIGNS


def left_handed(state_vectors: np.ndarray, action_names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Every world as if its task said left: those that say right are mirrored, all others stay as they are.

    Returns:
        Truth vectors (N, len(TRUTH_NAMES)), and signs (N, len(action_names)) that take the actions decided by them
        back into the worlds as they are.
    """
    right = state_vectors[:, SIDE, None] < 0
    turned = np.array([name != "vx" for name in action_names])
    return np.where(right, mirrored_privileged(state_vectors), state_vectors), np.where(
        right & turned, np.float32(-1), np.float32(1)
    )


def _goal_seen(scene: Scene, pose: Pose2, cos: float, sin: float, robot_radius_m: float) -> tuple[float, ...]:
    """The goal's middle in the robot's frame and the gap to it, m; zeros where nothing is to be reached."""
    if scene.task.refuse:
        return (0.0, 0.0, 0.0)
    goal = scene.goal
    return (*_seen(goal, pose, cos, sin), surface_distance(goal, pose.x_m, pose.y_m) - robot_radius_m)


def _seen(body: Body, pose: Pose2, cos: float, sin: float) -> tuple[float, float]:
    """A body's middle in the robot's frame, m."""
    dx, dy = body.x_m - pose.x_m, body.y_m - pose.y_m
    return cos * dx + sin * dy, cos * dy - sin * dx


def _half_extents(body: Body, yaw_rad: float) -> tuple[float, float]:
    """Half the extents of a footprint along the axes of a robot of that yaw, m."""
    if body.round:
        return body.size_m[0] / 2, body.size_m[0] / 2
    cos, sin = abs(math.cos(body.yaw_rad - yaw_rad)), abs(math.sin(body.yaw_rad - yaw_rad))
    depth, width = body.size_m[0] / 2, body.size_m[1] / 2
    return cos * depth + sin * width, sin * depth + cos * width


def _matters(body: Body, scene: Scene) -> bool:
    """Whether a body is described: all but the goal and the walls around the arena, which are its ends."""
    if body.role is not Role.WALL:
        return body.role is not Role.GOAL
    x_min, x_max, y_min, y_max = scene.bounds_m
    return x_min < body.x_m < x_max and y_min < body.y_m < y_max
