"""Reads `envs/*.toml` into `Embodiment`s. Angles are degrees in files (`_deg`) and radians in specs (`_rad`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

from vla_sim.core.config import (
    NAME_LENGTH,
    Anything,
    ConfigError,
    ListOf,
    Name,
    Number,
    Place,
    Text,
    read_table,
    shown,
)
from vla_sim.core.content import embodiment_path
from vla_sim.core.errors import UserError
from vla_sim.core.sensors import Sensor, SensorTables
from vla_sim.core.specs import (
    ACTION_NAMES,
    ActuationSpec,
    BodySpec,
    CameraSpec,
    DriveSpec,
    Embodiment,
)
from vla_sim.core.toml_files import read_toml

FORMAT = 1


class EmbodimentError(ConfigError):
    """An embodiment file that cannot be used; the message names file, field and value."""


@dataclass(frozen=True)
class Timing:
    """Steps of control and physics.

    Attributes:
        control_s: seconds from one action to the next, a whole number of physics steps.
        physics_hz: physics steps per second.
    """

    control_s: Annotated[float, Number(0.005, 10)] = Embodiment.control_s
    physics_hz: Annotated[int, Number(10, 10_000, whole=True)] = Embodiment.physics_hz


@dataclass(frozen=True)
class Action:
    """The action space.

    Attributes:
        names: some of "vx", "vy", "wz" in this order.
        max_mps, max_radps: its bounds.
    """

    names: Annotated[tuple[str, ...], ListOf(Name(ACTION_NAMES))] = Embodiment.action_names
    max_mps: Annotated[float, Number(0.01, 10)] = Embodiment.max_mps
    max_radps: Annotated[float, Number(0.01, 30)] = Embodiment.max_radps


@dataclass(frozen=True)
class EmbodimentFile:
    """What an embodiment file may hold, besides `extends`.

    Attributes:
        format: version of this file format, 1.
        name: of the robot.
        description: one line for people.
        timing, action, body, drive, actuation, camera: see there.
        sensors: what it observes beside camera and odometry, by the name of its observation.
    """

    format: Annotated[int, Anything("1", {"const": FORMAT})]
    name: Annotated[str, Text(longest=NAME_LENGTH)]
    description: str = ""
    timing: Timing = field(default_factory=Timing)
    action: Action = field(default_factory=Action)
    body: BodySpec = field(default_factory=BodySpec)
    drive: DriveSpec = field(default_factory=DriveSpec)
    actuation: ActuationSpec = field(default_factory=ActuationSpec)
    camera: CameraSpec = field(default_factory=CameraSpec)
    sensors: Annotated[Mapping[str, Sensor], SensorTables()] = field(default_factory=dict)


def load_embodiment(name_or_path: str | PathLike[str]) -> Embodiment:
    """The embodiment of that name (in `envs/`) or file, which is read anew each time.

    Raises:
        UserError: no such embodiment (with the nearest name), or the file is wrong.
    """
    path = embodiment_path(name_or_path)
    table = _merged(path)
    file = read_table(EmbodimentFile, table, Place(path, error=EmbodimentError))
    try:
        return Embodiment(
            name=file.name,
            description=file.description,
            action_names=file.action.names,
            max_mps=file.action.max_mps,
            max_radps=file.action.max_radps,
            control_s=file.timing.control_s,
            physics_hz=file.timing.physics_hz,
            body=file.body,
            drive=file.drive,
            actuation=file.actuation,
            camera=file.camera,
            sensors=file.sensors,
            content_hash=hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest(),
        )
    except ValueError as error:
        raise EmbodimentError(f"{path}: {error}") from error


def _merged(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tables over those of the file it extends."""
    here = Place(path, error=EmbodimentError)
    if path in seen:
        raise here.wrong(f"extends goes in a circle: {' -> '.join(p.stem for p in (*seen, path))}")
    table = read_toml(path)
    if table.get("format") != FORMAT:
        raise here.at("format").wrong(f"must be {FORMAT}, got {shown(table.get('format'))}")
    base = table.pop("extends", None)
    if base is None:
        return table
    merged = _merged(_base_path(path, Text().read(base, here.at("extends"))), (*seen, path))
    for key, value in table.items():
        under = merged.get(key, {})
        merged[key] = {**under, **value} if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return merged


def _base_path(path: Path, base: str) -> Path:
    """`extends` names a file beside this one, without its ending, or a shipped one."""
    beside = path.parent / f"{base}.toml"
    try:
        return beside if beside.is_file() else embodiment_path(base)
    except (UserError, OSError, ValueError) as error:
        raise EmbodimentError(f"{path}: extends names no file: {error}") from error
