"""Recordings as serbot's tools write them, made without the code under test."""

import json

import h5py
import numpy as np
from PIL import Image

from vla_sim.core.episode import Episode
from vla_sim.core.types import Outcome

NAME = "episode_20250815_122923_2box_vert_left_core_medium"
KEYS = [[1.15, 0, 0]] * 4 + [[0, 1.15, 0]] + [[1.15, 1.15, 0]] * 3 + [[1.15, 0, 0]] * 2
KEYS += [[1.15, -1.15, 0]] * 3 + [[0, -1.15, 0]] + [[1.15, 0, 0]] * 3
# A still frame and 17 keys.
ACTIONS = np.array([[0, 0, 0], *KEYS], np.float32)
EVENTS = ["episode_start"] + ["start_action"] * 17


def pictures(count=18, height=18, width=32, *, seed=0):
    """RGB images in which a brown box stands: cardboard of the simulator's palette on grey."""
    rng = np.random.default_rng(seed)
    images = rng.integers(110, 130, (count, height, width, 1), dtype=np.uint8).repeat(3, axis=3)
    images[:, height // 2 :, : width // 2] = (173, 128, 82)
    images[:, 0, 0, 0] = np.arange(count)
    return images


def write_recording(path, *, images=None, actions=ACTIONS, events=EVENTS, instruction=None, bgr=True, where="images"):
    """A file of the main layout as the collector writes it: BGR, no word about it."""
    images = pictures(len(actions)) if images is None else images
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset(where, data=images[..., ::-1] if bgr else images, compression="gzip")
        file.create_dataset("actions", data=actions, compression="gzip")
        file.create_dataset("action_event_types", data=events, dtype=h5py.string_dtype())
        if instruction is not None:
            file.create_dataset("language_instruction", data=np.array([instruction.encode()], "S256"))
        file.attrs["episode_name"] = path.stem
        file.attrs["total_duration"] = 12.5
        file.attrs["num_frames"] = len(images)
        file.attrs["action_chunk_size"] = 8
        file.attrs["obstacle_layout_type"] = "hori"
        file.attrs["time_period"] = "morning"
        file.attrs["collection_datetime"] = "2025-08-15T12:29:23"
        file.attrs["collection_hour"] = 12
        file.attrs["collection_minute"] = 29
    return path


def write_frames(folder, *, actions=ACTIONS, metadata=None, ending="png"):
    """A folder of the augmented sets."""
    folder.mkdir(parents=True)
    for index, image in enumerate(pictures(len(actions))):
        Image.fromarray(image).save(folder / f"frame_{index:02d}.{ending}", quality=95)
    np.save(folder / "actions.npy", actions)
    if metadata is not None:
        (folder / "metadata.json").write_text(json.dumps(metadata), "utf-8")
    return folder


def episode(steps=5, *, last=True, name=NAME, **changes):
    """A simulated episode with everything that an episode can have."""
    rng = np.random.default_rng(steps)
    count = steps + last
    values = {
        "name": name,
        "images": rng.integers(0, 256, (count, 18, 32, 3), dtype=np.uint8),
        "actions": rng.uniform(-0.5, 0.5, (steps, 2)).astype(np.float32),
        "action_names": ("vx", "vy"),
        "instruction": "상자의 왼쪽으로 지나 컵에 도착하세요",
        "step_s": 0.4,
        "labels": rng.uniform(-0.5, 0.5, (steps, 2)).astype(np.float32),
        "states": rng.normal(size=(count, 3)).astype(np.float32),
        "state_names": ("x_m", "y_m", "yaw_rad"),
        "events": ("episode_start", *("start_action",) * (steps - 2), "stop_action"),
        "outcome": Outcome.SUCCESS,
        "provenance": {"seed": 7, "scenario": "2box_vert_left", "side": "left", "target": "cup", "obstacle": "box"},
    }
    return Episode(**{**values, **changes})
