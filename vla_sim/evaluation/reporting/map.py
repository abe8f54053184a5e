"""The map of a film: the scene from above with the path driven so far. Also the outlines that reports draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_sim.core.font import font_for
from vla_sim.core.legs import targets
from vla_sim.core.movers import placed, replayed
from vla_sim.core.types import Body, Pose2, Role, Scene, Side, wrap_angle
from vla_sim.rollout.result import EpisodeResult

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Color = tuple[int, int, int]
Point = tuple[float, float]

SMOOTH = 2  # drawn this much larger and then reduced, which smooths edges

PAPER: Color = (244, 242, 237)
INK: Color = (38, 42, 50)
QUIET: Color = (150, 156, 168)
WHITE: Color = (255, 255, 255)
GREEN: Color = (32, 148, 86)
RED: Color = (205, 57, 48)
BLUE: Color = (36, 99, 214)


class Map:
    """The world from above: x (forward) is up, y (left) is left."""

    def __init__(
        self,
        scene: Scene,
        record: EpisodeResult,
        poses: NDArray[np.float64],
        robot_radius_m: float,
        size_px: tuple[int, int],
    ) -> None:
        self._targets = targets(scene)
        self._scene, self._record, self._poses, self._radius_m = scene, record, poses, robot_radius_m
        self._size = (size_px[0] * SMOOTH, size_px[1] * SMOOTH)
        self._fit()
        self._paper = self._draw_world()
        self._drawn_to = 0  # how many steps of the path are on the paper already
        self._movers = replayed(scene, poses, robot_radius_m, record.step_s)

    def _fit(self) -> None:
        """Choose scale and centre so that everything but the far ends of walls is seen."""
        points = [(p[0], p[1]) for p in self._poses]
        for body in self._scene.bodies:
            if body.role is not Role.WALL:
                points += footprint(body, grow_m=0.3)
        x_low, y_low = np.min(points, axis=0) - 0.25
        x_high, y_high = np.max(points, axis=0) + 0.25
        x_min, x_max, y_min, y_max = self._scene.bounds_m
        x_low, x_high = min(x_low, max(x_min, x_low - 0.3)), max(x_high, min(x_max, x_high + 0.3))
        y_low, y_high = min(y_low, max(y_min, y_low - 0.8)), max(y_high, min(y_max, y_high + 0.8))
        self._scale = min(self._size[0] / (y_high - y_low), self._size[1] / (x_high - x_low))
        self._centre = ((x_low + x_high) / 2, (y_low + y_high) / 2)

    def _px(self, x_m: float, y_m: float) -> Point:
        return (
            self._size[0] / 2 - (y_m - self._centre[1]) * self._scale,
            self._size[1] / 2 - (x_m - self._centre[0]) * self._scale,
        )

    def _draw_world(self) -> Image:
        from PIL import Image, ImageDraw

        paper = Image.new("RGB", self._size, PAPER)
        draw = ImageDraw.Draw(paper, "RGBA")
        self._draw_grid(draw)
        self._draw_gates(draw)
        self._draw_reach(draw)
        self._draw_tracks(draw)
        for body in sorted(self._scene.bodies, key=lambda b: b.role is not Role.WALL):
            if body.role is not Role.MOVER:
                self._draw_body(draw, body)
        self._draw_bounds(draw)
        self._draw_legend(draw)
        return paper

    def _draw_tracks(self, draw: ImageDraw) -> None:
        """The paths of what moves, dotted."""
        for motion in self._scene.motions:
            points = [self._px(pose.x_m, pose.y_m) for pose in dict.fromkeys(motion.poses)]
            _dashed(draw, points, (*QUIET, 160), 2 * SMOOTH, 4 * SMOOTH)

    def _draw_movers(self, draw: ImageDraw, step: int, share: float) -> None:
        """What moves, between two poses of the robot."""
        if not self._movers:
            return
        here, there = self._movers[step], self._movers[min(step + 1, len(self._movers) - 1)]
        for body in self._scene.with_role(Role.MOVER):
            a, b = here[body.name], there[body.name]
            turned = a.yaw_rad + share * wrap_angle(b.yaw_rad - a.yaw_rad)
            pose = Pose2(a.x_m + share * (b.x_m - a.x_m), a.y_m + share * (b.y_m - a.y_m), turned)
            self._draw_body(draw, placed(body, pose))

    def _draw_grid(self, draw: ImageDraw) -> None:
        """A line each metre."""
        reach_x, reach_y = self._size[1] / self._scale / 2, self._size[0] / self._scale / 2
        for x in range(math.ceil(self._centre[0] - reach_x), math.floor(self._centre[0] + reach_x) + 1):
            draw.line((0, self._px(x, 0)[1], self._size[0], self._px(x, 0)[1]), fill=(225, 222, 215), width=SMOOTH)
        for y in range(math.ceil(self._centre[1] - reach_y), math.floor(self._centre[1] + reach_y) + 1):
            draw.line((self._px(0, y)[0], 0, self._px(0, y)[0], self._size[1]), fill=(225, 222, 215), width=SMOOTH)

    def _draw_gates(self, draw: ImageDraw) -> None:
        """Beside each obstacle: the side that was asked for in green, the other in red."""
        if self._scene.task.side is None:
            return
        yaw = self._scene.start.yaw_rad
        for body in self._scene.with_role(Role.OBSTACLE):
            for side in Side:
                color = GREEN if side is self._scene.task.side else RED
                across = (-math.sin(yaw) * side.sign, math.cos(yaw) * side.sign)
                start = _extent(body, across)
                ends = [(body.x_m + across[0] * d, body.y_m + across[1] * d) for d in (start + 0.04, start + 0.9)]
                _dashed(draw, [self._px(*p) for p in ends], (*color, 150), 3 * SMOOTH, 8 * SMOOTH)

    def _draw_reach(self, draw: ImageDraw) -> None:
        """The ring that the robot's rim must touch around each object that is to be reached."""
        for body in self._targets:
            ring = [self._px(*p) for p in footprint(body, grow_m=self._scene.task.reach_m, smooth=True)]
            draw.polygon(ring, fill=(*GREEN, 28))
            _dashed(draw, [*ring, ring[0]], (*GREEN, 255), 2 * SMOOTH, 7 * SMOOTH)

    def _draw_body(self, draw: ImageDraw, body: Body) -> None:
        shape = [self._px(*p) for p in footprint(body, smooth=body.round)]
        if body.role is Role.WALL:
            draw.polygon(shape, fill=(176, 172, 164))
            return
        fill = tuple(round(255 * c) for c in body.color)
        draw.polygon(shape, fill=fill)
        number = next((n for n, target in enumerate(self._targets, 1) if target.name == body.name), 0)
        edge = GREEN if number else INK if body.role is Role.OBSTACLE else QUIET
        if body.name == self._record.collision_partner:
            edge = RED
        draw.line([*shape, shape[0]], fill=edge, width=(3 if edge in (GREEN, RED) else 2) * SMOOTH, joint="curve")
        font, name = font_for(f"{self._title(number)}: {body.kind.value}" if number else body.name, 12 * SMOOTH)
        # The robot usually comes from below: the goal's name stands above it.
        above = number > 0
        y = min(p[1] for p in shape) - 3 * SMOOTH if above else max(p[1] for p in shape) + 3 * SMOOTH
        draw.text((self._px(body.x_m, body.y_m)[0], y), name, fill=INK, font=font, anchor="md" if above else "ma")

    def _title(self, number: int) -> str:
        return "goal" if len(self._targets) == 1 else f"goal {number}"

    def _draw_bounds(self, draw: ImageDraw) -> None:
        x_min, x_max, y_min, y_max = self._scene.bounds_m
        corners = [(x_min, y_min), (x_min, y_max), (x_max, y_max), (x_max, y_min), (x_min, y_min)]
        _dashed(draw, [self._px(*c) for c in corners], (*QUIET, 255), 2 * SMOOTH, 10 * SMOOTH)

    def _draw_legend(self, draw: ImageDraw) -> None:
        side = self._scene.task.side
        text = "map, 1 m grid" + (f"   pass on the {side.value}" if side else "")
        font, shown = font_for(text, 14 * SMOOTH)
        width = draw.textlength(shown, font=font)
        s = SMOOTH
        draw.rounded_rectangle((8 * s, 8 * s, 24 * s + width, 32 * s), 6 * s, fill=(12, 14, 18, 190))
        draw.text((16 * s, 20 * s), shown, fill=WHITE, font=font, anchor="lm")

    def image(self, step: int, share: float) -> Image:
        """The map with the path so far and the robot between two poses."""
        from PIL import ImageDraw

        self._extend_path(step)
        image = self._paper.copy()
        draw = ImageDraw.Draw(image)
        x, y, yaw = self._pose(step, share)
        here = self._poses[step]
        draw.line((*self._px(here[0], here[1]), *self._px(x, y)), fill=BLUE, width=3 * SMOOTH)
        self._draw_movers(draw, step, share)
        self._draw_robot(draw, x, y, yaw)
        return image.reduce(SMOOTH)

    def _extend_path(self, step: int) -> None:
        """Put finished steps on the paper for good, so that an image costs the same late in an episode."""
        from PIL import ImageDraw

        draw = ImageDraw.Draw(self._paper)
        while self._drawn_to < step:
            a, b = self._poses[self._drawn_to], self._poses[self._drawn_to + 1]
            draw.line((*self._px(a[0], a[1]), *self._px(b[0], b[1])), fill=BLUE, width=3 * SMOOTH)
            draw.ellipse(disc(self._px(a[0], a[1]), 3.5 * SMOOTH), fill=BLUE)
            self._drawn_to += 1

    def _pose(self, step: int, share: float) -> tuple[float, float, float]:
        here, there = self._poses[step], self._poses[min(step + 1, len(self._poses) - 1)]
        x, y = here[:2] + share * (there[:2] - here[:2])
        return float(x), float(y), float(here[2] + share * wrap_angle(there[2] - here[2]))

    def _draw_robot(self, draw: ImageDraw, x_m: float, y_m: float, yaw_rad: float) -> None:
        centre, radius = self._px(x_m, y_m), self._radius_m * self._scale
        draw.ellipse(disc(centre, radius), fill=(255, 255, 255), outline=BLUE, width=3 * SMOOTH)
        nose = self._px(x_m + 0.8 * self._radius_m * math.cos(yaw_rad), y_m + 0.8 * self._radius_m * math.sin(yaw_rad))
        tail = self._px(x_m - 0.5 * self._radius_m * math.cos(yaw_rad), y_m - 0.5 * self._radius_m * math.sin(yaw_rad))
        arrow(draw, tail, nose, BLUE, max(2, round(radius * 0.22)))


