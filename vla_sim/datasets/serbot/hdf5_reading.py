"""Reads the lab's HDF5 episodes, in the three arrangements of `vla_sim.datasets.serbot.hdf5`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.actions import COLLECTOR_COLUMNS
from vla_sim.datasets.serbot.hdf5 import GROUPS, MAIN, MEMBERS, NESTED, SENSORS
from vla_sim.datasets.serbot.hdf5_access import attributes, dataset, listed, member, need_h5py, numbers, opened, texts
from vla_sim.datasets.serbot.raw import RawFacts, RawSteps, check_actions, one_sentence, own_facts
from vla_sim.datasets.untrusted import check_pixels, check_size, list_of, parse_json, text_of

_OURS = "vla_sim_"
_JSON_KEYS = ("action_columns", "action_names", "label_scale", "provenance")
_PLACES = {MAIN: "images", NESTED: "observations/images", GROUPS: "observations/image"}
_SENTENCES = ("language_instruction", "instruction", "observations/instruction")


def read_facts(path: Path, root: Path | None = None) -> RawFacts:
    """What the file says about itself; reads no images.

    Raises:
        UserError: truncated, locked, or not an episode.
    """
    with opened(path, root) as file:
        layout, images = _images_of(file, path)
        said = attributes(file)
        ours = _own(said, path)
        said_at = _sentences(file, path, len(images))
        return RawFacts(
            layout=layout,
            frames=len(images),
            image_px=(images.shape[2], images.shape[1]),
            attributes={key: value for key, value in said.items() if not key.startswith(_OURS)},
            metadata=_metadata(file, path),
            instruction=(said_at or ("",))[0] or str(ours.get("instruction", "")),
            sentences=said_at if len(set(said_at)) > 1 else (),
            ours=ours,
            last_image=dataset(file, "final_image", path) is not None,
        )


def read_steps(path: Path, root: Path | None = None) -> RawSteps:
    """The actions of a file, checked; reads no images.

    Raises:
        UserError: as `read_facts`; or actions and images do not fit, or are not finite numbers.
    """
    with opened(path, root) as file:
        frames = len(_images_of(file, path)[1])
        said = attributes(file)
        actions, columns = _actions(file, path, said)
        check_actions(actions, frames, path, columns)
        return RawSteps(
            actions,
            columns,
            _events(file, path, len(actions)) if said.get("vla_sim_has_events", True) else None,
            _expert(file, path, actions.shape, columns),
            *_states(file, path),
            _sensors(file, path, frames),
        )


def read_images(
    path: Path, root: Path | None = None, every: slice = slice(None), *, last: bool = True
) -> Iterator[np.ndarray]:
    """The images one by one, uint8 (H, W, 3) in the file's channel order, the one after the last action at the end.

    Raises:
        UserError: the images are damaged.
    """
    with opened(path, root) as file:
        images = _images_of(file, path)[1]
        for index in range(*every.indices(len(images))):
            yield images[index]
        final = dataset(file, "final_image", path) if last else None
        if final is not None:
            if final.dtype != np.uint8 or final.shape != (1, *images.shape[1:]):
                raise UserError(f"{path}: final_image must be one image as the others, got {final.dtype} {final.shape}")
            yield final[0]


def _images_of(file: Any, path: Path) -> tuple[str, Any]:
    """The arrangement of an open file, and the dataset with its images."""
    found = ((layout, dataset(file, where, path)) for layout, where in _PLACES.items())
    layout, images = next(((layout, one) for layout, one in found if one is not None), ("", None))
    if images is None:
        raise UserError(
            f"{path}: has no images at images, observations/images or observations/image; it has {listed(file)}"
        )
    where = _PLACES[layout]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UserError(f"{path}: {where} must be uint8 (T, height, width, 3), got {images.dtype} {images.shape}")
    if not images.size:
        raise UserError(f"{path}: {where} holds no images")
    check_pixels(images.shape[2], images.shape[1], path)
    return layout, images


def _own(said: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The attributes of this simulator, decoded and checked."""
    ours = {key.removeprefix(_OURS): value for key, value in said.items() if key.startswith(_OURS)}
    for key in _JSON_KEYS:
        if key in ours:
            ours[key] = parse_json(ours[key], f"{path}: attribute {_OURS}{key}")
    return own_facts(ours, str(path))


