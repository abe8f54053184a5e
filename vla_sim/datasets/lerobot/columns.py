"""The columns of a LeRobot set: its features, and an episode as a table. Used by the writer."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from vla_sim.core.encoding import CODEC, CRF, PIXELS, PRESET
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.lerobot.format import ACTION, AUTOMATIC, CAMERA, DONE, EXPERT, STATE, SUCCESS, TRUNCATED
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
    camera: dict[str, Any] = {
        "dtype": "video" if video else "image",
        "shape": [height, width, 3],
        "names": ["height", "width", "channel"],
    }
    if video:
        camera["info"] = _film_info(height, width, fps)
    motion = {"dtype": "float32", "shape": [len(episode.action_names)], "names": list(episode.action_names)}
    flag = {"dtype": "bool", "shape": [1], "names": None}
    features = {CAMERA: camera}
    if states:
        names = list(episode.state_names)
        features[STATE] = {"dtype": "float32", "shape": [len(names)], "names": names}
    features |= {ACTION: motion, EXPERT: dict(motion), DONE: dict(flag)}
    if outcomes:
        features |= {SUCCESS: dict(flag), TRUNCATED: dict(flag)}
    return features | AUTOMATIC


def table_of(columns: Mapping[str, np.ndarray], images: np.ndarray, held: int, features: Features) -> Any:
    """An Arrow table in the order of the features; vectors as lists of fixed size, images as PNG."""
    import pyarrow

    arrays = {}
    for name, feature in features.items():
        if feature["dtype"] == "image":
            shots = [shot for image in images for shot in [_png(image)] * held]
            cells = [{"bytes": shot, "path": f"frame-{i:06d}.png"} for i, shot in enumerate(shots)]
            arrays[name] = pyarrow.array(
                cells, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            )
        elif feature["dtype"] != "video":
            kind = pyarrow.from_numpy_dtype(np.dtype(feature["dtype"]))
            flat = pyarrow.array(np.ascontiguousarray(columns[name]).ravel(), kind)
            size = feature["shape"][0]
            arrays[name] = flat if size == 1 else pyarrow.FixedSizeListArray.from_arrays(flat, size)
    return pyarrow.table(arrays)


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
