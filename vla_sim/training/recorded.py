"""The demonstrations that `recipes.train_shipped` leaves on disk, read without loading the images."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.sensors import LidarSpec
from vla_sim.datasets.demonstrations import ARRAYS, Demonstrations
from vla_sim.datasets.rounds import FACTS_FILE, open_round, ranges_file

FACTS = FACTS_FILE
# Stands for the scenario of a one-step episode that is a single image (`recipes.single_images`).
LOOK = "look"
# Groups that are drawn by shares of their own: episodes, single images, and those in which one stands still.
DRIVE, STILL = "drive", "still"
SHARES = {DRIVE: 0.5, LOOK: 0.33, STILL: 0.17}


def shares(parts: Sequence[Demonstrations]) -> dict[str, float]:
    """How often each group of these is to be drawn, relative to the others."""
    return {group: SHARES.get(group, 1.0) for part in parts for group in part.groups}


def save_round(folder: Path, demonstrations: Demonstrations) -> None:
    """Write aside, then rename: a folder with its facts is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(demonstrations, name))
    for name, ranges in demonstrations.sensors.items():
        np.save(ranges_file(folder, name), ranges.values)
    facts: dict[str, Any] = {
        "texts": demonstrations.texts,
        "scenarios": demonstrations.scenarios,
        "outcomes": demonstrations.outcomes,
    }
    if any(demonstrations.later):
        facts["later"] = demonstrations.later
    if demonstrations.action_names:
        facts["action_names"] = list(demonstrations.action_names)
    if demonstrations.step_s is not None:
        facts["step_s"] = demonstrations.step_s
    if demonstrations.sensors:
        facts["sensors"] = {name: _written(ranges.lidar) for name, ranges in demonstrations.sensors.items()}
    if any(demonstrations.origins):
        facts["origins"] = [list(names) for names in demonstrations.origins]
    aside = folder / f"{FACTS}.part"
    aside.write_text(json.dumps(facts, ensure_ascii=False), "utf-8")
    os.replace(aside, folder / FACTS)


def _written(lidar: LidarSpec) -> dict[str, Any]:
    """As embodiment files have it."""
    return {
        "rays": lidar.rays,
        "fov_deg": math.degrees(lidar.fov_rad),
        "range_m": lidar.range_m,
        "noise_m": lidar.noise_m,
        "mount_m": list(lidar.mount_m),
    }


def read_round(folder: Path) -> Demonstrations:
    """One round's episodes.

    Raises:
        UserError: it is missing, incomplete or damaged, or an action is not a number.
    """
    if not (folder / FACTS).is_file():
        raise UserError(
            f"{folder} holds no demonstrations: {FACTS} is missing (python -m recipes.train_shipped makes them)"
        )
    found = open_round(folder)
    try:
        found.check_learnable()
    except ValueError as error:
        raise UserError(
            f"{folder}: its episodes cannot be read: {error}; collect them again or leave them out"
        ) from error
    still = [not action.any() for action in np.asarray(found.actions[:, 0])]
    groups = [
        DRIVE if scenario != LOOK else STILL if stands else LOOK
        for scenario, stands in zip(found.scenarios, still, strict=True)
    ]
    return replace(found, groups=groups)


def read_rounds(folder: Path) -> list[Demonstrations]:
    """All parts of all rounds of a data folder, in the order of their names.

    Raises:
        UserError: there is none.
    """
    found = sorted(folder.rglob(FACTS))
    if not found:
        raise UserError(f"{folder} holds no demonstrations (python -m recipes.train_shipped makes them, in OUT/data)")
    return [read_round(path.parent) for path in found]
