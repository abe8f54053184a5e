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

from vla_sim.core import encoding
from vla_sim.core.errors import UserError
from vla_sim.datasets.untrusted import MAX_PIXELS, PARSER_ERRORS, check_pixels, check_size, data_file, described

# A key frame every second frame, as LeRobot does: training draws single frames at random.
GOP = 2


def write_film(path: Path, images: Iterable[np.ndarray], fps: int) -> None:
    """Encode images as LeRobot does; arguments and errors as `vla_sim.core.encoding.write_film`."""
    encoding.write_film(path, images, fps, key_frame_every=GOP)


def join_films(path: Path, parts: Sequence[Path], fps: int) -> list[int]:
    """One film of several, made by `write_film` from images of one size, without recoding.

    Returns:
        The number of frames of each part.
    """
    import av

    counts = []
    with av.open(str(path), "w", format="mp4") as film:
        stream: Any = None
        start = 0
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


def read_frames(path: Path, start_s: float, count: int, fps: float, root: Path | None = None) -> Iterator[np.ndarray]:
    """Frames from a time on, decoded one after the other: uint8 (height, width, 3) RGB.

    Args:
        path: an MP4 film of any codec that PyAV decodes.
        start_s: time of the first.
        count: how many.
        fps: its rate; a frame that is off by half a frame is refused.
        root: of the data set, which the film must not leave.

    Raises:
        UserError: the film cannot be decoded or lacks a frame.
    """
    import av

    found, shape = 0, (0, 0)
    try:
        # Only this container: a playlist under the name of a film would have other files opened.
        with av.open(str(data_file(path, root)), format="mp4", options={"protocol_whitelist": "file"}) as film:
            stream: Any = film.streams.video[0]
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            check_pixels(stream.codec_context.width, stream.codec_context.height, path)
            film.seek(max(0, int((start_s - 0.5 / fps) / stream.time_base)), stream=stream, backward=True)
            for frame in film.decode(stream):
                late = float(frame.pts * stream.time_base) - (start_s + found / fps)
                if late < -0.5 / fps:
                    continue
                if late > 0.5 / fps:
                    break
                if found == 0:
                    shape = frame.height, frame.width
                    check_size(f"{path}: {count} images", count * frame.height * frame.width * 3)
                if (frame.height, frame.width) != shape:
                    raise UserError(f"{path}: its images differ in size, from {start_s + found / fps:.3f} s on")
                yield frame.to_ndarray(format="rgb24")
                found += 1
                if found == count:
                    return
    except (*PARSER_ERRORS, av.FFmpegError) as error:
        raise UserError(f"{path} cannot be decoded: {described(error)}") from error
    raise UserError(f"{path} lacks the frame at {start_s + found / fps:.3f} s; the film and its index disagree")
