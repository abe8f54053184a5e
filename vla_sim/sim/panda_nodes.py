"""Panda3D's nodes of a scene: geometry, textures and how each layer is drawn. Used by `vla_sim.sim.panda`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from vla_sim.core.types import Pose2
from vla_sim.sim.layers import Layer
from vla_sim.sim.materials import SHADOW, material_pixels
from vla_sim.sim.mesh_scene import MeshScene
from vla_sim.sim.panda_target import core_module
from vla_sim.sim.robot_model import robot_layers

# Every triangle is a colour of its own, steps apart from its neighbours so that rounding cannot confuse them.
NUMBER_STEP = 8
NUMBERS_PER_CHANNEL = 32
# What lies on a wall is drawn as if it were a little nearer, else the wall shows through it far away.
FITTING_DEPTH_OFFSET = 16


def triangle_numbers(drawn: np.ndarray) -> np.ndarray:
    """Which triangle each pixel shows, int32 (H, W), from an image of `numbered_node`, uint8 (H, W, 3); 0 for none."""
    digits = (drawn // NUMBER_STEP).astype(np.int32)
    return digits[..., 0] + NUMBERS_PER_CHANNEL * (digits[..., 1] + NUMBERS_PER_CHANNEL * digits[..., 2])


def styled_layers(scene: MeshScene) -> list[tuple[Layer, str]]:
    """All layers of a scene with the style they are drawn in, see `_state`."""
    fittings = [] if scene.fittings is None else [(scene.fittings, "fitting")]
    return [
        *((layer, "backdrop") for layer in scene.backdrop),
        (scene.lamps, "overlay"),
        (scene.shadows.layer, "overlay"),
        *((layer, "solid") for layer in scene.solids),
        *fittings,
    ]


def colored_node(scene: MeshScene) -> tuple[Any, dict[int, int]]:
    """The scene as one node, and the index of each layer's geometry in it."""
    core = core_module()
    node = core.GeomNode("scene")
    indices: dict[int, int] = {}
    for layer, style in styled_layers(scene):
        if len(layer.vertices):
            indices[id(layer)] = node.getNumGeoms()
            node.addGeom(_geom(layer), _state(layer.texture, layer.variant, style))
    node.setBounds(core.OmniBoundingVolume())
    node.setFinal(True)
    return node, indices


def shadow_node(shadow: Layer) -> Any:
    """A see-through shadow as a node."""
    node = core_module().GeomNode("shadow")
    node.addGeom(_geom(shadow), _state(SHADOW, 0, "shadow"))
    return node


def overview_node(scene: MeshScene, hidden: frozenset[int], robot: Pose2) -> Any:
    """The scene without the hidden labels, and the robot."""
    node = core_module().GeomNode("overview")
    for layer, style in [*styled_layers(scene), *robot_layers(robot, scene)]:
        shown = ~np.isin(layer.labels[layer.triangles[:, 0]], list(hidden))
        if shown.any():
            part = Layer(layer.texture, layer.variant, layer.vertices, layer.triangles[shown], layer.labels)
            node.addGeom(_geom(part), _state(layer.texture, layer.variant, style))
    return node


def numbered_layers(scene: MeshScene) -> list[tuple[Layer, str]]:
    """The layers whose triangles are numbered: all that are solid to the eye."""
    return [(layer, style) for layer, style in styled_layers(scene) if style != "overlay"]


def numbered_node(scene: MeshScene) -> Any:
    """The triangles of `numbered_layers` without light or texture, each in the colour of 1 + its index."""
    node = core_module().GeomNode("numbers")
    first = 1
    for layer, style in numbered_layers(scene):
        count = len(layer.triangles)
        number = np.repeat(np.arange(first, first + count), 3)
        vertices = layer.vertices[layer.triangles.ravel()]
        for channel in range(3):
            digit = number // NUMBERS_PER_CHANNEL**channel % NUMBERS_PER_CHANNEL
            vertices["color"][:, channel] = digit * NUMBER_STEP + NUMBER_STEP // 2
        vertices["color"][:, 3] = 255
        triangles = np.arange(3 * count, dtype=np.uint16).reshape(-1, 3)
        node.addGeom(_geom(Layer("", 0, vertices, triangles, layer.labels)), _state("", 0, style))
        first += count
    return node


