"""What is changed about images each time training sees them: shift and colours. numpy only."""

from __future__ import annotations

import numpy as np


def shifted(frames: np.ndarray, down_px: int, right_px: int) -> np.ndarray:
    """Frames (T, h, w, 3) moved by a few pixels, contiguous; the border is repeated where nothing is known."""
    height, width = frames.shape[1:3]
    top, left = max(0, down_px), max(0, right_px)
    bottom, right = height + min(0, down_px), width + min(0, right_px)
    moved = np.empty(frames.shape, dtype=frames.dtype)
    moved[:, top:bottom, left:right] = frames[:, top - down_px : bottom - down_px, left - right_px : right - right_px]
    moved[:, top:bottom, :left] = moved[:, top:bottom, left : left + 1]
    moved[:, top:bottom, right:] = moved[:, top:bottom, right - 1 : right]
    moved[:, :top] = moved[:, top : top + 1]
    moved[:, bottom:] = moved[:, bottom - 1 : bottom]
    return moved


def colour_matrices(count: int, rng: np.random.Generator, *, strength: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Random changes of light and colour, one for each episode, as maps of RGB values in 0..255.

    Args:
        count: episodes.
        rng: where chance comes from.
        strength: 0 changes nothing, 1 is the usual.

    Returns:
        matrix float32 (count, 3, 3) and offset float32 (count, 3): new = old @ matrix + offset.
    """
    contrast = 1 + strength * rng.uniform(-0.25, 0.25, (count, 1, 1))
    brightness = strength * rng.uniform(-25, 25, (count, 1))
    saturation = 1 + strength * rng.uniform(-0.3, 0.3, (count, 1, 1))
    tint = 1 + strength * rng.uniform(-0.08, 0.08, (count, 1, 3))
    matrix = (saturation * np.eye(3) + (1 - saturation) / 3) * contrast * tint
    # Contrast turns about middle grey.
    offset = brightness + 127.5 * (1 - contrast[:, 0])
    return matrix.astype(np.float32), offset.astype(np.float32)
