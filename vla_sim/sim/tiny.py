"""PyBullet's TinyRenderer with primitive shapes: slow and plain, the reference for all other images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.obj_mesh import ObjMesh
from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Body, Pose2, Scene
from vla_sim.sim.camera import FLOOR_LABEL, SKY_LABEL, Moved, Shot, camera_in, camera_pose
from vla_sim.sim.obj_model import mean_color, model_of
from vla_sim.sim.world import pybullet_module

FLOOR_HALF_M = 12.0


class TinyRenderer:
    """See `vla_sim.sim.camera.Renderer`. Round things are cylinders, all others cuboids; without textures and overview.

    Depth comes from TinyRenderer's float buffer; good to a few millimetres within rooms.
    """

    def __init__(self, image_px: tuple[int, int], slots: int = 1) -> None:
        self.slots = slots
        self.name = "tiny"
        self.image_px = image_px
        self._p = pybullet_module()
        self._clients = [self._p.connect(self._p.DIRECT) for _ in range(slots)]
        self._scenes: list[tuple[Scene, CameraSpec] | None] = [None] * slots
        self._robots = [Pose2(0.0, 0.0)] * slots
        self._ids: list[dict[str, int]] = [{} for _ in range(slots)]

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Show this scene in a slot, in place of what was there; the robot is at the scene's start."""
        if camera_in(scene.look, camera).distortion:
            raise UserError("renderer 'tiny' has no lens distortion; use 'software'")
        p, client = self._p, self._clients[slot]
        p.resetSimulation(physicsClientId=client)
        # A slab: TinyRenderer draws a plane as a small square.
        color = [*scene.look.floor_color, 1]
        slab = [FLOOR_HALF_M, FLOOR_HALF_M, 0.05]
        look = p.createVisualShape(p.GEOM_BOX, halfExtents=slab, rgbaColor=color, physicsClientId=client)
        p.createMultiBody(0, -1, look, [scene.start.x_m, scene.start.y_m, -0.05], physicsClientId=client)
        self._ids[slot] = {}
        for body in scene.bodies:
            size = body.size_m
            if body.mesh is not None:
                shape = self._mesh_shape(body, body.mesh)
            elif body.round:
                shape = {"shapeType": p.GEOM_CYLINDER, "radius": size[0] / 2, "length": size[2]}
            else:
                shape = {"shapeType": p.GEOM_BOX, "halfExtents": [s / 2 for s in size]}
            shade = body.color if body.mesh is None or not body.mesh.colored else mean_color(body.mesh)
            look = p.createVisualShape(**shape, rgbaColor=[*shade, 1], physicsClientId=client)
            self._ids[slot][body.name] = p.createMultiBody(0, -1, look, physicsClientId=client)
        self._scenes[slot] = (scene, camera)
        self.place(slot, scene.start)

    def _mesh_shape(self, body: Body, mesh: ObjMesh) -> dict[str, Any]:
        model = model_of(mesh)
        vertices = (model.positions * np.array(body.size_m)).tolist()
        return {"shapeType": self._p.GEOM_MESH, "vertices": vertices, "indices": model.triangles.ravel().tolist()}

    def place(self, slot: int, robot: Pose2, moved: Moved = {}, shot: Shot = Shot()) -> None:  # noqa: B006, B008
        """Set the robot's pose and the poses (centre, quaternion xyzw) of bodies that were pushed."""
        scene, _ = self._loaded(slot)
        self._robots[slot] = robot
        for body in scene.bodies:
            upright = self._p.getQuaternionFromEuler([0, 0, body.yaw_rad])
            position, quat = moved.get(body.name, ((body.x_m, body.y_m, body.size_m[2] / 2), upright))
            number = self._ids[slot][body.name]
            self._p.resetBasePositionAndOrientation(number, position, quat, physicsClientId=self._clients[slot])

    def render(self) -> np.ndarray:
        """Images of all slots: uint8 RGB (slots, H, W, 3)."""
        return np.stack([self._shoot(slot)[0] for slot in range(self.slots)])

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis in metres, float32 (H, W); the camera's far_m where nothing is."""
        _, camera = self._loaded(slot)
        near, far = camera.near_m, camera.far_m
        _, buffer, labels = self._shoot(slot)
        depth = far * near / (far - (far - near) * buffer)
        return np.where(labels == SKY_LABEL, far, depth).astype(np.float32)

    def segmentation(self, slot: int) -> np.ndarray:
        """What each pixel shows, int32 (H, W): 0 background, 1 floor, 2 + index into scene.bodies."""
        return self._shoot(slot)[2]

    def overview(self, slot: int, width: int, height: int, view: str = "chase") -> np.ndarray:
        """Not offered by this renderer."""
        raise UserError("renderer 'tiny' has no overview; use 'software'")

    def close(self) -> None:
        """Give the physics clients back; calling it twice is harmless."""
        for client in self._clients:
            self._p.disconnect(physicsClientId=client)
        self._clients = []

    def _loaded(self, slot: int) -> tuple[Scene, CameraSpec]:
        loaded = self._scenes[slot]
        if loaded is None:
            raise RuntimeError(f"load a scene into slot {slot} first")
        return loaded

    def _shoot(self, slot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Image uint8 (H, W, 3), depth buffer float (H, W) and labels int32 (H, W) of one slot."""
        width, height = self.image_px
        if self._scenes[slot] is None:
            empty = np.zeros((height, width), np.int32)
            return np.zeros((height, width, 3), np.uint8), np.ones((height, width)), empty
        scene, camera = self._loaded(slot)
        p, client = self._p, self._clients[slot]
        eye, axes = camera_pose(camera, scene.look, self._robots[slot])
        view = p.computeViewMatrix(eye.tolist(), (eye + axes[:, 0]).tolist(), axes[:, 2].tolist())
        aspect = math.tan(camera.hfov_rad / 2) / math.tan(camera.vfov_rad / 2)
        lens = p.computeProjectionMatrixFOV(math.degrees(camera.vfov_rad), aspect, camera.near_m, camera.far_m)
        _, _, rgba, depth, found = p.getCameraImage(
            width, height, view, lens, renderer=p.ER_TINY_RENDERER, shadow=0, physicsClientId=client
        )
        image = np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3]
        # Bullet numbers from 0, the floor first, and -1 for nothing.
        labels = np.asarray(found, dtype=np.int32).reshape(height, width) + FLOOR_LABEL
        return np.ascontiguousarray(image), np.asarray(depth).reshape(height, width), labels
