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
from vla_sim.core.errors import suggest
from vla_sim.core.types import Body, Kind, Look, Scene, Vec3
from vla_sim.sim import interior, materials
from vla_sim.sim.layers import VERTEX, Layer, to_bytes
from vla_sim.sim.light import LEAST_ALBEDO, Light
from vla_sim.sim.mesh_parts import Mesh
from vla_sim.sim.meshes import block, mesh_of, walking_person
from vla_sim.sim.obj_model import model_of
from vla_sim.sim.shadows import Shadows, robot_shadow

Quat = tuple[float, float, float, float]

BACKGROUND_LABEL = 0
FLOOR_LABEL = 1
FIRST_BODY_LABEL = 2
CARDBOARD = "cardboard"
# What "plain" means for a kind of body; all others have colours and no surface.
PLAIN_LOOK = {Kind.BOX: CARDBOARD, Kind.BASKET: "slots"}


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
        if self.body.kind is not Kind.PERSON or self.body.mesh is not None:
            return self.mesh
        return walking_person(self.variant, self.body, center, math.atan2(turn[1, 0], turn[0, 0]))


class MeshScene:
    """All triangles of one scene.

    Attributes:
        backdrop: floor and ceiling, drawn first and without depth: the camera is between them.
        lamps: drawn over the backdrop.
        shadows: their layer is drawn over the floor.
        robot_shadow: the same, for a robot at the origin.
        solids: drawn with depth.
        fittings: drawn with depth, in front of the walls that they lie on; None without walls.
    """

    def __init__(self, scene: Scene) -> None:
        self.look = scene.look
        check_look(scene.look)
        self.light = Light(scene.look)
        self._bounds_m = scene.bounds_m
        self.backdrop = [
            interior.floor(scene, self.light, FLOOR_LABEL),
            interior.ceiling(scene, self.light, BACKGROUND_LABEL),
        ]
        self.lamps = interior.lamps(scene, BACKGROUND_LABEL)
        casting = [body for body in scene.bodies if body.kind is not Kind.WALL]
        self.shadows = Shadows(len(casting), scene.look, self.light, self.backdrop[0])
        groups: dict[tuple[str, str], list[tuple[int, Body]]] = {}
        for index, body in enumerate(scene.bodies):
            # A mesh from a file may have nearly as many corners as one layer can count.
            alone = body.name if body.mesh is not None else ""
            groups.setdefault((worn_texture(body, self.look), alone), []).append((index, body))
        shadows = {body.name: index for index, body in enumerate(casting)}
        self._placed: dict[str, _Placed] = {}
        self._away: dict[str, tuple[Vec3, Quat]] = {}
        variant = scene.look.texture_seed % materials.VARIANTS
        self.solids = [self._layer(name, variant, members, shadows) for (name, _), members in groups.items()]
        self.robot_shadow = robot_shadow(scene.look, self.light)
        self.fittings = interior.fittings(scene, self.light, FIRST_BODY_LABEL)

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
        meshes = [self._mesh(body, texture, number) for (_, body), number in zip(members, variants, strict=True)]
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
            layer.vertices["uv"][rows] = _uv(mesh, texture)
            self._placed[body.name] = placed
            self._write(placed, *_rest_pose(body))
        return layer

    def _mesh(self, body: Body, texture: str, variant: int) -> Mesh:
        if body.kind is Kind.WALL:
            sides = interior.seen_sides(body, self._bounds_m)
            return interior.wall_model(body.size_m, sides if any(sides) else (True, True))
        if body.mesh is not None:
            return model_of(body.mesh)
        if body.kind is Kind.BOX and texture != CARDBOARD:
            return block()
        return mesh_of(body.kind, variant)

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
            self.shadows.write(placed.shadow, positions)


def check_look(look: Look) -> None:
    """Raise ValueError with the nearest name when a look asks for a surface that does not exist."""
    _check_texture(look.floor_texture, surfaces.FLOOR_TEXTURES, "a floor")
    _check_texture(look.wall_texture, surfaces.WALL_TEXTURES, "a wall")


def _check_texture(name: str, allowed: tuple[str, ...], where: str) -> None:
    if name not in allowed:
        raise ValueError(f"unknown texture {name!r} for {where}; {suggest(name, allowed, most=20)}")


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


def worn_texture(body: Body, look: Look) -> str:
    """The image that a body wears, "" for none."""
    if _is_plain_wall(body):
        return "" if look.wall_texture == surfaces.PLAIN else look.wall_texture
    if body.mesh is not None:
        return ""
    _check_texture(body.texture, surfaces.TEXTURES, f"a {body.kind.value}")
    return PLAIN_LOOK.get(body.kind, "") if body.texture == surfaces.PLAIN else body.texture


def _albedo(body: Body, mesh: Mesh, look: Look) -> np.ndarray:
    """Colour of every vertex before light, (n, 3) in about 0..1."""
    color = np.array(look.wall_color if _is_plain_wall(body) else body.color)
    tinted = mesh.tint[:, None] * color + (1 - mesh.tint[:, None])
    return LEAST_ALBEDO + (1 - LEAST_ALBEDO) * tinted * mesh.colors


def _uv(mesh: Mesh, texture: str) -> np.ndarray:
    """Texture coordinates: repeats in metres on walls, once a face on everything else."""
    repeat_m = materials.REPEAT_M.get(texture, 1.0)
    return mesh.uv * np.where(mesh.in_metres, 1.0 / repeat_m, 1.0)[:, None]
