"""What a room shows besides what stands in it: floor and ceiling, doors, windows and skirting on its walls.

Pure numpy, used by `mesh_scene`. Which door or window hangs where follows from the look's `texture_seed` and the name
of the wall. Nothing here can be touched: it lies flat on walls, and doors that open are bodies of kind "door".
"""

from __future__ import annotations

import functools
import math
import zlib
from dataclasses import dataclass

import numpy as np

from vla_sim.core import surfaces
from vla_sim.core.types import Body, Kind, Look, Scene, Vec3
from vla_sim.sim import materials
from vla_sim.sim.fixtures import WallSide, fixtures
from vla_sim.sim.layers import VERTEX, Layer, to_bytes
from vla_sim.sim.light import LEAST_ALBEDO, Light
from vla_sim.sim.mesh_parts import METRES, Mesh, join, moved, quad

Bounds = tuple[float, float, float, float]

# Floor and ceiling are seen at a flat angle: larger cells would bend their textures.
CELL_M = 1.25
# Corners of rooms are darker up to this far from them.
CORNER_M = 0.4
CORNER_SHADE = 0.8
CEILING_COLOR = (0.93, 0.93, 0.91)
LAMP_SPACING_M = (2.4, 2.0)
# Only walls as high as a room's have doors and windows.
ROOM_WALL_M = 1.9


def room_extent(scene: Scene) -> Bounds:
    """(x_min, x_max, y_min, y_max) that floor and ceiling cover: the bounds and every wall, in metres."""
    spans = [scene.bounds_m, *(_span(body) for body in scene.bodies if body.kind is Kind.WALL)]
    low, high = np.min(spans, axis=0), np.max(spans, axis=0)
    return float(low[0]), float(high[1]), float(low[2]), float(high[3])


def _span(body: Body) -> Bounds:
    cos, sin = abs(math.cos(body.yaw_rad)), abs(math.sin(body.yaw_rad))
    half_x = (cos * body.size_m[0] + sin * body.size_m[1]) / 2
    half_y = (sin * body.size_m[0] + cos * body.size_m[1]) / 2
    return body.x_m - half_x, body.x_m + half_x, body.y_m - half_y, body.y_m + half_y


def floor(scene: Scene, light: Light, label: int) -> Layer:
    """The floor of the room, darker along its outer walls."""
    look = scene.look
    layer = _plane(room_extent(scene), scene.bounds_m, 0.0, look.floor_texture, look, label)
    _color(layer, look.floor_color, light, up=1.0)
    return layer


def ceiling(scene: Scene, light: Light, label: int) -> Layer:
    """The ceiling of the room, seen from below."""
    layer = _plane(room_extent(scene), scene.bounds_m, scene.look.ceiling_m, "ceiling", scene.look, label)
    layer.triangles[:] = layer.triangles[:, ::-1]
    _color(layer, CEILING_COLOR, light, up=-1.0)
    return layer


def lamps(scene: Scene, label: int) -> Layer:
    """Lit panels under the ceiling, in rows."""
    x_min, x_max, y_min, y_max = scene.bounds_m
    z = scene.look.ceiling_m - 0.004
    length, width = ((1.2, 0.3), (0.6, 0.6), (1.5, 0.16))[scene.look.texture_seed % 3]
    panels = []
    for x in _rows(x_min, x_max, LAMP_SPACING_M[0]):
        for y in _rows(y_min, y_max, LAMP_SPACING_M[1]):
            low, high = (x - length / 2, y - width / 2), (x + length / 2, y + width / 2)
            panels.append(
                quad([(low[0], low[1], z), (low[0], high[1], z), (high[0], high[1], z), (high[0], low[1], z)], glow=1.0)
            )
    mesh = join(panels)
    layer = _blank("", scene.look, len(mesh.positions), mesh.triangles, label)
    layer.vertices["position"] = mesh.positions
    layer.vertices["color"] = 255
    return layer


