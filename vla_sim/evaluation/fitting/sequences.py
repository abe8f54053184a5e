"""Sequences of actions to fit: typed as keys, listed in a TOML file, or taken from the recordings of a data set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from vla_sim.core.config import Number, Place, check_keys, read_table, shown
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES, Embodiment
from vla_sim.core.toml_files import read_toml

# Keys of serbot's remote control, and headings as its users write them: shares of full speed (vx, vy, wz).
KEYS = {
    "W": (1, 0, 0),
    "S": (-1, 0, 0),
    "A": (0, 1, 0),
    "D": (0, -1, 0),
    "Q": (1, 1, 0),
    "E": (1, -1, 0),
    "Z": (-1, 1, 0),
    "C": (-1, -1, 0),
    "R": (0, 0, 1),
    "T": (0, 0, -1),
    "SPACE": (0, 0, 0),
}
HEADINGS = {
    "F": (1, 0, 0),
    "B": (-1, 0, 0),
    "L": (0, 1, 0),
    "R": (0, -1, 0),
    "FL": (1, 1, 0),
    "FR": (1, -1, 0),
    "BL": (-1, 1, 0),
    "BR": (-1, -1, 0),
    "STOP": (0, 0, 0),
}
_TOKEN = re.compile(r"([A-Z]+)(\d*)")


@dataclass(frozen=True, eq=False)
class Drive:
    """One sequence of actions, and where it was driven.

    Attributes:
        name: for tables.
        actions: float64 (T, A) body twists of the robot, in the order of its action names.
        scenario: whose worlds it is fitted to.
        count: how many recordings are this sequence.
        keys: as it was written; "" for recordings.
    """

    name: str
    actions: np.ndarray
    scenario: str
    count: int = 1
    keys: str = ""


@dataclass(frozen=True)
class Listed:
    """One table of a file of key sequences.

    Attributes:
        keys: the sequence, "W3 A Q8" or "F4 L1 FL3".
        scenario: name or file of the scenario whose worlds it is fitted to; "" where the command names it.
        count: recordings that are this sequence.
        note: where it is from, for people.
    """

    keys: str
    scenario: str = ""
    count: Annotated[int, Number(1, 1_000_000, whole=True)] = 1
    note: str = ""


def steps_of(keys: str) -> list[tuple[int, int, int]]:
    """Shares of full speed (vx, vy, wz) of each control step: -1, 0 or 1.

    Two notations are known: keys (W forward, A left, Q both, R counter-clockwise, SPACE) and headings (F, L, FL, STOP).
    Keys may stand together ("WWWAQ"); a number repeats what it follows ("W3", "FL3").

    Raises:
        UserError: neither notation.
    """
    words = keys.upper().split()
    tokens = [match.groups() for match in map(_TOKEN.fullmatch, words) if match]
    if len(tokens) < len(words) or not words:
        raise UserError(f"keys must be like 'W3 A Q8' or 'F4 L1 FL3', got {shown(keys)}")
    table = HEADINGS if {name for name, _ in tokens} & {"F", "B", "L", "FL", "FR", "BL", "BR"} else KEYS
    if table is KEYS:
        tokens = [part for name, times in tokens for part in _split(name, times)]
    unknown = [name for name, _ in tokens if name not in table]
    if unknown:
        raise UserError(f"unknown key {unknown[0]!r} in {shown(keys)}; {suggest(unknown[0], table, most=len(table))}")
    return [table[name] for name, times in tokens for _ in range(int(times or 1))]


def _split(name: str, times: str) -> list[tuple[str, str]]:
    """Single keys of a word in which several stand together; the number belongs to the last."""
    letters = [name] if name in KEYS else list(name)
    return [*((letter, "") for letter in letters[:-1]), (letters[-1], times)]


def of_keys(keys: str, robot: Embodiment, scenario: str, *, name: str = "keys", count: int = 1) -> Drive:
    """A sequence of keys as actions of a robot at full speed.

    Raises:
        UserError: not understood, or the robot cannot move so.
    """
    shares = np.array(steps_of(keys), dtype=np.float64)
    for column, component in enumerate(ACTION_NAMES):
        if component not in robot.action_names and shares[:, column].any():
            raise UserError(f"{name}: {robot.name} has no {component}, which keys {shown(keys)} ask for")
    full = np.array([robot.max_mps, robot.max_mps, robot.max_radps])
    columns = [ACTION_NAMES.index(component) for component in robot.action_names]
    return Drive(name, (shares * full)[:, columns], scenario, count, keys)


def of_file(path: Path, robot: Embodiment, scenario: str) -> list[Drive]:
    """The sequences of a file: tables by name, see `Listed`.

    Raises:
        UserError: the file or a sequence is wrong, or no scenario is named for it.
    """
    table, top = read_toml(path), Place(path)
    check_keys(table, table, top)
    drives = []
    for name, entry in table.items():
        place = top.at(name)
        listed = read_table(Listed, entry, place)
        if not (scenario or listed.scenario):
            raise place.at("scenario").wrong("is missing; write it here or name one with --scenario")
        try:
            drives.append(of_keys(listed.keys, robot, scenario or listed.scenario, name=name, count=listed.count))
        except UserError as error:
            raise place.at("keys").wrong(str(error)) from error
    if not drives:
        raise top.wrong("holds no sequence")
    return drives


def of_recordings(episodes: Sequence[tuple[str, np.ndarray]], scenario: str) -> list[Drive]:
    """The different sequences among recordings, the most frequent first.

    Args:
        episodes: name and actions (T, A) of each.
        scenario: whose worlds they are fitted to.
    """
    first: dict[bytes, tuple[str, np.ndarray]] = {}
    counts: Counter[bytes] = Counter()
    for name, actions in episodes:
        key = np.round(actions, 4).astype(np.float32).tobytes()
        counts[key] += 1
        first.setdefault(key, (name, actions))
    return [Drive(first[key][0], first[key][1], scenario, count) for key, count in counts.most_common()]
