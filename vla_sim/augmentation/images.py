"""Other light, colours and camera faults: images change, and nothing else. Pillow does blur and JPEG.

What belongs to an episode (light, colours, focus, the camera's settings) is drawn once an episode; only the noise of
the sensor differs from image to image. Strength 1 is about what rooms, days and cameras differ by; 0 changes nothing.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_sim.augmentation.base import changed, check_strength
from vla_sim.augmentation.jitter import colour_matrices
from vla_sim.core.episode import Episode

# At strength 1, as logarithms: brightness and exponent of the tone curve. Dark rooms are commoner than glare, and what
# is burnt out has lost its colour: images are darkened more than brightened.
GAIN, GAMMA = (-0.35, 0.12), (-0.2, 0.2)
# At strength 1: share by which one border may be lighter, and the other darker, than the middle.
SLOPE = 0.35
# Largest radius of the blur at strength 1, as share of the image's height: 1.6 pixels of 224.
BLUR_SHARE = 1.6 / 224
# Largest deviation of dark pixels, and largest variance per grey level.
READ_NOISE, SHOT_NOISE = 6.0, 0.35
# Quality is BEST_QUALITY minus up to this.
BEST_QUALITY, QUALITY_LOSS, LEAST_QUALITY = 95, 65, 10


@dataclass(frozen=True)
class Light:
    """Brighter or darker, another tone curve, and light that falls off toward one border."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("light", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode in another light."""
        if self.strength == 0:
            return episode
        gain = math.exp(self.strength * rng.uniform(*GAIN))
        gamma = math.exp(self.strength * rng.uniform(*GAMMA))
        slope = min(0.9, self.strength * rng.uniform(0, SLOPE))
        toward_rad = rng.uniform(-math.pi, math.pi)
        tone = gain * 255 * (np.arange(256) / 255) ** gamma
        falloff = 1 + slope * _ramp(episode.images.shape[1:3], toward_rad)
        images = _each(episode.images, lambda image: tone.astype(np.float32)[image] * falloff[..., None])
        noted = {"gain": gain, "gamma": gamma, "slope": slope, "toward_rad": toward_rad}
        return changed(episode, "light", noted, images=images)


def _ramp(size: tuple[int, ...], toward_rad: float) -> np.ndarray:
    """From -1 at one border to 1 at the other, in a direction (0 right, pi/2 down), float32 (H, W)."""
    height, width = size
    down, right = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None]
    across = math.cos(toward_rad) * right + math.sin(toward_rad) * down
    return (across / np.abs(across).max()).astype(np.float32)


@dataclass(frozen=True)
class Colour:
    """Other contrast, saturation, brightness and tint of the whole episode. Hues stay: sentences name colours."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("colour", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode in other colours."""
        if self.strength == 0:
            return episode
        matrices, offsets = colour_matrices(1, rng, strength=self.strength)
        matrix, offset = matrices[0], offsets[0]
        images = _each(episode.images, lambda image: image.astype(np.float32) @ matrix + offset)
        listed = " ".join(f"{value:.3f}" for value in (*matrix.ravel(), *offset))
        return changed(episode, "colour", {"strength": self.strength, "map": listed}, images=images)


@dataclass(frozen=True)
class Blur:
    """A camera out of focus: a Gaussian blur of one radius for the whole episode."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("blur", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The blurred episode."""
        if self.strength == 0:
            return episode
        from PIL import Image, ImageFilter

        radius_px = self.strength * rng.uniform(0.15, 1.0) * BLUR_SHARE * episode.images.shape[1]
        lens = ImageFilter.GaussianBlur(radius_px)
        images = _each(episode.images, lambda image: np.asarray(Image.fromarray(image).filter(lens)))
        return changed(episode, "blur", {"radius_px": radius_px}, images=images)


@dataclass(frozen=True)
class Noise:
    """Noise of a sensor: even in the dark, and growing with the light as that of photons does; new in each image."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("noise", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The noisy episode."""
        if self.strength == 0:
            return episode
        read, shot = self.strength * rng.uniform(0.2, 1.0, 2) * (READ_NOISE, SHOT_NOISE)
        deviation = np.sqrt(read**2 + shot * np.arange(256)).astype(np.float32)

        def noisy(image: np.ndarray) -> np.ndarray:
            drawn = rng.standard_normal(image.shape, dtype=np.float32)
            return image + deviation[image] * drawn

        images = _each(episode.images, noisy)
        return changed(episode, "noise", {"read": float(read), "shot": float(shot)}, images=images)


@dataclass(frozen=True)
class Jpeg:
    """Images that went through JPEG of one quality."""

    strength: float = 1.0

    def __post_init__(self) -> None:
        check_strength("jpeg", self.strength)

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode with the blocks and colour fringes of JPEG."""
        if self.strength == 0:
            return episode
        lost = self.strength * rng.uniform(0.2, 1.0) * QUALITY_LOSS
        quality = max(LEAST_QUALITY, round(BEST_QUALITY - lost))
        images = _each(episode.images, lambda image: through_jpeg(image, quality))
        return changed(episode, "jpeg", {"quality": quality}, images=images)


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """What is left of an image, uint8 (H, W, 3), after JPEG of this quality (1 to 95)."""
    from PIL import Image

    packed = io.BytesIO()
    Image.fromarray(image).save(packed, "JPEG", quality=quality)
    with Image.open(packed) as read:
        return np.asarray(read.convert("RGB"))


def _each(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """All images changed, as bytes again: one at a time, so that long drives need no memory."""
    made = np.empty_like(images)
    for index, image in enumerate(images):
        new = change(image)
        made[index] = new if new.dtype == np.uint8 else np.clip(np.rint(new), 0, 255)
    return made
