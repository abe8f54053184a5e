"""Where things that move by themselves are, as an episode goes on. One definition for physics, planner and feasibility.

Each mover follows its path by a clock of its own. At the start of every control step it looks where the robot is and
decides what it does until the next one: go on, wait, or step aside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from vla_sim.core.geometry import surface_distance
from vla_sim.core.types import Body, Motion, Pose2, Reaction, Role, Scene

# A mover looks for the robot within this angle about the way it goes.
LOOKS_RAD = math.radians(70)
# How fast and how far one steps aside.
ASIDE_MPS = 0.4
MAX_ASIDE_M = 0.7
# Room that it leaves to whatever stands there.
ASIDE_GAP_M = 0.05


@dataclass
class _Walk:
    """One mover on its way.

    Attributes:
        clock_s: its own time.
        runs: whether the clock runs until the next decision.
        aside_m: how far to the left of its path it has stepped.
        aside_mps: how fast that changes.
        started: whether its clock has ever been allowed to run.
    """

    body: Body
    motion: Motion
    clock_s: float = 0.0
    runs: bool = True
    aside_m: float = 0.0
    aside_mps: float = 0.0
    started: bool = True
    times: np.ndarray = field(init=False)
    poses: np.ndarray = field(init=False)
    top_mps: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.runs = self.motion.starts_within_m is None
        self.times = np.array(self.motion.times_s)
        self.poses = np.array([(p.x_m, p.y_m, p.yaw_rad) for p in self.motion.poses])
        self.poses[:, 2] = np.unwrap(self.poses[:, 2])
        steps, spans = np.abs(np.diff(self.poses, axis=0)), np.diff(self.times)
        reach = 0.0 if self.body.round else math.hypot(*self.body.size_m[:2]) / 2
        speeds = (np.hypot(steps[:, 0], steps[:, 1]) + reach * steps[:, 2]) / spans if len(spans) else np.zeros(1)
        self.top_mps = float(speeds.max()) + (ASIDE_MPS if self.motion.reaction is Reaction.ASIDE else 0.0)

    def poses_at(self, clocks_s: np.ndarray, asides_m: np.ndarray | float) -> np.ndarray:
        """Poses (n, 3) at times (n,) of its clock, so far beside its path."""
        x, y, yaw = (np.interp(clocks_s, self.times, self.poses[:, i]) for i in range(3))
        return np.stack([x - np.sin(yaw) * asides_m, y + np.cos(yaw) * asides_m, yaw], axis=1)

    def pose_after(self, time_s: float) -> Pose2:
        """Where it is so long after the last decision."""
        clock = self.clock_s + (time_s if self.runs else 0.0)
        x, y, yaw = self.poses_at(np.array([clock]), self.aside_m + self.aside_mps * time_s)[0].tolist()
        return Pose2(x, y, yaw)

    @property
    def moves_on(self) -> bool:
        """Whether some of its path is still ahead of it."""
        return self.clock_s < self.times[-1]

    def way_rad(self) -> float:
        """Direction in which it goes next."""
        (x0, y0, _), (x1, y1, yaw) = self.poses_at(np.array([self.clock_s, self.clock_s + 0.5]), 0.0).tolist()
        return math.atan2(y1 - y0, x1 - x0) if math.hypot(x1 - x0, y1 - y0) > 1e-6 else yaw


class Movers:
    """All movers of a scene. Per control step: `decide`, then `poses_after` as often as wanted, then `advance`."""

    def __init__(self, scene: Scene, robot_radius_m: float) -> None:
        bodies = {body.name: body for body in scene.with_role(Role.MOVER)}
        self._walks = [_Walk(bodies[motion.name], motion) for motion in scene.motions]
        self._solid = [body for body in scene.bodies if body.role is not Role.MOVER]
        self._radius_m = robot_radius_m

    def __bool__(self) -> bool:
        return bool(self._walks)

    @property
    def bodies(self) -> tuple[Body, ...]:
        """The movers as the scene made them."""
        return tuple(walk.body for walk in self._walks)

    @property
    def top_mps(self) -> float:
        """A speed that no point of a mover passes."""
        return max((walk.top_mps for walk in self._walks), default=0.0)

    def start(self) -> None:
        """Let all clocks run, those too that wait for the robot to come near."""
        for walk in self._walks:
            walk.started = walk.runs = True

    def decide(self, robot: Pose2) -> None:
        """Let every mover look where the robot is."""
        for walk in self._walks:
            here = walk.pose_after(0.0)
            gap_m = surface_distance(placed(walk.body, here), robot.x_m, robot.y_m) - self._radius_m
            starts_m = walk.motion.starts_within_m
            walk.started = walk.started or (starts_m is not None and gap_m < starts_m)
            near = walk.started and walk.moves_on and gap_m < walk.motion.react_m and self._ahead(walk, here, robot)
            walk.runs = walk.started and not (near and walk.motion.reaction is Reaction.STOP)
            walk.aside_mps = self._step_aside(walk, here, robot) if near else 0.0

    def advance(self, time_s: float) -> None:
        """So much time has passed since the decision."""
        for walk in self._walks:
            walk.aside_m += walk.aside_mps * time_s
            walk.clock_s += time_s if walk.runs else 0.0

    def poses_after(self, time_s: float) -> dict[str, Pose2]:
        """Where all are so long after the decision, by name."""
        return {walk.body.name: walk.pose_after(time_s) for walk in self._walks}

    def placed_after(self, time_s: float) -> list[Body]:
        """The same as bodies."""
        return [placed(walk.body, walk.pose_after(time_s)) for walk in self._walks]

    def underway_within(self, robot: Pose2, gap_m: float) -> bool:
        """Whether a mover with some of its path ahead of it is as near as that to the robot's rim."""
        return any(
            walk.moves_on
            and surface_distance(placed(walk.body, walk.pose_after(0.0)), robot.x_m, robot.y_m) - self._radius_m
            <= gap_m
            for walk in self._walks
        )

    def predicted(self, times_s: np.ndarray) -> list[tuple[Body, np.ndarray]]:
        """Bodies with their poses (n, 3) at times (n,) from now, if they go on as they do now: walking or waiting."""
        return [(walk.body, walk.poses_at(walk.clock_s + times_s * walk.runs, walk.aside_m)) for walk in self._walks]

    def _ahead(self, walk: _Walk, here: Pose2, robot: Pose2) -> bool:
        bearing = math.atan2(robot.y_m - here.y_m, robot.x_m - here.x_m)
        return abs(math.remainder(bearing - walk.way_rad(), 2 * math.pi)) < LOOKS_RAD

    def _step_aside(self, walk: _Walk, here: Pose2, robot: Pose2) -> float:
        """Speed to the left of its path: away from the robot, as long as there is room."""
        if walk.motion.reaction is not Reaction.ASIDE:
            return 0.0
        sign = -1.0 if here.seen_from(robot.x_m, robot.y_m)[1] > 0 else 1.0
        further = walk.aside_m + sign * 0.2
        x, y, _ = walk.poses_at(np.array([walk.clock_s + 0.5]), further)[0].tolist()
        size = walk.body.size_m
        radius_m = size[0] / 2 if walk.body.round else math.hypot(*size[:2]) / 2
        free = min((surface_distance(b, x, y) for b in self._solid), default=math.inf) - radius_m > ASIDE_GAP_M
        return sign * ASIDE_MPS if free and abs(further) <= MAX_ASIDE_M else 0.0


def replayed(scene: Scene, path: np.ndarray, robot_radius_m: float, step_s: float) -> list[dict[str, Pose2]]:
    """Where movers were at every pose of a robot's path (n, 3), one control step apart; empty where nothing moves."""
    if not scene.motions:
        return []
    movers, found = Movers(scene, robot_radius_m), []
    for x, y, yaw in path.tolist():
        movers.decide(Pose2(x, y, yaw))
        found.append(movers.poses_after(0.0))
        movers.advance(step_s)
    return found


def placed(body: Body, pose: Pose2) -> Body:
    """The body somewhere else."""
    return replace(body, x_m=pose.x_m, y_m=pose.y_m, yaw_rad=pose.yaw_rad)
