"""The columns of a LeRobot set: its features, and an episode as a table. Used by the writer."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.core.encoding import CODEC, CRF, PIXELS, PRESET
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.lerobot.format import (
    ACTION,
    AUTOMATIC,
    CAMERA,
    DONE,
    EXPERT,
    OBSERVATION,
    STATE,
    SUCCESS,
    TRUNCATED,
)
from vla_sim.datasets.lerobot.video import GOP

Features = dict[str, dict[str, Any]]


def features_of(
    episode: Episode, *, fps: int, video: bool, states: bool | None = None, outcomes: bool | None = None
) -> Features:
    """The features of a data set as an episode needs them.

    Args:
        episode: the first, or one that must fit.
        fps: frames per second.
        video: films, not images in the tables.
        states: whether there is a column for them; None: as the episode has them.
        outcomes: the same for outcomes.

    Raises:
        UserError: it lacks what there is to be a column for.
    """
    height, width = episode.images.shape[1:3]
    if states and episode.states is None:
        raise UserError(f"episode {episode.name} has no states; states=False leaves them out of the data set")
    if outcomes and episode.outcome is None:
        raise UserError(f"episode {episode.name} has no outcome; outcomes=False leaves them out of the tables")
    states = episode.states is not None if states is None else states
    outcomes = episode.outcome is not None if outcomes is None else outcomes
    motion = {"dtype": "float32", "shape": [len(episode.action_names)], "names": list(episode.action_names)}
    flag = {"dtype": "bool", "shape": [1], "names": None}
    features = {CAMERA: _camera(height, width, fps, video)}
    for name, values in episode.sensors.items():
        shape = list(values.shape[1:])
        if values.dtype == np.uint8:
            features[OBSERVATION + name] = _camera(shape[0], shape[1], fps, video)
        else:
            features[OBSERVATION + name] = {"dtype": "float32", "shape": shape, "names": None}
    if states:
        names = list(episode.state_names)
        features[STATE] = {"dtype": "float32", "shape": [len(names)], "names": names}
    features |= {ACTION: motion, EXPERT: dict(motion), DONE: dict(flag)}
    if outcomes:
        features |= {SUCCESS: dict(flag), TRUNCATED: dict(flag)}
    return features | AUTOMATIC


def cameras_of(features: Features) -> tuple[str, ...]:
    """The features that hold images."""
    return tuple(name for name, feature in features.items() if feature["dtype"] in ("video", "image"))


def _camera(height: int, width: int, fps: int, video: bool) -> dict[str, Any]:
    camera: dict[str, Any] = {
        "dtype": "video" if video else "image",
        "shape": [height, width, 3],
        "names": ["height", "width", "channel"],
    }
    return {**camera, "info": _film_info(height, width, fps)} if video else camera


def table_of(columns: Mapping[str, np.ndarray], images: Mapping[str, np.ndarray], held: int, features: Features) -> Any:
    """An Arrow table in the order of the features; vectors as lists of fixed size, images as PNG.

    Args:
        columns: all but the images, frame by frame.
        images: of each camera, uint8 (T, H, W, 3).
        held: frames that each image fills.
        features: of the set.
    """
    import pyarrow

    arrays = {}
    for name, feature in features.items():
        if feature["dtype"] == "image":
            shots = [shot for image in images[name] for shot in [_png(image)] * held]
            cells = [{"bytes": shot, "path": f"frame-{i:06d}.png"} for i, shot in enumerate(shots)]
            arrays[name] = pyarrow.array(
                cells, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            )
        elif feature["dtype"] != "video":
            kind = pyarrow.from_numpy_dtype(np.dtype(feature["dtype"]))
            flat = pyarrow.array(np.ascontiguousarray(columns[name]).ravel(), kind)
            arrays[name] = _nested(flat, feature["shape"])
    return pyarrow.table(arrays)


def _nested(flat: Any, shape: Sequence[int]) -> Any:
    """Numbers as one value or one list a row; matrices as lists of lists, which is how LeRobot stores them."""
    import pyarrow

    if len(shape) == 1:
        return flat if shape[0] == 1 else pyarrow.FixedSizeListArray.from_arrays(flat, shape[0])
    for size in reversed(shape):
        flat = pyarrow.ListArray.from_arrays(pyarrow.array(range(0, len(flat) + 1, size), pyarrow.int32()), flat)
    return flat


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _film_info(height: int, width: int, fps: int) -> dict[str, Any]:
    return {
        "video.height": height,
        "video.width": width,
        "video.codec": CODEC,
        "video.pix_fmt": PIXELS,
        "video.fps": fps,
        "video.channels": 3,
        "video.g": GOP,
        "video.crf": CRF,
        "video.preset": PRESET,
        "video.fast_decode": 0,
        "video.video_backend": "pyav",
        "video.extra_options": {},
        "has_audio": False,
        "is_depth_map": False,
    }


def difference(first: Features, second: Features) -> str:
    """What tells an episode's features from those of the set."""
    for name in dict.fromkeys([*first, *second]):
        here, there = first.get(name), second.get(name)
        if here is None or there is None:
            has, option = ("lacks" if there is None else "has"), "states" if name == STATE else "outcomes"
            return f"it {has} {name}, unlike the first; {option}=False leaves it out of the whole data set"
        for what in ("shape", "names"):
            if here[what] != there[what]:
                return f"{name} has {what} {there[what]}, in the first episode {here[what]}"
    return "its features differ"