def footprint(body: Body, *, grow_m: float = 0.0, smooth: bool = False) -> list[Point]:
    """Outline of a footprint in the world frame, grown outwards; with round corners where `smooth`."""
    half_x, half_y = (0.0, 0.0) if body.round else (body.size_m[0] / 2, body.size_m[1] / 2)
    grow_m += body.size_m[0] / 2 if body.round else 0.0
    count = 16 if smooth or body.round else 1
    outline = []
    for quarter, (sx, sy) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        for i in range(count):
            angle = math.pi / 2 * (quarter + (i / (count - 1) if count > 1 else 0.5))
            reach = grow_m if count > 1 else grow_m * math.sqrt(2)
            outline.append((sx * half_x + reach * math.cos(angle), sy * half_y + reach * math.sin(angle)))
    cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
    return [(body.x_m + cos * u - sin * v, body.y_m + sin * u + cos * v) for u, v in outline]


def _extent(body: Body, direction: Point) -> float:
    """How far a footprint reaches from its centre along a unit direction, in metres."""
    return max((x - body.x_m) * direction[0] + (y - body.y_m) * direction[1] for x, y in footprint(body))


def _dashed(draw: ImageDraw, points: Sequence[Point], color: tuple[int, ...], width: int, dash: float) -> None:
    """A polyline of equal dashes and gaps."""
    done = 0.0
    for a, b in pairwise(points):
        length, at = math.dist(a, b), 0.0
        while at < length:
            # At least a thousandth, so that rounding cannot keep `at` where it is.
            until = min(length, at + max(dash - done % dash, 1e-3))
            if int(done / dash) % 2 == 0:
                draw.line((*_between(a, b, at / length), *_between(a, b, until / length)), fill=color, width=width)
            done += until - at
            at = until


def _between(a: Point, b: Point, share: float) -> Point:
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def disc(centre: Point, radius: float) -> tuple[float, float, float, float]:
    """The box around a circle, as Pillow wants it."""
    return (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)


def arrow(draw: ImageDraw, tail: Point, tip: Point, color: Color, width: int) -> None:
    """Draw an arrow; nothing for one without length."""
    length = math.hypot(tip[0] - tail[0], tip[1] - tail[1])
    if length == 0:
        return
    ux, uy = (tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length
    head = min(3.0 * width, 0.7 * length)
    neck = (tip[0] - ux * head, tip[1] - uy * head)
    draw.line((*tail, *neck), fill=color, width=width)
    half = head * 0.6
    draw.polygon(
        [tip, (neck[0] - uy * half, neck[1] + ux * half), (neck[0] + uy * half, neck[1] - ux * half)], fill=color
    )
