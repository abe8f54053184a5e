"""A camera that is mounted or cut a little differently: images change, and nothing else. Pillow does the warping."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vla_sim.augmentation.base import changed, check_strength, robot_of
from vla_sim.core.episode import Episode
from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Look, Pose2, Vec3
from vla_sim.sim.camera import camera_pose

# Largest roll, pitch and yaw at strength 1.
MOST_TILT_DEG = 2.0
# Largest share of width and height that is cut away at strength 1.
MOST_CROP = 0.12


@dataclass(frozen=True)
class Tilt:
    """The camera's mount bent by a small rotation: a homography, exact for a camera without distortion.

    Attributes:
        strength: 1 is up to 2 degrees about each axis.
        embodiment: name or file of the robot, for recordings that do not say theirs.
    """

    strength: float = 1.0
    embodiment: str | None = None

    def __post_init__(self) -> None:
        check_strength("tilt", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode as the bent camera sees it; where it would see more, the border is repeated."""
        if self.strength == 0:
            return episode
        most = math.radians(self.strength * MOST_TILT_DEG)
        roll, pitch, yaw = rng.uniform(-most, most, 3).tolist()
        images = tilted(episode.images, robot_of(episode, self.embodiment).camera, (roll, pitch, yaw))
        return changed(episode, "tilt", {"roll_rad": roll, "pitch_rad": pitch, "yaw_rad": yaw}, images=images)


def tilted(images: np.ndarray, camera: CameraSpec, tilt_rad: Vec3) -> np.ndarray:
    """Images of a camera after its mount was bent.

    Args:
        images: uint8 (T, H, W, 3).
        camera: for its fields of view and pitch.
        tilt_rad: roll, pitch, yaw as `Look.camera_tilt_rad`; pitch positive looks down.

    Returns:
        uint8 (T, H, W, 3); unknown pixels are those of the nearest border.
    """
    from PIL import Image

    height, width = images.shape[1:3]
    border = math.ceil(0.25 * max(height, width))
    back = _to_old_pixels(camera, tilt_rad, (width, height), border)
    made = np.empty_like(images)
    for index, image in enumerate(images):
        wide = Image.fromarray(np.pad(image, ((border, border), (border, border), (0, 0)), mode="edge"))
        made[index] = np.asarray(
            wide.transform((width, height), Image.Transform.PERSPECTIVE, back, Image.Resampling.BICUBIC)
        )
    return made


def _to_old_pixels(camera: CameraSpec, tilt_rad: Vec3, size_px: tuple[int, int], border: int) -> list[float]:
    """The eight numbers of the map from new pixels to those of the old image with a border."""
    straight = replace(Look(), camera_tilt_rad=(0.0, 0.0, 0.0))
    bent = replace(Look(), camera_tilt_rad=tilt_rad)
    here = Pose2(0.0, 0.0)
    # Columns: forward, left, up. A ray of the new camera in the axes of the old one.
    turn = camera_pose(camera, straight, here)[1].T @ camera_pose(camera, bent, here)[1]
    width, height = size_px
    half_x, half_y = math.tan(camera.hfov_rad / 2), math.tan(camera.vfov_rad / 2)
    # Pillow maps pixel centres through the corner-based coordinates that are used here.
    ray_of_pixel = np.array(
        [[0, 0, 1], [-2 * half_x / width, 0, half_x], [0, -2 * half_y / height, half_y]], dtype=np.float64
    )
    pixel_of_ray = np.array(
        [
            [width / 2 + border, -width / (2 * half_x), 0],
            [height / 2 + border, 0, -height / (2 * half_y)],
            [1, 0, 0],
        ]
    )
    whole = pixel_of_ray @ turn @ ray_of_pixel
    return [float(value) for value in (whole / whole[2, 2]).ravel()[:8]]


@dataclass(frozen=True)
class Crop:
    """A part of every image, the same for the whole episode, enlarged to the full size."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("crop", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode as a slightly longer lens would see it."""
        if self.strength == 0:
            return episode
        from PIL import Image

        height, width = episode.images.shape[1:3]
        cut = self.strength * rng.uniform(0.2, 1.0) * MOST_CROP
        left, top = rng.uniform(0, cut, 2) * (width, height)
        box = (left, top, left + (1 - cut) * width, top + (1 - cut) * height)
        images = np.stack(
            [
                np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC, box=box))
                for image in episode.images
            ]
        )
        noted = {"cut": cut, "left_px": float(left), "top_px": float(top)}
        return changed(episode, "crop", noted, images=images)
