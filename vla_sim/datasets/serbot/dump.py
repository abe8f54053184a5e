"""The lab's dump of a recording: <name>_data.json with the actions of all frames, and the images as numbered PNG files.

{"file_name": "<name>.h5", "metadata": {"num_frames": T, ...},
 "frames": [{"frame_index": 0, "action": {"x": 1.15, "y": 0, "z": 0}, "event_type": "start_action",
             "image_file": "frame_0000.png"}, ...]}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS
from vla_sim.datasets.serbot.frames import instruction_of
from vla_sim.datasets.serbot.raw import RawFacts, RawSteps, check_actions
from vla_sim.datasets.untrusted import count_of, list_of, number_of, read_image, read_json, shown, table_of, text_of

DUMP, ENDING = "dump", "_data.json"
# Keys of an action, in the order of the collector's columns: forward, left, yaw rate.
_ACTION = ("x", "y", "z")


def is_dump(path: Path) -> bool:
    """Whether a file is a recording of this kind: named so, with images beside it."""
    return path.name.endswith(ENDING) and any(path.parent.glob("frame_*.png"))


def read_facts(path: Path, root: Path | None = None) -> RawFacts:
    """What the file says about itself; opens one image for its size.

    Raises:
        UserError: damaged, or frames are missing.
    """
    frames, metadata = _read(path, root)
    image = next(read_images(path, root, slice(0, 1)))
    return RawFacts(
        layout=DUMP,
        frames=len(frames),
        image_px=(image.shape[1], image.shape[0]),
        attributes=metadata,
        instruction=instruction_of(metadata, path),
    )


def read_steps(path: Path, root: Path | None = None) -> RawSteps:
    """The actions of the file, checked.

    Raises:
        UserError: damaged, not numbers, or not finite.
    """
    frames, _ = _read(path, root)
    actions = np.array([_action(frame, f"{path}: frame {i}") for i, frame in enumerate(frames)], dtype=np.float32)
    check_actions(actions, len(frames), path)
    events = [frame.get("event_type") for frame in frames]
    if not any(events):
        return RawSteps(actions, COLLECTOR_COLUMNS)
    said = tuple(text_of(event, f"{path}: frame {i}: event_type") for i, event in enumerate(events))
    return RawSteps(actions, COLLECTOR_COLUMNS, said)


def read_images(
    path: Path, root: Path | None = None, every: slice = slice(None), *, last: bool = True
) -> Iterator[np.ndarray]:
    """The images one by one, uint8 (H, W, 3); a dump has none after the last action.

    Raises:
        UserError: an image is missing, damaged, or lies elsewhere.
    """
    del last
    frames, _ = _read(path, root)
    for frame in frames[every]:
        name = text_of(frame.get("image_file"), f"{path}: image_file")
        if not name or Path(name).name != name:
            raise UserError(f"{path}: image_file must be a name in the same folder, got {shown(name)}")
        yield read_image(path.parent / name, path.parent / name, root or path.parent)


def _read(path: Path, root: Path | None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Frames and metadata."""
    content = table_of(read_json(path, root or path.parent), str(path))
    frames = [table_of(frame, f"{path}: a frame") for frame in list_of(content.get("frames"), f"{path}: frames")]
    metadata = table_of(content.get("metadata", {}), f"{path}: metadata")
    if not frames:
        raise UserError(f"{path}: holds no frames")
    for expected, frame in enumerate(frames):
        number = count_of(frame.get("frame_index", expected), f"{path}: frame_index")
        if number != expected:
            raise UserError(f"{path}: frame {expected} is missing, frame {number} stands in its place")
    declared = count_of(metadata.get("num_frames", len(frames)), f"{path}: num_frames")
    if declared != len(frames):
        raise UserError(f"{path}: num_frames is {declared}, but {len(frames)} frames are listed")
    return frames, metadata


def _action(frame: dict[str, Any], where: str) -> list[float]:
    action = table_of(frame.get("action"), f"{where}: action")
    if not {"x", "y"} <= action.keys() <= set(_ACTION):
        raise UserError(f"{where}: action must have x, y and perhaps z, got {shown(list(action))}")
    return [number_of(action.get(key, 0.0), f"{where}: action {key}", least=-1e6, most=1e6) for key in _ACTION]
