"""The film of one episode: what the camera saw beside a map with the path driven. H.264 or GIF.

Used by the eval and replay commands and for the images of the README. Nothing here needs the simulator.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vla_sim.core.encoding import write_film
from vla_sim.core.font import font_for
from vla_sim.core.types import USERS, Outcome, Scene
from vla_sim.evaluation.reporting.map import GREEN, QUIET, RED, SMOOTH, WHITE, Color, Map, Point, arrow, disc
from vla_sim.rollout.result import EpisodeResult

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Frame = NDArray[np.uint8]

SIZE_PX = (960, 544)  # both divide by 16, which every decoder likes
CAMERA_PX = (16, 80, 464, 528)  # left, top, right, bottom: 448 = twice the usual 224
MAP_PX = (480, 80, 944, 528)
HOLD_S = 1.2
CRF = 23

BACKGROUND: Color = (17, 20, 26)
AMBER: Color = (201, 122, 20)

BANNERS = {
    Outcome.SUCCESS: (GREEN, "Success"),
    Outcome.REFUSED: (GREEN, "Refused, as it should"),
    Outcome.STOPPED_SHORT: (AMBER, "Stopped short"),
    Outcome.COLLISION: (RED, "Collision"),
    Outcome.WRONG_SIDE: (RED, "Wrong side"),
    Outcome.WRONG_GOAL: (RED, "Wrong goal"),
    Outcome.OUT_OF_BOUNDS: (RED, "Left the area"),
    Outcome.TIMEOUT: (AMBER, "Out of time"),
    Outcome.ERROR: (AMBER, "Error"),
}


def write_video(
    path: str | Path,
    frames: Sequence[Frame],
    *,
    scene: Scene,
    record: EpisodeResult,
    fps: float = 10.0,
    robot_radius_m: float = 0.15,
) -> None:
    """Film an episode in real time: H.264, yuv420p, the last image held for a moment.

    Args:
        path: the .mp4 file; replaced only when the film is finished.
        frames: the T + 1 camera images, uint8 (H, W, 3) RGB; an episode that raised may have fewer.
        scene: the world that it took place in.
        record: the episode.
        fps: images per second; the robot on the map moves smoothly, the camera changes once a control step.
        robot_radius_m: size of the robot on the map.

    Raises:
        ValueError: no images, or not one for each pose.
        OSError: the film could not be encoded or written.
    """
    path = Path(path)
    images = _film(frames, scene, record, fps, robot_radius_m)
    first = next(images)  # refuses bad input before the encoder starts
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write_film(aside, (np.asarray(image) for image in chain([first], images)), fps, crf=CRF)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_gif(
    path: str | Path,
    frames: Sequence[Frame],
    *,
    scene: Scene,
    record: EpisodeResult,
    fps: float = 5.0,
    width_px: int = 480,
    colors: int = 96,
    robot_radius_m: float = 0.15,
) -> None:
    """The same film as a small endless GIF, for a README; arguments as `write_video`."""
    from PIL import Image

    size = (width_px, round(width_px * SIZE_PX[1] / SIZE_PX[0]))
    small = [p.resize(size, Image.Resampling.LANCZOS) for p in _film(frames, scene, record, fps, robot_radius_m)]
    # One palette for all images, taken from the first, middle and last: no flicker, small differences.
    sample = Image.new("RGB", (size[0], 3 * size[1]))
    for i, image in enumerate((small[0], small[len(small) // 2], small[-1])):
        sample.paste(image, (0, i * size[1]))
    palette = sample.quantize(colors)
    flat = [p.quantize(palette=palette, dither=Image.Dither.NONE) for p in small]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    flat[0].save(path, save_all=True, append_images=flat[1:], duration=round(1000 / fps), loop=0, optimize=True)


def _film(
    frames: Sequence[Frame], scene: Scene, record: EpisodeResult, fps: float, robot_radius_m: float
) -> Iterator[Image]:
    """The images of the film, `fps` a simulated second, and the end held."""
    poses = _shown_poses(frames, record)
    page = _Page(scene, record, poses, robot_radius_m)
    last = len(poses) - 1
    for k in range(math.floor(last * record.step_s * fps + 1e-9)):
        now = k / (fps * record.step_s)
        step = min(int(now + 1e-9), last)
        yield page.image(frames[step], step, now - step)
    end = page.image(frames[last], last, 0.0, ended=True)
    for _ in range(max(1, round(HOLD_S * fps))):
        yield end


def _shown_poses(frames: Sequence[Frame], record: EpisodeResult) -> NDArray[np.float64]:
    """(n, 3) poses that have an image."""
    count = min(len(frames), len(record.path))
    if count == 0:
        raise ValueError(f"episode {record.policy}/{record.scenario}/{record.seed} has no images to film")
    if record.outcome is not Outcome.ERROR and len(frames) != len(record.path):
        raise ValueError(f"a film of {len(record.path)} poses needs as many images, got {len(frames)}")
    for frame in (frames[0], frames[count - 1]):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"images must be uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
    return np.array(record.path[:count], dtype=np.float64)


# --- the page -----------------------------------------------------------------------------------------------------


class _Page:
    """Draws one image of the film; everything that does not change is drawn once."""

    def __init__(self, scene: Scene, record: EpisodeResult, poses: NDArray[np.float64], robot_radius_m: float) -> None:
        self._record = record
        self._poses = poses
        self._map = Map(scene, record, poses, robot_radius_m, (MAP_PX[2] - MAP_PX[0], MAP_PX[3] - MAP_PX[1]))
        said = record.extra.get("sentences") or [[0.0, scene.instruction.text]]
        self._pages = [(float(at_s), self._empty_page(text)) for at_s, text in said]
        self._peak = max([math.hypot(*(_known(a)[:2])) for a in record.actions] + [1e-6])
        self._camera: tuple[int, Image] | None = None

    def _empty_page(self, sentence: str) -> Image:
        from PIL import Image, ImageDraw

        page = Image.new("RGB", SIZE_PX, BACKGROUND)
        draw = ImageDraw.Draw(page)
        _paragraph(draw, f"“{sentence}”", (16, 8, 944, 52), WHITE)
        font, text = font_for(self._caption(), 13)
        draw.text((16, 57), text, fill=QUIET, font=font)
        return page

    def _caption(self) -> str:
        r = self._record
        mark = " (reads privileged state)" if r.privileged else ""
        own = "   ·   told by the user" if r.phrasing == USERS else ""
        return (
            f"policy {r.policy}{mark}{own}   ·   scenario {r.scenario}   ·   seed {r.seed}   ·   robot {r.embodiment}"
        )

    def image(self, frame: Frame, step: int, share: float, *, ended: bool = False) -> Image:
        """The page at a share (0..1) of the way from pose `step` to the next."""
        now_s = step * self._record.step_s + 1e-6
        page = [page for at_s, page in self._pages if at_s <= now_s][-1].copy()
        page.paste(self._camera_view(frame, step, ended), CAMERA_PX[:2])
        page.paste(self._map.image(step, share), MAP_PX[:2])
        if ended:
            self._banner(page)
        return page

    def _camera_view(self, frame: Frame, step: int, ended: bool) -> Image:
        """The camera image with step, time and action; drawn once a control step."""
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
        big, text = font_for(title, 26)
        draw.text((24, top + 30), text, fill=WHITE, font=big, anchor="lm", stroke_width=1)
        font, detail = font_for(self._verdict(), 17)
        draw.text((24 + draw.textlength(text, font=big) + 24, top + 31), detail, fill=WHITE, font=font, anchor="lm")

    def _verdict(self) -> str:
        r = self._record
        parts = [f"after {r.sim_time_s:.1f} s, {r.path_length_m:.2f} m"]
        if r.outcome is Outcome.WRONG_GOAL and r.extra.get("reached_object"):
            parts.append(f"reached {r.extra['reached_object']}")
        if r.collision_partner:
            parts.append(f"touched {r.collision_partner}")
        if r.extra.get("legs"):
            parts.append(f"{r.extra['legs_done']} of {r.extra['legs']} legs")
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
    draw.ellipse(disc(centre, radius), outline=(120, 126, 138), width=SMOOTH)
    draw.line(
        (centre[0], centre[1] - radius, centre[0], centre[1] - radius + 6 * SMOOTH), fill=(120, 126, 138), width=SMOOTH
    )
    vx, vy, wz = action
    if math.hypot(vx, vy) > 1e-9:
        tip = (centre[0] - vy / peak * radius * 0.92, centre[1] - vx / peak * radius * 0.92)
        arrow(draw, centre, tip, (255, 196, 61), 5 * SMOOTH)
    else:
        draw.ellipse(disc(centre, 6 * SMOOTH), fill=(255, 196, 61))
    if abs(wz) > 1e-9:
        start, end = sorted((-90.0, -90.0 - math.copysign(70, wz)))
        draw.arc(disc(centre, radius * 0.8), start, end, fill=(105, 190, 255), width=4 * SMOOTH)
    turn = f" wz {wz:+.2f}" if abs(wz) > 1e-9 else " m/s"
    font, text = font_for(f"vx {vx:+.2f} vy {vy:+.2f}{turn}", 9 * SMOOTH)
    draw.text((wide / 2, high - 11 * SMOOTH), text, fill=WHITE, font=font, anchor="mm")
    return image.reduce(SMOOTH)
