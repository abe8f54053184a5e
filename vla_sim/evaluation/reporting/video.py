"""The film of one episode: what the camera saw beside a map with the path driven. H.264 or GIF.

Used by the eval and replay commands and for the pictures of the README. Nothing here needs the simulator.
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_sim.core.types import Body, Outcome, Role, Scene, Side, wrap_angle
from vla_sim.evaluation.reporting.fonts import font_for
from vla_sim.rollout.result import EpisodeRecord

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]
Point = tuple[float, float]

SIZE_PX = (960, 544)  # both divide by 16, which every decoder likes
CAMERA_PX = (16, 80, 464, 528)  # left, top, right, bottom: 448 = twice the usual 224
MAP_PX = (480, 80, 944, 528)
SMOOTH = 2  # the map is drawn this much larger and then reduced, which smooths its edges
HOLD_S = 1.2

BACKGROUND: Color = (17, 20, 26)
PAPER: Color = (244, 242, 237)
INK: Color = (38, 42, 50)
QUIET: Color = (150, 156, 168)
WHITE: Color = (255, 255, 255)
GREEN: Color = (32, 148, 86)
RED: Color = (205, 57, 48)
AMBER: Color = (201, 122, 20)
BLUE: Color = (36, 99, 214)

BANNERS = {
    Outcome.SUCCESS: (GREEN, "Success"),
    Outcome.COLLISION: (RED, "Collision"),
    Outcome.WRONG_SIDE: (RED, "Wrong side"),
    Outcome.WRONG_GOAL: (RED, "Wrong goal"),
    Outcome.OUT_OF_BOUNDS: (RED, "Left the area"),
    Outcome.TIMEOUT: (AMBER, "Out of time"),
    Outcome.ERROR: (AMBER, "Error"),
}


def video_name(record: EpisodeRecord) -> str:
    """'<scenario>_<seed>_<policy>_<outcome>.mp4', with whatever no file name may hold replaced by '-'."""
    parts = (record.scenario, str(record.seed), record.policy, record.outcome.value)
    return "_".join(re.sub(r"[^\w.-]+", "-", part).strip("-.") for part in parts) + ".mp4"


def write_video(
    path: str | Path,
    frames: Sequence[Picture],
    *,
    scene: Scene,
    record: EpisodeRecord,
    fps: float = 10.0,
    robot_radius_m: float = 0.15,
) -> None:
    """Film an episode in real time: H.264, yuv420p, the last picture held for a moment.

    Args:
        path: the .mp4 file; replaced only when the film is finished.
        frames: the T + 1 camera pictures, uint8 (H, W, 3) RGB; an episode that raised may have fewer.
        scene: the world that it took place in.
        record: the episode.
        fps: pictures per second; the robot on the map moves smoothly, the camera changes once a control step.
        robot_radius_m: size of the robot on the map.

    Raises:
        ValueError: no pictures, or not one for each pose.
        OSError: the encoder could not be run or could not write.
    """
    path = Path(path)
    pictures = _film(frames, scene, record, fps, robot_radius_m)
    first = next(pictures)  # refuses bad input before the encoder starts
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        _encode(aside, chain([first], pictures), fps)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _encode(path: Path, pictures: Iterable[Image], fps: float) -> None:
    """Pipe pictures through the ffmpeg that imageio brings along (its own writer leaves files open)."""
    from imageio_ffmpeg import get_ffmpeg_exe

    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE_PX[0]}x{SIZE_PX[1]}", "-r", str(fps), "-i", "-"]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "23", "-preset", "veryfast", "-threads", "1"]
    command = [get_ffmpeg_exe(), "-v", "error", "-y", *source, *target, "-movflags", "+faststart", str(path)]
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as encoder:
        assert encoder.stdin is not None
        try:
            for picture in pictures:
                encoder.stdin.write(picture.tobytes())
            encoder.stdin.close()
        except BrokenPipeError:
            pass  # it ended early; why stands in what it said
        except BaseException:
            encoder.kill()
            raise
        if encoder.wait() != 0:
            said.seek(0)
            reason = said.read().decode("utf-8", "replace").strip()
            raise OSError(f"could not encode {path}: {reason[:500] or f'ffmpeg ended with {encoder.returncode}'}")


def write_gif(
    path: str | Path,
    frames: Sequence[Picture],
    *,
    scene: Scene,
    record: EpisodeRecord,
    fps: float = 5.0,
    width_px: int = 480,
    colors: int = 96,
    robot_radius_m: float = 0.15,
) -> None:
    """The same film as a small endless GIF, for a README; arguments as `write_video`."""
    from PIL import Image

    size = (width_px, round(width_px * SIZE_PX[1] / SIZE_PX[0]))
    small = [p.resize(size, Image.Resampling.LANCZOS) for p in _film(frames, scene, record, fps, robot_radius_m)]
    # One palette for all pictures, taken from the first, middle and last: no flicker, small differences.
    sample = Image.new("RGB", (size[0], 3 * size[1]))
    for i, picture in enumerate((small[0], small[len(small) // 2], small[-1])):
        sample.paste(picture, (0, i * size[1]))
    palette = sample.quantize(colors)
    flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in small]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=round(1000 / fps), loop=0, optimize=True)


def _film(
    frames: Sequence[Picture], scene: Scene, record: EpisodeRecord, fps: float, robot_radius_m: float
) -> Iterator[Image]:
    """The pictures of the film, `fps` a simulated second, and the end held."""
    poses = _shown_poses(frames, record)
    board = _Board(scene, record, poses, robot_radius_m)
    last = len(poses) - 1
    for k in range(math.floor(last * record.step_s * fps + 1e-9)):
        now = k / (fps * record.step_s)
        step = min(int(now + 1e-9), last)
        yield board.picture(frames[step], step, now - step)
    end = board.picture(frames[last], last, 0.0, ended=True)
    for _ in range(max(1, round(HOLD_S * fps))):
        yield end


def _shown_poses(frames: Sequence[Picture], record: EpisodeRecord) -> NDArray[np.float64]:
    """(n, 3) poses that have a picture."""
    count = min(len(frames), len(record.path))
    if count == 0:
        raise ValueError(f"episode {record.policy}/{record.scenario}/{record.seed} has no pictures to film")
    if record.outcome is not Outcome.ERROR and len(frames) != len(record.path):
        raise ValueError(f"a film of {len(record.path)} poses needs as many pictures, got {len(frames)}")
    for frame in (frames[0], frames[count - 1]):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"pictures must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
    return np.array(record.path[:count], dtype=np.float64)


# --- the page -----------------------------------------------------------------------------------------------------


class _Board:
    """Draws one picture of the film; everything that does not change is drawn once."""

    def __init__(self, scene: Scene, record: EpisodeRecord, poses: NDArray[np.float64], robot_radius_m: float) -> None:
        self._record = record
        self._poses = poses
        self._map = _Map(scene, record, poses, robot_radius_m)
        self._page = self._empty_page(scene)
        self._peak = max([math.hypot(*(_known(a)[:2])) for a in record.actions] + [1e-6])
        self._camera: tuple[int, Image] | None = None

    def _empty_page(self, scene: Scene) -> Image:
        from PIL import Image, ImageDraw

        page = Image.new("RGB", SIZE_PX, BACKGROUND)
        draw = ImageDraw.Draw(page)
        _paragraph(draw, f"“{scene.instruction.text}”", (16, 8, 944, 52), WHITE)
        font, text = font_for(self._caption(), 13)
        draw.text((16, 57), text, fill=QUIET, font=font)
        return page

    def _caption(self) -> str:
        r = self._record
        mark = " (reads ground truth)" if r.privileged else ""
        return f"policy {r.policy}{mark}   ·   scenario {r.scenario}   ·   seed {r.seed}   ·   robot {r.embodiment}"

    def picture(self, frame: Picture, step: int, share: float, *, ended: bool = False) -> Image:
        """The page at a share (0..1) of the way from pose `step` to the next."""
        page = self._page.copy()
        page.paste(self._camera_view(frame, step, ended), CAMERA_PX[:2])
        page.paste(self._map.picture(step, share), MAP_PX[:2])
        if ended:
            self._banner(page)
        return page

    def _camera_view(self, frame: Picture, step: int, ended: bool) -> Image:
        """The camera picture with step, time and action; drawn once a control step."""
        from PIL import Image, ImageDraw

        if self._camera is not None and self._camera[0] == step and not ended:
            return self._camera[1]
        size = (CAMERA_PX[2] - CAMERA_PX[0], CAMERA_PX[3] - CAMERA_PX[1])
        view = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
        draw = ImageDraw.Draw(view, "RGBA")
        _tag(draw, (8, 8), f"camera  {frame.shape[1]}×{frame.shape[0]}")
        r = self._record
        _tag(draw, (8, size[1] - 32), f"step {step}/{len(self._poses) - 1}   {step * r.step_s:.1f} s")
        if not ended and step < len(r.actions):
            dial = _dial(_known(r.actions[step]), self._peak)
            view.paste(dial, (size[0] - dial.width - 8, size[1] - dial.height - 8), dial)
        self._camera = (step, view)
        return view

    def _banner(self, page: Image) -> None:
        from PIL import ImageDraw

        color, title = BANNERS[self._record.outcome]
        draw = ImageDraw.Draw(page)
        top = SIZE_PX[1] - 60
        draw.rectangle((0, top, SIZE_PX[0], SIZE_PX[1]), fill=color)
        big, text = font_for(title, 26, bold=True)
        draw.text((24, top + 30), text, fill=WHITE, font=big, anchor="lm")
        font, detail = font_for(self._verdict(), 17)
        draw.text((24 + draw.textlength(text, font=big) + 24, top + 31), detail, fill=WHITE, font=font, anchor="lm")

    def _verdict(self) -> str:
        r = self._record
        parts = [f"after {r.sim_time_s:.1f} s, {r.path_length_m:.2f} m"]
        if r.collision_partner:
            parts.append(f"touched {r.collision_partner}")
        if r.asked_side is not None:
            passed = f"passed {r.realised_side.value}" if r.realised_side else "did not pass"
            parts.append(f"asked {r.asked_side.value}, {passed}")
        if r.outcome is Outcome.ERROR and r.error and r.error.strip():
            parts.append(r.error.strip().splitlines()[-1][:60])
        elif r.outcome is not Outcome.COLLISION and r.min_clearance_m is not None:
            parts.append(f"clearance {r.min_clearance_m:.2f} m")
        return "   ·   ".join(parts)


def _paragraph(draw: ImageDraw, text: str, box: tuple[int, int, int, int], color: Color) -> None:
    """The text in the largest size with which it fits the box; cut with an ellipsis if none does."""
    left, top, right, bottom = box
    for size in (24, 21, 18, 16, 14):
        font, shown = font_for(" ".join(text.split()), size)
        lines = _wrapped(draw, shown, font, right - left)
        room = max(1, int((bottom - top) // (size * 1.25)))
        if len(lines) <= room:
            break
    if len(lines) > room:
        lines = [*lines[: room - 1], lines[room - 1][:-1].rstrip() + "…"]
    for i, line in enumerate(lines):
        draw.text((left, top + i * size * 1.25), line, fill=color, font=font)


def _wrapped(draw: ImageDraw, text: str, font: FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if draw.textlength(longer, font=font) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for c in word:  # a word wider than the box is broken anywhere
            if draw.textlength(lines[-1] + c, font=font) > width:
                lines.append("")
            lines[-1] += c
    return lines


def _tag(draw: ImageDraw, corner: Point, text: str) -> None:
    font, shown = font_for(text, 14)
    width = draw.textlength(shown, font=font)
    draw.rounded_rectangle((*corner, corner[0] + width + 16, corner[1] + 24), 6, fill=(12, 14, 18, 190))
    draw.text((corner[0] + 8, corner[1] + 12), shown, fill=WHITE, font=font, anchor="lm")


def _known(action: Sequence[float | None]) -> list[float]:
    """(vx, vy, wz) with 0 for what is missing."""
    values = [0.0 if v is None else v for v in action[:3]]
    return values + [0.0] * (3 - len(values))


def _dial(action: Sequence[float], peak: float) -> Image:
    """A round dial with the commanded velocity in the body frame: forward is up, left is left."""
    from PIL import Image, ImageDraw

    radius, wide, high = 46 * SMOOTH, 118 * SMOOTH, 122 * SMOOTH
    image = Image.new("RGBA", (wide, high), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, wide - 1, high - 1), 10 * SMOOTH, fill=(12, 14, 18, 190))
    centre = (wide / 2, radius + 6 * SMOOTH)
    draw.ellipse(_disc(centre, radius), outline=(120, 126, 138), width=SMOOTH)
    draw.line(
        (centre[0], centre[1] - radius, centre[0], centre[1] - radius + 6 * SMOOTH), fill=(120, 126, 138), width=SMOOTH
    )
    vx, vy, wz = action
    if math.hypot(vx, vy) > 1e-9:
        tip = (centre[0] - vy / peak * radius * 0.92, centre[1] - vx / peak * radius * 0.92)
        _arrow(draw, centre, tip, (255, 196, 61), 5 * SMOOTH)
    else:
        draw.ellipse(_disc(centre, 6 * SMOOTH), fill=(255, 196, 61))
    if abs(wz) > 1e-9:
        start, end = sorted((-90.0, -90.0 - math.copysign(70, wz)))
        draw.arc(_disc(centre, radius * 0.8), start, end, fill=(105, 190, 255), width=4 * SMOOTH)
    turn = f" wz {wz:+.2f}" if abs(wz) > 1e-9 else " m/s"
    font, text = font_for(f"vx {vx:+.2f} vy {vy:+.2f}{turn}", 9 * SMOOTH)
    draw.text((wide / 2, high - 11 * SMOOTH), text, fill=WHITE, font=font, anchor="mm")
    return image.reduce(SMOOTH)


def _disc(centre: Point, radius: float) -> tuple[float, float, float, float]:
    return (centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius)


def _arrow(draw: ImageDraw, tail: Point, tip: Point, color: Color, width: int) -> None:
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


# --- the map ------------------------------------------------------------------------------------------------------


class _Map:
    """The world from above: x (forward) is up, y (left) is left."""

    def __init__(self, scene: Scene, record: EpisodeRecord, poses: NDArray[np.float64], robot_radius_m: float) -> None:
        self._scene, self._record, self._poses, self._radius_m = scene, record, poses, robot_radius_m
        self._size = ((MAP_PX[2] - MAP_PX[0]) * SMOOTH, (MAP_PX[3] - MAP_PX[1]) * SMOOTH)
        self._fit()
        self._paper = self._draw_world()
        self._drawn_to = 0  # how many steps of the path are on the paper already

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
        for body in sorted(self._scene.bodies, key=lambda b: b.role is not Role.WALL):
            self._draw_body(draw, body)
        self._draw_bounds(draw)
        self._draw_legend(draw)
        return paper

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
        """The ring that the robot's rim must touch."""
        ring = [self._px(*p) for p in footprint(self._scene.goal, grow_m=self._scene.task.reach_m, smooth=True)]
        draw.polygon(ring, fill=(*GREEN, 28))
        _dashed(draw, [*ring, ring[0]], (*GREEN, 255), 2 * SMOOTH, 7 * SMOOTH)

    def _draw_body(self, draw: ImageDraw, body: Body) -> None:
        shape = [self._px(*p) for p in footprint(body, smooth=body.round)]
        if body.role is Role.WALL:
            draw.polygon(shape, fill=(176, 172, 164))
            return
        fill = tuple(round(255 * c) for c in body.color)
        draw.polygon(shape, fill=fill)
        edge = GREEN if body.role is Role.GOAL else INK if body.role is Role.OBSTACLE else QUIET
        if body.name == self._record.collision_partner:
            edge = RED
        draw.line([*shape, shape[0]], fill=edge, width=(3 if edge in (GREEN, RED) else 2) * SMOOTH, joint="curve")
        font, name = font_for(body.name if body.role is not Role.GOAL else f"goal: {body.kind.value}", 12 * SMOOTH)
        # The robot usually comes from below: the goal's name stands above it.
        above = body.role is Role.GOAL
        y = min(p[1] for p in shape) - 3 * SMOOTH if above else max(p[1] for p in shape) + 3 * SMOOTH
        draw.text((self._px(body.x_m, body.y_m)[0], y), name, fill=INK, font=font, anchor="md" if above else "ma")

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

    def picture(self, step: int, share: float) -> Image:
        """The map with the path so far and the robot between two poses."""
        from PIL import ImageDraw

        self._extend_path(step)
        image = self._paper.copy()
        draw = ImageDraw.Draw(image)
        x, y, yaw = self._pose(step, share)
        here = self._poses[step]
        draw.line((*self._px(here[0], here[1]), *self._px(x, y)), fill=BLUE, width=3 * SMOOTH)
        self._draw_robot(draw, x, y, yaw)
        return image.reduce(SMOOTH)

    def _extend_path(self, step: int) -> None:
        """Put finished steps on the paper for good, so that a picture costs the same late in an episode."""
        from PIL import ImageDraw

        draw = ImageDraw.Draw(self._paper)
        while self._drawn_to < step:
            a, b = self._poses[self._drawn_to], self._poses[self._drawn_to + 1]
            draw.line((*self._px(a[0], a[1]), *self._px(b[0], b[1])), fill=BLUE, width=3 * SMOOTH)
            draw.ellipse(_disc(self._px(a[0], a[1]), 3.5 * SMOOTH), fill=BLUE)
            self._drawn_to += 1

    def _pose(self, step: int, share: float) -> tuple[float, float, float]:
        here, there = self._poses[step], self._poses[min(step + 1, len(self._poses) - 1)]
        x, y = here[:2] + share * (there[:2] - here[:2])
        return float(x), float(y), float(here[2] + share * wrap_angle(there[2] - here[2]))

    def _draw_robot(self, draw: ImageDraw, x_m: float, y_m: float, yaw_rad: float) -> None:
        centre, radius = self._px(x_m, y_m), self._radius_m * self._scale
        draw.ellipse(_disc(centre, radius), fill=(255, 255, 255), outline=BLUE, width=3 * SMOOTH)
        nose = self._px(x_m + 0.8 * self._radius_m * math.cos(yaw_rad), y_m + 0.8 * self._radius_m * math.sin(yaw_rad))
        tail = self._px(x_m - 0.5 * self._radius_m * math.cos(yaw_rad), y_m - 0.5 * self._radius_m * math.sin(yaw_rad))
        _arrow(draw, tail, nose, BLUE, max(2, round(radius * 0.22)))


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
