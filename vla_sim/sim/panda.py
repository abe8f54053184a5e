"""Cameras drawn by Panda3D: its software rasteriser, or a GPU through EGL. Made by `vla_sim.sim.renderers`.

Every slot has an off-screen buffer of its own, all are drawn
in one frame: positions inside a larger buffer would enter the rounding of vertices, and the image of a scene must
not depend on its slot.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Pose2, Scene
from vla_sim.sim import gpu_probe
from vla_sim.sim.camera import Moved, Shot, camera_in, camera_pose
from vla_sim.sim.depth import Triangles
from vla_sim.sim.lens import lens_of
from vla_sim.sim.mesh_scene import MeshScene
from vla_sim.sim.overview import CHASE, HALF_TAN, view_pose, walls_between
from vla_sim.sim.panda_nodes import (
    colored_node,
    numbered_layers,
    numbered_node,
    overview_node,
    shadow_node,
    triangle_numbers,
    write_vertices,
)
from vla_sim.sim.panda_target import BACKGROUND, Target, core_module, draw, new_target
from vla_sim.sim.sensor import Sensor

OVERVIEW_BACKGROUND = (0.86, 0.89, 0.92)


class PandaRenderer:
    """See `vla_sim.sim.camera.Renderer`.

    Depth is computed from which triangle a pixel shows: its ray is cut with that triangle's plane, so it is as exact as
    the outlines (float32 rounding inside, up to one pixel's step along edges), whatever the depth buffer.
    """

    def __init__(self, image_px: tuple[int, int], slots: int = 1, *, pipe: str = "software") -> None:
        self.slots = slots
        self.image_px = image_px
        self.name = _usable(pipe)
        width, height = image_px
        self._images = np.zeros((slots, height, width, 3), np.uint8)
        self._slots = [_Slot(self.name, image_px) for _ in range(slots)]
        self._overviews: dict[tuple[int, int], Target] = {}
        self._stale = set(range(slots))

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Show this scene in a slot, in place of what was there; the robot is at the scene's start."""
        if camera.image_px != self.image_px:
            raise ValueError(f"this renderer draws {self.image_px} pixels, the camera has {camera.image_px}")
        self._slots[slot].load(scene, camera)
        self._stale.add(slot)

    def place(self, slot: int, robot: Pose2, moved: Moved = {}, shot: Shot = Shot()) -> None:  # noqa: B006, B008
        """Set the robot's pose and the poses (centre, quaternion xyzw) of bodies that were pushed."""
        self._slots[slot].place(robot, moved, shot)
        self._stale.add(slot)

    def render(self) -> np.ndarray:
        """Images of all slots: uint8 RGB (slots, H, W, 3), C-contiguous; the next call overwrites them.

        Only slots that were loaded or placed since the last call are drawn, all in one frame.
        """
        stale = sorted(self._stale)
        draw([self._slots[slot].target for slot in stale])
        for slot in stale:
            self._slots[slot].read(self._images[slot])
        self._stale.clear()
        return self._images

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis in metres, float32 (H, W); the camera's far_m where nothing is."""
        return self._slots[slot].depth()

    def segmentation(self, slot: int) -> np.ndarray:
        """What each pixel shows, int32 (H, W): 0 background, 1 floor, 2 + index into scene.bodies."""
        return self._slots[slot].segmentation()

    def overview(self, slot: int, width: int, height: int, view: str = CHASE) -> np.ndarray:
        """The scene with the robot in it, in one of `overview.VIEWS`: uint8 RGB (height, width, 3)."""
        size = (width, height)
        if size not in self._overviews:
            self._overviews[size] = new_target(self.name, size, background=OVERVIEW_BACKGROUND)
        return self._slots[slot].overview(self._overviews[size], view)

    def close(self) -> None:
        """Give everything back; calling it twice is harmless."""
        for slot in self._slots:
            slot.close()
        for target in self._overviews.values():
            target.close()
        self._slots, self._overviews = [], {}


class _Slot:
    """One scene, its nodes and the buffer it is drawn into."""

    def __init__(self, pipe: str, image_px: tuple[int, int]) -> None:
        core = core_module()
        self._pipe, self._image_px = pipe, image_px
        self._root = core.NodePath("slot")
        self._colored: Any = None
        self._numbered: tuple[Any, Triangles] | None = None
        self._mesh_scene: MeshScene | None = None
        self.target = new_target(pipe, image_px)
        self._robot_node = self._root.attachNewNode("robot")
        self._shadow: Any = None
        self._eye = self._robot_node.attachNewNode(self.target.camera)

    def load(self, scene: Scene, camera: CameraSpec) -> None:
        camera = camera_in(scene.look, camera)
        mesh_scene, lens = MeshScene(scene), lens_of(camera)
        self._clear()
        self._scene, self._camera, self._lens, self._mesh_scene = scene, camera, lens, mesh_scene
        if self.target.size_px != lens.draw_px:
            self._eye.removeNode()
            self.target.close()
            self.target = new_target(self._pipe, lens.draw_px)
            self._eye = self._robot_node.attachNewNode(self.target.camera)
        _aim(self._eye, *camera_pose(camera, scene.look, Pose2(0.0, 0.0)))
        self.target.look(lens.half_tan, camera.near_m, camera.far_m)
        self._node, self._geoms = colored_node(mesh_scene)
        self._colored = self._root.attachNewNode(self._node)
        self._shadow = self._colored.attachNewNode(shadow_node(mesh_scene.robot_shadow))
        self._sensor = Sensor(scene.look, camera)
        self.place(scene.start, {}, Shot())

    def place(self, robot: Pose2, moved: Moved, shot: Shot) -> None:
        if self._mesh_scene is None:
            raise RuntimeError("load a scene into this slot before the robot is placed in it")
        self._robot, self._shot = robot, shot
        self._robot_node.setPosHpr(robot.x_m, robot.y_m, 0.0, math.degrees(robot.yaw_rad), 0.0, 0.0)
        if self._shadow is not None:
            self._shadow.setPos(robot.x_m, robot.y_m, 0.0)
        for layer in self._mesh_scene.move(moved):
            write_vertices(self._node.modifyGeom(self._geoms[id(layer)]).modifyVertexData(), layer.vertices)
            self._drop_numbers()

    def read(self, out: np.ndarray) -> None:
        """Copy the drawn image into uint8 (H, W, 3)."""
        drawn = self.target.pixels()
        if self._mesh_scene is None:
            out[:] = drawn
            return
        seen = drawn if self._lens.table is None else self._lens.apply(drawn, self._image_px)
        self._sensor.expose(seen, out, self._shot)

    def segmentation(self) -> np.ndarray:
        assert self._mesh_scene is not None, "load a scene first"
        numbers, triangles = self._drawn_triangles()
        return self._lens.apply(triangles.labels[numbers], self._image_px)

    def depth(self) -> np.ndarray:
        assert self._mesh_scene is not None, "load a scene first"
        numbers, triangles = self._drawn_triangles()
        position, turn = camera_pose(self._camera, self._scene.look, self._robot)
        depth = triangles.depth(numbers, position, turn, self._lens, self._camera.near_m, self._camera.far_m)
        return self._lens.apply(depth, self._image_px)

    def overview(self, target: Target, view_name: str) -> np.ndarray:
        assert self._mesh_scene is not None, "load a scene first"
        position, turn = view_pose(view_name, self._scene, self._robot)
        view = self._root.attachNewNode("overview")
        node = overview_node(self._mesh_scene, self._hidden(view_name, position), self._robot)
        view.attachNewNode(node)
        eye = view.attachNewNode(target.camera)
        self._colored.stash()
        try:
            target.look((HALF_TAN, HALF_TAN * target.size_px[1] / target.size_px[0]), 0.05, 40.0)
            _aim(eye, position, turn)
            draw([target])
            return target.pixels().copy()
        finally:
            self._colored.unstash()
            eye.detachNode()
            view.removeNode()

    def _hidden(self, view: str, eye: np.ndarray) -> frozenset[int]:
        """Labels that a view leaves out; from above nothing is in the way."""
        return walls_between(self._scene, eye, self._robot) if view == CHASE else frozenset()

    def close(self) -> None:
        self._clear()
        self._eye.removeNode()
        self._root.removeNode()
        self.target.close()

    def _drawn_triangles(self) -> tuple[np.ndarray, Triangles]:
        """Which triangle each drawn pixel shows, int32 (H, W), and the triangles."""
        assert self._mesh_scene is not None
        if self._numbered is None:
            triangles = Triangles([layer for layer, _ in numbered_layers(self._mesh_scene)])
            self._numbered = self._root.attachNewNode(numbered_node(self._mesh_scene)), triangles
        node, triangles = self._numbered
        self._colored.stash()
        node.unstash()
        self.target.background((0.0, 0.0, 0.0))
        try:
            draw([self.target])
            return triangle_numbers(self.target.pixels()), triangles
        finally:
            self.target.background(BACKGROUND)
            node.stash()
            self._colored.unstash()

    def _drop_numbers(self) -> None:
        if self._numbered is not None:
            self._numbered[0].removeNode()
            self._numbered = None

    def _clear(self) -> None:
        self._drop_numbers()
        if self._colored is not None:
            self._colored.removeNode()
            self._colored = self._shadow = None
        self._mesh_scene = None


def _usable(pipe: str) -> str:
    """The pipe to use: "software" with a warning where "gpu" does not work."""
    if pipe != "gpu":
        return pipe
    found = gpu_probe.probe_gpu()
    if found.works:
        return pipe
    warnings.warn(f"no GPU pipe here ({found.message}); drawing in software instead", RuntimeWarning, stacklevel=4)
    return "software"


def _aim(node: Any, position: np.ndarray, turn: np.ndarray) -> None:
    """Turn a camera node: Panda's camera looks along its y axis, with x to the right and z up."""
    forward, left, up = turn.T.tolist()
    right = [-value for value in left]
    node.setMat(core_module().LMatrix4(*right, 0, *forward, 0, *up, 0, *position.tolist(), 1))