def _rows(low: float, high: float, apart: float) -> np.ndarray:
    count = max(1, round((high - low) / apart))
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _plane(extent: Bounds, bounds: Bounds, z: float, texture: str, look: Look, label: int) -> Layer:
    """A level grid over a room whose vertices are darker outside of `CORNER_M` from the bounds."""
    xs, ys = _lines(extent[0], extent[1], *bounds[:2]), _lines(extent[2], extent[3], *bounds[2:])
    x, y = (axis.ravel() for axis in np.meshgrid(xs, ys, indexing="ij"))
    rows = len(ys)
    first = (np.arange(len(xs) - 1)[:, None] * rows + np.arange(rows - 1)).ravel()
    right, above, across = first + rows, first + 1, first + rows + 1
    triangles = np.concatenate([np.stack([first, right, across], 1), np.stack([first, across, above], 1)])
    texture = "" if texture == surfaces.PLAIN else texture
    layer = _blank(texture, look, x.size, triangles, label)
    layer.vertices["position"] = np.stack([x, y, np.full(x.size, z)], axis=1)
    offset = np.array([look.texture_seed % 7, look.texture_seed % 11]) / np.array([7, 11])
    layer.vertices["uv"] = np.stack([x, y], axis=1) / materials.REPEAT_M.get(texture, 1.0) + offset
    inside = np.minimum.reduce([x - bounds[0], bounds[1] - x, y - bounds[2], bounds[3] - y])
    shade = np.where(inside >= 0.99 * CORNER_M, 1.0, CORNER_SHADE)
    layer.vertices["color"][:, :3] = to_bytes(np.repeat(shade[:, None], 3, axis=1))
    return layer


def _lines(low: float, high: float, inner_low: float, inner_high: float) -> np.ndarray:
    """Grid lines from low to high: at the walls, at `CORNER_M` from them, and evenly between."""
    first, last = inner_low + CORNER_M, inner_high - CORNER_M
    lines = np.array([low, inner_low, *_evenly(first, last), inner_high, high])
    return np.unique(np.round(lines, 6))


def _evenly(first: float, last: float) -> list[float]:
    """Numbers from first to last at most `CELL_M` apart; none when last is the smaller one."""
    return np.linspace(first, last, max(2, math.ceil((last - first) / CELL_M) + 1)).tolist() if last > first else []


def _blank(texture: str, look: Look, count: int, triangles: np.ndarray, label: int) -> Layer:
    vertices = np.zeros(count, VERTEX)
    vertices["color"][:, 3] = 255
    labels = np.full(count, label, np.uint16)
    return Layer(texture, look.texture_seed % materials.VARIANTS, vertices, triangles.astype(np.uint16), labels)


def _color(layer: Layer, color: Vec3, light: Light, *, up: float) -> None:
    """Light a level layer whose colours hold its shading."""
    albedo = LEAST_ALBEDO + (1 - LEAST_ALBEDO) * np.array(color)
    shading = layer.vertices["color"][:, :3] / 255
    layer.vertices["color"][:, :3] = to_bytes(shading * albedo * light.shade(np.array([[0.0, 0.0, up]])))


@functools.lru_cache(maxsize=64)
def wall_model(size_m: Vec3, sides: tuple[bool, bool] = (True, True)) -> Mesh:
    """A wall of this size in the unit cube: in cells, darker toward floor, ceiling and both ends.

    Args:
        size_m: full extents.
        sides: which of its long sides can be seen: that toward +x or +y, and the other one. A wall with one side
            has no ends.
    """
    long = 0 if size_m[0] >= size_m[1] else 1
    length, thick, height = size_m[long], size_m[1 - long], size_m[2]
    side = join([_wall_face(length, height, end=False)])
    end = _wall_face(thick, height, end=True)
    faces = []
    # A wall along x has its long sides toward +-y.
    first = 1 if long == 0 else 0
    for turned, seen in ((first, sides[0]), (first + 2, sides[1])):
        if seen:
            faces.append(_turned(side, turned, thick / 2))
    if all(sides):
        faces += [_turned(end, first + 1, length / 2), _turned(end, first + 3, length / 2)]
    top = quad([(-0.5, -0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, 0.5), (-0.5, 0.5, 0.5)])
    mesh = join(faces)
    mesh.positions[:] = mesh.positions / np.array(size_m)
    return join([mesh, top])


def _turned(mesh: Mesh, quarters: int, out: float) -> Mesh:
    """A face that lies in the plane x = 0 and faces +x, moved outward and turned by quarters about z; a copy."""
    copy = join([mesh])
    cos, sin = round(math.cos(quarters * math.pi / 2)), round(math.sin(quarters * math.pi / 2))
    copy.positions[:, 0] += out
    return moved(copy, np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]))


