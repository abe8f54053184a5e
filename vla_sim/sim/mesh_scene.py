"""A scene as lit triangles in world coordinates, ready for any renderer. Pure numpy, used by `vla_sim.sim.panda`.

Light is computed here, once a scene, and stored as a colour per vertex: it costs nothing while rendering, is the same
on every pipe, and leaves no light objects behind.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vla_sim.core import surfaces
from vla_sim.core.types import Body, Kind, Look, Scene, Vec3
from vla_sim.sim import interior, materials
from vla_sim.sim.layers import VERTEX, Layer, around, soft_patches, to_bytes
from vla_sim.sim.light import LEAST_ALBEDO, Light, light_of
from vla_sim.sim.mesh_parts import FIXED, Mesh
from vla_sim.sim.meshes import mesh_of, walking_person
from vla_sim.sim.shadows import FloorShadows, Shadows, SoftShadows
from vla_sim.sim.textures import REPEAT_M, VARIANTS, body_texture, check_texture

Quat = tuple[float, float, float, float]

BACKGROUND_LABEL = 0
FLOOR_LABEL = 1
FIRST_BODY_LABEL = 2
FLOOR_MARGIN_M = 3.0
# Of the robot's own shadow, the only part of it that its camera sees.
ROBOT_RADIUS_M = 0.16
ROBOT_HEIGHT_M = 0.3

# Affine steps inside the rasteriser bend textures on very large triangles: the floor comes in cells.
FLOOR_CELL_M = 2.5
CARDBOARD = "cardboard"


@dataclass(frozen=True)
class _Placed:
    """Where a body's vertices are: rows `start:stop` of a layer, and which shadow is its own."""

    body: Body
    label: int
    variant: int
    mesh: Mesh
    albedo: np.ndarray
    layer: Layer
    rows: slice
    shadow: int | None

    def mesh_at(self, center: Vec3, turn: np.ndarray) -> Mesh:
        """Its model at a pose: people walk."""
        if self.body.kind is not Kind.PERSON:
            return self.mesh
        return walking_person(self.variant, self.body, center, math.atan2(turn[1, 0], turn[0, 0]))


