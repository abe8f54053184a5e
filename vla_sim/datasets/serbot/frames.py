"""Serbot's episodes as folders of images: the augmented sets, and the train/val tree of its README.

frames    <episode>/frame_00.jpg ..., actions.npy (T,3), metadata.json
tree      {train,val}/<episode>/ with the same images and actions.npy (T,2); metadata.json may be missing

Images may be JPEG or PNG. JPEG loses a little: what is read is not bit for bit what was written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.files import whole_folder
from vla_sim.datasets.channel_order import from_rgb
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, full_columns
from vla_sim.datasets.serbot.hdf5 import DEFAULT_STYLE, SerbotStyle, taken_at
from vla_sim.datasets.serbot.raw import FORMAT, ONE_SENTENCE, RawFacts, RawSteps, check_actions, one_sentence, own_facts
from vla_sim.datasets.untrusted import list_of, parsing, read_image, read_json, read_npy, table_of, text_of

FRAMES, TREE = "frames", "tree"
SPLITS = ("train", "val", "valid", "test")
ACTIONS_FILE, METADATA_FILE = "actions.npy", "metadata.json"
JPEG_QUALITY = 95
_FRAME = re.compile(r"frame_?(\d+)\.(jpg|jpeg|png)", re.IGNORECASE)


def write_serbot_frames(
    path: Path, episode: Episode, style: SerbotStyle = DEFAULT_STYLE, *, layout: str = FRAMES, ending: str = "jpg"
) -> None:  # fmt: skip
    """Write one episode as a folder, complete or absent. The channel order is that of the decoded image.

    Args:
        path: the episode's folder; for the tree, inside a folder named train or val.
        episode: what to write; the image after the last action is left out, as in serbot's sets.
        style: what labels and channels mean; its layout is not used.
        layout: "frames" (three action columns) or "tree" (two).
        ending: "jpg", or "png" without loss.

    Raises:
        UserError: the folder exists, or the disk is full.
    """
    from PIL import Image

    episode.refuse_sentences(ONE_SENTENCE)
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
    return os.path.lexists(path / ACTIONS_FILE)


def read_facts(path: Path, root: Path | None = None) -> RawFacts:
    """What the folder says about itself; opens one image for its size.

    Raises:
        UserError: no images, a gap among them, or damaged files.
    """
    files, metadata = _frame_files(path), _read_metadata(path, root)
    ours = own_facts(metadata.pop("vla_sim", {}), f"{path / METADATA_FILE}: vla_sim")
    split = path.parent.name if path.parent.name in SPLITS else ""
    image = read_image(files[0], files[0], root or path)
    return RawFacts(
        layout=TREE if split else FRAMES,
        frames=len(files),
        image_px=(image.shape[1], image.shape[0]),
        attributes={**metadata, **({"split": split} if split else {})},
        instruction=instruction_of(metadata, path / METADATA_FILE),
        ours=ours,
    )


def instruction_of(metadata: Mapping[str, Any], where: Path) -> str:
    """The sentence of a table of metadata; "" where it has none.

    Raises:
        UserError: it is no text, or changes during the episode.
    """
    found = metadata.get("language_instruction") or metadata.get("instruction") or ""
    sentences = found if isinstance(found, list) else [found]
    return one_sentence(tuple(text_of(sentence, f"{where}: instruction") for sentence in sentences), where)


def read_steps(path: Path, root: Path | None = None) -> RawSteps:
    """The actions of the folder, checked.

    Raises:
        UserError: damaged, not finite, or not as many as images.
    """
    where = path / ACTIONS_FILE
    with np.errstate(over="ignore"):  # too large for float32: infinite, and refused as such
        actions = read_npy(where, root or path).astype(np.float32)
    check_actions(actions, len(_frame_files(path)), where)
    metadata = _read_metadata(path, root)
    columns = own_facts(metadata.get("vla_sim", {}), f"{path / METADATA_FILE}: vla_sim").get("action_columns", ())
    events = metadata.get("action_event_types")
    if events is None:
        return RawSteps(actions, tuple(columns))
    what = f"{path / METADATA_FILE}: action_event_types"
    events = tuple(text_of(event, what) for event in list_of(events, what))
    if len(events) != len(actions):
        raise UserError(f"{path}: {len(actions)} actions but {len(events)} action_event_types")
    return RawSteps(actions, tuple(columns), events)


def read_images(
    path: Path, root: Path | None = None, every: slice = slice(None), *, last: bool = True
) -> Iterator[np.ndarray]:
    """The images one by one, uint8 (H, W, 3); these folders have none after the last action.

    Raises:
        UserError: an image is damaged.
    """
    del last
    return (read_image(file, file, root or path) for file in _frame_files(path)[every])


def _frame_files(path: Path) -> list[Path]:
    """Image files in order."""
    with parsing(path):
        names = sorted(file.name for file in path.iterdir())
    found: dict[int, Path] = {}
    for name in names:
        if match := _FRAME.fullmatch(name):
            other = found.setdefault(int(match[1]), path / name)
            if other.name != name:
                raise UserError(f"{path}: {other.name} and {name} are the same frame")
    if not found:
        raise UserError(f"{path}: has {ACTIONS_FILE} but no images frame_XX.jpg")
    numbers = sorted(found)
    gaps = (before + 1 for before, after in pairwise(numbers) if after != before + 1)
    missing = 0 if numbers[0] > 1 else next(gaps, None)
    if missing is not None:
        raise UserError(f"{path}: image frame_{missing:02d} is missing")
    return [found[number] for number in numbers]


def _read_metadata(path: Path, root: Path | None) -> dict[str, Any]:
    file = path / METADATA_FILE
    return table_of(read_json(file, root or path), str(file)) if os.path.lexists(file) else {}