def _wall_face(length: float, height: float, *, end: bool) -> Mesh:
    """A face in the plane x = 0, centred, in metres; its texture coordinates count metres."""
    between = [] if end else _evenly(CORNER_M, length - CORNER_M)
    us = np.unique(np.round([0.0, *between, length], 6))
    zs = np.unique(np.clip([0.0, 0.3, height - CORNER_M, height], 0.0, height))
    u, z = (axis.ravel() for axis in np.meshgrid(us, zs, indexing="ij"))
    rows = len(zs)
    first = (np.arange(len(us) - 1)[:, None] * rows + np.arange(rows - 1)).ravel()
    right, above, across = first + rows, first + 1, first + rows + 1
    triangles = np.concatenate([np.stack([first, right, across], 1), np.stack([first, across, above], 1)])
    shade = np.where(z < 0.01, CORNER_SHADE, np.where(z > height - 0.01, 0.87, 1.0))
    if between:
        shade = shade * np.where((u < 0.01) | (u > length - 0.01), 0.86, 1.0)
    count = len(u)
    return Mesh(
        positions=np.stack([np.zeros(count), u - length / 2, z - height / 2], axis=1).astype(np.float32),
        normals=np.tile(np.array([1.0, 0.0, 0.0], np.float32), (count, 1)),
        uv=np.stack([u, z], axis=1).astype(np.float32),
        uv_axes=np.full((count, 2), METRES),
        colors=np.repeat(shade[:, None], 3, axis=1).astype(np.float32),
        tint=np.ones(count, np.float32),
        glow=np.zeros(count, np.float32),
        triangles=triangles.astype(np.int32),
    )


@dataclass(frozen=True)
class _Face:
    """A long side of a wall that a room lies before: where its middle is on the floor, and which way it faces."""

    middle: np.ndarray
    yaw_rad: float
    length_m: float
    outer: bool


def seen_sides(body: Body, bounds_m: Bounds) -> tuple[bool, bool]:
    """Which long sides of a wall lie before a room: that toward its own +x or +y, and the other one."""
    first, second = (yaw for _, yaw in _sides(body))
    found = [face.yaw_rad for face in _faces(body, bounds_m)]
    return first in found, second in found


def fittings(scene: Scene, light: Light, first_label: int) -> Layer | None:
    """Skirting on all walls; doors, windows and what hangs there on those around the room. None without walls."""
    meshes, labels = [], []
    for index, body in enumerate(scene.bodies):
        if body.kind is not Kind.WALL:
            continue
        for number, face in enumerate(_faces(body, scene.bounds_m)):
            rng = np.random.default_rng([scene.look.texture_seed, zlib.crc32(body.name.encode()), number])
            kind = _kind(face, scene.look) if body.size_m[2] >= ROOM_WALL_M else WallSide.BARE
            mesh = fixtures(face.length_m, kind, rng, scene.look.texture_seed)
            cos, sin = math.cos(face.yaw_rad), math.sin(face.yaw_rad)
            turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
            meshes.append(moved(mesh, turn, (float(face.middle[0]), float(face.middle[1]), 0.0)))
            labels.append(np.full(len(mesh.positions), first_label + index, np.uint16))
    if not meshes:
        return None
    mesh, look = join(meshes), scene.look
    layer = _blank("", look, len(mesh.positions), mesh.triangles, 0)
    layer.vertices["position"] = mesh.positions
    albedo = LEAST_ALBEDO + (1 - LEAST_ALBEDO) * mesh.colors
    shade, glow = light.shade(mesh.normals), mesh.glow[:, None]
    layer.vertices["color"][:, :3] = to_bytes(albedo * (shade * (1 - glow) + glow * look.exposure))
    layer.labels[:] = np.concatenate(labels)
    return layer


def _kind(face: _Face, look: Look) -> WallSide:
    """What hangs on the side of a high wall: windows let in the light of the look's sun."""
    if not face.outer:
        return WallSide.INNER
    return WallSide.SUNNY if math.cos(face.yaw_rad - look.sun_azimuth_rad) < -0.2 else WallSide.SHADY


def _faces(body: Body, bounds_m: Bounds) -> list[_Face]:
    """The long sides of a wall that lie before a room; outer when the other side lies outside of the bounds."""
    long = 0 if body.size_m[0] >= body.size_m[1] else 1
    found = []
    for middle, yaw in _sides(body):
        ahead = middle + 0.05 * np.array([math.cos(yaw), math.sin(yaw)])
        if bounds_m[0] < ahead[0] < bounds_m[1] and bounds_m[2] < ahead[1] < bounds_m[3]:
            found.append((middle, yaw))
    return [_Face(middle, yaw, body.size_m[long], len(found) == 1) for middle, yaw in found]


def _sides(body: Body) -> list[tuple[np.ndarray, float]]:
    """The middle of each long side of a wall on the floor, and which way the side faces."""
    long = 0 if body.size_m[0] >= body.size_m[1] else 1
    out = body.size_m[1 - long] / 2
    base = body.yaw_rad + (math.pi / 2 if long == 0 else 0.0)
    center = np.array([body.x_m, body.y_m])
    return [(center + out * np.array([math.cos(yaw), math.sin(yaw)]), yaw) for yaw in (base, base + math.pi)]
