"""Panda3D cameras: N scenes as N tiles of one off-screen buffer, drawn by the CPU ("software") or a GPU.

Light never changes during an episode, so it is computed once per vertex when a scene is loaded; there are no lights in
the scene graph, which is faster and leaks nothing.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_sim.render.distortion import Distortion
from vla_sim.render.meshes import Mesh, joined, mesh_of, quad
from vla_sim.render.raycast import depth_picture
from vla_sim.render.textures import blob, texture
from vla_sim.specs import CameraSpec
from vla_sim.types import Body, Kind, Look, Pose2, Scene, Vec3

Quat = tuple[float, float, float, float]

FLOOR_HALF_M = 12.0
FLOOR_TILE_M = 1.0
FLOOR_CELLS = 8
SHADOW_HEIGHT_M = 0.003
PIPES = {"software": "p3tinydisplay", "gpu": "p3headlessgl"}
# Largest share of a surface's light that shadow takes.
SHADOW_STRENGTH = 0.6


@functools.cache
def _graphics(name: str) -> tuple[Any, Any, Any]:
    """Module, engine and pipe; one of each per process."""
    from panda3d import core

    core.load_prc_file_data(
        "", "notify-level error\nnotify-level-x11display fatal\nnotify-level-display fatal\nsync-video false"
    )
    engine = core.GraphicsEngine.get_global_ptr()
    pipe = core.GraphicsPipeSelection.get_global_ptr().make_module_pipe(PIPES[name])
    if pipe is None:
        raise RuntimeError(f"Panda3D has no {PIPES[name]} pipe here")
    # Buffers that outlive the interpreter's modules crash at exit.
    atexit.register(engine.remove_all_windows)
    return core, engine, pipe


class PandaRenderer:
    """Draws `slots` scenes at once; see `vla_sim.render.camera.Renderer`."""

    def __init__(self, image_px: tuple[int, int], slots: int = 1, *, pipe: str = "software") -> None:
        self._core, self._engine, self._pipe = _graphics(pipe)
        self._pipe_name = pipe
        self.slots = slots
        self._width, self._height = image_px
        self._stages = [_Stage(self._core) for _ in range(slots)]
        # One column, so that a tile's memory lies together.
        size = (self._width, slots * self._height)
        self._buffer, self._texture = _off_screen(self._core, self._engine, self._pipe, size)
        self._regions = []
        for slot, stage in enumerate(self._stages):
            region = self._buffer.make_display_region(0, 1, 1 - (slot + 1) / slots, 1 - slot / slots)
            _prepare(region, stage)
            self._regions.append(region)

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Build a scene in a slot in place of the one before."""
        if tuple(camera.image_px) != (self._width, self._height):
            raise ValueError(f"this renderer draws {self._width}x{self._height}, the camera wants {camera.image_px}")
        self._stages[slot].build(scene, camera)
        self._regions[slot].set_clear_color(self._core.LColor(*_backdrop(scene.look), 1))
        self.place(slot, scene.start)
        self._core.TransformState.garbage_collect()
        self._core.RenderState.garbage_collect()

    def place(self, slot: int, robot: Pose2, moved: Mapping[str, tuple[Vec3, Quat]] = {}) -> None:
        """Put the camera on the robot and pushed bodies where they are."""
        self._stages[slot].place(robot, moved)

    def render(self) -> np.ndarray:
        """Pictures of all slots, uint8 (slots, H, W, 3)."""
        self._draw(self._buffer)
        pixels = np.frombuffer(self._texture.get_ram_image(), dtype=np.uint8)
        tiles = pixels.reshape(self.slots, self._height, self._width, 4)[::-1, ::-1]
        out = np.empty((self.slots, self._height, self._width, 3), dtype=np.uint8)
        for slot, stage in enumerate(self._stages):
            # BGRA to RGB channel by channel: five times as fast as one strided copy.
            for channel in range(3):
                out[slot, :, :, channel] = tiles[slot, :, :, 2 - channel]
            if stage.distorted:
                out[slot] = stage.undistorted(out[slot])
        return out

    def _draw(self, buffer: Any) -> None:
        """Render this buffer alone: the engine belongs to all renderers of the process."""
        buffer.set_active(True)
        self._engine.render_frame()
        buffer.set_active(False)

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis, float32 (H, W) in m; exact, from the triangles that are drawn."""
        return self._stages[slot].depth(self._width, self._height)[0]

    def segmentation(self, slot: int) -> np.ndarray:
        """int32 (H, W): 0 nothing, 1 floor, 2 + index of the body."""
        return self._stages[slot].depth(self._width, self._height)[1]

    def overview(self, slot: int, width: int, height: int) -> np.ndarray:
        """The scene from behind and above with the robot in it, uint8 (H, W, 3)."""
        buffer, picture = _off_screen(self._core, self._engine, self._pipe, (width, height))
        region = buffer.make_display_region()
        stage = self._stages[slot]
        try:
            with stage.seen_from_above(width / height) as camera:
                region.set_camera(camera)
                _clear(region)
                region.set_clear_color(self._regions[slot].get_clear_color())
                self._draw(buffer)
                pixels = np.frombuffer(picture.get_ram_image(), dtype=np.uint8).reshape(height, width, 4)
                return np.ascontiguousarray(pixels[::-1, :, 2::-1])
        finally:
            self._engine.remove_window(buffer)

    def close(self) -> None:
        """Give the buffer back; calling it twice is harmless."""
        if self._buffer is not None:
            self._engine.remove_window(self._buffer)
            self._buffer = None
            for stage in self._stages:
                stage.clear()


def _off_screen(core: Any, engine: Any, pipe: Any, size: tuple[int, int]) -> tuple[Any, Any]:
    properties = core.FrameBufferProperties()
    properties.set_rgb_color(True)
    properties.set_rgba_bits(8, 8, 8, 0)
    properties.set_depth_bits(24)
    window = core.WindowProperties.size(*size)
    buffer = engine.make_output(pipe, "camera", 0, properties, window, core.GraphicsPipe.BF_refuse_window)
    if buffer is None:
        raise RuntimeError(f"Panda3D cannot make a {size[0]}x{size[1]} off-screen buffer")
    picture = core.Texture()
    buffer.add_render_texture(picture, core.GraphicsOutput.RTM_copy_ram, core.GraphicsOutput.RTP_color)
    buffer.set_clear_color_active(False)
    buffer.set_active(False)
    return buffer, picture


def _clear(region: Any) -> None:
    region.set_clear_color_active(True)
    region.set_clear_depth_active(True)


def _prepare(region: Any, stage: _Stage) -> None:
    region.set_camera(stage.camera)
    _clear(region)


class _Stage:
    """One scene graph: floor, shadows, bodies, camera."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.root = core.NodePath("scene")
        self._lens = core.PerspectiveLens()
        self.camera = self.root.attach_new_node(core.Camera("camera", self._lens))
        self._bodies: dict[str, Any] = {}
        self._distortion: Distortion | None = None
        self._scene: Scene | None = None
        self._robot = Pose2(0.0, 0.0)
        self._moved: Mapping[str, tuple[Vec3, Quat]] = {}

    def clear(self) -> None:
        """Remove everything but the camera."""
        for node in self._bodies.values():
            node.remove_node()
        self._bodies = {}

    def build(self, scene: Scene, camera: CameraSpec) -> None:
        """Build floor, shadows and bodies."""
        self.clear()
        self._scene, self._camera = scene, camera
        self._distortion = Distortion.of(camera) if camera.distortion else None
        hfov, vfov = (
            (self._distortion.hfov_rad, self._distortion.vfov_rad)
            if self._distortion
            else (
                camera.hfov_rad,
                camera.vfov_rad,
            )
        )
        self._lens.set_fov(math.degrees(hfov), math.degrees(vfov))
        self._lens.set_near_far(camera.near_m, camera.far_m)
        light = _Light(scene.look)
        self._bodies[" floor"] = self._floor(scene.look, light)
        for body in scene.bodies:
            if body.kind is not Kind.WALL:
                self._bodies[f" shadow {body.name}"] = self._shadow(body, scene.look)
            self._bodies[body.name] = self._body(body, scene.look, light)

    def place(self, robot: Pose2, moved: Mapping[str, tuple[Vec3, Quat]]) -> None:
        """Move camera and pushed bodies."""
        self._robot, self._moved = robot, moved
        x, y, z = camera_position(self._camera, robot)
        roll, pitch, yaw = self._scene.look.camera_tilt_rad if self._scene else (0.0, 0.0, 0.0)
        heading = math.degrees(robot.yaw_rad + yaw) - 90
        down = math.degrees(self._camera.pitch_rad + pitch)
        self.camera.set_pos_hpr(x, y, z, heading, -down, math.degrees(roll))
        for name, (position, (qx, qy, qz, qw)) in moved.items():
            self._bodies[name].set_pos_quat(self._core.LPoint3(*position), self._core.LQuaternion(qw, qx, qy, qz))
            shadow = self._bodies.get(f" shadow {name}")
            if shadow is not None:
                shadow.set_pos(shadow.get_python_tag("from") + self._core.LVector3(position[0], position[1], 0))

    @property
    def distorted(self) -> bool:
        """Whether the lens distorts."""
        return self._distortion is not None

    def undistorted(self, picture: np.ndarray) -> np.ndarray:
        """The lens's picture of the pinhole's."""
        return self._distortion.apply(picture) if self._distortion else picture

    def depth(self, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Depth and segmentation by casting the pixels' rays at the triangles."""
        assert self._scene is not None
        return depth_picture(self._scene, self._camera, self._robot, self._moved)

    def seen_from_above(self, aspect: float) -> Any:
        """Context: a camera behind and above, and the robot's model in the scene."""
        return _Overview(self._core, self.root, self._robot, self._camera, aspect)

    def _floor(self, look: Look, light: _Light) -> Any:
        mesh = _floor_mesh()
        offset = np.random.default_rng(look.texture_seed).uniform(0, 1, 2)
        uv = (mesh.points[:, :2] / FLOOR_TILE_M + offset).astype(np.float32)
        mesh = Mesh(mesh.points, mesh.normals, uv, mesh.albedo, mesh.triangles)
        return self._node(mesh, look.floor_color, look.floor_texture, light, 0.0)

    def _body(self, body: Body, look: Look, light: _Light) -> Any:
        mesh = mesh_of(body.kind, body.size_m)
        color, surface = body.color, body.texture
        if body.kind is Kind.WALL:
            color, surface = look.wall_color, look.wall_texture
            mesh = _wall_uv(mesh, body)
        elif body.kind is Kind.BASKET:
            surface = "slots"
        node = self._node(mesh, color, surface, light, body.yaw_rad)
        node.set_pos(body.x_m, body.y_m, body.size_m[2] / 2)
        node.set_h(math.degrees(body.yaw_rad))
        return node

    def _shadow(self, body: Body, look: Look) -> Any:
        core = self._core
        length = 0.35 * body.size_m[2] / max(math.tan(look.sun_elevation_rad), 0.4)
        away = look.sun_azimuth_rad + math.pi
        spread = 1.25
        half_x, half_y = body.size_m[0] / 2 * spread + 0.03, body.size_m[1] / 2 * spread + 0.03
        if body.round:
            half_y = half_x
        mesh = quad([(-half_x, -half_y, 0), (half_x, -half_y, 0), (half_x, half_y, 0), (-half_x, half_y, 0)])
        node = self.root.attach_new_node(_geom_node(core, mesh, np.ones((4, 4), dtype=np.float32)))
        shift = core.LVector3(math.cos(away) * length, math.sin(away) * length, SHADOW_HEIGHT_M)
        node.set_python_tag("from", shift)
        node.set_pos(shift + core.LVector3(body.x_m, body.y_m, 0))
        node.set_h(math.degrees(body.yaw_rad))
        node.set_texture(_shadow_texture(core))
        node.set_color_scale(0, 0, 0, SHADOW_STRENGTH * (0.5 + look.sun))
        node.set_transparency(core.TransparencyAttrib.M_alpha)
        node.set_bin("fixed", 10)
        node.set_depth_write(False)
        return node

    def _node(self, mesh: Mesh, color: Vec3, surface: str, light: _Light, yaw_rad: float) -> Any:
        node = self.root.attach_new_node(_geom_node(self._core, mesh, light.shaded(mesh, color, yaw_rad)))
        node.set_texture(_panda_texture(self._core, surface))
        return node


class _Light:
    """Sun and ambient light of a look."""

    def __init__(self, look: Look) -> None:
        up = math.cos(look.sun_elevation_rad)
        self._towards = np.array(
            [
                up * math.cos(look.sun_azimuth_rad),
                up * math.sin(look.sun_azimuth_rad),
                math.sin(look.sun_elevation_rad),
            ]
        )
        self._look = look

    def shaded(self, mesh: Mesh, color: Vec3, yaw_rad: float) -> np.ndarray:
        """Colour of each vertex, float32 (n, 4) in 0..1."""
        cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
        turned = mesh.normals @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        facing = turned @ self._towards
        strength = self._look.ambient + self._look.sun * (0.25 + 0.75 * np.maximum(facing, 0))
        rgb = mesh.albedo * np.array(color) * np.array(self._look.tint) * strength[:, None]
        return np.concatenate([np.clip(rgb, 0, 1), np.ones((len(rgb), 1))], axis=1).astype(np.float32)


class _Overview:
    """See `_Stage.seen_from_above`."""

    def __init__(self, core: Any, root: Any, robot: Pose2, camera: CameraSpec, aspect: float) -> None:
        self._core, self._root, self._robot, self._spec, self._aspect = core, root, robot, camera, aspect

    def __enter__(self) -> Any:
        core, robot = self._core, self._robot
        lens = core.PerspectiveLens()
        lens.set_fov(62, math.degrees(2 * math.atan(math.tan(math.radians(31)) / self._aspect)))
        lens.set_near_far(0.1, 40)
        self._camera = self._root.attach_new_node(core.Camera("overview", lens))
        self._model = self._root.attach_new_node("robot")
        light = _Light(Look())
        for kind, size, z, color in (
            (Kind.CUP, (0.3, 0.3, 0.03), 0.03, (0.1, 0.1, 0.1)),
            (Kind.POT, (0.3, 0.3, 0.14), 0.11, (0.95, 0.95, 0.98)),
            (Kind.BOTTLE, (0.2, 0.2, 0.12), 0.22, (0.15, 0.45, 0.85)),
        ):
            mesh = mesh_of(kind, size)
            part = self._model.attach_new_node(_geom_node(core, mesh, light.shaded(mesh, color, robot.yaw_rad)))
            part.set_z(z)
        lens_box = mesh_of(Kind.BOX, (0.06, 0.1, 0.05))
        eye = self._model.attach_new_node(_geom_node(core, lens_box, light.shaded(lens_box, (0.05, 0.05, 0.05), 0.0)))
        eye.set_pos(self._spec.mount_m[0], 0, self._spec.mount_m[2] - 0.03)
        self._model.set_pos_hpr(robot.x_m, robot.y_m, 0, math.degrees(robot.yaw_rad), 0, 0)
        cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
        self._camera.set_pos(robot.x_m - 1.3 * cos, robot.y_m - 1.3 * sin, 1.25)
        self._camera.look_at(robot.x_m + 1.1 * cos, robot.y_m + 1.1 * sin, 0.05)
        return self._camera

    def __exit__(self, *_: object) -> None:
        self._camera.remove_node()
        self._model.remove_node()


@functools.lru_cache(maxsize=1)
def _floor_mesh() -> Mesh:
    """A square of cells: one huge quad would be clipped badly close to the camera."""
    edges = np.linspace(-FLOOR_HALF_M, FLOOR_HALF_M, FLOOR_CELLS + 1)
    cells = [
        quad([(x, y, 0), (x2, y, 0), (x2, y2, 0), (x, y2, 0)])
        for x, x2 in itertools.pairwise(edges)
        for y, y2 in itertools.pairwise(edges)
    ]
    return joined(cells)


def camera_position(camera: CameraSpec, robot: Pose2) -> Vec3:
    """Optical centre in the world frame."""
    forward, left, up = camera.mount_m
    cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
    return (robot.x_m + cos * forward - sin * left, robot.y_m + sin * forward + cos * left, up)


def _backdrop(look: Look) -> Vec3:
    """What is seen above the walls: a pale room."""
    level = 0.55 + 0.4 * (look.ambient + look.sun - 0.6)
    r, g, b = (min(1.0, max(0.0, level * (0.6 + 0.4 * w) * t)) for w, t in zip(look.wall_color, look.tint, strict=True))
    return (r, g, b)


def _wall_uv(mesh: Mesh, body: Body) -> Mesh:
    """One texture repeat per metre, so that a wall's pattern has the same size whatever its length."""
    along = np.where(np.abs(mesh.points[:, 0]).max() > np.abs(mesh.points[:, 1]).max(), 0, 1)
    uv = np.stack([mesh.points[:, int(along)], mesh.points[:, 2]], axis=1).astype(np.float32)
    return Mesh(mesh.points, mesh.normals, uv, mesh.albedo, mesh.triangles)


def _geom_node(core: Any, mesh: Mesh, rgba: np.ndarray) -> Any:
    """A node with the mesh in Panda's vertex layout."""
    form = core.GeomVertexFormat.get_v3c4t2()
    data = core.GeomVertexData("mesh", form, core.Geom.UH_static)
    count = len(mesh.points)
    data.unclean_set_num_rows(count)
    packed = np.zeros(count, dtype=[("v", "<f4", 3), ("c", "u1", 4), ("t", "<f4", 2)])
    packed["v"], packed["t"] = mesh.points, mesh.uv
    packed["c"] = np.round(rgba * 255).astype(np.uint8)
    memoryview(data.modify_array(0)).cast("B")[:] = packed.tobytes()
    triangles = core.GeomTriangles(core.Geom.UH_static)
    triangles.set_index_type(core.Geom.NT_uint16)
    indices = triangles.modify_vertices()
    indices.unclean_set_num_rows(mesh.triangles.size)
    memoryview(indices).cast("B")[:] = mesh.triangles.astype("<u2").tobytes()
    geom = core.Geom(data)
    geom.add_primitive(triangles)
    node = core.GeomNode("mesh")
    node.add_geom(geom)
    return node


@functools.cache
def _panda_texture(core: Any, name: str) -> Any:
    image = texture(name)
    made = core.Texture(name)
    made.setup_2d_texture(image.shape[1], image.shape[0], core.Texture.T_unsigned_byte, core.Texture.F_rgb)
    made.set_ram_image(np.ascontiguousarray(image[::-1, :, ::-1]).tobytes())
    made.set_wrap_u(core.SamplerState.WM_repeat)
    made.set_wrap_v(core.SamplerState.WM_repeat)
    # Nearest texels are half as expensive as interpolated ones on the CPU, and mipmaps keep them from flickering.
    made.set_minfilter(core.SamplerState.FT_nearest_mipmap_nearest)
    made.set_magfilter(core.SamplerState.FT_nearest)
    return made


@functools.cache
def _shadow_texture(core: Any) -> Any:
    opacity = blob()
    made = core.Texture("shadow")
    made.setup_2d_texture(opacity.shape[1], opacity.shape[0], core.Texture.T_unsigned_byte, core.Texture.F_rgba)
    bgra = np.full((*opacity.shape, 4), 255, dtype=np.uint8)
    bgra[:, :, 3] = opacity
    made.set_ram_image(bgra.tobytes())
    made.set_wrap_u(core.SamplerState.WM_clamp)
    made.set_wrap_v(core.SamplerState.WM_clamp)
    made.set_magfilter(core.SamplerState.FT_linear)
    return made
