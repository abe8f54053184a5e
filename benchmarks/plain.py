"""The plain way to do what the env does: PyBullet alone at 240 Hz with getCameraImage and TinyRenderer."""

from __future__ import annotations

import math

import numpy as np
import pybullet as p

from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Scene

HZ = 240


class PlainSimulator:
    """Same scene, same control step, same image size; bodies and robot are default PyBullet multibodies."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self.client = p.connect(p.DIRECT)

    def reset(self, scene: Scene) -> np.ndarray:
        p.resetSimulation(physicsClientId=self.client)
        p.setGravity(0, 0, -9.81, physicsClientId=self.client)
        p.setTimeStep(1 / HZ, physicsClientId=self.client)
        floor = p.createCollisionShape(p.GEOM_BOX, halfExtents=[10, 10, 0.05], physicsClientId=self.client)
        p.createMultiBody(0, floor, -1, [0, 0, -0.05], physicsClientId=self.client)
        for body in scene.bodies:
            self._add(body.round, body.size_m, body.mass_kg, (body.x_m, body.y_m), body.yaw_rad, body.color)
        shape = self.embodiment.body
        size = (2 * shape.radius_m, 2 * shape.radius_m, shape.height_m)
        start = scene.start
        self.robot = self._add(True, size, shape.mass_kg, (start.x_m, start.y_m), start.yaw_rad, (0.2, 0.2, 0.2))
        p.changeDynamics(self.robot, -1, lateralFriction=0, physicsClientId=self.client)
        return self.image()

    def _add(self, is_round, size, mass, position, yaw, color) -> int:
        if is_round:
            kind, arguments, visual = p.GEOM_CYLINDER, {"height": size[2]}, {"length": size[2]}
            arguments["radius"] = visual["radius"] = size[0] / 2
        else:
            kind = p.GEOM_BOX
            arguments = visual = {"halfExtents": [s / 2 for s in size]}
        collision = p.createCollisionShape(kind, **arguments, physicsClientId=self.client)
        look = p.createVisualShape(kind, **visual, rgbaColor=[*color, 1], physicsClientId=self.client)
        quat = p.getQuaternionFromEuler([0, 0, yaw])
        return p.createMultiBody(mass, collision, look, [*position, size[2] / 2], quat, physicsClientId=self.client)

    def step(self, vx: float, vy: float) -> np.ndarray:
        for _ in range(round(self.embodiment.control_s * HZ)):
            p.resetBaseVelocity(self.robot, [vx, vy, 0], [0, 0, 0], physicsClientId=self.client)
            p.stepSimulation(physicsClientId=self.client)
            p.getContactPoints(self.robot, physicsClientId=self.client)
        return self.image()

    def image(self) -> np.ndarray:
        camera = self.embodiment.camera
        (x, y, _), _ = p.getBasePositionAndOrientation(self.robot, physicsClientId=self.client)
        eye = [x + camera.mount_m[0], y, camera.mount_m[2]]
        ahead = [eye[0] + math.cos(camera.pitch_rad), y, eye[2] - math.sin(camera.pitch_rad)]
        view = p.computeViewMatrix(eye, ahead, [0, 0, 1])
        projection = p.computeProjectionMatrixFOV(math.degrees(camera.vfov_rad), 16 / 9, camera.near_m, camera.far_m)
        width, height = camera.image_px
        _, _, rgba, *_ = p.getCameraImage(
            width, height, view, projection, renderer=p.ER_TINY_RENDERER, physicsClientId=self.client
        )
        return np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3]

    def close(self) -> None:
        p.disconnect(physicsClientId=self.client)
