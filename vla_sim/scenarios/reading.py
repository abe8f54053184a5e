"""Reads one scenario file: merges what it extends, unfolds its matrix, checks every value and says what is wrong.

A file defines one or several named scenarios. `[matrix.AXIS]` lists choices, each a table laid over the file;
`names` holds patterns such as "obstacle_{side}": axes in the pattern are unfolded into names, axes left out of it
are drawn anew for each world.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.surfaces import FLOOR_TEXTURES, TEXTURES, WALL_TEXTURES
from vla_sim.core.toml_files import read_toml
from vla_sim.core.types import Kind, Side, SuccessRule
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import FORMS, Choice, Distribution, parse_names, parse_numbers
from vla_sim.scenarios.scene_distribution import (
    CANDIDATE,
    LINE,
    LOOK,
    ROLES,
    ROOM,
    Blueprint,
    LanguagePlan,
    LookPlan,
    ObjectPlan,
    RoomPlan,
    TaskPlan,
)

FORMAT = 1
LANGUAGES = ("en", "ko")
KINDS = tuple(kind.value for kind in Kind if kind is not Kind.WALL)
HEADER = ("format", "extends", "description", "names", "more_names", "use", "matrix")
BODY = ("objects", "room", "task", "look", "language", "differ")
OBJECT_KEYS = (
    *("role", "kind", "ahead_m", "aside_m", "ahead_from", "aside_from", "yaw_deg"),
    *("size_m", "depth_m", "width_m", "height_m", "mass_kg", "color", "texture"),
)
# Least and largest sensible value of every quantity in a file; a value outside is a slip of unit or sign.
LIMITS: dict[str, tuple[float, float]] = {
    "ahead_m": (-20.0, 20.0),
    "aside_m": (-20.0, 20.0),
    "yaw_deg": (-360.0, 360.0),
    "size_m": (0.02, 3.0),
    "depth_m": (0.02, 3.0),
    "width_m": (0.02, 3.0),
    "height_m": (0.02, 3.0),
    "mass_kg": (0.0, 200.0),
    "room.ahead_m": (0.5, 30.0),
    "room.behind_m": (0.3, 30.0),
    "room.width_m": (1.0, 30.0),
    "room.wall_height_m": (0.1, 4.0),
    "reach_m": (0.02, 2.0),
    "time_limit_s": (0.5, 600.0),
    "clearance_m": (0.0, 1.0),
    "sun": (0.0, 1.0),
    "ambient": (0.2, 1.0),
    "sun_azimuth_deg": (-360.0, 360.0),
    "sun_elevation_deg": (5.0, 90.0),
    "tint": (0.5, 1.5),
    "floor_brightness": (0.1, 1.0),
    "wall_brightness": (0.1, 1.0),
    "camera_tilt_deg": (-20.0, 20.0),
}

T = TypeVar("T")


class ScenarioError(UserError):
    """A scenario file that cannot be used; the message names file, field, value and what would be right."""


@dataclass(frozen=True)
class Definition:
    """One named scenario of a file: the blueprints among which each world draws, and the hash of their content."""

    name: str
    description: str
    source: Path
    blueprints: tuple[Blueprint, ...]
    hash: str


class _Table:
    """A table of a file whose keys are read one by one; knows where it is for its messages."""

    def __init__(self, source: Path, where: str, table: Any, allowed: Iterable[str]) -> None:
        self.source, self.where = source, where
        if not isinstance(table, Mapping):
            raise ScenarioError(f"{source}: {where} must be a table, got {table!r}")
        self.table = table
        for key in table:
            if key not in (known := tuple(allowed)):
                raise self.wrong(key, f"is not a known key; {suggest(key, known)}")

    def path(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def wrong(self, key: str, message: str) -> ScenarioError:
        return ScenarioError(f"{self.source}: {self.path(key)} {message}")

    def read(self, key: str, parse: Callable[[Any], T], default: T) -> T:
        if key not in self.table:
            return default
        try:
            return parse(self.table[key])
        except ValueError as error:
            raise self.wrong(key, str(error)) from error

    def need(self, key: str) -> Any:
        if key not in self.table:
            raise self.wrong(key, "is missing")
        return self.table[key]

    def numbers(self, key: str, default: Any = None, *, limits: str | None = None) -> Any:
        found: Distribution = self.read(key, parse_numbers, default)
        if key in self.table:
            (low, high), (least, most) = LIMITS[limits or key], found.range
            if least < low or most > high:
                raise self.wrong(key, f"must lie between {low:g} and {high:g}, got {self.table[key]!r}")
        return found

    def number(self, key: str, default: float) -> float:
        found = self.numbers(key, Choice((default,)))
        if not isinstance(found, Choice) or len(found.values) != 1:
            raise self.wrong(key, f"must be one number, got {self.table[key]!r}")
        return float(found.values[0])

    def names(self, key: str, allowed: tuple[str, ...], default: Any = None) -> Any:
        return self.read(key, lambda value: parse_names(value, allowed), default)

    def name(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str | None:
        found = self.names(key, allowed)
        if found is not None and len(found.values) != 1:
            raise self.wrong(key, f"must be one name, got {self.table[key]!r}")
        return default if found is None else found.values[0]

    def flag(self, key: str, default: bool) -> bool:
        value = self.table.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"must be true or false, got {value!r}")
        return value

    def text(self, key: str, default: str = "") -> str:
        value = self.table.get(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, f"must be a text, got {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.wrong(key, f"must be a list of texts, got {value!r}")
        return tuple(value)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Tables laid over tables, key by key; distributions and plain values are replaced whole."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and not {*old, *value} & set(FORMS):
            value = merged(old, value)
        result[key] = value
    return result


def read_definitions(path: Path) -> dict[str, Definition]:
    """All scenarios that a file defines, by name.

    Raises:
        ScenarioError: the file is wrong.
    """
    table = _extended(path)
    header = _Table(path, "", table, (*HEADER, *BODY))
    axes = _axes(header)
    names = {**_named(header, "names", axes), **_named(header, "more_names", axes)}
    body = {key: value for key, value in table.items() if key in BODY}
    return {
        name: _definition(path, name, header.text("description"), body, axes, fixed) for name, fixed in names.items()
    }


def read_names(path: Path) -> tuple[list[str], list[str]]:
    """Names that a file adds to its suite (those it defines or uses), and those that it defines besides.

    Raises:
        ScenarioError: the file is wrong.
    """
    header = _Table(path, "", _extended(path), (*HEADER, *BODY))
    if "use" in header.table:
        return list(header.texts("use")), []
    axes = _axes(header)
    return list(_named(header, "names", axes)), list(_named(header, "more_names", axes))


def _extended(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tables over those of the file it extends; names are never inherited."""
    if path in seen:
        raise ScenarioError(f"{path}: extends goes in a circle: {' -> '.join(p.stem for p in (*seen, path))}")
    try:
        table = read_toml(path)
    except UserError as error:
        raise ScenarioError(str(error)) from error
    if table.get("format") != FORMAT:
        raise ScenarioError(f"{path}: format must be {FORMAT}, got {table.get('format')!r}")
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ScenarioError(f"{path}: extends must be a text, got {base!r}")
    under = _extended(_base_path(path, base), (*seen, path))
    for key in ("names", "more_names", "use"):
        under.pop(key, None)
    return merged(under, table)


