"""Thousands of worlds at once: a fixed sequence of actions driven through all of them by kinematics alone, in numpy.

Nothing is pushed here: a rollout that touches something has failed. Walls are left out, as rooms are made to fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from vla_sim.core.specs import ACTION_NAMES, Embodiment
from vla_sim.core.types import Body, Role, Scene, Side, SuccessRule
from vla_sim.sim.actuation import Actuation

# Poses kept of each control step.
POSES_PER_STEP = 8
# Worlds that are driven at a time, so that arrays stay small.
AT_ONCE = 2048


def path_of(actions: np.ndarray, robot: Embodiment) -> np.ndarray:
    """Where actions (T, A) lead a robot that starts at the origin, facing +x: (x, y) in metres, (1 + T * k, 2).

    As its actuation moves it without slip; physics steps are summed as the simulator sums them.
    """
    model = Actuation(robot)
    columns = [ACTION_NAMES.index(name) for name in robot.action_names]
    x = y = yaw = 0.0
    points, step_s = [(x, y)], 1.0 / robot.physics_hz
    kept = set(np.linspace(1, robot.substeps, min(POSES_PER_STEP, robot.substeps)).astype(int).tolist())
    for action in actions:
        twist = [0.0, 0.0, 0.0]
        for column, value in zip(columns, action.tolist(), strict=True):
            twist[column] = value
        model.command((twist[0], twist[1], twist[2]))
        for step in range(1, robot.substeps + 1):
            vx, vy, wz = model.next()
            cos, sin = math.cos(yaw), math.sin(yaw)
            x, y, yaw = x + (cos * vx - sin * vy) * step_s, y + (sin * vx + cos * vy) * step_s, yaw + wz * step_s
            if step in kept:
                points.append((x, y))
    return np.array(points)


@dataclass(frozen=True, eq=False)
class Bodies:
    """Footprints of one body in each of W worlds.

    Attributes:
        x_m, y_m, yaw_rad: (W,) relative to the robot's start.
        half_m: (W, 2), half extents; a disc has its radius twice.
        disc: (W,) bool.
    """

    x_m: np.ndarray
    y_m: np.ndarray
    yaw_rad: np.ndarray
    half_m: np.ndarray
    disc: np.ndarray

    def gaps(self, points: np.ndarray) -> np.ndarray:
        """Distance from points (W, N, 2) to the surface in metres, negative inside; (W, N)."""
        dx, dy = points[..., 0] - self.x_m[:, None], points[..., 1] - self.y_m[:, None]
        cos, sin = np.cos(self.yaw_rad)[:, None], np.sin(self.yaw_rad)[:, None]
        out_x = np.abs(cos * dx + sin * dy) - self.half_m[:, :1]
        out_y = np.abs(cos * dy - sin * dx) - self.half_m[:, 1:]
        outside = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0))
        box = np.where((out_x <= 0) & (out_y <= 0), np.maximum(out_x, out_y), outside)
        return np.asarray(np.where(self.disc[:, None], np.hypot(dx, dy) - self.half_m[:, :1], box))

    def take(self, which: np.ndarray | slice) -> Bodies:
        """Some of the worlds."""
        return Bodies(*(getattr(self, field.name)[which] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Worlds:
    """W worlds of one arrangement.

    Attributes:
        goal: what is to be reached.
        obstacles: what must be passed on the named side.
        others: what must not be touched besides.
        reach_m: largest gap that counts as reached.
        side: on which obstacles are to be passed; None: on any.
        success: whether it counts to come within reach, or only to end there.
    """

    goal: Bodies
    obstacles: tuple[Bodies, ...]
    others: tuple[Bodies, ...]
    reach_m: float
    side: Side | None
    success: SuccessRule

    def __len__(self) -> int:
        return len(self.goal.x_m)

    def take(self, which: np.ndarray | slice) -> Worlds:
        """Some of them."""
        obstacles = tuple(body.take(which) for body in self.obstacles)
        others = tuple(body.take(which) for body in self.others)
        return replace(self, goal=self.goal.take(which), obstacles=obstacles, others=others)


def worlds_of(scenes: Sequence[Scene]) -> Worlds:
    """The worlds of scenes of one scenario; all must have as many obstacles."""
    roles = {
        role: [[_local(b, scene) for b in scene.with_role(role)] for scene in scenes]
        for role in (Role.GOAL, Role.OBSTACLE, Role.DISTRACTOR)
    }
    least = {role: min(map(len, groups)) for role, groups in roles.items()}
    columns = {role: [_stacked([g[i] for g in groups]) for i in range(least[role])] for role, groups in roles.items()}
    task = scenes[0].task
    (goal,) = columns[Role.GOAL]
    others = tuple(columns[Role.DISTRACTOR])
    return Worlds(goal, tuple(columns[Role.OBSTACLE]), others, task.reach_m, task.side, task.success)


def _local(body: Body, scene: Scene) -> tuple[float, float, float, float, float, bool]:
    """x, y, yaw relative to the start, half extents, disc or not."""
    start = scene.start
    cos, sin = math.cos(start.yaw_rad), math.sin(start.yaw_rad)
    dx, dy = body.x_m - start.x_m, body.y_m - start.y_m
    depth, width, _ = body.size_m
    at = (cos * dx + sin * dy, cos * dy - sin * dx, body.yaw_rad - start.yaw_rad)
    return (*at, depth / 2, width / 2, body.round)


def _stacked(rows: Sequence[tuple[float, float, float, float, float, bool]]) -> Bodies:
    table = np.array(rows, dtype=np.float64)
    return Bodies(table[:, 0], table[:, 1], table[:, 2], table[:, 3:5], table[:, 5].astype(bool))


@dataclass(frozen=True, eq=False)
class Judged:
    """How a rollout ended in each of W worlds.

    Attributes:
        success: bool (W,): by the rule it came within reach of the goal; until then nothing was touched and no wrong
            side taken.
        residual_m: (W,), by how much it missed: what lacked to the reach, plus the deepest overlap with every body,
            plus how far beside an obstacle it was when it passed on the wrong side.
    """

    success: np.ndarray
    residual_m: np.ndarray


def judge(worlds: Worlds, path_m: np.ndarray, robot_radius_m: float) -> Judged:
    """Drive one path through all worlds.

    Args:
        worlds: W of them.
        path_m: (N, 2) from the start.
        robot_radius_m: of the robot's disc.
    """
    parts = [slice(begin, begin + AT_ONCE) for begin in range(0, len(worlds), AT_ONCE)]
    residual = np.concatenate([_residual(worlds.take(part), path_m, robot_radius_m) for part in parts])
    return Judged(residual <= 0, residual)


def _residual(worlds: Worlds, path_m: np.ndarray, robot_radius_m: float) -> np.ndarray:
    points = np.broadcast_to(path_m, (len(worlds), *path_m.shape))
    to_goal = worlds.goal.gaps(points) - robot_radius_m
    if worlds.success is SuccessRule.REACHED:
        points, to_goal = _until(to_goal <= worlds.reach_m, points, to_goal)
    missed = np.maximum(0.0, to_goal.min(axis=1) - worlds.reach_m)
    if worlds.success is SuccessRule.STOPPED:
        missed = np.maximum(0.0, to_goal[:, -1] - worlds.reach_m)
    for body in (worlds.goal, *worlds.obstacles, *worlds.others):
        missed += np.maximum(0.0, robot_radius_m - body.gaps(points).min(axis=1))
    if worlds.side is not None:
        for body in worlds.obstacles:
            missed += _wrong_side(body, points, worlds.side.sign)
    return missed


def _until(there: np.ndarray, points: np.ndarray, to_goal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (W, N, 2) and gaps (W, N) that stay as they are from the first time on that `there` (W, N) holds."""
    last = np.where(there.any(axis=1), there.argmax(axis=1), there.shape[1] - 1)
    kept = np.minimum(np.arange(there.shape[1])[None], last[:, None])
    return np.take_along_axis(points, kept[..., None], axis=1), np.take_along_axis(to_goal, kept, axis=1)


