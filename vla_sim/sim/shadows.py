"""Shadows that bodies cast on the floor. Pure numpy, used by `mesh_scene`.

One layer holds those of all bodies, with a fixed number of vertices each, which `write` fills for a pose.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from vla_sim.core.types import Look
from vla_sim.sim.layers import VERTEX, Layer, around, soft_patches, to_bytes
from vla_sim.sim.light import Light

# Corners of the ring around a shadow: enough for a disc, and few enough to cost nothing.
CORNERS = 12
CONTACT_DARKNESS = 0.5
CONTACT_SPREAD_M = 0.05
# Daylight through windows comes from a side, but lamps keep shadows short.
REACH = 0.7
MAX_REACH_M = 0.7
# Of the robot's own shadow, the only part of it that its camera sees.
ROBOT_RADIUS_M = 0.16
ROBOT_HEIGHT_M = 0.3


class Shadows:
    """One patch of darker floor a body, which is several times cheaper to draw than a see-through one.

    Its middle is as dark as the contact, its corners fade with the way to the end of the shadow, and the ring around
    them ends in the floor's own colour.

    Attributes:
        layer: what is drawn over the floor: it covers it, and so has its texture.
    """

    def __init__(self, count: int, look: Look, light: Light, floor: Layer) -> None:
        angles = np.arange(CORNERS) * 2 * math.pi / CORNERS
        self._around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        azimuth = light.azimuth_rad + math.pi
        self._away = np.array([math.cos(azimuth), math.sin(azimuth)])
        self._slope = 1 / math.tan(light.elevation_rad)
        self._sun = min(1.0, 1.6 * look.sun)
        self._floor = FloorPaint(floor)
        vertices = np.zeros((2 * CORNERS + 1) * count, VERTEX)
        vertices["color"][:, 3] = 255
        labels = np.zeros(len(vertices), np.uint16)
        self.layer = Layer(floor.texture, floor.variant, vertices, _patches(count), labels)

    def write(self, index: int, positions: np.ndarray) -> None:
        """Set the shadow of a body.

        Args:
            index: which of the bodies that cast one.
            positions: its vertices in the world, (n, 3).
        """
        points = positions[:, :2].astype(np.float64)
        foot = points[np.argmax(points @ self._around.T, axis=0)]
        height = float(positions[:, 2].max())
        reach = self._away * min(height * self._slope * REACH, MAX_REACH_M, REACH * height)
        both = np.concatenate([foot, foot + reach])
        corners = both[np.argmax(both @ self._around.T, axis=0)]
        length = max(float(np.hypot(*reach)), 1e-6)
        far = np.minimum(np.maximum((corners - foot) @ self._away / length, 0.0), 1.0)
        spread = CONTACT_SPREAD_M + 0.3 * length * far
        outer = corners + self._around * spread[:, None]
        dark = CONTACT_DARKNESS * (1 - far) + 0.55 * self._sun * CONTACT_DARKNESS * far
        middle = foot.mean(axis=0)
        place = np.concatenate([middle[None], corners, outer])
        darkness = np.concatenate([[CONTACT_DARKNESS], dark, np.zeros(CORNERS)])
        rows = self.layer.vertices[(2 * CORNERS + 1) * index : (2 * CORNERS + 1) * (index + 1)]
        rows["position"][:, :2] = place
        rows["uv"] = self._floor.uv(place)
        rows["color"][:, :3] = to_bytes(self._floor.colors(place) * (1 - darkness[:, None]))


@functools.lru_cache(maxsize=64)
def _patches(count: int) -> np.ndarray:
    """Triangles of so many shadows: uint16 (m, 3), read-only."""
    inner = 1 + np.arange(CORNERS)
    following = 1 + (np.arange(CORNERS) + 1) % CORNERS
    middle = np.zeros(CORNERS, int)
    ring = [(inner, inner + CORNERS, following + CORNERS), (inner, following + CORNERS, following)]
    # All rings come first, so that none lies over the dark middle of a shadow beside it.
    parts = [np.stack(corners, axis=1) for corners in (*ring, (middle, inner, following))]
    starts = (2 * CORNERS + 1) * np.arange(count)[:, None, None]
    triangles = np.concatenate([(part + starts).reshape(-1, 3) for part in parts]).astype(np.uint16)
    triangles.setflags(write=False)
    return triangles


def robot_shadow(look: Look, light: Light) -> Layer:
    """See-through, of a robot at the origin; it moves with the robot and does not turn with it."""
    angles = np.linspace(0, 2 * math.pi, 16)
    outline = ROBOT_RADIUS_M * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shadow = soft_patches(1)
    reach = min(ROBOT_HEIGHT_M / math.tan(light.elevation_rad), 2 * ROBOT_HEIGHT_M)
    azimuth = light.azimuth_rad + math.pi
    shadow.vertices["position"][:, :2] = around(outline, azimuth, reach, 0.4, forward_only=True)
    shadow.vertices["color"][:, 3] = round(130 * min(1.0, 1.6 * look.sun))
    return shadow


class FloorPaint:
    """What a floor looks like at a point: texture coordinates and colour, from the grid that it is drawn with."""

    def __init__(self, floor: Layer) -> None:
        position, self._uv = floor.vertices["position"], floor.vertices["uv"].astype(np.float64)
        self._xs, self._ys = np.unique(position[:, 0]), np.unique(position[:, 1])
        shape = (len(self._xs), len(self._ys), 3)
        self._colors = (floor.vertices["color"][:, :3] / 255.0).reshape(shape)
        extent = position[-1, :2] - position[0, :2]
        self._origin = position[0, :2].astype(np.float64)
        self._per_m = (self._uv[-1] - self._uv[0]) / extent

    def uv(self, points: np.ndarray) -> np.ndarray:
        """Texture coordinates (n, 2) at points (n, 2)."""
        return self._uv[0] + (points - self._origin) * self._per_m

    def colors(self, points: np.ndarray) -> np.ndarray:
        """Colours (n, 3) at points (n, 2), 0..1, between those of the grid's corners; outside those of its rim."""
        i, x = self._cell(self._xs, points[:, 0])
        j, y = self._cell(self._ys, points[:, 1])
        c = self._colors
        low = c[i, j] * (1 - x) + c[i + 1, j] * x
        high = c[i, j + 1] * (1 - x) + c[i + 1, j + 1] * x
        return np.asarray(low * (1 - y) + high * y)

    @staticmethod
    def _cell(lines: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which cell of the grid values lie in, and how far across it, (n,) and (n, 1)."""
        index = np.minimum(np.maximum(np.searchsorted(lines, values) - 1, 0), len(lines) - 2)
        across = (values - lines[index]) / (lines[index + 1] - lines[index])
        return index, np.minimum(np.maximum(across, 0.0), 1.0)[:, None]