class MeshScene:
    """All triangles of one scene.

    Attributes:
        backdrop: floor and ceiling, drawn first and without depth: the camera is between them.
        lamps: drawn over the backdrop; None without a ceiling.
        shadows: their layer is drawn over the floor.
        robot_shadow: the same, for a robot at the origin; None where it casts none.
        solids: drawn with depth.
        fittings: drawn with depth, in front of the walls that they lie on; None where there are none.
    """

    def __init__(self, scene: Scene) -> None:
        self.look = scene.look
        check_look(scene.look)
        self.light = light_of(scene.look)
        self._bounds_m = scene.bounds_m
        self._indoor = scene.look.style == surfaces.INDOOR
        self.backdrop = [self._floor(scene)]
        self.lamps: Layer | None = None
        if scene.look.ceiling_m > 0:
            self.backdrop.append(interior.ceiling(scene, self.light, BACKGROUND_LABEL))
            self.lamps = interior.lamps(scene, BACKGROUND_LABEL)
        casting = [body for body in scene.bodies if body.kind is not Kind.WALL]
        self.shadows: Shadows = (
            FloorShadows(len(casting), scene.look, self.light, self.backdrop[0])
            if self._indoor
            else SoftShadows(len(casting), scene.look, self.light)
        )
        groups: dict[str, list[tuple[int, Body]]] = {}
        for index, body in enumerate(scene.bodies):
            groups.setdefault(self._texture_name(body), []).append((index, body))
        shadows = {body.name: index for index, body in enumerate(casting)}
        self._placed: dict[str, _Placed] = {}
        self._away: dict[str, tuple[Vec3, Quat]] = {}
        variant = scene.look.texture_seed % VARIANTS
        self.solids = [self._layer(name, variant, members, shadows) for name, members in groups.items()]
        self.robot_shadow = self._robot_shadow() if self._indoor else None
        self.fittings = interior.fittings(scene, self.light, FIRST_BODY_LABEL) if self._indoor else None

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
            for layer in (placed.layer, self.shadows.layer):
                if not any(layer is known for known in changed):
                    changed.append(layer)
        self._away = {name: pose for name, pose in moved.items() if name in self._placed}
        return changed

    def _layer(self, texture: str, variant: int, members: list[tuple[int, Body]], shadows: Mapping[str, int]) -> Layer:
        variants = [zlib.crc32(body.name.encode()) + self.look.texture_seed for _, body in members]
        meshes = [self._mesh(body, number) for (_, body), number in zip(members, variants, strict=True)]
        starts = np.cumsum([0] + [len(mesh.positions) for mesh in meshes])
        triangles = np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts[:-1], strict=True)])
        vertices = np.zeros(int(starts[-1]), VERTEX)
        labels = np.zeros(len(vertices), np.uint16)
        layer = Layer(texture, variant, vertices, triangles.astype(np.uint16), labels)
        for (index, body), number, mesh, start in zip(members, variants, meshes, starts[:-1].tolist(), strict=True):
            rows = slice(start, start + len(mesh.positions))
            albedo = _albedo(body, mesh, self.look)
            label = FIRST_BODY_LABEL + index
            placed = _Placed(body, label, number, mesh, albedo, layer, rows, shadows.get(body.name))
            layer.labels[rows] = label
            layer.vertices["uv"][rows] = _uv(body, mesh, texture)
            self._placed[body.name] = placed
            self._write(placed, *_rest_pose(body))
        return layer

    def _floor(self, scene: Scene) -> Layer:
        if self._indoor:
            return interior.floor(scene, self.light, FLOOR_LABEL)
        return _floor_layer(scene, self.light)

    def _texture_name(self, body: Body) -> str:
        """The image a body wears, "" for none."""
        name = _texture_name(body, self.look)
        return materials.PREFIX + name if self._indoor and name else name

    def _mesh(self, body: Body, variant: int) -> Mesh:
        if not self._indoor:
            return mesh_of(body.kind, variant)
        if body.kind is Kind.WALL:
            sides = interior.seen_sides(body, self._bounds_m)
            return interior.wall_model(body.size_m, sides if any(sides) else (True, True))
        carton = _texture_name(body, self.look) == CARDBOARD
        return mesh_of(body.kind, variant, indoor=body.kind is not Kind.BOX or carton)

    def _robot_shadow(self) -> Layer:
        """Of a robot at the origin; it moves with the robot and does not turn with it."""
        angles = np.linspace(0, 2 * math.pi, 16)
        outline = ROBOT_RADIUS_M * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shadow = soft_patches(1)
        reach = min(ROBOT_HEIGHT_M / math.tan(self.light.elevation_rad), 2 * ROBOT_HEIGHT_M)
        azimuth = self.light.azimuth_rad + math.pi
        shadow.vertices["position"][:, :2] = around(outline, azimuth, reach, 0.4, forward_only=True)
        shadow.vertices["color"][:, 3] = round(130 * min(1.0, 1.6 * self.look.sun))
        return shadow

    def _write(self, placed: _Placed, center: Vec3, quat: Quat) -> None:
        """Compute a body's vertices, light and shadow for a pose."""
        turn = rotation(quat)
        size = np.array(placed.body.size_m)
        mesh = placed.mesh_at(center, turn)
        positions = (mesh.positions * size) @ turn.T + np.array(center)
        normals = mesh.normals / size
        normals = normals / np.linalg.norm(normals, axis=1, keepdims=True) @ turn.T
        rows = placed.layer.vertices[placed.rows]
        rows["position"] = positions
        rows["color"][:, :3] = to_bytes(placed.albedo * self.light.shade(normals))
        rows["color"][:, 3] = 255
        if placed.shadow is not None:
            self.shadows.write(placed.shadow, positions, placed.body, turn)


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


def _is_plain_wall(body: Body) -> bool:
    return body.kind is Kind.WALL and body.texture == surfaces.PLAIN


def _texture_name(body: Body, look: Look) -> str:
    """The image a body wears, "" for none."""
    if _is_plain_wall(body):
        return "" if look.wall_texture == surfaces.PLAIN else look.wall_texture
    return body_texture(body.kind, body.texture, indoor=look.style == surfaces.INDOOR)


def _albedo(body: Body, mesh: Mesh, look: Look) -> np.ndarray:
    """Colour of every vertex before light, (n, 3) in about 0..1."""
    color = np.array(look.wall_color if _is_plain_wall(body) else body.color)
    tinted = mesh.tint[:, None] * color + (1 - mesh.tint[:, None])
    return LEAST_ALBEDO + (1 - LEAST_ALBEDO) * tinted * mesh.colors


def _uv(body: Body, mesh: Mesh, texture: str) -> np.ndarray:
    """Texture coordinates: repeats in metres on walls, once a face on everything else."""
    fine = texture.startswith(materials.PREFIX)
    repeat_m = (materials.REPEAT_M if fine else REPEAT_M).get(texture.removeprefix(materials.PREFIX), 1.0)
    extents = np.array([*body.size_m, 1.0, 1.0])
    repeat = np.where(mesh.uv_axes == FIXED, 1.0, extents[mesh.uv_axes] / repeat_m)
    return mesh.uv * repeat


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