def _wrong_side(body: Bodies, points: np.ndarray, sign: int) -> np.ndarray:
    """How far (W,) on the wrong side the path passes a body; see `vla_sim.core.planner.crossed_wrong_side`."""
    here, there = points[:, :-1], points[:, 1:]
    x, y = body.x_m[:, None], body.y_m[:, None]
    crosses = (here[..., 0] < x) & (x <= there[..., 0])
    run = np.where(crosses, there[..., 0] - here[..., 0], 1.0)
    beside = here[..., 1] + (there[..., 1] - here[..., 1]) * (x - here[..., 0]) / run - y
    return np.asarray(np.where(crosses, np.maximum(0.0, -sign * beside), 0.0).max(axis=1, initial=0.0))


def varied(worlds: Worlds, values: Mapping[str, np.ndarray]) -> Worlds:
    """Worlds with other geometry; what `values` (W,) do not name stays.

    Obstacles move together: the first one to `obstacle_ahead_m`, the middle of all to `obstacle_aside_m`; their
    footprints grow together until the first is `obstacle_width_m` wide.
    """
    goal = _moved(worlds.goal, values.get("goal_ahead_m"), values.get("goal_aside_m"))
    if not worlds.obstacles:
        return replace(worlds, goal=goal)
    first = worlds.obstacles[0]
    middle = np.mean([body.y_m for body in worlds.obstacles], axis=0)
    ahead = values.get("obstacle_ahead_m", first.x_m) - first.x_m
    aside = values.get("obstacle_aside_m", middle) - middle
    growth = values.get("obstacle_width_m", 2 * first.half_m[:, 1]) / (2 * first.half_m[:, 1])
    obstacles = tuple(
        Bodies(body.x_m + ahead, body.y_m + aside, body.yaw_rad, body.half_m * growth[:, None], body.disc)
        for body in worlds.obstacles
    )
    return replace(worlds, goal=goal, obstacles=obstacles)


def _moved(body: Bodies, x_m: np.ndarray | None, y_m: np.ndarray | None) -> Bodies:
    x, y = body.x_m if x_m is None else x_m, body.y_m if y_m is None else y_m
    return Bodies(x, y, body.yaw_rad, body.half_m, body.disc)


def values_of(worlds: Worlds) -> dict[str, np.ndarray]:
    """The geometry of worlds by the names of `varied`, (W,) each."""
    found = {"goal_ahead_m": worlds.goal.x_m, "goal_aside_m": worlds.goal.y_m}
    if worlds.obstacles:
        first = worlds.obstacles[0]
        found["obstacle_ahead_m"] = first.x_m
        found["obstacle_aside_m"] = np.mean([body.y_m for body in worlds.obstacles], axis=0)
        found["obstacle_width_m"] = 2 * first.half_m[:, 1]
    return found
