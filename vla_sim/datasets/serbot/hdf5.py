"""Serbot's HDF5 episodes: one file each, in the three arrangements that its documents know.

main      /images (T,H,W,3) uint8, /actions (T,3) float32 labels, /action_event_types, later /language_instruction
nested    the same with the pictures at /observations/images
groups    proposed: /observations/{image,instruction}, /actions/{linear_x,linear_y,angular_z}, /metadata

Files written here carry more, which other readers do not look for: attributes `vla_sim_*` (what columns, channels and
scale mean, provenance) and the datasets `final_image`, `expert_actions` and `states`.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import write_whole
from vla_sim.datasets.channel_order import BGR, RGB, from_rgb
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, LabelScale, check_columns, default_events, full_columns

FORMAT = 1
MAIN, NESTED, GROUPS = LAYOUTS = ("main", "nested", "groups")
# Width of /language_instruction.
INSTRUCTION_BYTES = 256
CHUNK_SIZE = 8
OBSTACLE_LAYOUT = "hori"
# Hours at which a time of day begins; the real limits are not known.
TIME_PERIODS = ((0, "dawn"), (6, "morning"), (12, "evening"), (18, "night"))
_MEMBERS = {"linear_x": "vx", "linear_y": "vy", "angular_z": "wz"}


@dataclass(frozen=True)
class SerbotStyle:
    """How episodes are written.

    Attributes:
        layout: one of LAYOUTS.
        channel_order: "rgb", or "bgr" as the collector stores them.
        scale: what a label means.
        instruction: write /language_instruction, which the first 468 recordings got later by a script.
        proposed_metadata: write /instruction and /metadata/{target,side,obstacle} as well.
        compression: gzip level of the pictures, 0 for none.
    """

    layout: str = MAIN
    channel_order: str = RGB
    scale: LabelScale = field(default_factory=LabelScale)
    instruction: bool = True
    proposed_metadata: bool = False
    compression: int = 1

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise UserError(f"unknown HDF5 layout {self.layout!r}; {suggest(self.layout, LAYOUTS)}")
        if self.channel_order not in (RGB, BGR):
            raise UserError(f"unknown channel order {self.channel_order!r}; {suggest(self.channel_order, (RGB, BGR))}")
        if not 0 <= self.compression <= 9:
            raise UserError(f"compression must lie between 0 and 9, got {self.compression}")


DEFAULT_STYLE = SerbotStyle()

# ----------------------------------------------------------------------------------------------------------- writing


def write_serbot_hdf5(path: Path, episode: Episode, style: SerbotStyle = DEFAULT_STYLE) -> None:
    """Write one episode: the file is complete or absent.

    Raises:
        UserError: the disk is full or the folder cannot be written.
        ValueError: the episode cannot be written so, e.g. its sentence is too long.
    """
    write_whole(path, serbot_hdf5_bytes(episode, style))


def serbot_hdf5_bytes(episode: Episode, style: SerbotStyle = DEFAULT_STYLE) -> bytes:
    """The content of the file of an episode; equal episodes give equal bytes."""
    h5py = _h5py()
    # In memory first: so the disk sees one plain write, and errors of the disk come as such.
    with h5py.File(episode.name, "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        _write_common(file, episode, style)
        if style.layout == GROUPS:
            _write_groups(file, episode, style)
        else:
            _write_main(file, episode, style)
        if style.proposed_metadata and style.layout != GROUPS:
            file.create_dataset("instruction", data=episode.instruction, dtype=h5py.string_dtype())
            _write_metadata(file, episode)
        file.flush()
        return bytes(file.id.get_file_image())


def _write_main(file: Any, episode: Episode, style: SerbotStyle) -> None:
    h5py = _h5py()
    where = "images" if style.layout == MAIN else "observations/images"
    _write_pictures(file, where, episode.images[: len(episode)], style)
    table = full_columns(style.scale.labels(episode.actions, episode.action_names), episode.action_names)
    file.create_dataset("actions", data=table, **_packed(style))
    events = episode.events or default_events(episode.actions)
    file.create_dataset("action_event_types", data=list(events), dtype=h5py.string_dtype())
    if style.instruction and episode.instruction:
        file.create_dataset("language_instruction", data=np.array([_fixed(episode)], f"S{INSTRUCTION_BYTES}"))


def _write_groups(file: Any, episode: Episode, style: SerbotStyle) -> None:
    h5py = _h5py()
    _write_pictures(file, "observations/image", episode.images[: len(episode)], style)
    file.create_dataset("observations/instruction", data=episode.instruction, dtype=h5py.string_dtype())
    labels = style.scale.labels(episode.actions, episode.action_names)
    for member, name in _MEMBERS.items():
        if name in episode.action_names:
            file.create_dataset(f"actions/{member}", data=labels[:, episode.action_names.index(name)])
    if episode.events:
        file.create_dataset("action_event_types", data=list(episode.events), dtype=h5py.string_dtype())
    _write_metadata(file, episode)


def _write_metadata(file: Any, episode: Episode) -> None:
    group = file.require_group("metadata")
    known = episode.provenance
    values: dict[str, Any] = {key: known[key] for key in ("target", "obstacle", "side") if known.get(key)}
    if episode.outcome is not None:
        values["success"] = episode.outcome.value == "success"
    for key, value in values.items():
        group.create_dataset(key, data=value)


def _write_common(file: Any, episode: Episode, style: SerbotStyle) -> None:
    for key, value in _attributes(episode, style).items():
        file.attrs[key] = value
    if episode.has_last_image:
        _write_pictures(file, "final_image", episode.images[-1:], style)
    if episode.labels is not None:
        table = full_columns(style.scale.labels(episode.labels, episode.action_names), episode.action_names)
        file.create_dataset("expert_actions", data=table, **_packed(style))
    if episode.states is not None:
        data = file.create_dataset("states", data=episode.states, **_packed(style))
        data.attrs["names"] = json.dumps(episode.state_names)


def _attributes(episode: Episode, style: SerbotStyle) -> dict[str, Any]:
    """Those of the collector, then ours."""
    taken = taken_at(episode)
    return {
        "episode_name": episode.name,
        "total_duration": len(episode) * episode.step_s,
        "num_frames": len(episode),
        "action_chunk_size": CHUNK_SIZE,
        "obstacle_layout_type": OBSTACLE_LAYOUT,
        "time_period": [name for hour, name in TIME_PERIODS if taken.hour >= hour][-1],
        "collection_datetime": taken.isoformat(),
        "collection_hour": taken.hour,
        "collection_minute": taken.minute,
        "vla_sim_format": FORMAT,
        "vla_sim_channel_order": style.channel_order,
        "vla_sim_action_columns": json.dumps(COLLECTOR_COLUMNS),
        "vla_sim_action_names": json.dumps(episode.action_names),
        "vla_sim_label_scale": json.dumps(vars(style.scale)),
        "vla_sim_step_s": episode.step_s,
        "vla_sim_instruction": episode.instruction,
        "vla_sim_outcome": episode.outcome.value if episode.outcome else "",
        "vla_sim_has_events": episode.events is not None,
        "vla_sim_provenance": json.dumps(dict(sorted(episode.provenance.items())), ensure_ascii=False),
    }


def taken_at(episode: Episode) -> datetime:
    """When an episode was recorded: its provenance's `taken`, or a made-up clock.

    Simulated episodes have no date, and equal runs must give equal files: their clock starts with the year 2000 and
    counts one second for each episode (`index` of the provenance).
    """
    known = episode.provenance
    if known.get("taken"):
        return datetime.fromisoformat(str(known["taken"]))
    return datetime(2000, 1, 1) + timedelta(seconds=int(known.get("index", 0)))


def _write_pictures(file: Any, where: str, images: np.ndarray, style: SerbotStyle) -> None:
    chunk = (1, *images.shape[1:])
    file.create_dataset(where, data=from_rgb(images, style.channel_order), chunks=chunk, **_packed(style))


def _packed(style: SerbotStyle) -> dict[str, Any]:
    return {"compression": "gzip", "compression_opts": style.compression} if style.compression else {}


def _fixed(episode: Episode) -> bytes:
    text = episode.instruction.encode()
    if len(text) > INSTRUCTION_BYTES:
        raise ValueError(
            f"episode {episode.name}: an instruction may have {INSTRUCTION_BYTES} bytes, got {len(text)}: "
            f"{episode.instruction!r}"
        )
    return text


# ----------------------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class RawSteps:
    """Actions and what goes with them, as a file has them: labels, not yet twists.

    Attributes:
        actions: float32 (T, C).
        columns: names of the C columns where the file says them, else ().
        events: (T,) or None.
        expert: float32 (T, C) or None.
        states, state_names: see `Episode`.
    """

    actions: np.ndarray
    columns: tuple[str, ...] = ()
    events: tuple[str, ...] | None = None
    expert: np.ndarray | None = None
    states: np.ndarray | None = None
    state_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawFacts:
    """What a file says about itself.

    Attributes:
        layout: arrangement, one of the HDF5 or folder layouts.
        frames: T.
        image_px: (width, height) of its pictures.
        attributes: the collector's root attributes, or the content of metadata.json.
        metadata: the proposed group.
        instruction: "" where it has none.
        ours: content of the attributes `vla_sim_*`, decoded; empty for recordings of the robot.
    """

    layout: str
    frames: int
    image_px: tuple[int, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""
    ours: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("attributes", "metadata", "ours"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


_OURS = "vla_sim_"
_JSON_KEYS = ("action_columns", "action_names", "label_scale", "provenance")


def read_facts(path: Path) -> RawFacts:
    """What the file says about itself; reads no pictures.

    Raises:
        UserError: truncated, locked, or not an episode.
    """
    with opened(path) as file:
        pictures = _pictures_of(file, path)
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        ours = {key.removeprefix(_OURS): value for key, value in attributes.items() if key.startswith(_OURS)}
        ours |= {key: _from_json(path, key, ours[key]) for key in _JSON_KEYS if key in ours}
        if ours.get("format", FORMAT) != FORMAT:
            raise UserError(f"{path}: has vla_sim_format {ours['format']!r}, this version reads {FORMAT}")
        return RawFacts(
            layout=layout_of(file, path),
            frames=len(pictures),
            image_px=(pictures.shape[2], pictures.shape[1]),
            attributes={key: value for key, value in attributes.items() if not key.startswith(_OURS)},
            metadata=_metadata(file),
            instruction=_instruction(file, ours),
            ours=ours,
        )


def read_steps(path: Path) -> RawSteps:
    """The actions of a file, checked; reads no pictures.

    Raises:
        UserError: as `read_facts`; or actions and pictures do not fit, or are not finite numbers.
    """
    with opened(path) as file:
        frames = len(_pictures_of(file, path))
        actions, columns = _actions(file, path)
        check_actions(actions, frames, path)
        events = _texts(file["action_event_types"]) if "action_event_types" in file else None
        if events is not None and len(events) != len(actions):
            raise UserError(f"{path}: {len(actions)} actions but {len(events)} action_event_types")
        expert = np.asarray(file["expert_actions"], np.float32) if "expert_actions" in file else None
        if not file.attrs.get("vla_sim_has_events", True):
            events = None
        states = np.asarray(file["states"], np.float32) if "states" in file else None
        names = tuple(json.loads(file["states"].attrs["names"])) if states is not None else ()
        return RawSteps(actions, columns, events, expert, states, names)


def read_pictures(path: Path, every: slice = slice(None), *, final: bool = True) -> Iterator[np.ndarray]:
    """The pictures one by one, uint8 (H, W, 3) in the file's channel order, the one after the last action at the end.

    Raises:
        UserError: the pictures are damaged.
    """
    with opened(path) as file:
        pictures = _pictures_of(file, path)
        for index in range(*every.indices(len(pictures))):
            yield pictures[index]
        if final and "final_image" in file:
            yield file["final_image"][0]


def check_actions(actions: np.ndarray, frames: int, path: Path) -> None:
    """Refuse actions that do not fit the pictures or are not finite.

    Raises:
        UserError: says which step.
    """
    if actions.ndim != 2 or actions.shape[1] not in (2, 3):
        raise UserError(f"{path}: actions must have shape (T, 3) or (T, 2), got {actions.shape}")
    if len(actions) not in (frames, frames - 1) or not len(actions):
        raise UserError(f"{path}: {frames} pictures but {len(actions)} actions")
    bad = np.argwhere(~np.isfinite(actions))
    if len(bad):
        step, column = map(int, bad[0])
        raise UserError(f"{path}: action {step}, column {column} is {actions[step, column]}; {len(bad)} such values")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open file; whatever HDF5 complains about becomes one sentence.

    Raises:
        UserError: missing, truncated, damaged, locked by another program, or no HDF5 file.
    """
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise UserError(f"{path}: {_complaint(path, error)}") from error


