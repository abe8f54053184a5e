"""Serbot's HDF5 episodes: one file each, in the three arrangements that its documents know.

main      /images (T,H,W,3) uint8, /actions (T,3) float32 labels, /action_event_types, later /language_instruction
nested    the same with the images at /observations/images
groups    proposed: /observations/{image,instruction}, /actions/{linear_x,linear_y,angular_z}, /metadata

Files written here carry more, which other readers do not look for: attributes `vla_sim_*` (what columns, channels and
scale mean, provenance), the datasets `final_image`, `expert_actions` and `states`, and in the group `sensors` what
further sensors showed: float32 metres, or uint8 images (always RGB), the one after the last action with them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import write_whole
from vla_sim.datasets.channel_order import BGR, RGB, from_rgb
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS, LabelScale, default_events, full_columns, unknown_parts
from vla_sim.datasets.serbot.hdf5_access import need_h5py
from vla_sim.datasets.serbot.raw import FORMAT

MAIN, NESTED, GROUPS = LAYOUTS = ("main", "nested", "groups")
# Width of /language_instruction.
INSTRUCTION_BYTES = 256
CHUNK_SIZE = 8
OBSTACLE_LAYOUT = "hori"
# Hours at which a time of day begins; the real limits are not known.
TIME_PERIODS = ((0, "dawn"), (6, "morning"), (12, "evening"), (18, "night"))
# Group of what further sensors showed.
SENSORS = "sensors"
MEMBERS = {"linear_x": "vx", "linear_y": "vy", "angular_z": "wz"}


@dataclass(frozen=True)
class SerbotStyle:
    """How episodes are written.

    Attributes:
        layout: one of LAYOUTS.
        channel_order: "rgb", or "bgr" as the collector stores them.
        scale: what a label means.
        instruction: write /language_instruction, which the first 468 recordings got later by a script.
        proposed_metadata: write /instruction and /metadata/{target,side,obstacle} as well.
        compression: gzip level of the images, 0 for none.
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


def write_serbot_hdf5(path: Path, episode: Episode, style: SerbotStyle = DEFAULT_STYLE) -> None:
    """Write one episode: the file is complete or absent.

    Raises:
        UserError: the disk is full or the folder cannot be written.
        ValueError: the episode cannot be written so, e.g. its sentence is too long.
    """
    write_whole(path, serbot_hdf5_bytes(episode, style))


def serbot_hdf5_bytes(episode: Episode, style: SerbotStyle = DEFAULT_STYLE) -> bytes:
    """The content of the file of an episode; equal episodes give equal bytes."""
    h5py = need_h5py()
    if problem := unknown_parts(episode.action_names):
        raise UserError(f"episode {episode.name}: {problem}")
    # In memory first: so the disk sees one plain write, and errors of the disk come as such.
    with h5py.File(episode.name, "w", driver="core", backing_store=False, libver=("v110", "v110")) as file:
        _write_common(file, episode, style)
        if style.layout == GROUPS:
            _write_groups(file, episode, style)
        else:
            _write_main(file, episode, style)
        if episode.sentences:
            _write_sentences(file, episode, style)
        if style.proposed_metadata and style.layout != GROUPS:
            file.create_dataset("instruction", data=episode.instruction, dtype=h5py.string_dtype())
            _write_metadata(file, episode)
        file.flush()
        return bytes(file.id.get_file_image())


def _write_main(file: Any, episode: Episode, style: SerbotStyle) -> None:
    h5py = need_h5py()
    where = "images" if style.layout == MAIN else "observations/images"
    _write_images(file, where, episode.images[: len(episode)], style)
    table = full_columns(style.scale.labels(episode.actions, episode.action_names), episode.action_names)
    file.create_dataset("actions", data=table, **_packed(style))
    events = episode.events or default_events(episode.actions)
    file.create_dataset("action_event_types", data=list(events), dtype=h5py.string_dtype())
    if style.instruction and episode.instruction:
        file.create_dataset("language_instruction", data=np.array([_fixed(episode)], f"S{INSTRUCTION_BYTES}"))


def _write_sentences(file: Any, episode: Episode, style: SerbotStyle) -> None:
    """One for each step in place of one for all."""
    where = "observations/instruction" if style.layout == GROUPS else "language_instruction"
    if where in file:
        del file[where]
    file.create_dataset(where, data=list(episode.sentences), dtype=need_h5py().string_dtype())


def _write_groups(file: Any, episode: Episode, style: SerbotStyle) -> None:
    h5py = need_h5py()
    _write_images(file, "observations/image", episode.images[: len(episode)], style)
    file.create_dataset("observations/instruction", data=episode.instruction, dtype=h5py.string_dtype())
    labels = style.scale.labels(episode.actions, episode.action_names)
    for member, name in MEMBERS.items():
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
        values["success"] = episode.outcome.succeeded
    for key, value in values.items():
        group.create_dataset(key, data=value)


def _write_common(file: Any, episode: Episode, style: SerbotStyle) -> None:
    for key, value in _attributes(episode, style).items():
        file.attrs[key] = value
    if episode.has_last_image:
        _write_images(file, "final_image", episode.images[-1:], style)
    if episode.labels is not None:
        table = full_columns(style.scale.labels(episode.labels, episode.action_names), episode.action_names)
        file.create_dataset("expert_actions", data=table, **_packed(style))
    if episode.states is not None:
        data = file.create_dataset("states", data=episode.states, **_packed(style))
        data.attrs["names"] = json.dumps(episode.state_names)
    for name, values in episode.sensors.items():
        chunk = (1, *values.shape[1:])
        file.create_dataset(f"{SENSORS}/{name}", data=np.asarray(values), chunks=chunk, **_packed(style))


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


def _write_images(file: Any, where: str, images: np.ndarray, style: SerbotStyle) -> None:
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
