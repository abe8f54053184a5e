"""The robot in a world: turns an action into motion and reports what it touched. Used by `vla_sim.envs`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_sim.sim.actuation import Actuation
from vla_sim.sim.drive import Twist
from vla_sim.sim.world import Contact, World
from vla_sim.specs import Embodiment
from vla_sim.types import Pose2, Scene

ROBOT = "robot"


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
    """A base in a World. `place` starts an episode; `drive` makes one control step."""

    def __init__(self, embodiment: Embodiment, world: World) -> None:
        self.embodiment = embodiment
        self.world = world
        self._actuation = Actuation(embodiment)
        self._pose = Pose2(0.0, 0.0)
        self._touching: set[str] = set()

    def place(self, scene: Scene, rng: np.random.Generator) -> None:
        """Build the scene's bodies and stand at its start."""
        world, body = self.world, self.embodiment.body
        world.clear()
        for thing in scene.bodies:
            world.add(thing)
        world.add_base(
            ROBOT,
            radius_m=body.radius_m,
            height_m=body.height_m,
            mass_kg=body.mass_kg,
            x_m=scene.start.x_m,
            y_m=scene.start.y_m,
        )
        world.turn(ROBOT, scene.start.yaw_rad)
        self._actuation.reset(rng)
        self._pose = scene.start
        self._touching = set()

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
        (vx, vy, _), (_, _, wz) = self.world.velocity(ROBOT)
        cos, sin = math.cos(self._pose.yaw_rad), math.sin(self._pose.yaw_rad)
        return (cos * vx + sin * vy, cos * vy - sin * vx, wz)

    def drive(self, action: Twist, *, stop_on_contact: bool) -> Motion:
        """Execute one action for one control step, or until something new is touched."""
        self._actuation.command(action)
        new: list[Contact] = []
        steps = 0
        for _ in range(self.embodiment.substeps):
            self._push(self._actuation.next())
            self.world.step()
            steps += 1
            new += self._new_contacts()
            if new and stop_on_contact:
                break
        self._read_pose()
        return Motion(steps, tuple(new))

    def _push(self, twist: Twist) -> None:
        vx, vy, wz = twist
        yaw = self.world.yaw(ROBOT) if wz or self._touching else self._pose.yaw_rad
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
        first = {contact.other: contact for contact in reversed(contacts)}
        new = [first[name] for name in sorted(first) if name not in self._touching]
        self._touching = set(first)
        return new

    def _read_pose(self) -> None:
        (x, y, _), _ = self.world.pose(ROBOT)
        self._pose = Pose2(x, y, self.world.yaw(ROBOT))
