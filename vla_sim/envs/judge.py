"""Decides how an episode stands after a control step, from privileged state. Used by `vla_sim.envs.simulation`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vla_sim.core.geometry import surface_distance
from vla_sim.core.legs import at_leg
from vla_sim.core.planner import crossed_wrong_side
from vla_sim.core.types import Body, Outcome, Pose2, Role, Scene, SuccessRule


@dataclass(frozen=True)
class Situation:
    """What the judge looks at.

    Attributes:
        before, after: pose of the robot at both ends of the control step.
        touched: whether anything was touched during it.
        stopped: whether the command asked for standstill.
        time_s: simulated time at its end.
        waits: whether something that moves is near, so that standing still may be waiting for it.
    """

    before: Pose2
    after: Pose2
    touched: bool
    stopped: bool
    time_s: float
    waits: bool = False


def goal_gap(scene: Scene, pose: Pose2, robot_radius_m: float) -> float:
    """Gap in metres between the robot's disc and the goal's surface; 0 where nothing is to be reached."""
    if scene.task.refuse:
        return 0.0
    return surface_distance(scene.goal, pose.x_m, pose.y_m) - robot_radius_m


class Judge:
    """Follows one episode and says how it ends.

    Attributes:
        reached: name of the object that the robot first came within reach of, the goal or another; "" for none yet.
            Of a task of several legs, those that were reached in their turn do not count.
        ended_at: name of the object at which the episode ended, as a success or at the wrong one; "" for none.
        scene: what the robot is judged by, at its present leg.
        legs_done: how many legs are behind it.
    """

    def __init__(self, scene: Scene, robot_radius_m: float, control_s: float) -> None:
        """The episode starts; the robot has been told what the scene asks."""
        self._radius_m, self._control_s = robot_radius_m, control_s
        self.reached = self.ended_at = ""
        self.legs_done = 0
        self.told(scene, scene.start)

    def told(self, scene: Scene, pose: Pose2) -> None:
        """From here on the robot is judged by the task of this scene."""
        self.scene, self._told_at = scene, pose
        self._standing = self._idle = 0
        self.legs_done = scene.task.leg

    def outcome(self, now: Situation) -> Outcome | None:
        """The outcome, or None while the episode goes on; precedence is the order of `Outcome`."""
        scene, task, here = self.scene, self.scene.task, now.after
        self._standing = self._standing + 1 if now.stopped else 0
        self._idle = 0 if not now.stopped else self._idle if now.waits else self._idle + 1
        if now.touched and task.collision_ends:
            return Outcome.COLLISION
        x_min, x_max, y_min, y_max = scene.bounds_m
        if not (x_min <= here.x_m <= x_max and y_min <= here.y_m <= y_max):
            return Outcome.OUT_OF_BOUNDS
        if task.side and crossed_wrong_side(scene, (now.before.x_m, now.before.y_m), (here.x_m, here.y_m)):
            return Outcome.WRONG_SIDE
        self._finish_legs(now.before, here)
        return self._arrival(here) or self._standstill(here) or self._late(now.time_s)

    def _finish_legs(self, before: Pose2, here: Pose2) -> None:
        """Go on to the next leg while the present one is done; the last one is judged as a goal is."""
        while self.legs_done + 1 < len(self.scene.task.legs) and self._leg_done(before, here):
            self.legs_done += 1
            self.scene = at_leg(self.scene, self.legs_done)

    def _leg_done(self, before: Pose2, here: Pose2) -> bool:
        leg = self.scene.task.legs[self.legs_done]
        if leg.through:
            doorway = next(one for one in self.scene.doorways if one.wall == leg.name)
            return doorway.passed((before.x_m, before.y_m), (here.x_m, here.y_m))
        body = next(body for body in self.scene.bodies if body.name == leg.name)
        if leg.past:
            start = self.scene.start
            return start.seen_from(here.x_m, here.y_m)[0] >= start.seen_from(body.x_m, body.y_m)[0]
        return self._gap_m(body, here) <= self.scene.task.reach_m

    def _arrival(self, here: Pose2) -> Outcome | None:
        """Whether the nearest object counts as reached."""
        task = self.scene.task
        objects = (*self.scene.with_role(Role.GOAL), *self.scene.with_role(Role.DISTRACTOR))
        gaps = [(self._gap_m(body, here), body) for body in objects]
        gap_m, nearest = min(gaps, key=lambda pair: pair[0], default=(math.inf, None))
        if nearest is None or gap_m > task.reach_m:
            return None
        if nearest.role is Role.GOAL and self.legs_done + 1 < len(task.legs):
            return None
        self.reached = self.reached or nearest.name
        stopped = self._standing >= task.stop_steps or task.success is SuccessRule.REACHED
        if not stopped or (task.refuse and self._stayed(here)):
            return None
        self.ended_at = nearest.name
        if nearest.role is not Role.GOAL or task.refuse:
            return Outcome.WRONG_GOAL
        self.legs_done = len(task.legs)
        return Outcome.SUCCESS

    def _standstill(self, here: Pose2) -> Outcome | None:
        """Whether the robot has stopped for good: not counting the time in which it may have waited for a mover."""
        task = self.scene.task
        if self._idle * self._control_s < task.give_up_s - 1e-9:
            return None
        if task.refuse and self._stayed(here):
            return Outcome.REFUSED
        return None if task.success is SuccessRule.REACHED else Outcome.STOPPED_SHORT

    def _late(self, time_s: float) -> Outcome | None:
        return Outcome.TIMEOUT if time_s >= self.scene.task.time_limit_s - 1e-9 else None

    def _gap_m(self, body: Body, here: Pose2) -> float:
        return surface_distance(body, here.x_m, here.y_m) - self._radius_m

    def _stayed(self, here: Pose2) -> bool:
        told = self._told_at
        return math.hypot(here.x_m - told.x_m, here.y_m - told.y_m) <= self.scene.task.stay_m
