"""Ways through a scene in which things move: on a grid over x, y and time the robot goes, waits or gets out of the way.

`vla_sim.core.planner` knows where the robot can go; this knows when. Used by the expert while a mover is in its way,
and by the check that a drawn scene can be solved.
"""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.geometry import surface_distances
from vla_sim.core.movers import Movers
from vla_sim.core.planner import SOLID, crosses_gates
from vla_sim.core.types import Body, Role, Scene

# Moves of one step of the plan, in cells; a step leads two cells far, within 12 % but for the short diagonal.
_STAY = (0, 0)
_AXES = [(2, 0), (0, 2), (1, 2), (2, 1), (1, 1)]
MOVES = [_STAY, *sorted({(sx * i, sy * j) for i, j in _AXES for sx in (1, -1) for sy in (1, -1)})]
_HALO = 2
# Share of the reach within which the plan ends, and at least this much room to the goal itself.
_DEPTH = 0.7
_GOAL_GAP_M = 0.06
_DISTRACTOR_ROOM_M = 0.05
# Room to movers that is worth going around for.
SOFT_M = 0.45
# Extra cost of a step, in steps: of moving at all, of being at the border of a mover's margin, and of each step that
# the goal is still away, without which a plan that waits first and goes later would be as good, and wait for ever.
_MOVING, _CROWDED, _AWAY = 0.02, 0.8, 0.1
_EPS = 1e-9


