"""One world, one robot, one task: the mechanism under both Gymnasium envs, without any image."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError
from vla_sim.core.specs import ACTION_NAMES, Embodiment
from vla_sim.core.types import Instruction, Outcome, Pose2, Scene, Task, wrap_angle
from vla_sim.envs.judge import Judge, Situation, goal_gap
from vla_sim.sim.kinematics import Twist
from vla_sim.sim.robot import Robot
from vla_sim.sim.world import World

# Streams of a scene's seed: 0 to 2 belong to the scenario (layout, look, wording).
MOTION_STREAM = 3

# Beside a mover as near as this the robot may stand still without giving up.
WAITS_WITHIN_M = 2.5

STATE_NAMES = ("x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps", "wz_radps")


class ActionError(UserError, ValueError):
    """An action that cannot be executed: wrong shape or not finite."""


def checked_action(action: Any, embodiment: Embodiment) -> np.ndarray:
    """An action as float64 of shape (action_dim,), clipped to the embodiment's bounds.

    Raises:
        ActionError: wrong shape, not numbers, NaN or infinite.
    """
    names = embodiment.action_names
    try:
        values = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ActionError(f"an action must be {len(names)} numbers {list(names)}, got {shown(action)}") from error
    if values.shape != (len(names),):
        raise ActionError(f"an action of {embodiment.name} has shape ({len(names)},) {list(names)}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ActionError(f"an action must be finite, got {values.tolist()}")
    bounds = action_bounds(embodiment)
    return np.minimum(np.maximum(values, -bounds), bounds)


def checked_actions(actions: Any, embodiment: Embodiment, running: np.ndarray) -> np.ndarray:
    """Actions of several envs as float64 (num_envs, action_dim), clipped; only those of running envs must be finite.

    Raises:
        ActionError: wrong shape, not numbers, or NaN or infinite for a running env.
    """
    names, wanted = list(embodiment.action_names), (len(running), len(embodiment.action_names))
    try:
        values = np.asarray(actions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ActionError(
            f"actions must be {wanted[0]} times {wanted[1]} numbers {names}, got {shown(actions)}"
        ) from error
    if values.shape != wanted:
        raise ActionError(
            f"actions of {wanted[0]} envs of {embodiment.name} have shape {wanted} {names}, got {values.shape}"
        )
    wrong = np.flatnonzero(running & ~np.isfinite(values).all(axis=1))
    if len(wrong):
        raise ActionError(f"an action must be finite, got {values[wrong[0]].tolist()} for env {wrong[0]}")
    bounds = action_bounds(embodiment)
    return np.minimum(np.maximum(values, -bounds), bounds)


def action_bounds(embodiment: Embodiment) -> np.ndarray:
    """Largest absolute value of each action component, float32 (action_dim,), m/s and rad/s; read-only."""
    return _bounds(tuple(embodiment.action_names), embodiment.max_mps, embodiment.max_radps)


@functools.cache
def _bounds(names: tuple[str, ...], max_mps: float, max_radps: float) -> np.ndarray:
    most = {"vx": max_mps, "vy": max_mps, "wz": max_radps}
    bounds = np.array([most[name] for name in names], dtype=np.float32)
    bounds.setflags(write=False)
    return bounds


class Simulation:
    """Runs one episode at a time: `start` with a scene, then `advance` with actions until `outcome` is set."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self._world = World(physics_hz=embodiment.physics_hz)
        self._robot = Robot(embodiment, self._world)
        self._columns = [ACTION_NAMES.index(name) for name in embodiment.action_names]
        self.scene: Scene | None = None
        self.outcome: Outcome | None = None
        self.time_s = 0.0
        self.steps = 0
        self.collision_partner: str | None = None
        self.collision_events = 0

    def start(self, scene: Scene) -> None:
        """Begin an episode in this scene."""
        self._robot.place(scene, np.random.default_rng([scene.seed, MOTION_STREAM]))
        self.scene, self.outcome = scene, None
        self._judge = Judge(scene, self.embodiment.body.radius_m, self.embodiment.control_s)
        self._changes = list(scene.changes)
        self.time_s, self.steps = 0.0, 0
        self.collision_partner, self.collision_events = None, 0

    def advance(self, action: np.ndarray) -> None:
        """Execute one checked action for one control step, then judge."""
        if self.scene is None or self.outcome is not None:
            raise RuntimeError("the episode is over: start a new one before the next step")
        before = self.pose
        motion = self._robot.drive(self._twist_of(action), stop_on_contact=self.scene.task.collision_ends)
        self.steps += 1
        self.time_s += motion.steps / self.embodiment.physics_hz
        self.collision_events += len(motion.contacts)
        if motion.contacts and self.collision_partner is None:
            self.collision_partner = motion.contacts[0].other
        touched = bool(motion.contacts)
        now = Situation(before, self.pose, touched, self.stopped, self.time_s, waits=self._waits())
        self.outcome = self._judge.outcome(now)
        self.scene = self._judge.scene
        while self._changes and self.outcome is None and self.time_s >= self._changes[0].at_s - 1e-9:
            change = self._changes.pop(0)
            step_m = self.embodiment.max_mps * self.embodiment.control_s
            self.say(change.instruction, replace(change.task, stay_m=step_m) if change.at_once else change.task)

    def _waits(self) -> bool:
        """Whether somebody near is still on the way, so that standing still may be waiting."""
        movers = self._robot.movers
        return movers is not None and movers.underway_within(self.pose, WAITS_WITHIN_M)

    def say(self, instruction: Instruction, task: Task | None = None) -> None:
        """Tell the robot something else; from here on it is judged by the task, by default the one that it had."""
        if self.scene is None or self.outcome is not None:
            raise UserError("there is nobody to talk to: say() belongs between reset() and the end of an episode")
        self.scene = replace(self.scene, instruction=instruction, task=task or self.scene.task)
        self._judge.told(self.scene, self.pose)

    @property
    def stopped(self) -> bool:
        """Whether the last command asked for standing still."""
        return not any(self._robot.command)

    @property
    def leg(self) -> int:
        """The leg that the robot is on, from 0; 0 where there are none."""
        return self.scene.task.leg if self.scene else 0

    @property
    def legs_done(self) -> int:
        """How many of several legs are behind the robot."""
        return self._judge.legs_done

    @property
    def reached(self) -> str:
        """Name of the object that the robot first came within reach of; "" for none yet."""
        return self._judge.reached

    @property
    def ended_at(self) -> str:
        """See `Judge`."""
        return self._judge.ended_at

    @property
    def pose(self) -> Pose2:
        """The robot's pose in the world frame."""
        return self._robot.pose

    @property
    def twist(self) -> tuple[float, float, float]:
        """The robot's velocity in its body frame: m/s forward, m/s to the left, rad/s."""
        return self._robot.twist

    @property
    def goal_gap_m(self) -> float:
        """Gap between the robot's disc and the goal's surface."""
        assert self.scene is not None
        return goal_gap(self.scene, self.pose, self.embodiment.body.radius_m)

    def moved(self) -> Mapping[str, Any]:
        """Poses (centre, quaternion) of bodies that were pushed or move by themselves."""
        return self._robot.moved()

    def state(self) -> np.ndarray:
        """What the robot's own sensors tell, float32 (6,): see STATE_NAMES.

        Odometry (x, y, yaw) in the frame of the start pose, then the body twist; m, rad, m/s, rad/s. Ideal: no drift.
        """
        assert self.scene is not None
        start, pose = self.scene.start, self.pose
        dx, dy = pose.x_m - start.x_m, pose.y_m - start.y_m
        cos, sin = math.cos(start.yaw_rad), math.sin(start.yaw_rad)
        turned = wrap_angle(pose.yaw_rad - start.yaw_rad)
        twist = self._robot.twist
        return np.array([cos * dx + sin * dy, cos * dy - sin * dx, turned, *twist], dtype=np.float32)

    def info(self) -> dict[str, Any]:
        """Privileged state: pose (3,) float64, gap to the goal in m, outcome, contacts, the scene and its movers."""
        assert self.scene is not None
        pose = self.pose
        return {
            "pose": np.array([pose.x_m, pose.y_m, pose.yaw_rad]),
            "goal_gap_m": self.goal_gap_m,
            "is_success": self.outcome is not None and self.outcome.succeeded,
            "outcome": self.outcome.value if self.outcome else "",
            "reached": self.reached,
            "collision_partner": self.collision_partner or "",
            "collision_events": self.collision_events,
            "sim_time_s": self.time_s,
            "scene": self.scene,
            "movers": self._robot.movers,
        }

    def close(self) -> None:
        """Give the physics client back."""
        self._world.close()

    def _twist_of(self, action: np.ndarray) -> Twist:
        twist = [0.0, 0.0, 0.0]
        for column, value in zip(self._columns, action.tolist(), strict=True):
            twist[column] = value
        return (twist[0], twist[1], twist[2])
