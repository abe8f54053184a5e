"""H.264 films whose frames are exactly where a reader seeks them: constant rate, exact counts, joined without recoding.

LeRobot's readers seek `from_timestamp + timestamp` and refuse a frame that is off by more than a tolerance. So no
B-frames are made (they shift time stamps), and films are joined packet by packet with time stamps counted in frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError

CODEC, PIXELS, ENCODER = "h264", "yuv420p", "libx264"
# A key frame every second frame, as LeRobot does: training draws single frames at random.
GOP = 2
# Visually near the original; LeRobot's own default for AV1 (30) stands for about 23 in H.264.
CRF, PRESET = 18, "veryfast"


def need_av() -> Any:
    """PyAV, which the optional extra `data` brings.

    Raises:
        UserError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError('films need PyAV: install it with pip install "vla-sim[data]"') from error
    return av


def write_film(path: Path, images: Iterable[np.ndarray], fps: int) -> None:
    """Encode pictures, one frame each.

    Args:
        path: the mp4 file.
        images: uint8 (height, width, 3) RGB each, all of one even height and width.
        fps: frames per second.

    Raises:
        UserError: PyAV or its H.264 encoder is missing, or a side is odd.
    """
    av = need_av()
    if ENCODER not in av.codecs_available:
        raise UserError(f"this PyAV has no {ENCODER} encoder; video=False keeps pictures instead")
    with av.open(str(path), "w", format="mp4") as film:
        stream = None
        for number, image in enumerate(images):
            if stream is None:
                stream = _new_stream(film, image.shape, fps)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            film.mux(stream.encode(frame))
        if stream is not None:
            film.mux(stream.encode(None))


def check_size(width: int, height: int) -> None:
    """Refuse pictures that no film can hold.

    Raises:
        UserError: a side is odd.
    """
    if height % 2 or width % 2:
        raise UserError(
            f"H.264 films need even sides, got {width} x {height}; keep pictures instead (--images, or video=False)"
        )


def _new_stream(film: Any, shape: Sequence[int], fps: int) -> Any:
    height, width = shape[:2]
    check_size(width, height)
    options = {"preset": PRESET, "crf": str(CRF), "bf": "0", "threads": "1"}
    stream = film.add_stream(ENCODER, rate=fps, options=options)
    stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
    stream.codec_context.gop_size = GOP
    return stream


def join_films(path: Path, parts: Sequence[Path], fps: int) -> list[int]:
    """One film of several, made by `write_film` from pictures of one size, without recoding.

    Returns:
        The number of frames of each part.
    """
    av = need_av()
    counts = []
    with av.open(str(path), "w", format="mp4") as film:
        stream, start = None, 0
        for part in parts:
            with av.open(str(part)) as source:
                if stream is None:
                    stream = film.add_stream_from_template(source.streams.video[0])
                    stream.time_base = Fraction(1, fps)
                count = 0
                for packet in source.demux(source.streams.video[0]):
                    if packet.size == 0:
                        continue
                    packet.stream, packet.time_base = stream, Fraction(1, fps)
                    packet.pts = packet.dts = start + count
                    packet.duration = 1
                    film.mux(packet)
                    count += 1
            counts.append(count)
            start += count
    return counts


def read_frames(path: Path, start_s: float, count: int, fps: float) -> Iterator[np.ndarray]:
    """Frames from a time on, decoded one after the other: uint8 (height, width, 3) RGB.

    Args:
        path: a film of any codec that PyAV decodes.
        start_s: time of the first.
        count: how many.
        fps: its rate; a frame that is off by half a frame is refused.

    Raises:
        UserError: the film cannot be decoded or lacks a frame.
    """
    av = need_av()
    found = 0
    try:
        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            film.seek(max(0, int((start_s - 0.5 / fps) / stream.time_base)), stream=stream, backward=True)
            for frame in film.decode(stream):
                wanted_s = start_s + found / fps
                late = float(frame.pts * stream.time_base) - wanted_s
                if late < -0.5 / fps:
                    continue
                if late > 0.5 / fps:
                    break
                yield frame.to_ndarray(format="rgb24")
                found += 1
                if found == count:
                    return
    except (av.FFmpegError, OSError, IndexError) as error:
        raise UserError(f"{path} cannot be decoded: {error}") from error
    raise UserError(f"{path} lacks the frame at {start_s + found / fps:.3f} s; the film and its index disagree")
