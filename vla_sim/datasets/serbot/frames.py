"""Serbot's episodes as folders of pictures: the augmented sets, and the train/val tree of its README.

frames    <episode>/frame_00.jpg ..., actions.npy (T,3), metadata.json
tree      {train,val}/<episode>/ with the same pictures and actions.npy (T,2); metadata.json may be missing

Pictures may be JPEG or PNG. JPEG loses a little: what is read is not bit for bit what was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.files import whole_folder
from vla_sim.datasets.channel_order import from_rgb
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, full_columns
from vla_sim.datasets.serbot.hdf5 import DEFAULT_STYLE, FORMAT, RawFacts, RawSteps, SerbotStyle, check_actions, taken_at

FRAMES, TREE = FRAME_LAYOUTS = ("frames", "tree")
SPLITS = ("train", "val", "valid", "test")
ACTIONS_FILE, METADATA_FILE = "actions.npy", "metadata.json"
JPEG_QUALITY = 95
_FRAME = re.compile(r"frame_?(\d+)\.(jpg|jpeg|png)", re.IGNORECASE)


def write_serbot_frames(
    path: Path, episode: Episode, style: SerbotStyle = DEFAULT_STYLE, *, layout: str = FRAMES, ending: str = "jpg"
) -> None:  # fmt: skip
    """Write one episode as a folder, complete or absent. The channel order is that of the decoded picture.

    Args:
        path: the episode's folder; for the tree, inside a folder named train or val.
        episode: what to write; the picture after the last action is left out, as in serbot's sets.
        style: what labels and channels mean; its layout is not used.
        layout: "frames" (three action columns) or "tree" (two).
        ending: "jpg", or "png" without loss.

    Raises:
        UserError: the folder exists, or the disk is full.
    """
    from PIL import Image

    labels = full_columns(style.scale.labels(episode.actions, episode.action_names), episode.action_names)
    with whole_folder(path) as folder:
        for index, image in enumerate(from_rgb(episode.images[: len(episode)], style.channel_order)):
            Image.fromarray(image).save(folder / f"frame_{index:02d}.{ending}", quality=JPEG_QUALITY)
        np.save(folder / ACTIONS_FILE, labels[:, :2] if layout == TREE else labels)
        text = json.dumps(_metadata(episode, style, layout), indent=1, ensure_ascii=False)
        (folder / METADATA_FILE).write_text(text, "utf-8")


def _metadata(episode: Episode, style: SerbotStyle, layout: str) -> dict[str, Any]:
    columns = COLLECTOR_COLUMNS[:2] if layout == TREE else COLLECTOR_COLUMNS
    return {
        "episode_name": episode.name,
        "num_frames": len(episode),
        "total_duration": len(episode) * episode.step_s,
        "collection_datetime": taken_at(episode).isoformat(),
        "action_event_types": list(episode.events) if episode.events else None,
        "language_instruction": episode.instruction,
        "vla_sim": {
            "format": FORMAT,
            "channel_order": style.channel_order,
            "action_columns": list(columns),
            "action_names": [name for name in episode.action_names if name in columns],
            "label_scale": vars(style.scale),
            "step_s": episode.step_s,
            "outcome": episode.outcome.value if episode.outcome else "",
            "provenance": dict(sorted(episode.provenance.items())),
        },
    }


def is_frames_folder(path: Path) -> bool:
    """Whether a folder is an episode of this kind."""
    return (path / ACTIONS_FILE).is_file()


def frames_facts(path: Path) -> RawFacts:
    """What the folder says about itself; opens one picture for its size.

    Raises:
        UserError: no pictures, a gap among them, or damaged files.
    """
    files, metadata = _frame_files(path), _read_metadata(path)
    ours = metadata.pop("vla_sim", {})
    if not isinstance(ours, dict) or ours.get("format", FORMAT) != FORMAT:
        raise UserError(f"{path / METADATA_FILE}: vla_sim must be a table of format {FORMAT}, got {ours!r}")
    split = path.parent.name if path.parent.name in SPLITS else ""
    image = _picture(files[0])
    return RawFacts(
        layout=TREE if split else FRAMES,
        frames=len(files),
        image_px=(image.shape[1], image.shape[0]),
        attributes={**metadata, **({"split": split} if split else {})},
        instruction=str(metadata.get("language_instruction") or metadata.get("instruction") or ""),
        ours=ours,
    )


def frames_steps(path: Path) -> RawSteps:
    """The actions of the folder, checked.

    Raises:
        UserError: damaged, not finite, or not as many as pictures.
    """
    where = path / ACTIONS_FILE
    try:
        actions = np.load(where, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{where}: cannot be read as an array: {error}") from error
    if actions.dtype.kind not in "fiu":
        raise UserError(f"{where}: actions must be numbers, got {actions.dtype}")
    actions = actions.astype(np.float32)
    check_actions(actions, len(_frame_files(path)), where)
    metadata = _read_metadata(path)
    events = metadata.get("action_event_types")
    if events is not None and len(events) != len(actions):
        raise UserError(f"{path}: {len(actions)} actions but {len(events)} action_event_types")
    columns = metadata.get("vla_sim", {}).get("action_columns", ())
    return RawSteps(actions, tuple(columns), tuple(map(str, events)) if events is not None else None)


def frames_pictures(path: Path, every: slice = slice(None)) -> Iterator[np.ndarray]:
    """The pictures one by one, uint8 (H, W, 3).

    Raises:
        UserError: a picture is damaged.
    """
    for file in _frame_files(path)[every]:
        yield _picture(file)


def _frame_files(path: Path) -> list[Path]:
    """Picture files in order."""
    found = {int(match[1]): file for file in path.iterdir() if (match := _FRAME.fullmatch(file.name))}
    if not found:
        raise UserError(f"{path}: has {ACTIONS_FILE} but no pictures frame_XX.jpg")
    first = min(found)
    missing = [number for number in range(first, max(found)) if number not in found]
    if missing or first > 1:
        raise UserError(f"{path}: picture frame_{(missing or [0])[0]:02d} is missing")
    return [found[number] for number in sorted(found)]


def _picture(file: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise UserError(f"{file}: the picture is damaged: {error}") from error


def _read_metadata(path: Path) -> dict[str, Any]:
    file = path / METADATA_FILE
    if not file.exists():
        return {}
    try:
        values = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: is damaged: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{file}: must hold a table, got {type(values).__name__}")
    return values