def _complaint(path: Path, error: Exception) -> str:
    text, code = str(error), getattr(error, "errno", None)
    if not path.exists():
        return "no such file"
    if code == errno.EACCES or "Permission denied" in text:
        return "may not be read (permission denied)"
    if code in (errno.EAGAIN, errno.EWOULDBLOCK) or "unable to lock file" in text:
        return "is locked: another program is writing it; try again when that has ended"
    if "already open for write" in text or "consistency flags" in text:
        return "was not closed: a program writes it or was killed while it did (h5clear -s may save it)"
    if path.stat().st_size == 0:
        return "is empty"
    if "truncated" in text:
        return f"is truncated: its end is missing ({path.stat().st_size} bytes are left)"
    if "signature not found" in text:
        return "is not an HDF5 file"
    return f"is damaged: {text}"


def layout_of(file: Any, path: Path) -> str:
    """The arrangement of an open file.

    Raises:
        UserError: none of the known ones.
    """
    h5py = _h5py()
    if isinstance(file.get("images"), h5py.Dataset):
        return MAIN
    if isinstance(file.get("observations/images"), h5py.Dataset):
        return NESTED
    if isinstance(file.get("observations/image"), h5py.Dataset):
        return GROUPS
    raise UserError(
        f"{path}: has no pictures at images, observations/images or observations/image; it has {sorted(file.keys())}"
    )


