"""Decides how an episode stands after a control step, from privileged state. Used by `vla_sim.envs.simulation`."""

from __future__ import annotations

from dataclasses import dataclass

from vla_sim.core.geometry import surface_distance
from vla_sim.core.planner import crossed_wrong_side
from vla_sim.core.types import Outcome, Pose2, Role, Scene, SuccessRule


@dataclass(frozen=True)
class Situation:
    """What the judge looks at.

    Attributes:
        before, after: pose of the robot at both ends of the control step.
        touched: whether anything was touched during it.
        stopped: whether the command asked for standstill.
        time_s: simulated time at its end.
    """

    before: Pose2
    after: Pose2
    touched: bool
    stopped: bool
    time_s: float


def goal_gap(scene: Scene, pose: Pose2, robot_radius_m: float) -> float:
    """Gap in metres between the robot's disc and the goal's surface."""
    return surface_distance(scene.goal, pose.x_m, pose.y_m) - robot_radius_m


def judge(scene: Scene, now: Situation, robot_radius_m: float) -> Outcome | None:
    """The outcome, or None while the episode goes on; precedence is the order of `Outcome`."""
    task, here = scene.task, now.after
    if now.touched and task.collision_ends:
        return Outcome.COLLISION
    x_min, x_max, y_min, y_max = scene.bounds_m
    if not (x_min <= here.x_m <= x_max and y_min <= here.y_m <= y_max):
        return Outcome.OUT_OF_BOUNDS
    if task.side and crossed_wrong_side(scene, (now.before.x_m, now.before.y_m), (here.x_m, here.y_m)):
        return Outcome.WRONG_SIDE
    standing = now.stopped or task.success is SuccessRule.REACHED
    if standing:
        for body in scene.with_role(Role.DISTRACTOR):
            if surface_distance(body, here.x_m, here.y_m) - robot_radius_m <= task.reach_m:
                return Outcome.WRONG_GOAL
        if goal_gap(scene, here, robot_radius_m) <= task.reach_m:
            return Outcome.SUCCESS
    if now.time_s >= task.time_limit_s - 1e-9:
        return Outcome.TIMEOUT
    return None
