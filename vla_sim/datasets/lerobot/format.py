"""What LeRobotDataset v3.0 looks like on disk: names, constants, the rule of whole frame rates.

Field names, defaults and meanings follow huggingface/lerobot (`src/lerobot/datasets/`, version 3.0 of the format).
"""

from __future__ import annotations

import math
import os
import re
import string
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.datasets.untrusted import (
    check_pixels,
    count_of,
    list_of,
    number_of,
    read_json,
    shown,
    table_of,
    text_of,
)

VERSION = "v3.0"
CHUNKS_SIZE = 1000
DATA_FILE_MB, VIDEO_FILE_MB = 100, 200
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
INFO_PATH, STATS_PATH, TASKS_PATH = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
# Ours, ignored by LeRobot: one JSON line an episode with what the format has no place for.
FACTS_PATH = "meta/vla_sim.jsonl"
# Ours too: what the set was made from.
PLAN_PATH = "meta/vla_sim_plan.json"

CAMERA = "observation.image"
# What the features of further sensors begin with.
OBSERVATION = "observation."
STATE, ACTION, EXPERT = "observation.state", "action", "expert_action"
# How some tools name the actions.
ACTIONS = "actions"
DONE, SUCCESS, TRUNCATED = "next.done", "next.success", "next.truncated"
# Columns that every set has and no caller declares.
AUTOMATIC: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
# Steps are told apart from whole numbers of frames to this share of a frame.
WHOLE = 1e-6


def repeats(step_s: float, fps: int) -> int:
    """How many frames one control step fills at a whole frame rate.

    LeRobot's frame rate is a whole number, so a step of 0.4 s (2.5 a second) becomes two equal frames at 5 fps.

    Raises:
        UserError: the step is not a whole number of frames; the message names rates that are right.
    """
    if isinstance(fps, bool) or fps != int(fps) or fps < 1:
        raise UserError(f"fps must be a whole number of at least 1, got {fps}")
    frames = step_s * fps
    if round(frames) < 1 or abs(frames - round(frames)) > WHOLE * max(1.0, frames):
        lowest = lowest_fps(step_s)
        if abs(step_s * lowest - round(step_s * lowest)) > WHOLE * max(1.0, step_s * lowest):
            raise UserError(
                f"steps of {step_s:g} s are not a whole number of frames at any rate that LeRobot can hold; recordings "
                "at their own speed (not those of the augmentation speed) can be written"
            )
        raise UserError(
            f"steps of {step_s:g} s are not a whole number of frames at {fps} fps; use {lowest} or {2 * lowest} fps"
        )
    return round(frames)


def lowest_fps(step_s: float) -> int:
    """The lowest whole frame rate at which a step is a whole number of frames: 5 for 0.4 s, 10 for 0.1 s."""
    return Fraction(step_s).limit_denominator(1000).denominator


def read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json` of a v3.0 data set, checked: every value that a reader uses has its type and can be meant.

    Raises:
        UserError: there is none, it cannot be read, is of another version of the format, or a value is wrong.
    """
    path = root / INFO_PATH
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    if not os.path.lexists(path):
        raise UserError(f"{root} is not a LeRobot data set: {INFO_PATH} is missing")
    info = table_of(read_json(path, root), str(path))
    _check_version(root, text_of(info.get("codebase_version"), f"{path}: codebase_version"))
    missing = [key for key in ("fps", "features", "total_episodes", "data_path") if key not in info]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}")
    number_of(info["fps"], f"{path}: fps", least=1e-3, most=1e4)
    count_of(info["total_episodes"], f"{path}: total_episodes")
    check_template(info["data_path"], f"{path}: data_path")
    if info.get("video_path") is not None:
        check_template(info["video_path"], f"{path}: video_path")
    text_of(info.get("robot_type") or "", f"{path}: robot_type")
    splits = table_of(info.get("splits") or {}, f"{path}: splits")
    features = table_of(info["features"], f"{path}: features")
    for name, feature in features.items():
        _check_feature(name, feature, f"{path}: feature {shown(name)}")
    return info | {"features": features, "splits": splits}


def _check_version(root: Path, version: str) -> None:
    if re.match(r"v?3\.", version):
        return
    hint = ""
    if re.match(r"v?2\.", version):
        hint = (
            "; LeRobot's own converter makes one of it: let it work on a copy, and read its help first, for unless "
            "told otherwise it may upload to the hub and delete what was there"
        )
    raise UserError(f"{root} is a LeRobot data set of version {version!r}, only {VERSION} can be read{hint}")


def _check_feature(name: str, feature: Any, where: str) -> None:
    text_of(name, where)
    values = table_of(feature, where)
    dtype = text_of(values.get("dtype"), f"{where}: dtype")
    shape = [count_of(n, f"{where}: shape", most=10**6) for n in list_of(values.get("shape"), f"{where}: shape")]
    if dtype in ("video", "image"):
        if len(shape) != 3 or not all(shape):
            raise UserError(f"{where}: shape must be height, width and channels, got {shape}")
        check_pixels(1, math.prod(shape) // 3, where)


_FIELDS = ("chunk_index", "file_index", "video_key")


def check_template(template: Any, where: str) -> None:
    """Refuse a pattern of file names that leads out of the set, or asks for more than the numbers of a file.

    Raises:
        UserError: says what is wrong with it.
    """
    pattern = text_of(template, where)
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UserError(f"{where}: {pattern!r} is no pattern: {error}") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in _FIELDS or conversion or not re.fullmatch(r"(0?[1-9])?d?", form or "")):
            raise UserError(f"{where}: {pattern!r} may have {', '.join(f'{{{f}}}' for f in _FIELDS)} and nothing else")
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UserError(f"{where}: {pattern!r} leads out of the data set")


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """Chunk and file index that follow."""
    return (chunk, file + 1) if file + 1 < CHUNKS_SIZE else (chunk + 1, 0)


def split_spans(names: Sequence[str]) -> dict[str, str]:
    """Spans of episodes by the split that each came from; one "train" where a split is not in one piece."""
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    if len({names[start] for start in starts}) < len(starts):
        return {"train": f"0:{len(names)}"}
    return {names[start]: f"{start}:{end}" for start, end in zip(starts, [*starts[1:], len(names)], strict=True)}


def grouped(sizes: Sequence[int], limit: float) -> list[tuple[tuple[int, int], list[int]]]:
    """Which episodes share a file, with its chunk and file index; one episode is never cut."""
    groups: list[tuple[tuple[int, int], list[int]]] = []
    used = 0.0
    for i, size in enumerate(sizes):
        if not groups or used + size > limit:
            groups.append((next_file(*groups[-1][0]) if groups else (0, 0), []))
            used = 0
        groups[-1][1].append(i)
        used += size
    return groups
