"""The only module that talks to PyBullet: rigid bodies by name, in metres and seconds. Used by `vla_sim.sim.robot`."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vla_sim.core.types import Body, Kind, Pose2, Vec3

Quat = tuple[float, float, float, float]

GRAVITY_MPS2 = 9.81
FLOOR = "floor"
# Bullet keeps pairs in its contact list up to 2 cm apart; only gaps below this are contacts.
TOUCHING_M = 1e-3


@dataclass(frozen=True)
class Contact:
    """Two bodies that touch: `body` and `other` by name, where (world frame, m) and how hard (N)."""

    body: str
    other: str
    position_m: Vec3
    force_n: float


@contextlib.contextmanager
def _without_banner() -> Iterator[None]:
    """PyBullet writes its build time to standard error from C when it is first imported; keep it out of our output."""
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(saved, 2)
        os.close(sink)
        os.close(saved)


def pybullet_module() -> Any:
    """PyBullet, imported without its banner."""
    if "pybullet" not in sys.modules:
        sys.stderr.flush()
        with _without_banner():
            import pybullet
    import pybullet

    return pybullet


class World:
    """One physics client. Bodies have names; `floor` is always there.

    Resting bodies sleep until something touches them, which makes a step several times cheaper and changes no contact.
    """

    def __init__(self, *, physics_hz: int = 120) -> None:
        self._p = pybullet_module()
        self._client = -1
        self.step_s = 1.0 / physics_hz
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._rest: dict[str, tuple[Vec3, Quat]] = {}
        self._weightless: set[str] = set()
        self._visual = -1

    def clear(self) -> None:
        """Remove everything but the floor."""
        p, client = self._p, self._connected()
        p.resetSimulation(physicsClientId=client)
        p.setGravity(0, 0, -GRAVITY_MPS2, physicsClientId=client)
        p.setTimeStep(self.step_s, physicsClientId=client)
        p.setPhysicsEngineParameter(deterministicOverlappingPairs=1, numSolverIterations=20, physicsClientId=client)
        self._ids, self._names, self._rest, self._weightless = {}, {}, {}, set()
        # Without a visual shape PyBullet makes a mesh of every collision shape, which takes longer than all the rest.
        self._visual = p.createVisualShape(p.GEOM_BOX, halfExtents=(0.01, 0.01, 0.01), physicsClientId=client)
        plane = p.createCollisionShape(p.GEOM_PLANE, physicsClientId=client)
        floor = p.createMultiBody(0, plane, self._visual, useMaximalCoordinates=1, physicsClientId=client)
        self._register(FLOOR, floor)

    def add(self, body: Body) -> None:
        """Stand a body on the floor; a movable one sleeps until it is touched."""
        half = tuple(s / 2 for s in body.size_m)
        if body.round:
            shape = {"shapeType": self._p.GEOM_CYLINDER, "radius": half[0], "height": body.size_m[2]}
        else:
            shape = {"shapeType": self._p.GEOM_BOX, "halfExtents": half}
        quat = self._p.getQuaternionFromEuler((0, 0, body.yaw_rad))
        self._create(body.name, shape, body.mass_kg, (body.x_m, body.y_m, half[2]), quat)
        if body.mass_kg > 0:
            friction = 0.5 if body.kind is not Kind.BOTTLE else 0.3
            self._dynamics(body.name, lateralFriction=friction, activationState=self._p.ACTIVATION_STATE_SLEEP)

    def add_base(self, name: str, *, radius_m: float, height_m: float, mass_kg: float) -> None:
        """Add an upright cylinder that is driven by velocity and hovers: it ignores the floor and has no friction.

        It is at the origin until `stand` puts it elsewhere.
        """
        shape = {"shapeType": self._p.GEOM_CYLINDER, "radius": radius_m, "height": height_m}
        self._create(name, shape, mass_kg, (0.0, 0.0, height_m / 2), (0.0, 0.0, 0.0, 1.0))
        self._dynamics(
            name,
            lateralFriction=0.0,
            spinningFriction=0.0,
            rollingFriction=0.0,
            linearDamping=0.0,
            angularDamping=0.0,
            activationState=self._p.ACTIVATION_STATE_DISABLE_SLEEPING,
        )
        self._p.setCollisionFilterPair(self._ids[name], self._ids[FLOOR], -1, -1, 0, physicsClientId=self._client)
        self._weightless.add(name)

    def stand(self, name: str, pose: Pose2) -> None:
        """Put a body elsewhere at the height it has, standing still."""
        (_, _, z), _ = self.pose(name)
        quat = self._p.getQuaternionFromEuler((0, 0, pose.yaw_rad))
        self._p.resetBasePositionAndOrientation(
            self._ids[name], (pose.x_m, pose.y_m, z), quat, physicsClientId=self._client
        )

    def set_velocity(self, name: str, vx_mps: float, vy_mps: float, wz_radps: float) -> None:
        """Set a body's planar velocity in the world frame."""
        # Bullet adds g*dt to the velocity before it moves the body: give that much upward to a hovering one.
        vz = GRAVITY_MPS2 * self.step_s if name in self._weightless else 0.0
        self._p.resetBaseVelocity(
            self._ids[name], (vx_mps, vy_mps, vz), (0.0, 0.0, wz_radps), physicsClientId=self._client
        )

    def step(self) -> None:
        """Advance by one physics step."""
        self._p.stepSimulation(physicsClientId=self._client)

    def pose(self, name: str) -> tuple[Vec3, Quat]:
        """Centre (m) and orientation (x, y, z, w) of a body in the world frame."""
        pose: tuple[Vec3, Quat] = self._p.getBasePositionAndOrientation(self._ids[name], physicsClientId=self._client)
        return pose

    def yaw(self, name: str) -> float:
        """Heading of a body in (-pi, pi]."""
        yaw: float = self._p.getEulerFromQuaternion(self.pose(name)[1])[2]
        return yaw

    def velocity(self, name: str) -> tuple[Vec3, Vec3]:
        """Linear (m/s) and angular (rad/s) velocity in the world frame."""
        velocity: tuple[Vec3, Vec3] = self._p.getBaseVelocity(self._ids[name], physicsClientId=self._client)
        return velocity

    def contacts(self, name: str) -> list[Contact]:
        """What a body touches now, the floor left out."""
        found = []
        for point in self._p.getContactPoints(self._ids[name], physicsClientId=self._client):
            other = self._names[point[2]]
            if other != FLOOR and point[8] <= TOUCHING_M:
                found.append(Contact(name, other, point[5], point[9]))
        return found

    def moved(self) -> dict[str, tuple[Vec3, Quat]]:
        """Poses of the bodies that no longer stand where they were put (robot bases left out)."""
        poses = {name: self.pose(name) for name in self._rest if name not in self._weightless}
        return {name: pose for name, pose in poses.items() if pose != self._rest[name]}

    def close(self) -> None:
        """Give the physics client back; calling it twice is harmless."""
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
            self._client = -1

    def _connected(self) -> int:
        """The physics client, asked for when the world is first filled."""
        if self._client < 0:
            self._client = self._p.connect(self._p.DIRECT)
            if self._client < 0:
                raise RuntimeError("PyBullet gave no physics client (too many are open in this process)")
        return self._client

    def _create(self, name: str, shape: dict[str, Any], mass_kg: float, position: Vec3, quat: Quat) -> None:
        if name in self._ids:
            raise ValueError(f"a body named {name!r} is already in this world")
        collision = self._p.createCollisionShape(**shape, physicsClientId=self._client)
        # Maximal coordinates make plain rigid bodies, which can sleep from the start; default multibodies cannot.
        body = self._p.createMultiBody(
            mass_kg, collision, self._visual, position, quat, useMaximalCoordinates=1, physicsClientId=self._client
        )
        self._register(name, body)
        if mass_kg > 0:
            self._rest[name] = self.pose(name)

    def _register(self, name: str, body: int) -> None:
        self._ids[name] = body
        self._names[body] = name

    def _dynamics(self, name: str, **values: Any) -> None:
        self._p.changeDynamics(self._ids[name], -1, physicsClientId=self._client, **values)