_PLACES = {MAIN: "images", NESTED: "observations/images", GROUPS: "observations/image"}


def _pictures_of(file: Any, path: Path) -> Any:
    where = _PLACES[layout_of(file, path)]
    pictures = file[where]
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] != 3:
        raise UserError(f"{path}: {where} must be uint8 (T, height, width, 3), got {pictures.dtype} {pictures.shape}")
    if not len(pictures):
        raise UserError(f"{path}: {where} holds no pictures")
    return pictures


def _actions(file: Any, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Actions with the names of their columns, where the file says them."""
    h5py = _h5py()
    found = file.get("actions")
    if isinstance(found, h5py.Group):
        members = {member: name for member, name in _MEMBERS.items() if member in found}
        if not members:
            raise UserError(f"{path}: actions has none of {list(_MEMBERS)}, it has {sorted(found.keys())}")
        columns = [_numbers(found[member], path, f"actions/{member}").reshape(-1) for member in members]
        if len({len(column) for column in columns}) > 1:
            raise UserError(f"{path}: actions/* must be equally long, got {[len(column) for column in columns]}")
        return np.stack(columns, axis=1), tuple(members.values())
    if found is None:
        raise UserError(f"{path}: has no actions; it has {sorted(file.keys())}")
    columns_said = file.attrs.get("vla_sim_action_columns")
    names = check_columns(_from_json(path, "action_columns", columns_said)) if columns_said is not None else ()
    return _numbers(found, path, "actions"), names


def _numbers(dataset: Any, path: Path, where: str) -> np.ndarray:
    if dataset.dtype.kind not in "fiu":
        raise UserError(f"{path}: {where} must be numbers, got {dataset.dtype}")
    return np.asarray(dataset, dtype=np.float32)


def _metadata(file: Any) -> dict[str, Any]:
    group = file.get("metadata")
    if group is None or not hasattr(group, "keys"):
        return {}
    values = {key: _plain(group[key][()]) for key in group if group[key].shape in ((), (1,))}
    return {**{key: _plain(value) for key, value in group.attrs.items()}, **values}


def _instruction(file: Any, ours: Mapping[str, Any]) -> str:
    for where in ("language_instruction", "instruction", "observations/instruction"):
        if where in file and (texts := _texts(file[where])):
            return texts[0]
    return str(ours.get("instruction", ""))


def _texts(dataset: Any) -> tuple[str, ...]:
    return tuple(str(_plain(value)).rstrip("\0") for value in np.atleast_1d(dataset[()]))


def _plain(value: Any) -> Any:
    """A Python value of what h5py gives."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _from_json(path: Path, key: str, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: attribute {_OURS}{key} is damaged: {text!r}") from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise UserError("HDF5 files need h5py: pip install 'vla-sim[data]'") from error
    return h5py
