"""A scene as lit triangles in world coordinates, ready for any renderer. Pure numpy, used by `vla_sim.sim.panda`.

Light is computed here, once a scene, and stored as a colour per vertex: it costs nothing while rendering, is the same
on every pipe, and leaves no light objects behind.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_sim.core import surfaces
from vla_sim.core.types import Body, Kind, Look, Scene, Vec3
from vla_sim.sim.meshes import FIXED, Mesh, mesh_of
from vla_sim.sim.textures import REPEAT_M, SHADOW, VARIANTS, body_texture, check_texture

Quat = tuple[float, float, float, float]

FLOOR_LABEL = 1
FIRST_BODY_LABEL = 2
FLOOR_MARGIN_M = 3.0

# A real camera sets its exposure: light levels (sun on the floor plus ambient) outside are drawn as if at the border.
EXPOSURE = (0.75, 1.08)
# Black paint still reflects, and no face is quite without light: dark things under dim light stay visible.
LEAST_ALBEDO = 0.15
LEAST_SHADE = 0.3
# Below 1, shaded sides are drawn lighter than light alone would make them, as a camera's tone curve does.
TONE = 0.75
# Affine steps inside the rasteriser bend textures on very large triangles: the floor comes in cells.
FLOOR_CELL_M = 2.5

VERTEX = np.dtype([("position", "<f4", 3), ("color", "u1", 4), ("uv", "<f4", 2)])


@dataclass
class Layer:
    """Triangles that share one texture.

    Attributes:
        texture: name for `texture_pixels`; "" for none.
        variant: which grain of it.
        vertices: VERTEX (n,), world frame.
        triangles: uint16 (m, 3), counter-clockwise seen from outside.
        labels: uint16 (n,), the segmentation label of what each vertex belongs to; 0 where it has none.
    """

    texture: str
    variant: int
    vertices: np.ndarray
    triangles: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class _Placed:
    """Where a body's vertices are: rows `start:stop` of a layer, and its shadow's rows of the shadow layer."""

    body: Body
    label: int
    mesh: Mesh
    albedo: np.ndarray
    layer: Layer
    rows: slice
    shadow_rows: slice


class Stage:
    """All triangles of one scene: `floor`, `shadows` (drawn over the floor) and `solids` (drawn with depth)."""

    def __init__(self, scene: Scene) -> None:
        self.look = scene.look
        check_look(scene.look)
        self.light = Light(scene.look)
        self.floor = _floor_layer(scene, self.light)
        casting = [body for body in scene.bodies if body.kind is not Kind.WALL]
        self.shadows = soft_patches(2 * len(casting))
        groups: dict[str, list[tuple[int, Body]]] = {}
        for index, body in enumerate(scene.bodies):
            groups.setdefault(_texture_name(body, scene.look), []).append((index, body))
        shadow_start = {body.name: 6 * i for i, body in enumerate(casting)}
        self._placed: dict[str, _Placed] = {}
        self._away: dict[str, tuple[Vec3, Quat]] = {}
        variant = scene.look.texture_seed % VARIANTS
        self.solids = [self._layer(name, variant, members, shadow_start) for name, members in groups.items()]

    def move(self, moved: Mapping[str, tuple[Vec3, Quat]]) -> list[Layer]:
        """Put bodies at (centre, quaternion xyzw) and all others back where they stood; the layers that changed."""
        if not moved and not self._away:
            return []
        changed: list[Layer] = []
        for name in {**self._away, **moved}:
            if name not in self._placed or self._away.get(name) == moved.get(name):
                continue
            placed = self._placed[name]
            self._write(placed, *(moved[name] if name in moved else _rest_pose(placed.body)))
            for layer in (placed.layer, self.shadows):
                if not any(layer is known for known in changed):
                    changed.append(layer)
        self._away = {name: pose for name, pose in moved.items() if name in self._placed}
        return changed

    def _layer(
        self, texture: str, variant: int, members: list[tuple[int, Body]], shadow_start: Mapping[str, int]
    ) -> Layer:
        meshes = [mesh_of(body.kind) for _, body in members]
        starts = np.cumsum([0] + [len(mesh.positions) for mesh in meshes])
        triangles = np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts[:-1], strict=True)])
        vertices = np.zeros(int(starts[-1]), VERTEX)
        layer = Layer(texture, variant, vertices, triangles.astype(np.uint16), np.zeros(len(vertices), np.uint16))
        for (index, body), mesh, start in zip(members, meshes, starts[:-1].tolist(), strict=True):
            rows = slice(start, start + len(mesh.positions))
            first = shadow_start.get(body.name, 0)
            shadow_rows = slice(first, first + 6 if body.name in shadow_start else first)
            albedo = _albedo(body, mesh, self.look)
            label = FIRST_BODY_LABEL + index
            placed = _Placed(body, label, mesh, albedo, layer, rows, shadow_rows)
            layer.labels[rows] = label
            layer.vertices["uv"][rows] = _uv(body, mesh, texture)
            self._placed[body.name] = placed
            self._write(placed, *_rest_pose(body))
        return layer

    def _write(self, placed: _Placed, center: Vec3, quat: Quat) -> None:
        """Compute a body's vertices, light and shadow for a pose."""
        turn = rotation(quat)
        size = np.array(placed.body.size_m)
        positions = (placed.mesh.positions * size) @ turn.T + np.array(center)
        normals = placed.mesh.normals / size
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True) @ turn.T
        rows = placed.layer.vertices[placed.rows]
        rows["position"] = positions
        rows["color"][:, :3] = to_bytes(placed.albedo * self.light.shade(normals))
        rows["color"][:, 3] = 255
        if placed.shadow_rows.start != placed.shadow_rows.stop:
            self._write_shadow(self.shadows.vertices[placed.shadow_rows], positions, placed.body, turn)

    def _write_shadow(self, rows: np.ndarray, positions: np.ndarray, body: Body, turn: np.ndarray) -> None:
        """Two soft patches on the floor: darkness where the body stands, and its shadow away from the sun."""
        upright = turn[2, 2] > 0.999
        yaw = math.atan2(turn[1, 0], turn[0, 0]) if upright and not body.round else 0.0
        rows["position"][:3, :2] = around(positions, yaw, 0.35, 0.35)
        height = float(positions[:, 2].max())
        reach = min(height / math.tan(self.light.elevation_rad), 1.2 * height)
        azimuth = self.light.azimuth_rad + math.pi
        rows["position"][3:, :2] = around(positions, azimuth, reach, 0.3, forward_only=True)
        rows["color"][:3, 3] = 120
        rows["color"][3:, 3] = round(130 * min(1.0, 1.6 * self.look.sun))


