"""The scripted expert: reads privileged state, drives the shortest path on the instructed side. Labels for learning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.geometry import resample
from vla_sim.core.legs import doorway_ahead
from vla_sim.core.movers import Movers
from vla_sim.core.planner import Planner
from vla_sim.core.specs import ACTION_NAMES, DriveKind, Embodiment
from vla_sim.core.timed_planner import SOFT_M, TimedPlanner
from vla_sim.core.types import Pose2, Scene, SuccessRule, wrap_angle
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.pursuit import pursue, steer_to

# Stream of an episode's seed from which the expert's habits are drawn.
HABIT_STREAM = 4
# Clearance that the expert keeps, drawn anew for each episode: no two episodes are one memorised sequence.
MARGIN_M = (0.08, 0.20)
# Tried in turn when the robot stands closer than its usual clearance (a learner may have brought it there).
TIGHTER = (1.0, 0.5, 0.15)
TURN_GAIN = 2.5
# Room to things that move, how far ahead in time they are looked at, and the least length of a step of that plan.
MOVER_MARGIN_M = 0.12
HORIZON_S = 8.0
PLAN_STEP_M = 0.15
TURNING_SHARE = 0.75


class _Driver:
    """The expert in one env."""

    def __init__(
        self,
        scene: Scene,
        embodiment: Embodiment,
        margin_m: float,
        *,
        mover_margin_m: float = MOVER_MARGIN_M,
        sideways: bool = True,
    ) -> None:
        self.scene = scene
        self._embodiment = embodiment
        self._margin_m, self._mover_margin_m = margin_m, mover_margin_m
        omni = embodiment.drive.kind is DriveKind.OMNI3
        self._turns_first = embodiment.drive.kind is DriveKind.DIFFERENTIAL or (omni and not sideways)
        self._planners: dict[float, Planner] = {}
        self._timed: TimedPlanner | None = None

    def twist(self, pose: Pose2, movers: Movers | None = None) -> tuple[float, float, float]:
        """Body twist that follows the shortest path from here, or gives way to something that moves."""
        if self.scene.task.refuse:
            return (0.0, 0.0, 0.0)
        planner = self._planner(1.0)
        gap = planner.goal_gap(pose.x_m, pose.y_m)
        task = self.scene.task
        if task.success is SuccessRule.STOPPED and gap <= task.reach_m * 0.9 and doorway_ahead(self.scene) is None:
            return (0.0, 0.0, 0.0)
        car = self._embodiment.drive.kind is DriveKind.ACKERMANN
        point = self._way_given(pose, movers) if movers is not None else None
        if point is None:
            return self._pursue(pose) if car else self._towards(self._heading(pose), pose)
        if point == (pose.x_m, pose.y_m):
            return (0.0, 0.0, 0.0)
        return self._towards(math.atan2(point[1] - pose.y_m, point[0] - pose.x_m), pose, backwards=True)

    def _towards(self, heading: float, pose: Pose2, *, backwards: bool = False) -> tuple[float, float, float]:
        """Body twist along a world heading; a robot that cannot go sideways turns first, or may go backwards."""
        if self._embodiment.drive.kind is DriveKind.ACKERMANN:
            return steer_to(heading, pose, self._embodiment, self._planner(1.0).clearance)
        if self._turns_first:
            error = wrap_angle(heading - pose.yaw_rad)
            if backwards and abs(error) > math.pi / 2:
                ahead, aside, turn = self._steer(wrap_angle(error + math.pi))
                return (-ahead, aside, turn)
            return self._steer(error)
        speed = self._embodiment.cruise_mps
        heading -= pose.yaw_rad
        return (speed * math.cos(heading), speed * math.sin(heading), 0.0)

    def _way_given(self, pose: Pose2, movers: Movers) -> tuple[float, float] | None:
        """Where to be next because of what moves; None while the shortest path stays clear of it."""
        timed = self._timed_planner()
        path = next((p for p in (self._planner(s).leg_path(pose.x_m, pose.y_m) for s in TIGHTER) if len(p) >= 2), None)
        if path is not None:
            points = resample(path, self._embodiment.cruise_mps * 0.1)
            length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
            times = length / self._embodiment.cruise_mps
            soon = times <= HORIZON_S
            if timed.gaps(points[soon], times[soon], movers).min() >= SOFT_M:
                return None
        return timed.next_point(pose.x_m, pose.y_m, movers, HORIZON_S)

    def _timed_planner(self) -> TimedPlanner:
        if self._timed is None:
            robot = self._embodiment
            # One that has to turn first gets less far than a straight line at full speed.
            speed = robot.cruise_mps * (TURNING_SHARE if self._turns_first else 1.0)
            step = speed * robot.control_s
            self._timed = TimedPlanner(
                self.scene,
                robot.body.radius_m,
                margin_m=self._margin_m * TIGHTER[1],
                mover_margin_m=max(self._mover_margin_m, MOVER_MARGIN_M * (2 if self._turns_first else 1)),
                speed_mps=speed,
                step_s=robot.control_s * max(1, math.ceil(PLAN_STEP_M / step - 1e-9)),
            )
        return self._timed

    def _steer(self, error_rad: float) -> tuple[float, float, float]:
        turn = max(-self._embodiment.max_radps, min(self._embodiment.max_radps, TURN_GAIN * error_rad))
        return (self._embodiment.cruise_mps * max(0.0, math.cos(error_rad)) ** 3, 0.0, turn)

    def _pursue(self, pose: Pose2) -> tuple[float, float, float]:
        """As a car: see `pursuit`."""
        for share in TIGHTER:
            path = self._planner(share).leg_path(pose.x_m, pose.y_m)
            if len(path) >= 2:
                break
        else:
            goal = self.scene.goal
            path = np.array([(pose.x_m, pose.y_m), (goal.x_m, goal.y_m)])
        return pursue(path, pose, self._embodiment, self._planner(1.0).clearance)

    def _planner(self, share: float) -> Planner:
        if share not in self._planners:
            radius = self._embodiment.body.radius_m
            self._planners[share] = Planner(self.scene, radius, margin_m=self._margin_m * share)
        return self._planners[share]

    def _heading(self, pose: Pose2) -> float:
        """World heading of the next stretch of path; where there is none, away from what is nearest."""
        for share in TIGHTER:
            path = self._planner(share).leg_path(pose.x_m, pose.y_m)
            if len(path) >= 2:
                return self._along(path)
        return self._away(pose)

    def _along(self, path: np.ndarray) -> float:
        """Heading to the point one control step ahead on the path, so that corners are not overshot."""
        reach = self._embodiment.cruise_mps * self._embodiment.control_s
        for here, there in itertools.pairwise(path):
            length = math.dist(here, there)
            if length >= reach or there is path[-1]:
                break
            reach -= length
        share = min(1.0, reach / length) if length > 0 else 1.0
        target = here + share * (there - here)
        dx, dy = target - path[0]
        return math.atan2(dy, dx) if (dx or dy) else 0.0

    def _away(self, pose: Pose2) -> float:
        name, _ = self._planner(TIGHTER[-1]).nearest(pose.x_m, pose.y_m)
        body = next(b for b in self.scene.bodies if b.name == name)
        away = math.atan2(pose.y_m - body.y_m, pose.x_m - body.x_m)
        goal = math.atan2(self.scene.goal.y_m - pose.y_m, self.scene.goal.x_m - pose.x_m)
        turn = wrap_angle(goal - away)
        return away + max(-math.pi / 3, min(math.pi / 3, turn))


def heading_twist(
    scene: Scene, embodiment: Embodiment, pose: Pose2, *, margin_m: float, sideways: bool = True
) -> np.ndarray:
    """What the expert does at a pose of a scene: body twist, float32 (action_dim,); see `ExpertPolicy`."""
    driver = _Driver(scene, embodiment, margin_m, sideways=sideways)
    twist = dict(zip(ACTION_NAMES, driver.twist(pose), strict=True))
    return np.array([twist[name] for name in embodiment.action_names], dtype=np.float32)


class ExpertPolicy(Policy):
    """Privileged: reads scene and pose from the infos. Follows the shortest path with an episode's own clearance.

    Args:
        margin_m: least and largest clearance that it keeps, drawn for each episode.
        mover_margin_m: least clearance to what moves, where there is a way that keeps it.
        sideways: False: a robot that can move sideways turns instead and drives ahead, as one with two wheels must.
    """

    spec = PolicySpec(
        action_names=(), image_px=(), requires_privileged_info=True, description="scripted shortest-path expert"
    )

    def __init__(
        self,
        *,
        margin_m: tuple[float, float] = MARGIN_M,
        mover_margin_m: float = MOVER_MARGIN_M,
        sideways: bool = True,
    ) -> None:
        self._margin_m, self._mover_margin_m, self._sideways = margin_m, mover_margin_m, sideways
        self._drivers: list[_Driver | None] = []
        self._margins: list[float] = []

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forget the marked envs; draw their habits."""
        if len(self._drivers) != len(reset_mask):
            self._drivers, self._margins = [None] * len(reset_mask), [0.0] * len(reset_mask)
        for env_index in np.flatnonzero(reset_mask):
            rng = np.random.default_rng([int(seeds[env_index]), HABIT_STREAM])
            self._drivers[env_index] = None
            self._margins[env_index] = float(rng.uniform(*self._margin_m))

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, action_dim)."""
        if infos is None:
            raise ValueError("the expert needs privileged state: pass infos")
        return np.stack([self._act(env_index, info) for env_index, info in enumerate(infos)])

    def _act(self, env_index: int, info: Mapping[str, Any]) -> np.ndarray:
        embodiment: Embodiment = info["embodiment"]
        if not self._sideways and "wz" not in embodiment.action_names:
            raise UserError(f"{embodiment.name} cannot turn: its actions are {list(embodiment.action_names)}")
        if "scene" not in info:
            return np.zeros(len(embodiment.action_names), dtype=np.float32)
        driver = self._drivers[env_index]
        if driver is None or driver.scene is not info["scene"]:
            margin_m, scene = self._margins[env_index], info["scene"]
            driver = self._drivers[env_index] = _Driver(
                scene, embodiment, margin_m, mover_margin_m=self._mover_margin_m, sideways=self._sideways
            )
        twist = dict(zip(ACTION_NAMES, driver.twist(Pose2(*map(float, info["pose"])), info.get("movers")), strict=True))
        return np.array([twist[name] for name in embodiment.action_names], dtype=np.float32)