def _actions(file: Any, path: Path, said: Mapping[str, Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Actions with the names of their columns, where the file says them."""
    found = member(file, "actions", path)
    if isinstance(found, need_h5py().Group):
        members = {name: part for name, part in MEMBERS.items() if member(found, name, path) is not None}
        if not members:
            raise UserError(f"{path}: actions has none of {list(MEMBERS)}, it has {listed(found)}")
        columns = [numbers(dataset(found, n, path), f"actions/{n}", path).reshape(-1) for n in members]
        if len({len(column) for column in columns}) > 1:
            raise UserError(f"{path}: actions/* must be equally long, got {[len(column) for column in columns]}")
        return np.stack(columns, axis=1), tuple(members.values())
    if found is None:
        raise UserError(f"{path}: has no actions; it has {listed(file)}")
    names: tuple[str, ...] = ()
    if "vla_sim_action_columns" in said:
        names = tuple(_own(said, path)["action_columns"])
        if not set(names) <= set(COLLECTOR_COLUMNS):
            raise UserError(f"{path}: vla_sim_action_columns must be some of {COLLECTOR_COLUMNS}, got {names}")
    return numbers(dataset(file, "actions", path), "actions", path), names


def _events(file: Any, path: Path, count: int) -> tuple[str, ...] | None:
    found = dataset(file, "action_event_types", path)
    if found is None:
        return None
    if found.shape != (count,):
        raise UserError(f"{path}: {count} actions but {found.size} action_event_types")
    return texts(found, "action_event_types", path, count)


def _expert(file: Any, path: Path, shape: tuple[int, ...], columns: Sequence[str]) -> np.ndarray | None:
    """The expert's actions in the columns of the actions; they are stored in those of the collector."""
    found = dataset(file, "expert_actions", path)
    if found is None:
        return None
    stored = (shape[0], len(COLLECTOR_COLUMNS)) if columns else shape
    if found.shape != stored:
        raise UserError(f"{path}: expert_actions must have shape {stored}, got {found.shape}")
    expert = numbers(found, "expert_actions", path)
    return expert[:, [COLLECTOR_COLUMNS.index(name) for name in columns]] if columns else expert


def _states(file: Any, path: Path) -> tuple[np.ndarray | None, tuple[str, ...]]:
    found = dataset(file, "states", path)
    if found is None:
        return None, ()
    states = numbers(found, "states", path)
    where = f"{path}: states"
    if states.ndim != 2:
        raise UserError(f"{where} must have shape (T, S), got {states.shape}")
    names = attributes(found).get("names")
    if names is None:
        return states, tuple(f"state_{i}" for i in range(states.shape[1]))
    return states, tuple(text_of(name, where) for name in list_of(parse_json(names, where), where))


def _sensors(file: Any, path: Path, frames: int) -> dict[str, np.ndarray]:
    """What further sensors showed, one entry for each image."""
    group = member(file, SENSORS, path)
    if not isinstance(group, need_h5py().Group):
        return {}
    count = frames + (dataset(file, "final_image", path) is not None)
    found = {}
    for name in sorted(group.keys()):
        where = f"{SENSORS}/{name}"
        values = dataset(group, name, path)
        if values is None or values.ndim < 2 or values.dtype not in (np.uint8, np.float32):
            seen = "a group" if values is None else f"{values.dtype} {values.shape}"
            raise UserError(f"{path}: {where} must be uint8 or float32 (T, ...), got {seen}")
        if len(values) != count:
            raise UserError(f"{path}: {where} must have an entry for each of {count} images, got {len(values)}")
        check_size(f"{path}: {where}", values.size * values.dtype.itemsize)
        found[name] = values[()]
    return found


def _metadata(file: Any, path: Path) -> dict[str, Any]:
    """The proposed group: single values, as attributes or datasets."""
    group = member(file, "metadata", path)
    h5py = need_h5py()
    if not isinstance(group, h5py.Group):
        return {}
    values = attributes(group)
    for key in ("target", "obstacle", "side", "success"):
        found = dataset(group, key, path)
        if found is None or found.size != 1:
            continue
        if h5py.check_string_dtype(found.dtype) is not None:
            values[key] = texts(found, f"metadata/{key}", path, 1)[0]
        elif found.dtype.kind in "biuf":
            values[key] = found[()].reshape(-1)[0].item()
    return {key: values[key] for key in ("target", "obstacle", "side", "success") if key in values}


def _sentences(file: Any, path: Path, frames: int) -> tuple[str, ...]:
    """One for the episode, or one for each image where it changes; () for none."""
    for where in _SENTENCES:
        found = dataset(file, where, path)
        if found is not None:
            said = texts(found, where, path, frames + 1)
            if len(said) != frames:
                said = (one_sentence(said, path),)
            if any(said):
                return said
    return ()
