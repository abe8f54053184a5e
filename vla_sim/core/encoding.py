"""Images to H.264 films, through imageio's PyAV plugin: the one encoder of films in reports and in data sets.

Every film has a constant rate and no B-frames, which shift time stamps: frame k stands exactly at k / fps seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError

CODEC, PIXELS, ENCODER = "h264", "yuv420p", "libx264"
CRF, PRESET = 18, "veryfast"  # visually near the original


def write_film(
    path: Path, images: Iterable[np.ndarray], fps: float, *, crf: int = CRF, key_frame_every: int = 250
) -> None:
    """Encode images, one frame each.

    Args:
        path: the mp4 file. What a failed call leaves of it is the caller's to remove.
        images: uint8 (height, width, 3) RGB each, all of one even height and width.
        fps: frames per second.
        crf: constant rate factor of H.264, 0 (lossless) to 51.
        key_frame_every: frames from one key frame to the next; small where single frames are read at random.

    Raises:
        UserError: this PyAV has no H.264 encoder, or a side is odd.
        OSError: the film cannot be encoded or written.
    """
    import av
    import imageio.v3 as iio

    if ENCODER not in av.codecs_available:
        raise UserError(f"this PyAV has no {ENCODER} encoder: reinstall it from its wheel (pip install av)")
    try:
        film: Any
        with iio.imopen(path, "w", plugin="pyav", extension=".mp4") as film:
            for number, image in enumerate(images):
                if number == 0:
                    check_size(image.shape[1], image.shape[0])
                    film.init_video_stream(
                        ENCODER, fps=float(fps), pixel_format=PIXELS, max_keyframe_interval=key_frame_every
                    )
                    # imageio has no public way to the encoder's own options.
                    options = {"preset": PRESET, "crf": str(crf), "bf": "0", "threads": "1"}
                    film._video_stream.codec_context.options = options
                film.write_frame(image)
    except av.FFmpegError as error:
        raise OSError(f"could not encode {path}: {error.strerror or error}") from error


def check_size(width: int, height: int) -> None:
    """Refuse images that no film can hold.

    Raises:
        UserError: a side is odd.
    """
    if height % 2 or width % 2:
        raise UserError(
            f"H.264 films need even sides, got {width} x {height}; keep images instead (--images, or video=False)"
        )
