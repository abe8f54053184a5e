"""What LeRobotDataset v3.0 looks like on disk: names, constants, the rule of whole frame rates.

Field names, defaults and meanings follow huggingface/lerobot (`src/lerobot/datasets/`, version 3.0 of the format).
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError

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
STATE, ACTION, EXPERT = "observation.state", "action", "expert_action"
DONE, SUCCESS, TRUNCATED = "next.done", "next.success", "next.truncated"
# Columns that every set has and no caller declares.
AUTOMATIC: dict[str, dict[str, Any]] = {
    "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    "frame_index": {"dtype": "int64", "shape": [1], "names": None},
    "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    "index": {"dtype": "int64", "shape": [1], "names": None},
    "task_index": {"dtype": "int64", "shape": [1], "names": None},
}
CONVERT = "python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=USER/NAME"
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
    """`meta/info.json` of a v3.0 data set.

    Raises:
        UserError: there is none, it cannot be read, or it is of another version of the format.
    """
    path = root / INFO_PATH
    if not root.is_dir():
        raise UserError(f"{root} is not a folder")
    if not path.is_file():
        raise UserError(f"{root} is not a LeRobot data set: {INFO_PATH} is missing")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        missing = [key for key in ("fps", "features", "total_episodes", "data_path") if key not in info]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} cannot be read: {error!r}") from error
    if not re.match(r"v?3\.", version):
        hint = f"; convert it with: {CONVERT}" if re.match(r"v?2\.", version) else ""
        raise UserError(f"{root} is a LeRobot data set of version {version}, only {VERSION} can be read{hint}")
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}")
    return dict(info)


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """Chunk and file index that follow."""
    return (chunk, file + 1) if file + 1 < CHUNKS_SIZE else (chunk + 1, 0)
