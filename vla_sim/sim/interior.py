"""What a room shows besides what stands in it: floor and ceiling, doors, windows and skirting on its walls.

Pure numpy, used by `mesh_scene`. Which door or window hangs where follows from the look's `texture_seed` and the name
of the wall. Nothing here can be touched: it lies flat on walls, and doors that open are bodies of kind "door".
"""

from __future__ import annotations

import functools
import itertools
import math
import zlib
from dataclasses import dataclass

import numpy as np

from vla_sim.core import surfaces
from vla_sim.core.types import Body, Kind, Look, Scene, Vec3
from vla_sim.sim import materials
from vla_sim.sim.fixtures import WallSide, fixtures
from vla_sim.sim.layers import VERTEX, Layer, grid_triangles, quad_triangles, to_bytes
from vla_sim.sim.light import LEAST_ALBEDO, Light
from vla_sim.sim.mesh_parts import Mesh, join, quad

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
    x = np.repeat(_rows(x_min, x_max, LAMP_SPACING_M[0]), len(across := _rows(y_min, y_max, LAMP_SPACING_M[1])))
    y = np.tile(across, len(x) // len(across))
    corners = np.empty((len(x), 4, 3), np.float32)
    corners[..., 0] = x[:, None] + length / 2 * np.array([-1, -1, 1, 1])
    corners[..., 1] = y[:, None] + width / 2 * np.array([-1, 1, 1, -1])
    corners[..., 2] = z
    layer = _blank("", scene.look, corners.size // 3, quad_triangles(len(x)), label)
    layer.vertices["position"] = corners.reshape(-1, 3)
    layer.vertices["color"] = 255
    return layer


def _rows(low: float, high: float, apart: float) -> np.ndarray:
    count = max(1, round((high - low) / apart))
    return low + (np.arange(count) + 0.5) * (high - low) / count


def _plane(extent: Bounds, bounds: Bounds, z: float, texture: str, look: Look, label: int) -> Layer:
    """A level grid over a room whose vertices are darker outside of `CORNER_M` from the bounds."""
    xs, ys = _lines(extent[0], extent[1], *bounds[:2]), _lines(extent[2], extent[3], *bounds[2:])
    x, y = np.repeat(xs, len(ys)), np.tile(ys, len(xs))
    texture = "" if texture == surfaces.PLAIN else texture
    layer = _blank(texture, look, len(x), grid_triangles(len(xs), len(ys)), label)
    position, uv = layer.vertices["position"], layer.vertices["uv"]
    position[:, 0], position[:, 1], position[:, 2] = x, y, z
    repeat_m = materials.REPEAT_M.get(texture, 1.0)
    uv[:, 0], uv[:, 1] = x / repeat_m + look.texture_seed % 7 / 7, y / repeat_m + look.texture_seed % 11 / 11
    inside = np.minimum.reduce([x - bounds[0], bounds[1] - x, y - bounds[2], bounds[3] - y])
    shade = np.where(inside >= 0.99 * CORNER_M, 1.0, CORNER_SHADE)
    layer.vertices["color"][:, :3] = to_bytes(shade)[:, None]
    return layer


def _lines(low: float, high: float, inner_low: float, inner_high: float) -> np.ndarray:
    """Grid lines from low to high: at the walls, at `CORNER_M` from them, and evenly between."""
    first, last = inner_low + CORNER_M, inner_high - CORNER_M
    return np.array(_distinct([low, inner_low, *_evenly(first, last), inner_high, high]))


def _distinct(values: list[float]) -> list[float]:
    """Sorted, each once; to a thousandth of a millimetre."""
    return sorted(set(np.round(values, 6).tolist()))


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


def wall_model(size_m: Vec3, sides: tuple[bool, bool] = (True, True)) -> Mesh:
    """A wall of this size in the unit cube: in cells, darker toward floor, ceiling and both ends.

    Args:
        size_m: full extents.
        sides: which of its long sides can be seen: that toward +x or +y, and the other one. A wall with one side
            has no ends.
    """
    long = 0 if size_m[0] >= size_m[1] else 1
    length, thick, height = size_m[long], size_m[1 - long], size_m[2]
    # A wall along x has its long sides toward +-y.
    first = 1 if long == 0 else 0
    faces = [
        _wall_face((length, height), thick / 2, turned, end=False)
        for turned, seen in ((first, sides[0]), (first + 2, sides[1]))
        if seen
    ]
    if all(sides):
        faces += [_wall_face((thick, height), length / 2, turned, end=True) for turned in (first + 1, first + 3)]
    mesh = join([*faces, _top()])
    mesh.positions[:-4] /= np.array(size_m)
    return mesh


@functools.cache
def _top() -> Mesh:
    return quad([(-0.5, -0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, 0.5), (-0.5, 0.5, 0.5)])


# The direction that a face looks to after so many quarters about z, and that of its texture's u axis.
_QUARTERS = (((1, 0), (0, 1)), ((0, 1), (-1, 0)), ((-1, 0), (0, -1)), ((0, -1), (1, 0)))


def _wall_face(size_m: tuple[float, float], out: float, quarters: int, *, end: bool) -> Mesh:
    """An upright face of this length and height, in metres, so far from the middle; texture coordinates too."""
    length, height = size_m
    between = [] if end else _evenly(CORNER_M, length - CORNER_M)
    us = _distinct([0.0, *between, length])
    zs = sorted({min(max(value, 0.0), height) for value in (0.0, 0.3, height - CORNER_M, height)})
    u, z = np.repeat(us, len(zs)), np.array(zs * len(us))
    dark_u = [0.86 if between and (at < 0.01 or at > length - 0.01) else 1.0 for at in us]
    dark_z = [CORNER_SHADE if at < 0.01 else 0.87 if at > height - 0.01 else 1.0 for at in zs]
    count, (facing, along) = len(u), _QUARTERS[quarters % 4]
    positions, normals = np.zeros((count, 3), np.float32), np.zeros((count, 3), np.float32)
    flat, out = (u - length / 2).astype(np.float32), float(np.float32(out))
    positions[:, 0], positions[:, 1] = facing[0] * out + along[0] * flat, facing[1] * out + along[1] * flat
    positions[:, 2] = z - height / 2
    normals[:, :2] = facing
    uv = np.empty((count, 2), np.float32)
    uv[:, 0], uv[:, 1] = u, z
    colors = np.empty((count, 3), np.float32)
    colors[:] = np.multiply.outer(dark_z, dark_u).T.reshape(-1, 1)
    return Mesh(
        positions=positions,
        normals=normals,
        uv=uv,
        in_metres=np.ones(count, bool),
        colors=colors,
        tint=np.ones(count, np.float32),
        triangles=grid_triangles(len(us), len(zs)),
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
    faces, parts = [], []
    for index, body in enumerate(scene.bodies):
        if body.kind is not Kind.WALL:
            continue
        for number, face in enumerate(_faces(body, scene.bounds_m)):
            rng = np.random.default_rng([scene.look.texture_seed, zlib.crc32(body.name.encode()), number])
            kind = _kind(face, scene.look) if body.size_m[2] >= ROOM_WALL_M else WallSide.BARE
            parts.append(fixtures(face.length_m, kind, rng, scene.look.texture_seed))
            faces.append((*face.middle.tolist(), math.cos(face.yaw_rad), math.sin(face.yaw_rad), first_label + index))
    if not parts:
        return None
    counts = [len(plates.rects) for plates in parts]
    y0, y1, z0, z1, off, glow = np.array(list(itertools.chain.from_iterable(p.rects for p in parts)), np.float32).T
    colors = np.array(list(itertools.chain.from_iterable(p.colors for p in parts)), np.float32).reshape(-1, 4, 3)
    x, y, cos, sin, label = np.repeat(np.array(faces), counts, axis=0).T[..., None]
    layer = _blank("", scene.look, 4 * len(off), quad_triangles(len(off)), 0)
    along = np.stack([y0, y1, y1, y0], axis=1).astype(np.float64)
    position = layer.vertices["position"].reshape(-1, 4, 3)
    position[..., 0], position[..., 1] = off[:, None] * cos - along * sin + x, off[:, None] * sin + along * cos + y
    position[..., 2] = np.stack([z0, z0, z1, z1], axis=1)
    layer.labels.reshape(-1, 4)[:] = label
    normals = np.zeros((len(faces), 3), np.float32)
    normals[:, :2] = np.array(faces)[:, 2:4]
    shade, glow = np.repeat(light.shade(normals), counts, axis=0)[:, None], glow[:, None, None]
    albedo = LEAST_ALBEDO + (1 - LEAST_ALBEDO) * colors
    lit = to_bytes(albedo * (shade * (1 - glow) + glow * scene.look.exposure))
    layer.vertices["color"].reshape(-1, 4, 4)[..., :3] = lit
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