class Light:
    """Sun and ambient of a look, after exposure."""

    def __init__(self, look: Look) -> None:
        self.azimuth_rad = look.sun_azimuth_rad
        self.elevation_rad = min(max(look.sun_elevation_rad, 0.15), math.pi / 2 - 0.01)
        flat = math.cos(self.elevation_rad)
        self.toward = np.array(
            [flat * math.cos(self.azimuth_rad), flat * math.sin(self.azimuth_rad), math.sin(self.elevation_rad)]
        )
        level = look.ambient + look.sun * float(self.toward[2])
        gain = min(max(level, EXPOSURE[0]), EXPOSURE[1]) / max(level, 1e-3)
        self.sun, self.ambient = gain * look.sun, gain * look.ambient
        self.tint = np.array(look.tint)

    def shade(self, normals: np.ndarray) -> np.ndarray:
        """Light on faces with these unit normals (n, 3): RGB factors (n, 3)."""
        ambient = self.ambient * (0.9 + 0.1 * normals[:, 2])
        # The second term wraps around, so that faces away from the sun differ from each other.
        facing = normals @ self.toward
        sun = self.sun * (0.8 * np.maximum(facing, 0) + 0.1 * (1 + facing))
        return (np.maximum(ambient + sun, LEAST_SHADE) ** TONE)[:, None] * self.tint


def check_look(look: Look) -> None:
    """Raise ValueError with the nearest name when a look asks for a surface that does not exist."""
    check_texture(look.floor_texture, surfaces.FLOOR_TEXTURES, "a floor")
    check_texture(look.wall_texture, surfaces.WALL_TEXTURES, "a wall")


def rotation(quat: Quat) -> np.ndarray:
    """Rotation matrix (3, 3) of a unit quaternion (x, y, z, w)."""
    x, y, z, w = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def _rest_pose(body: Body) -> tuple[Vec3, Quat]:
    half = body.yaw_rad / 2
    return (body.x_m, body.y_m, body.size_m[2] / 2), (0.0, 0.0, math.sin(half), math.cos(half))


def _wears_look(body: Body) -> bool:
    return body.kind is Kind.WALL and body.texture == surfaces.PLAIN


def _texture_name(body: Body, look: Look) -> str:
    """The image a body wears, "" for none."""
    if _wears_look(body):
        return "" if look.wall_texture == surfaces.PLAIN else look.wall_texture
    return body_texture(body.kind, body.texture)


def _albedo(body: Body, mesh: Mesh, look: Look) -> np.ndarray:
    """Colour of every vertex before light, (n, 3) in about 0..1."""
    color = np.array(look.wall_color if _wears_look(body) else body.color)
    tinted = mesh.tint[:, None] * color + (1 - mesh.tint[:, None])
    return LEAST_ALBEDO + (1 - LEAST_ALBEDO) * tinted * mesh.colors


def _uv(body: Body, mesh: Mesh, texture: str) -> np.ndarray:
    """Texture coordinates: repeats in metres on walls, once a face on everything else."""
    extents = np.array([*body.size_m, 1.0])
    repeat = np.where(mesh.uv_axes == FIXED, 1.0, extents[mesh.uv_axes] / REPEAT_M.get(texture, 1.0))
    return mesh.uv * repeat


