"""Body twists as motions in the plane: where they lead, and which single twist leads as far as several.

A twist is (vx, vy, wz) in the body frame, in m/s and rad/s; twist * time is called a move, in m and rad. While a robot
turns and moves its body frame turns with it, so moves are joined by their poses and not by their sums.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.core.specs import ACTION_NAMES

# x and y in m, yaw in rad, not wrapped.
Pose = tuple[float, float, float]
# Below this turn in radians the limits of sin(x) / x and (1 - cos(x)) / x are used.
_STRAIGHT_RAD = 1e-6


def full_twists(values: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Twists (T, 3) of actions (T, A) with these components."""
    table = np.zeros((len(values), 3))
    table[:, [ACTION_NAMES.index(name) for name in names]] = values
    return table


def joined(actions: np.ndarray, names: Sequence[str], *, step_s: float, every: int, new_step_s: float) -> np.ndarray:
    """Actions for longer steps that move as far, and turn as far, as the given ones.

    Each new action leads from the pose at its beginning to the pose at its end. A robot that turns but cannot move
    sideways is the exception: its new actions drive the same length and turn by the same angle. The robot stands
    after the last given action.

    Args:
        actions: (T, A), each held for `step_s`.
        names: of the A components.
        step_s: seconds between two given actions.
        every: how many of them become one.
        new_step_s: seconds between two new actions.

    Returns:
        (ceil(T / every), A), of the dtype of the actions.
    """
    missing = -len(actions) % every
    moves = np.concatenate([actions.astype(np.float64), np.zeros((missing, len(names)))]) * step_s
    groups = moves.reshape(-1, every, len(names))
    if set(names) == set(ACTION_NAMES):
        columns = [names.index(name) for name in ACTION_NAMES]
        sums = np.stack([_joined_move(group[:, columns]) for group in groups])[:, np.argsort(columns)]
    else:
        sums = groups.sum(axis=1)
    return (sums / new_step_s).astype(actions.dtype)


def _joined_move(moves: np.ndarray) -> np.ndarray:
    """The move that leads as far as some moves (T, 3) in turn; their sum where they turn by more than half a turn."""
    if abs(moves[:, 2].sum()) > math.pi or not moves[:, 2].any():
        return moves.sum(axis=0)
    return np.array(joining_twist((0.0, 0.0, 0.0), path_of(moves, 1.0).poses[-1]))


@dataclass(frozen=True)
class Path:
    """Poses (x, y, yaw) at the starts of all steps and at the end, and the twist (vx, vy, wz) * time of each step."""

    poses: tuple[Pose, ...]
    moves: np.ndarray

    def pose_at(self, time: float) -> Pose:
        """The pose at a time in steps."""
        step = min(int(time), len(self.moves) - 1)
        return after(self.poses[step], self.moves[step] * (time - step))


def path_of(twists: np.ndarray, step_s: float) -> Path:
    """Where body twists (T, 3) lead when each is held for `step_s`, from the origin."""
    moves = twists * step_s
    poses: list[Pose] = [(0.0, 0.0, 0.0)]
    for move in moves:
        poses.append(after(poses[-1], move))
    return Path(tuple(poses), moves)


def after(pose: Pose, move: np.ndarray) -> Pose:
    """The pose after a move (vx, vy, wz) * time of constant body twist."""
    forward, left, turn = map(float, move)
    x, y, yaw = pose
    along, across = _arc(turn)
    dx, dy = along * forward - across * left, across * forward + along * left
    cos, sin = math.cos(yaw), math.sin(yaw)
    return (x + cos * dx - sin * dy, y + sin * dx + cos * dy, yaw + turn)


def joining_twist(start: Pose, end: Pose) -> Pose:
    """The constant body twist, times its time, that leads from one pose to another; the turn is not wrapped."""
    dx, dy, turn = end[0] - start[0], end[1] - start[1], end[2] - start[2]
    cos, sin = math.cos(start[2]), math.sin(start[2])
    forward, left = cos * dx + sin * dy, cos * dy - sin * dx
    along, across = _arc(turn)
    size = along**2 + across**2
    return ((along * forward + across * left) / size, (along * left - across * forward) / size, turn)


def _arc(turn: float) -> tuple[float, float]:
    """sin(x) / x and (1 - cos(x)) / x."""
    if abs(turn) < _STRAIGHT_RAD:
        return 1.0, turn / 2
    return math.sin(turn) / turn, (1 - math.cos(turn)) / turn
