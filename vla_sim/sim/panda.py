"""Cameras drawn by Panda3D: its software rasteriser, or a GPU through EGL. Made by `vla_sim.sim.renderers`.

Every slot has an off-screen buffer of its own, all are drawn
in one frame: positions inside a larger buffer would enter the rounding of vertices, and the image of a scene must
not depend on its slot.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

import numpy as np

from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Pose2, Scene
from vla_sim.sim import gpu_probe
from vla_sim.sim.camera import Moved, camera_pose
from vla_sim.sim.depth import planar_depth
from vla_sim.sim.lens import lens_of
from vla_sim.sim.mesh_scene import Layer, Stage
from vla_sim.sim.overview import overview_pose, walls_between
from vla_sim.sim.panda_target import BACKGROUND, Target, core_module, draw, new_target
from vla_sim.sim.robot_model import robot_layers
from vla_sim.sim.textures import SHADOW, SIZE_PX, texture_pixels

OVERVIEW_BACKGROUND = (0.86, 0.89, 0.92)
# Every label is a colour of its own, steps apart from its neighbours so that rounding cannot confuse them.
LABEL_STEP = 8
LABELS_PER_CHANNEL = 32


class PandaRenderer:
    """See `vla_sim.sim.camera.Renderer`.

    Depth is computed from the segmentation: each pixel's ray is cut with the triangles of what it shows, so it is as
    exact as the outlines (float32 rounding inside, up to one pixel's step along edges), whatever the depth buffer.
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

    def place(self, slot: int, robot: Pose2, moved: Moved = {}) -> None:  # noqa: B006 - never written to
        """Set the robot's pose and the poses (centre, quaternion xyzw) of bodies that were pushed."""
        self._slots[slot].place(robot, moved)
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

    def overview(self, slot: int, width: int, height: int) -> np.ndarray:
        """The scene with the robot in it, seen from behind and above: uint8 RGB (height, width, 3)."""
        size = (width, height)
        if size not in self._overviews:
            self._overviews[size] = new_target(self.name, size, background=OVERVIEW_BACKGROUND)
        return self._slots[slot].overview(self._overviews[size])

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
        self._labelled: Any = None
        self._stage: Stage | None = None
        self.target = new_target(pipe, image_px)
        self._robot_node = self._root.attachNewNode("robot")
        self._eye = self._robot_node.attachNewNode(self.target.camera)

    def load(self, scene: Scene, camera: CameraSpec) -> None:
        stage, lens = Stage(scene), lens_of(camera)
        self._clear()
        self._scene, self._camera, self._lens, self._stage = scene, camera, lens, stage
        if self.target.size_px != lens.draw_px:
            self._eye.removeNode()
            self.target.close()
            self.target = new_target(self._pipe, lens.draw_px)
            self._eye = self._robot_node.attachNewNode(self.target.camera)
        _aim(self._eye, *camera_pose(camera, scene.look, Pose2(0.0, 0.0)))
        self.target.look(lens.half_tan, camera.near_m, camera.far_m)
        self._node, self._geoms = _colored_node(stage)
        self._colored = self._root.attachNewNode(self._node)
        self.place(scene.start, {})

    def place(self, robot: Pose2, moved: Moved) -> None:
        if self._stage is None:
            raise RuntimeError("load a scene into this slot before the robot is placed in it")
        self._robot = robot
        self._robot_node.setPosHpr(robot.x_m, robot.y_m, 0.0, math.degrees(robot.yaw_rad), 0.0, 0.0)
        for layer in self._stage.move(moved):
            _write_vertices(self._node.modifyGeom(self._geoms[id(layer)]).modifyVertexData(), layer.vertices)
            self._drop_labels()

    def read(self, out: np.ndarray) -> None:
        """Copy the drawn image into uint8 (H, W, 3)."""
        drawn = self.target.pixels()
        if self._stage is None or self._lens.table is None:
            out[:] = drawn
        else:
            out[:] = self._lens.apply(drawn, self._image_px)

    def segmentation(self) -> np.ndarray:
        assert self._stage is not None, "load a scene first"
        return self._lens.apply(self._drawn_labels(), self._image_px)

    def depth(self) -> np.ndarray:
        assert self._stage is not None, "load a scene first"
        labels = self._drawn_labels()
        position, turn = camera_pose(self._camera, self._scene.look, self._robot)
        depth = planar_depth(
            labels, self._stage.solids, position, turn, self._lens, self._camera.near_m, self._camera.far_m
        )
        return self._lens.apply(depth, self._image_px)

    def overview(self, target: Target) -> np.ndarray:
        assert self._stage is not None, "load a scene first"
        position, turn = overview_pose(self._robot)
        view = self._root.attachNewNode("overview")
        node = _overview_node(self._stage, walls_between(self._scene, position, self._robot), self._robot)
        view.attachNewNode(node)
        eye = view.attachNewNode(target.camera)
        self._colored.stash()
        try:
            target.look((0.75, 0.75 * target.size_px[1] / target.size_px[0]), 0.05, 40.0)
            _aim(eye, position, turn)
            draw([target])
            return target.pixels().copy()
        finally:
            self._colored.unstash()
            eye.detachNode()
            view.removeNode()

    def close(self) -> None:
        self._clear()
        self._eye.removeNode()
        self._root.removeNode()
        self.target.close()

    def _drawn_labels(self) -> np.ndarray:
        assert self._stage is not None
        if self._labelled is None:
            self._labelled = self._root.attachNewNode(_labelled_node(self._stage))
        self._colored.stash()
        self.target.background((0.0, 0.0, 0.0))
        try:
            draw([self.target])
            coded = self.target.pixels() // LABEL_STEP
        finally:
            self.target.background(BACKGROUND)
            self._colored.unstash()
            self._drop_labels()
        return coded[..., 0].astype(np.int32) + LABELS_PER_CHANNEL * coded[..., 1].astype(np.int32)

    def _drop_labels(self) -> None:
        if self._labelled is not None:
            self._labelled.removeNode()
            self._labelled = None

    def _clear(self) -> None:
        self._drop_labels()
        if self._colored is not None:
            self._colored.removeNode()
            self._colored = None
        self._stage = None


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


def _colored_node(stage: Stage) -> tuple[Any, dict[int, int]]:
    """The scene as one node, and the index of each layer's geometry in it."""
    core = core_module()
    node = core.GeomNode("scene")
    indices: dict[int, int] = {}
    for layer, style in [
        (stage.floor, "floor"),
        (stage.shadows, "shadow"),
        *((solid, "solid") for solid in stage.solids),
    ]:
        if len(layer.vertices):
            indices[id(layer)] = node.getNumGeoms()
            node.addGeom(_geom(layer), _state(layer.texture, layer.variant, style))
    node.setBounds(core.OmniBoundingVolume())
    node.setFinal(True)
    return node, indices


def _overview_node(stage: Stage, hidden: frozenset[int], robot: Pose2) -> Any:
    """The scene without the hidden labels, and the robot."""
    node = core_module().GeomNode("overview")
    layers = [(stage.floor, "floor"), (stage.shadows, "shadow"), *((solid, "solid") for solid in stage.solids)]
    for layer, style in [*layers, *robot_layers(robot, stage)]:
        shown = ~np.isin(layer.labels[layer.triangles[:, 0]], list(hidden))
        if shown.any():
            part = Layer(layer.texture, layer.variant, layer.vertices, layer.triangles[shown], layer.labels)
            node.addGeom(_geom(part), _state(layer.texture, layer.variant, style))
    return node


def _labelled_node(stage: Stage) -> Any:
    """The same triangles without light or texture, each in the colour of its label."""
    node = core_module().GeomNode("labels")
    for layer, style in [(stage.floor, "floor"), *((solid, "solid") for solid in stage.solids)]:
        vertices = layer.vertices.copy()
        vertices["color"][:, 0] = layer.labels % LABELS_PER_CHANNEL * LABEL_STEP + LABEL_STEP // 2
        vertices["color"][:, 1] = layer.labels // LABELS_PER_CHANNEL * LABEL_STEP + LABEL_STEP // 2
        vertices["color"][:, 2:] = 255
        plain = Layer("", 0, vertices, layer.triangles, layer.labels)
        node.addGeom(_geom(plain), _state("", 0, style))
    return node


def _geom(layer: Layer) -> Any:
    """Panda's copy of a layer's triangles."""
    core = core_module()
    data = core.GeomVertexData("layer", _vertex_format(), core.Geom.UHStatic)
    data.uncleanSetNumRows(len(layer.vertices))
    _write_vertices(data, layer.vertices)
    triangles = core.GeomTriangles(core.Geom.UHStatic)
    triangles.setIndexType(core.Geom.NTUint16)
    indices = triangles.modifyVertices()
    indices.uncleanSetNumRows(layer.triangles.size)
    memoryview(indices).cast("B")[:] = layer.triangles.tobytes()
    geom = core.Geom(data)
    geom.addPrimitive(triangles)
    return geom


def _write_vertices(data: Any, vertices: np.ndarray) -> None:
    memoryview(data.modifyArray(0)).cast("B")[:] = vertices.tobytes()


@functools.cache
def _vertex_format() -> Any:
    """The layout of `stage.VERTEX`."""
    core = core_module()
    array = core.GeomVertexArrayFormat()
    array.addColumn(core.InternalName.getVertex(), 3, core.Geom.NTFloat32, core.Geom.CPoint)
    array.addColumn(core.InternalName.getColor(), 4, core.Geom.NTUint8, core.Geom.CColor)
    array.addColumn(core.InternalName.getTexcoord(), 2, core.Geom.NTFloat32, core.Geom.CTexcoord)
    return core.GeomVertexFormat.registerFormat(core.GeomVertexFormat(array))


@functools.cache
def _state(texture: str, variant: int, style: str) -> Any:
    """How a layer is drawn: floor and shadows first and flat (the camera is above them), solids with depth."""
    core = core_module()
    attributes = [core.ColorAttrib.makeVertex()]
    if texture:
        attributes.append(core.TextureAttrib.make(_texture(texture, variant)))
    if style != "solid":
        attributes += [
            core.CullBinAttrib.make("background", 0 if style == "floor" else 1),
            core.DepthTestAttrib.make(core.RenderAttrib.MNone),
            core.DepthWriteAttrib.make(core.DepthWriteAttrib.MOff),
        ]
    if style == "shadow":
        attributes.append(core.TransparencyAttrib.make(core.TransparencyAttrib.MAlpha))
    state = core.RenderState.makeEmpty()
    for attribute in attributes:
        state = state.setAttrib(attribute)
    return state


@functools.cache
def _texture(name: str, variant: int) -> Any:
    """Panda's copy of a surface, shared by every scene of the process."""
    core = core_module()
    pixels = texture_pixels(name, variant)[::-1]
    texture = core.Texture(name)
    if name == SHADOW:
        texture.setup2dTexture(SIZE_PX, SIZE_PX, core.Texture.TUnsignedByte, core.Texture.FRgba)
        texture.setRamImage(np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).tobytes())
        wrap = core.SamplerState.WMClamp
    else:
        texture.setup2dTexture(SIZE_PX, SIZE_PX, core.Texture.TUnsignedByte, core.Texture.FRgb)
        texture.setRamImage(np.ascontiguousarray(pixels[..., ::-1]).tobytes())
        wrap = core.SamplerState.WMRepeat
    texture.setWrapU(wrap)
    texture.setWrapV(wrap)
    # Averaging the shadow's rim into its middle would leave a dark patch far away.
    mipmap = core.SamplerState.FTLinearMipmapNearest
    texture.setMinfilter(core.SamplerState.FTLinear if name == SHADOW else mipmap)
    texture.setMagfilter(core.SamplerState.FTLinear)
    return texture