def to_bytes(values: np.ndarray) -> np.ndarray:
    """Colours from 0 on to uint8; those above 1 are clipped."""
    return np.minimum(np.rint(values * 255), 255).astype(np.uint8)


def soft_patches(count: int) -> Layer:
    """Room for `count` shadows, each one triangle.

    The shadow fills the unit square of the texture and is clear outside; a triangle around that square has no diagonal
    inside, along which a rasteriser may blend pixels twice.
    """
    vertices = np.zeros(3 * count, VERTEX)
    vertices["uv"] = np.tile(np.array([(0, 0), (2, 0), (0, 2)], np.float32), (count, 1))
    triangles = np.arange(3 * count, dtype=np.uint16).reshape(-1, 3)
    return Layer(SHADOW, 0, vertices, triangles, np.zeros(3 * count, np.uint16))


def _floor_extent(scene: Scene) -> tuple[float, float, float, float]:
    """(x_min, x_max, y_min, y_max) of everything in a scene and a margin, in metres."""
    x_min, x_max, y_min, y_max = scene.bounds_m
    reaches = [math.hypot(*body.size_m[:2]) / 2 for body in scene.bodies]
    x_min = min([x_min, *(b.x_m - r for b, r in zip(scene.bodies, reaches, strict=True))])
    x_max = max([x_max, *(b.x_m + r for b, r in zip(scene.bodies, reaches, strict=True))])
    y_min = min([y_min, *(b.y_m - r for b, r in zip(scene.bodies, reaches, strict=True))])
    y_max = max([y_max, *(b.y_m + r for b, r in zip(scene.bodies, reaches, strict=True))])
    return x_min - FLOOR_MARGIN_M, x_max + FLOOR_MARGIN_M, y_min - FLOOR_MARGIN_M, y_max + FLOOR_MARGIN_M


def _floor_layer(scene: Scene, light: Light) -> Layer:
    """A grid under everything."""
    look = scene.look
    x_min, x_max, y_min, y_max = _floor_extent(scene)
    columns, rows = (max(1, round(length / FLOOR_CELL_M)) for length in (x_max - x_min, y_max - y_min))
    x, y = np.meshgrid(np.linspace(x_min, x_max, columns + 1), np.linspace(y_min, y_max, rows + 1), indexing="ij")
    first = (np.arange(columns)[:, None] * (rows + 1) + np.arange(rows)).ravel()
    right, above, across = first + rows + 1, first + 1, first + rows + 2
    triangles = np.concatenate([np.stack([first, right, across], 1), np.stack([first, across, above], 1)])
    texture = "" if look.floor_texture == surfaces.PLAIN else look.floor_texture
    vertices = np.zeros(x.size, VERTEX)
    vertices["position"][:, 0], vertices["position"][:, 1] = x.ravel(), y.ravel()
    offset = np.array([look.texture_seed % 7, look.texture_seed % 11]) / np.array([7, 11])
    vertices["uv"] = vertices["position"][:, :2] / REPEAT_M.get(texture, 1.0) + offset
    albedo = LEAST_ALBEDO + (1 - LEAST_ALBEDO) * np.array(look.floor_color)
    vertices["color"][:, :3] = to_bytes(albedo * light.shade(np.array([[0.0, 0.0, 1.0]])))
    vertices["color"][:, 3] = 255
    labels = np.full(len(vertices), FLOOR_LABEL, np.uint16)
    return Layer(texture, look.texture_seed % VARIANTS, vertices, triangles.astype(np.uint16), labels)


def around(positions: np.ndarray, yaw: float, ahead: float, margin: float, *, forward_only: bool = False) -> np.ndarray:
    """Where a shadow of points lies on the floor: a rectangle along `yaw`, as the triangle for `soft_patches`.

    Args:
        positions: world points (n, 3).
        yaw: direction of the rectangle's first side.
        ahead: longer by this: a share of its size at both ends, or metres at the far end with `forward_only`.
        margin: wider by this share of its width.
        forward_only: see ahead.

    Returns:
        (3, 2): the rectangle's first corner, and the points at twice its sides from there.
    """
    along = np.array([math.cos(yaw), math.sin(yaw)])
    aside = np.array([-along[1], along[0]])
    u, v = positions[:, :2] @ along, positions[:, :2] @ aside
    u0, u1, v0, v1 = float(u.min()), float(u.max()), float(v.min()), float(v.max())
    wide = margin * (v1 - v0)
    if forward_only:
        start, end = (u0 + u1) / 2 - 0.3 * (u1 - u0), u1 + ahead + 0.15 * (u1 - u0)
        wide *= 0.5
    else:
        extra = ahead * (u1 - u0)
        start, end = u0 - extra, u1 + extra
    low, high = v0 - wide, v1 + wide
    corners = [(start, low), (2 * end - start, low), (start, 2 * high - low)]
    return np.array([a * along + b * aside for a, b in corners])
