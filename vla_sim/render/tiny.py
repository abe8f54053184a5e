"""PyBullet's TinyRenderer with primitive shapes: slow and plain, the reference for other pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from vla_sim.render.raycast import camera_rotation
from vla_sim.sim.world import pybullet_module
from vla_sim.specs import CameraSpec
from vla_sim.types import Pose2, Scene, Vec3

Quat = tuple[float, float, float, float]


class TinyRenderer:
    """See `vla_sim.render.camera.Renderer`. Round things are cylinders, others cuboids; no textures, no distortion."""

    def __init__(self, image_px: tuple[int, int], slots: int = 1) -> None:
        self._p = pybullet_module()
        self.slots = slots
        self._width, self._height = image_px
        self._clients = [self._p.connect(self._p.DIRECT) for _ in range(slots)]
        self._scenes: list[tuple[Scene, CameraSpec] | None] = [None] * slots
        self._robots = [Pose2(0.0, 0.0)] * slots
        self._ids: list[dict[str, int]] = [{} for _ in range(slots)]

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Build a scene in a slot in place of the one before."""
        if camera.distortion:
            raise ValueError("TinyRenderer has no lens distortion; use renderer 'software'")
        p, client = self._p, self._clients[slot]
        p.resetSimulation(physicsClientId=client)
        # A slab: TinyRenderer draws a plane as a small square.
        floor = p.createVisualShape(
            p.GEOM_BOX, halfExtents=[12, 12, 0.05], rgbaColor=[*scene.look.floor_color, 1], physicsClientId=client
        )
        p.createMultiBody(0, -1, floor, [0, 0, -0.05], physicsClientId=client)
        self._ids[slot] = {}
        for body in scene.bodies:
            size = body.size_m
            if body.round:
                shape = {"shapeType": p.GEOM_CYLINDER, "radius": size[0] / 2, "length": size[2]}
            else:
                shape = {"shapeType": p.GEOM_BOX, "halfExtents": [s / 2 for s in size]}
            look = p.createVisualShape(**shape, rgbaColor=[*body.color, 1], physicsClientId=client)
            quat = p.getQuaternionFromEuler([0, 0, body.yaw_rad])
            place = [body.x_m, body.y_m, size[2] / 2]
            self._ids[slot][body.name] = p.createMultiBody(0, -1, look, place, quat, physicsClientId=client)
        self._scenes[slot] = (scene, camera)
        self._robots[slot] = scene.start

    def place(self, slot: int, robot: Pose2, moved: Mapping[str, tuple[Vec3, Quat]] = {}) -> None:
        """Put the camera on the robot and pushed bodies where they are."""
        self._robots[slot] = robot
        for name, (position, quat) in moved.items():
            self._p.resetBasePositionAndOrientation(
                self._ids[slot][name], position, quat, physicsClientId=self._clients[slot]
            )

    def render(self) -> np.ndarray:
        """Pictures of all slots, uint8 (slots, H, W, 3)."""
        return np.stack([self._shoot(slot)[0] for slot in range(self.slots)])

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis, float32 (H, W) in m, from a 24-bit depth buffer."""
        camera = self._loaded(slot)[1]
        near, far = camera.near_m, camera.far_m
        buffer = self._shoot(slot)[1]
        return (far * near / (far - (far - near) * buffer)).astype(np.float32)

    def segmentation(self, slot: int) -> np.ndarray:
        """int32 (H, W): 0 nothing, 1 floor, 2 + index of the body."""
        return self._shoot(slot)[2].astype(np.int32) + 1

    def close(self) -> None:
        """Give the physics clients back."""
        for client in self._clients:
            self._p.disconnect(physicsClientId=client)
        self._clients = []

    def _loaded(self, slot: int) -> tuple[Scene, CameraSpec]:
        loaded = self._scenes[slot]
        if loaded is None:
            raise ValueError(f"slot {slot} holds no scene yet")
        return loaded

    def _shoot(self, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        size = (self._height, self._width)
        if self._scenes[slot] is None:
            return np.zeros((*size, 3), np.uint8), np.ones(size), np.full(size, -1)
        scene, camera = self._loaded(slot)
        p, client = self._p, self._clients[slot]
        robot = self._robots[slot]
        axes = camera_rotation(scene, camera, robot)
        forward, left, up = camera.mount_m
        cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
        eye = np.array([robot.x_m + cos * forward - sin * left, robot.y_m + sin * forward + cos * left, up])
        view = p.computeViewMatrix(eye.tolist(), (eye + axes[:, 0]).tolist(), axes[:, 2].tolist())
        aspect = math.tan(camera.hfov_rad / 2) / math.tan(camera.vfov_rad / 2)
        lens = p.computeProjectionMatrixFOV(math.degrees(camera.vfov_rad), aspect, camera.near_m, camera.far_m)
        _, _, rgba, depth, what = p.getCameraImage(
            self._width, self._height, view, lens, renderer=p.ER_TINY_RENDERER, shadow=0, physicsClientId=client
        )
        picture = np.asarray(rgba, dtype=np.uint8).reshape(*size, 4)[:, :, :3]
        return np.ascontiguousarray(picture), np.asarray(depth).reshape(size), np.asarray(what).reshape(size)