def _base_path(path: Path, base: str) -> Path:
    """`extends` is a file beside this one or, as suite/file, one of the shipped ones; without its ending."""
    beside = path.parent / f"{base}.toml"
    shipped = content_folder("scenarios") / f"{base}.toml"
    for found in (beside, shipped):
        if found.is_file():
            return found
    folders = (path.parent, content_folder("scenarios"))
    known = [p.relative_to(f).with_suffix("").as_posix() for f in folders for p in sorted(f.glob("**/*.toml"))]
    raise ScenarioError(f"{path}: extends names no file {base!r}; {suggest(base, dict.fromkeys(known))}")


def _axes(header: _Table) -> dict[str, dict[str, Any]]:
    """The matrix: axis -> choice -> tables laid over the file."""
    axes = header.table.get("matrix", {})
    for axis, choices in _Table(header.source, "matrix", axes, axes).table.items():
        if not isinstance(choices, Mapping) or not choices:
            raise header.wrong(f"matrix.{axis}", f"must be a table of choices, got {choices!r}")
        for choice, over in choices.items():
            _Table(header.source, f"matrix.{axis}.{choice}", over, BODY)
    return dict(axes)


def _named(header: _Table, key: str, axes: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Scenario name -> the choices that its name fixes, in the order of the file."""
    entries = header.table.get(key, [header.source.stem] if key == "names" else [])
    if not isinstance(entries, list):
        raise header.wrong(key, f"must be a list of names, got {entries!r}")
    names: dict[str, dict[str, str]] = {}
    for entry in entries:
        for name, fixed in _unfolded(header, key, entry, axes):
            if name in names:
                raise header.wrong(key, f"gives {name!r} twice")
            names[name] = fixed
    return names


def _unfolded(
    header: _Table, key: str, entry: Any, axes: Mapping[str, Mapping[str, Any]]
) -> Iterable[tuple[str, dict[str, str]]]:
    """An entry is a pattern with {axis} in it, or a table { name = "...", axis = "choice", ... }."""
    fixed = dict(entry) if isinstance(entry, Mapping) else {"name": entry}
    pattern = fixed.pop("name", None)
    if not isinstance(pattern, str) or not pattern:
        raise header.wrong(key, f"must hold names, got {entry!r}")
    for axis, choice in fixed.items():
        if axis not in axes:
            raise header.wrong(key, f"fixes {axis!r}, which is no axis of the matrix; {suggest(axis, axes)}")
        if choice not in axes[axis]:
            raise header.wrong(key, f"fixes {axis} to {choice!r}; {suggest(str(choice), axes[axis])}")
    free = list(dict.fromkeys(name for _, name, _, _ in string.Formatter().parse(pattern) if name))
    for axis in free:
        if axis not in axes:
            raise header.wrong(key, f"{pattern!r} names {axis!r}, which is no axis; {suggest(axis, axes)}")
    for choices in itertools.product(*(axes[axis] for axis in free)):
        decided = {**fixed, **dict(zip(free, choices, strict=True))}
        yield pattern.format(**decided), decided


def _definition(
    path: Path,
    name: str,
    description: str,
    body: Mapping[str, Any],
    axes: Mapping[str, Mapping[str, Any]],
    fixed: Mapping[str, str],
) -> Definition:
    options = [[fixed[axis]] if axis in fixed else list(choices) for axis, choices in axes.items()]
    tables = []
    for choices in itertools.product(*options):
        table = dict(body)
        for axis, choice in zip(axes, choices, strict=True):
            table = merged(table, axes[axis][choice])
        tables.append(table)
    canonical = json.dumps([FORMAT, tables], sort_keys=True, ensure_ascii=False)
    blueprints = tuple(_blueprint(path, table) for table in tables)
    return Definition(name, description, path, blueprints, hashlib.sha256(canonical.encode()).hexdigest())


def _blueprint(path: Path, table: Mapping[str, Any]) -> Blueprint:
    objects = table.get("objects")
    if not isinstance(objects, Mapping) or not objects:
        raise ScenarioError(f"{path}: objects must hold at least the goal, e.g. [objects.goal], got {objects!r}")
    names = tuple(objects)
    plan = Blueprint(
        objects=tuple(_object(path, name, objects[name], names) for name in names),
        room=_room(path, table.get("room", {})),
        task=_task(path, table.get("task", {})),
        look=_look(path, table.get("look", {})),
        language=_language(path, table.get("language", {})),
        differ=_differ(path, table),
    )
    _check_roles(path, plan)
    _check_references(path, plan)
    return plan


def _object(path: Path, name: str, content: Any, others: tuple[str, ...]) -> ObjectPlan:
    table = _Table(path, f"objects.{name}", content, OBJECT_KEYS)
    for key in ("role", "kind", "ahead_m"):
        table.need(key)
    size = table.numbers("size_m")
    if size is not None and (both := [k for k in ("depth_m", "width_m", "height_m") if k in table.table]):
        raise table.wrong("size_m", f"already says {both[0]}: give one of them")
    anchors = tuple(other for other in others if other != name)
    role = table.name("role", ROLES)
    return ObjectPlan(
        name=name,
        role=str(role),
        kinds=Choice(tuple(Kind(kind) for kind in table.names("kind", KINDS).values)),
        ahead_m=table.numbers("ahead_m"),
        aside_m=table.numbers("aside_m", Choice((0.0,))),
        ahead_from=table.name("ahead_from", anchors),
        aside_from=table.name("aside_from", anchors if role == "goal" else (LINE, *anchors)),
        yaw_deg=table.numbers("yaw_deg", Choice((0.0,))),
        depth_m=table.numbers("depth_m", size),
        width_m=table.numbers("width_m", size),
        height_m=table.numbers("height_m", size),
        mass_kg=table.numbers("mass_kg"),
        colors=table.names("color", tuple(PALETTE), Choice(tuple(PALETTE))),
        textures=table.names("texture", TEXTURES),
    )


def _room(path: Path, content: Any) -> RoomPlan:
    table = _Table(path, "room", content, [f.name for f in fields(RoomPlan)])
    return RoomPlan(
        **{f.name: table.numbers(f.name, getattr(ROOM, f.name), limits=f"room.{f.name}") for f in fields(RoomPlan)}
    )


def _task(path: Path, content: Any) -> TaskPlan:
    table = _Table(path, "task", content, [f.name for f in fields(TaskPlan)])
    side = table.name("side", tuple(s.value for s in Side))
    return TaskPlan(
        side=Side(side) if side else None,
        success=SuccessRule(table.name("success", tuple(s.value for s in SuccessRule), TaskPlan.success.value)),
        reach_m=table.number("reach_m", TaskPlan.reach_m),
        time_limit_s=table.number("time_limit_s", TaskPlan.time_limit_s),
        collision_ends=table.flag("collision_ends", TaskPlan.collision_ends),
        clearance_m=table.number("clearance_m", TaskPlan.clearance_m),
    )


def _look(path: Path, content: Any) -> LookPlan:
    table = _Table(path, "look", content, [f.name for f in fields(LookPlan)])
    textures = {"floor_texture": FLOOR_TEXTURES, "wall_texture": WALL_TEXTURES}
    return LookPlan(
        **{
            f.name: table.names(f.name, textures[f.name], getattr(LOOK, f.name))
            if f.name in textures
            else table.numbers(f.name, getattr(LOOK, f.name))
            for f in fields(LookPlan)
        }
    )


def _language(path: Path, content: Any) -> LanguagePlan:
    table = _Table(path, "language", content, (*LANGUAGES, "sentences"))
    shares = {}
    for language in LANGUAGES:
        if language in table.table:
            share = table.read(language, lambda value: parse_numbers(value).range, (0.0, 0.0))[0]
            if not 0 <= share <= 1:
                raise table.wrong(language, f"must be a share between 0 and 1, got {table.table[language]!r}")
            shares[language] = share
    if shares and abs(sum(shares.values()) - 1) > 1e-6:
        raise ScenarioError(f"{path}: the shares in language must add up to 1, got {shares}")
    return LanguagePlan(shares or LanguagePlan().shares, table.texts("sentences"))


def _differ(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    table = _Table(path, "", content, BODY)
    differ = table.texts("differ")
    for word in differ:
        if word not in ("kind", "color"):
            raise table.wrong("differ", f"holds {word!r}; {suggest(word, ('kind', 'color'))}")
    return differ


def _check_roles(path: Path, plan: Blueprint) -> None:
    roles = [item.role for item in plan.objects]
    goals, candidates = roles.count("goal"), roles.count(CANDIDATE)
    if candidates == 1 or (goals, bool(candidates)) not in ((1, False), (0, True)):
        raise ScenarioError(
            f"{path}: objects need exactly one goal, or no goal and two or more candidates; "
            f"got {goals} goals and {candidates} candidates"
        )
    if plan.task.side and "obstacle" not in roles:
        raise ScenarioError(f"{path}: task.side is {plan.task.side.value!r}, but no object has the role obstacle")
    if len({kind for item in plan.objects if item.role == "obstacle" for kind in item.kinds.values}) > 1:
        raise ScenarioError(f"{path}: obstacles must be of one kind, so that a sentence can name them together")


def _check_references(path: Path, plan: Blueprint) -> None:
    """`ahead_from` and `aside_from` must end somewhere; "line" needs the goal's place first."""
    for key in ("ahead_from", "aside_from"):
        links = {item.name: getattr(item, key) for item in plan.objects}
        goal = next((item.name for item in plan.objects if item.role == "goal"), None)
        if goal is None and LINE in links.values():
            raise ScenarioError(f"{path}: {key} = 'line' needs an object with the role goal")
        for name in links:
            seen: list[str] = []
            at: str | None = name
            while at is not None:
                if at in seen:
                    raise ScenarioError(f"{path}: objects.{name}.{key} goes in a circle: {' -> '.join([*seen, at])}")
                seen.append(at)
                at = goal if links[at] == LINE else links[at]
