"""What further sensors showed, as small pictures within the camera's image of a film."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vla_sim.core.font import font_for
from vla_sim.core.sensors import LidarSpec
from vla_sim.core.specs import Embodiment
from vla_sim.sim.lidar import ray_angles

# Width of the image with pictures in it, and side and distance of those, in pixels.
WIDTH_PX, SIDE_PX, GAP_PX = 448, 104, 6
# Depths from here on are black, and ranges from here on are not shown.
FAR_M = 5.0


def with_sensors(
    frames: Sequence[np.ndarray], sensors: Mapping[str, Sequence[np.ndarray]], robot: Embodiment
) -> Sequence[np.ndarray]:
    """The images of a camera with a picture of each sensor along their lower edge; as they are where there is none.

    Args:
        frames: uint8 (H, W, 3) RGB.
        sensors: what each showed with every image, by name: an image, depths (H, W) or ranges (rays,) in metres.
        robot: has these sensors.
    """
    if not sensors:
        return frames
    return [
        _with_tiles(frame, {n: values[i] for n, values in sensors.items()}, robot) for i, frame in enumerate(frames)
    ]


def _with_tiles(frame: np.ndarray, shown: Mapping[str, np.ndarray], robot: Embodiment) -> np.ndarray:
    from PIL import Image, ImageDraw

    height = round(WIDTH_PX * frame.shape[0] / frame.shape[1])
    image = Image.fromarray(frame).resize((WIDTH_PX, height), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(image)
    for number, (name, values) in enumerate(shown.items()):
        x, y = GAP_PX + number * (SIDE_PX + GAP_PX), height - SIDE_PX - GAP_PX
        picture = Image.fromarray(picture_of(values, robot.sensors.get(name)))
        image.paste(picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST), (x, y))
        pen.rectangle((x, y, x + SIDE_PX, y + SIDE_PX), outline=(255, 255, 255))
        font, label = font_for(name, 13)
        pen.text((x + 4, y + 2), label, fill=(255, 200, 60), font=font)
    return np.asarray(image)


def picture_of(values: np.ndarray, sensor: object) -> np.ndarray:
    """What a sensor showed, uint8 (H, W, 3): images as they are, near depths bright, ranges from above, ahead is up."""
    if values.ndim == 3:
        return values
    if values.ndim == 2:
        gray = np.clip(255 * (1 - values / FAR_M), 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    picture = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    angles = ray_angles(sensor) if isinstance(sensor, LidarSpec) else np.linspace(-np.pi, np.pi, len(values))
    seen = values < FAR_M
    middle = SIDE_PX // 2
    scale = (middle - 2) / FAR_M
    down = (middle - values * np.cos(angles) * scale).astype(int)[seen]
    right = (middle - values * np.sin(angles) * scale).astype(int)[seen]
    for dy in (0, 1):
        for dx in (0, 1):
            picture[down + dy, right + dx] = (90, 220, 120)
    picture[middle - 2 : middle + 3, middle - 2 : middle + 3] = 255
    return picture