def _geom(layer: Layer) -> Any:
    """Panda's copy of a layer's triangles."""
    core = core_module()
    data = core.GeomVertexData("layer", _vertex_format(), core.Geom.UHStatic)
    data.uncleanSetNumRows(len(layer.vertices))
    write_vertices(data, layer.vertices)
    triangles = core.GeomTriangles(core.Geom.UHStatic)
    triangles.setIndexType(core.Geom.NTUint16)
    indices = triangles.modifyVertices()
    indices.uncleanSetNumRows(layer.triangles.size)
    memoryview(indices).cast("B")[:] = layer.triangles.tobytes()
    geom = core.Geom(data)
    geom.addPrimitive(triangles)
    return geom


def write_vertices(data: Any, vertices: np.ndarray) -> None:
    """Overwrite the vertices of Panda's copy of a layer, `layers.VERTEX` (n,)."""
    memoryview(data.modifyArray(0)).cast("B")[:] = vertices.tobytes()


@functools.cache
def _vertex_format() -> Any:
    """The layout of `layers.VERTEX`."""
    core = core_module()
    array = core.GeomVertexArrayFormat()
    array.addColumn(core.InternalName.getVertex(), 3, core.Geom.NTFloat32, core.Geom.CPoint)
    array.addColumn(core.InternalName.getColor(), 4, core.Geom.NTUint8, core.Geom.CColor)
    array.addColumn(core.InternalName.getTexcoord(), 2, core.Geom.NTFloat32, core.Geom.CTexcoord)
    return core.GeomVertexFormat.registerFormat(core.GeomVertexFormat(array))


@functools.cache
def _state(texture: str, variant: int, style: str) -> Any:
    """How a layer is drawn: floor and ceiling first and without depth (the camera is between them), then what lies on
    them (lamps and shadows), then solids with depth.

    All in bins that keep the order in which layers were added. Panda's usual bin sorts by where states lie in memory,
    so that of two surfaces at one depth another one won in another process.
    """  # noqa: D205
    core = core_module()
    attributes = [core.ColorAttrib.makeVertex()]
    if texture:
        attributes.append(core.TextureAttrib.make(_texture(texture, variant)))
    if style in ("solid", "fitting"):
        attributes.append(core.CullBinAttrib.make("fixed", 0))
        if style == "fitting":
            attributes.append(core.DepthOffsetAttrib.make(FITTING_DEPTH_OFFSET))
    else:
        attributes += [
            core.CullBinAttrib.make("background", 0 if style == "backdrop" else 1),
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
    pixels = material_pixels(name, variant)[::-1]
    height, width, channels = pixels.shape
    texture = core.Texture(name)
    color_format, order = (core.Texture.FRgba, [2, 1, 0, 3]) if channels == 4 else (core.Texture.FRgb, [2, 1, 0])
    texture.setup2dTexture(width, height, core.Texture.TUnsignedByte, color_format)
    texture.setRamImage(np.ascontiguousarray(pixels[..., order]).tobytes())
    wrap = core.SamplerState.WMClamp if name == SHADOW else core.SamplerState.WMRepeat
    texture.setWrapU(wrap)
    texture.setWrapV(wrap)
    # Averaging the shadow's rim into its middle would leave a dark patch far away.
    mipmap = core.SamplerState.FTLinearMipmapNearest
    texture.setMinfilter(core.SamplerState.FTLinear if name == SHADOW else mipmap)
    texture.setMagfilter(core.SamplerState.FTLinear)
    return texture