class TimedPlanner:
    """Plans for a round robot's centre; see the module.

    Args:
        scene: without its movers it must not change.
        robot_radius_m: of the disc.
        margin_m: room to what stands.
        mover_margin_m: room to what moves.
        speed_mps: of the robot.
        step_s: time of one step of the plan.
    """

    def __init__(
        self,
        scene: Scene,
        robot_radius_m: float,
        *,
        margin_m: float,
        mover_margin_m: float,
        speed_mps: float,
        step_s: float,
    ) -> None:
        self._scene, self._radius_m, self._mover_margin_m = scene, robot_radius_m, mover_margin_m
        self._step_s, self._reach_m = step_s, speed_mps * step_s
        self._cell_m = self._reach_m / 2
        x_min, x_max, y_min, y_max = scene.bounds_m
        xs = np.arange(x_min + self._cell_m / 2, x_max, self._cell_m)
        ys = np.arange(y_min + self._cell_m / 2, y_max, self._cell_m)
        self._shape = (len(xs), len(ys))
        self._points = np.stack([part.ravel() for part in np.meshgrid(xs, ys, indexing="ij")], axis=1)
        self._goal_gap = surface_distances(scene.goal, self._points).reshape(self._shape) - robot_radius_m
        self._arrived = self._goal_gap <= scene.task.reach_m * _DEPTH
        self._free = self._standing_room(margin_m)
        self._barred_from = {move: self._gate(move) for move in MOVES[1:]}
        self._barred_into = {
            move: None if barred is None else _window(_padded(barred, True), _back(move), self._shape)
            for move, barred in self._barred_from.items()
        }
        self._to_go = self._steps_to_go()
        farthest = self._to_go[np.isfinite(self._to_go)].max(initial=0.0)
        self._away = _AWAY * np.minimum(self._to_go, farthest)

    def solvable(self, movers: Movers, within_s: float) -> bool:
        """Whether the goal can be reached from the start in that time, if no mover changes its mind."""
        start = (self._scene.start.x_m, self._scene.start.y_m)
        costs, _ = self._swept(start, movers, within_s, self._mover_margin_m)
        return bool(np.isfinite(costs[self._arrived]).any())

    def next_point(self, x_m: float, y_m: float, movers: Movers, horizon_s: float) -> tuple[float, float] | None:
        """Where to be one step from now; the same place for waiting, None where every way leads into something.

        Where no plan keeps the margin to movers, one that keeps a quarter of it will do.
        """
        for share in (1.0, 0.25):
            costs, choices = self._swept((x_m, y_m), movers, horizon_s, share * self._mover_margin_m)
            total = costs + self._to_go
            cell = np.unravel_index(int(np.argmin(total)), self._shape)
            if np.isfinite(total[cell]):
                break
        else:
            return self._least_bad((x_m, y_m), movers)
        index = (int(cell[0]), int(cell[1]))
        for choice in reversed(choices):
            move = MOVES[int(choice[index])]
            index = (index[0] - move[0], index[1] - move[1])
        number = index[0] * self._shape[1] + index[1]
        if number == self._nearest((x_m, y_m)):
            return (x_m, y_m)
        return (float(self._points[number, 0]), float(self._points[number, 1]))

    def gaps(self, points: np.ndarray, times_s: np.ndarray, movers: Movers) -> np.ndarray:
        """Gaps (n,) between the robot at points (n, 2), each at its own time from now (n,), and the nearest mover."""
        gaps = np.full(len(points), np.inf)
        for body, poses in movers.predicted(times_s):
            gaps = np.minimum(gaps, _gaps_to(body, poses, points[:, 0], points[:, 1]) - self._radius_m)
        return gaps

    def _standing_room(self, margin_m: float) -> np.ndarray:
        gap_m = np.full(len(self._points), np.inf)
        for body in self._scene.bodies:
            if body.role in SOLID or body.role is Role.WALL:
                berth = self._scene.task.reach_m + _DISTRACTOR_ROOM_M if body.role is Role.DISTRACTOR else margin_m
                gap_m = np.minimum(gap_m, surface_distances(body, self._points) - berth)
        return (gap_m.reshape(self._shape) >= self._radius_m) & (self._goal_gap >= _GOAL_GAP_M)

    def _gate(self, move: tuple[int, int]) -> np.ndarray | None:
        """From which cells a move would pass an obstacle on the wrong side; None for none."""
        if self._scene.task.side is None:
            return None
        there = self._points + np.array(move) * self._cell_m
        return crosses_gates(self._scene, self._points, there).reshape(self._shape)

    def _steps_to_go(self) -> np.ndarray:
        """Steps from every cell to the goal, as if nothing moved; infinite where there is no way."""
        steps = np.where(self._arrived & self._free, 0.0, np.inf)
        while True:
            padded, best = _padded(steps, np.inf), steps
            for move in MOVES[1:]:
                onward = _window(padded, move, self._shape) + math.hypot(*move) / 2
                barred = self._barred_from[move]
                if barred is not None:
                    onward = np.where(barred, np.inf, onward)
                best = np.minimum(best, onward)
            best = np.where(self._free, best, np.inf)
            if not (best < steps - _EPS).any():
                return steps
            steps = best

    def _nearest(self, here: tuple[float, float]) -> int:
        return int(np.argmin(((self._points - here) ** 2).sum(axis=1)))

    def _swept(
        self, here: tuple[float, float], movers: Movers, horizon_s: float, margin_m: float
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Least costs (cells) to be somewhere at the end, and by which move each cell was come to in each later step.

        Costs are steps, with extras for moving and for being near movers. Staying at the goal is free.
        """
        count = max(2, math.ceil(horizon_s / self._step_s))
        crowd = self._crowd(movers, count, margin_m)
        costs = self._first(here, movers, margin_m)
        choices = []
        for layer in range(1, count):
            padded = _padded(costs, np.inf)
            best, choice = np.where(self._arrived, costs, costs + 1.0), np.zeros(self._shape, np.int8)
            for number, move in enumerate(MOVES[1:], start=1):
                come = _window(padded, _back(move), self._shape) + (1.0 + _MOVING)
                barred = self._barred_into[move]
                if barred is not None:
                    come[barred] = np.inf
                better = come < best
                np.copyto(best, come, where=better)
                choice[better] = number
            costs = np.where(self._free, best, np.inf) + crowd[layer] + self._away
            choices.append(choice)
        return costs, choices

    def _first(self, here: tuple[float, float], movers: Movers, margin_m: float) -> np.ndarray:
        """Costs of the cells that can be reached in the first step: by a whole step, or by staying."""
        offsets = self._points - here
        length = np.hypot(offsets[:, 0], offsets[:, 1])
        ring = (length >= 0.6 * self._reach_m) & (length <= 1.15 * self._reach_m) & self._free.ravel()
        if self._scene.task.side is not None:
            ring &= ~crosses_gates(self._scene, np.broadcast_to(here, self._points.shape), self._points)
        stay = self._nearest(here)
        ring[stay] = False
        costs = np.full(len(self._points), np.inf)
        chosen = np.append(np.flatnonzero(ring), stay)
        ends = np.where((chosen == stay)[:, None], here, self._points[chosen])
        gap_m = self._gaps_on_the_way(here, ends, movers)
        extra = np.where(chosen == stay, 0.0, _MOVING) + _crowding(gap_m, margin_m)
        costs[chosen] = np.where(self._arrived.ravel()[chosen] & (chosen == stay), 0.0, 1.0) + extra
        return costs.reshape(self._shape)

    def _gaps_on_the_way(self, here: tuple[float, float], ends: np.ndarray, movers: Movers) -> np.ndarray:
        """Least gap to movers on each straight first step (n,)."""
        shares = np.array([0.25, 0.5, 0.75, 1.0])
        points = np.array(here) + shares[:, None, None] * (ends - here)
        times = np.repeat(shares * self._step_s, len(ends))
        return self.gaps(points.reshape(-1, 2), times, movers).reshape(len(shares), -1).min(axis=0)

    def _least_bad(self, here: tuple[float, float], movers: Movers) -> tuple[float, float] | None:
        """Of all first steps the one that keeps farthest from movers; None where none is free."""
        angles = np.arange(16) * (math.pi / 8)
        ends = np.array(here) + self._reach_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        numbers = [self._nearest((x, y)) for x, y in ends.tolist()]
        ends = np.concatenate([[here], ends[self._free.ravel()[numbers]]])
        if self._scene.task.side is not None:
            ends = ends[~crosses_gates(self._scene, np.broadcast_to(here, ends.shape), ends)]
        gap_m = self._gaps_on_the_way(here, ends, movers) if len(ends) else np.zeros(0)
        if not len(gap_m):
            return None
        best = ends[int(np.argmax(gap_m))]
        return float(best[0]), float(best[1])

    def _crowd(self, movers: Movers, count: int, margin_m: float) -> np.ndarray:
        """Extra cost (count, cells) of being near movers at the end of each step; infinite within their margin."""
        times = np.repeat((np.arange(count) + 1.0) * self._step_s, 2)
        times[::2] -= self._step_s / 2
        gap_m = np.full((len(times), *self._shape), np.inf, np.float32)
        xs = self._points[:, 0].reshape(self._shape)[:, :1].astype(np.float32)
        ys = self._points[:, 1].reshape(self._shape)[:1].astype(np.float32)
        for body, poses in movers.predicted(times):
            gap_m = np.minimum(gap_m, _gaps_to(body, poses[:, :, None, None].astype(np.float32), xs, ys))
        worst = np.minimum(gap_m[::2], gap_m[1::2]) - np.float32(self._radius_m)
        return _crowding(worst, margin_m)


def _back(move: tuple[int, int]) -> tuple[int, int]:
    return -move[0], -move[1]


def _padded(cells: np.ndarray, value: float) -> np.ndarray:
    """The cells with as many more around as a move is long."""
    padded = np.full((cells.shape[0] + 2 * _HALO, cells.shape[1] + 2 * _HALO), value, cells.dtype)
    padded[_HALO:-_HALO, _HALO:-_HALO] = cells
    return padded


def _window(padded: np.ndarray, move: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """The padded array seen from every cell by a move."""
    x, y = _HALO + move[0], _HALO + move[1]
    return padded[x : x + shape[0], y : y + shape[1]]


def _crowding(gap_m: np.ndarray, margin_m: float) -> np.ndarray:
    near = np.clip((SOFT_M - gap_m) / (SOFT_M - margin_m), 0.0, 1.0)
    return np.where(gap_m < margin_m, np.inf, _CROWDED * near)


def _gaps_to(body: Body, poses: np.ndarray, x_m: np.ndarray, y_m: np.ndarray) -> np.ndarray:
    """Distances from points to a body's footprint at poses (n, 3, ...); broadcast over the rest."""
    dx, dy = x_m - poses[:, 0], y_m - poses[:, 1]
    if body.round:
        return np.hypot(dx, dy) - body.size_m[0] / 2
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    out_x = np.abs(cos * dx + sin * dy) - body.size_m[0] / 2
    out_y = np.abs(cos * dy - sin * dx) - body.size_m[1] / 2
    outside = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0))
    return np.where((out_x <= 0) & (out_y <= 0), np.maximum(out_x, out_y), outside)
