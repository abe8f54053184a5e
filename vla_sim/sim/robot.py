"""The robot in a world: turns an action into motion and reports what it touched. Used by `vla_sim.envs`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vla_sim.core.geometry import surface_distance
from vla_sim.core.movers import Movers
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Body, Pose2, Role, Scene, Vec3, wrap_angle
from vla_sim.sim.actuation import STANDSTILL, Actuation
from vla_sim.sim.kinematics import Twist
from vla_sim.sim.world import Contact, Quat, World

ROBOT = "robot"
# Physics makes contacts at gaps of up to a millimetre: nothing farther than this is touched.
NEAR_M = 0.005
# Where the world is built already, physics is cheaper than asking again for fewer free steps than this.
FEWEST_FREE = 6


@dataclass(frozen=True)
class Motion:
    """One control step as it happened.

    Attributes:
        steps: physics steps made; fewer than asked when a contact ended it.
        contacts: the first contact with each body that was newly touched, in order.
    """

    steps: int
    contacts: tuple[Contact, ...]


class Robot:
    """A base in a World. `place` starts an episode; `drive` makes one control step.

    As long as nothing has been touched and nothing is near, the base coasts: its pose is integrated here, with the sums
    that the physics would do for a body with nothing around it (conservative advancement). The world is built when the
    base first comes near something, and from the first contact on every step is physics. Things that move by themselves
    come nearer on their own, so they count while the base stands still, too.
    """

    def __init__(self, embodiment: Embodiment, world: World) -> None:
        self.embodiment = embodiment
        self.world = world
        self._actuation = Actuation(embodiment)
        self._scene: Scene | None = None
        self._pose = Pose2(0.0, 0.0)
        self._velocity: Twist = STANDSTILL
        self._touching: set[str] = set()
        self._solid: tuple[Body, ...] = ()
        self._movers: Movers | None = None
        self._elapsed = 0  # physics steps of the control step that are done
        self._room_m = 0.0
        self._disturbed = False
        self._built = False

    def place(self, scene: Scene, rng: np.random.Generator) -> None:
        """Stand at the scene's start."""
        self._actuation.reset(rng)
        self._scene, self._pose, self._velocity = scene, scene.start, STANDSTILL
        self._touching, self._disturbed, self._built = set(), False, False
        self._room_m = 0.0
        self._solid = tuple(body for body in scene.bodies if body.role is not Role.MOVER)
        self._movers = Movers(scene, self.embodiment.body.radius_m) if scene.motions else None

    @property
    def movers(self) -> Movers | None:
        """What moves by itself; None in a scene where nothing does."""
        return self._movers

    @property
    def pose(self) -> Pose2:
        """Where the base is, world frame."""
        return self._pose

    @property
    def command(self) -> Twist:
        """Body twist that the last action asked of the wheels (m/s, m/s, rad/s)."""
        return self._actuation.target

    @property
    def twist(self) -> Twist:
        """Measured body twist (m/s, m/s, rad/s)."""
        vx, vy, wz = self._velocity
        cos, sin = math.cos(self._pose.yaw_rad), math.sin(self._pose.yaw_rad)
        return (cos * vx + sin * vy, cos * vy - sin * vx, wz)

    def drive(self, action: Twist, *, stop_on_contact: bool) -> Motion:
        """Execute one action for one control step, or until something new is touched."""
        self._actuation.command(action)
        if self._movers:
            self._movers.decide(self._pose)
        new: list[Contact] = []
        self._elapsed, most = 0, self.embodiment.substeps
        while self._elapsed < most and not (new and stop_on_contact):
            left = most - self._elapsed
            free = self._free_steps(left)
            if free >= min(FEWEST_FREE if self._built else 1, left):
                self._coast(free)
                self._elapsed += free
            else:
                new += self._push_on(min(FEWEST_FREE, left), stop_on_contact)
        if self._movers:
            self._movers.advance(self._elapsed * self.world.step_s)
        return Motion(self._elapsed, tuple(new))

    def moved(self) -> dict[str, tuple[Vec3, Quat]]:
        """Poses (centre, quaternion) of bodies that do not stand where the scene put them."""
        moved = self.world.moved() if self._disturbed else {}
        for body in self._movers.placed_after(0.0) if self._movers else ():
            half = body.yaw_rad / 2
            moved[body.name] = ((body.x_m, body.y_m, body.size_m[2] / 2), (0.0, 0.0, math.sin(half), math.cos(half)))
        return moved

    def _free_steps(self, most: int) -> int:
        """Of the next steps, how many at least end before anything is near, whatever way the base goes."""
        if self._disturbed:
            return 0
        step_m = self._actuation.top_mps * self.world.step_s
        if self._movers:
            most = min(most, self._steps_before_movers(step_m))
        if step_m == 0:
            return most
        if self._room_m < most * step_m:
            self._room_m = self._measured_room()
        free = max(0, int(min(most, self._room_m / step_m)))
        self._room_m -= free * step_m
        return free

    def _steps_before_movers(self, step_m: float) -> int:
        """The steps that at least end before a mover is near, when both make for each other."""
        assert self._movers is not None
        closing_m = step_m + self._movers.top_mps * self.world.step_s
        room_m = self._room_to(self._movers.placed_after(self._elapsed * self.world.step_s))
        most = self.embodiment.substeps
        return max(0, int(min(most, room_m / closing_m))) if closing_m > 0 else most

    def _measured_room(self) -> float:
        """How far the base can go in any direction before something that stands is near, in metres."""
        return self._room_to(self._solid)

    def _room_to(self, bodies: Iterable[Body]) -> float:
        x, y = self._pose.x_m, self._pose.y_m
        gap_m = min((surface_distance(body, x, y) for body in bodies), default=math.inf)
        return gap_m - self.embodiment.body.radius_m - NEAR_M

    def _coast(self, steps: int) -> None:
        x, y, yaw = self._pose.x_m, self._pose.y_m, self._pose.yaw_rad
        cos, sin, step_s = math.cos(yaw), math.sin(yaw), self.world.step_s
        wx = wy = wz = 0.0
        for (vx, vy, wz), count in self._actuation.following(steps):
            for _ in range(count if wz else 1):
                wx, wy = cos * vx - sin * vy, sin * vx + cos * vy
                time_s = step_s if wz else count * step_s
                x, y = x + wx * time_s, y + wy * time_s
                if wz:
                    yaw += wz * step_s
                    cos, sin = math.cos(yaw), math.sin(yaw)
        self._pose = Pose2(x, y, wrap_angle(yaw))
        self._velocity = (wx, wy, wz)

    def _push_on(self, steps: int, stop_on_contact: bool) -> list[Contact]:
        """Make physics steps; gives what they newly touched."""
        if not self._built:
            self._build()
        if not self._disturbed:
            self.world.stand(ROBOT, self._pose)
        new: list[Contact] = []
        last = self._elapsed + steps
        while self._elapsed < last and not (new and stop_on_contact):
            self._push(self._actuation.next())
            self._elapsed += 1
            self._move_movers()
            self.world.step()
            new += self._new_contacts()
        (x, y, _), _ = self.world.pose(ROBOT)
        self._pose = Pose2(x, y, self.world.yaw(ROBOT))
        (vx, vy, _), (_, _, wz) = self.world.velocity(ROBOT)
        self._velocity, self._room_m = (vx, vy, wz), 0.0
        return new

    def _move_movers(self) -> None:
        """Put movers where they are at the end of the physics step."""
        if self._movers:
            for name, pose in self._movers.poses_after(self._elapsed * self.world.step_s).items():
                self.world.stand(name, pose)

    def _build(self) -> None:
        """The scene's bodies and the base in the world."""
        assert self._scene is not None
        self.world.clear()
        for thing in self._scene.bodies:
            self.world.add(thing)
        body = self.embodiment.body
        self.world.add_base(ROBOT, radius_m=body.radius_m, height_m=body.height_m, mass_kg=body.mass_kg)
        self._built = True

    def _push(self, twist: Twist) -> None:
        vx, vy, wz = twist
        yaw = self.world.yaw(ROBOT) if wz or self._disturbed else self._pose.yaw_rad
        cos, sin = math.cos(yaw), math.sin(yaw)
        wx, wy = cos * vx - sin * vy, sin * vx + cos * vy
        if self._touching:
            wx, wy = self._within_push(wx, wy)
        self.world.set_velocity(ROBOT, wx, wy, wz)

    def _within_push(self, wx: float, wy: float) -> tuple[float, float]:
        """Against an obstacle the wheels slip: the velocity can only change as fast as the push allows."""
        (now_x, now_y, _), _ = self.world.velocity(ROBOT)
        most = self.embodiment.body.max_push_n / self.embodiment.body.mass_kg * self.world.step_s
        dx, dy = wx - now_x, wy - now_y
        size = math.hypot(dx, dy)
        if size > most:
            dx, dy = dx * most / size, dy * most / size
        return now_x + dx, now_y + dy

    def _new_contacts(self) -> list[Contact]:
        contacts = self.world.contacts(ROBOT)
        if not contacts and not self._touching:
            return []
        self._disturbed = True
        first = {contact.other: contact for contact in reversed(contacts)}
        new = [first[name] for name in sorted(first) if name not in self._touching]
        self._touching = set(first)
        return new
