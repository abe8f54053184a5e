"""Reads one scenario file: merges what it extends, unfolds its matrix, checks every value and says what is wrong.

A file defines one or several named scenarios. `[matrix.AXIS]` lists choices, each a table laid over the file;
`names` holds patterns such as "obstacle_{side}": axes in the pattern are unfolded into names, axes left out of it
are drawn anew for each scene.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from vla_sim.core.config import Anything, ConfigError, ListOf, Name, Place, Text, check_keys, read_table, shown
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.obj_mesh import ObjMesh
from vla_sim.core.toml_files import read_toml
from vla_sim.core.types import Side
from vla_sim.scenarios.checks import check_distribution
from vla_sim.scenarios.distributions import FORMS, Choice, fixed
from vla_sim.scenarios.mesh_keys import with_mesh_contents, with_mesh_paths
from vla_sim.scenarios.names import NAMES_SCHEMA, Named, named_scenarios
from vla_sim.scenarios.scene_distribution import (
    AppearanceDistribution,
    LanguageMix,
    ObjectDistribution,
    SceneDistribution,
)
from vla_sim.scenarios.surroundings import MoverDistribution, RoomDistribution, StartDistribution, WallDistribution
from vla_sim.scenarios.task_rules import TaskRules
from vla_sim.scenarios.usual_sizes import ENLARGED, REAL

T = TypeVar("T")

FORMAT = 1
BODY = ("objects", "movers", "walls", "start", "room", "task", "look", "language", "differ", "later", "legs", "sizes")
# Combinations of a matrix among which one scenario draws.
MAX_COMBINATIONS = 1000
EXTENTS = ("depth_m", "width_m", "height_m")
MESH_EXTENTS_M = (0.02, 3.0)
# What objects are told to be that have no colour with a name.
UNNAMED_COLOR = "cardboard"


class ScenarioError(ConfigError):
    """A scenario file that cannot be used; the message names file, field, value and what would be right."""


class InfeasibleScenarioError(ScenarioError):
    """No feasible scene was found in the allowed number of tries; the message says what stood in the way."""


@dataclass(frozen=True)
class ScenarioFile:
    """The top of a scenario file.

    Attributes:
        format: version of this file format: 1.
        extends: a file that this one is laid over, key by key: one beside it, or a shipped one as "suite/file"; without
            its ending. Names are not inherited.
        description: one line for people.
        names: the scenarios of this file that belong to its suite; the file's own name where nothing is said. An entry
            is a name, a pattern with axes of the matrix such as "obstacle_{side}", or a table { name = ..., AXIS =
            "choice" }.
        more_names: further scenarios, not part of the suite.
        use: in place of everything else: names of scenarios from other files that make up a suite.
        matrix: `[matrix.AXIS.CHOICE]` is a table that is laid over this file when the axis has that choice. An axis
            that no name fixes is drawn anew for each scene.
        objects: what stands in a scene: `[objects.NAME]`.
        movers: what moves by itself: `[movers.NAME]`.
        walls: inner walls: `[walls.NAME]`.
        start, room, task, look, language: see below.
        differ: what must differ between the candidates: "kind", "color" or both.
        later: what else is said within an episode, `[[later]]`: see below.
        legs: what is to be done one after the other, `[[legs]]`: see below.
        sizes: usual sizes of kinds: "enlarged" cups, bottles and pots, or "real" ones.
    """

    format: Annotated[int, Anything("1", {"const": FORMAT})]
    extends: str | None = None
    description: str = ""
    names: Annotated[Any, Anything("a list of names, patterns or tables", NAMES_SCHEMA)] = None
    more_names: Annotated[Any, Anything("a list of names, patterns or tables", NAMES_SCHEMA)] = None
    use: Annotated[tuple[str, ...], ListOf(Text())] = ()
    matrix: Annotated[Any, Anything("tables")] = field(default_factory=dict)
    objects: Annotated[Any, Anything("tables")] = None
    movers: Annotated[Any, Anything("tables")] = field(default_factory=dict)
    walls: Annotated[Any, Anything("tables")] = field(default_factory=dict)
    start: StartDistribution = field(default_factory=StartDistribution)
    room: RoomDistribution = field(default_factory=RoomDistribution)
    task: TaskRules = field(default_factory=TaskRules)
    look: AppearanceDistribution = field(default_factory=AppearanceDistribution)
    language: LanguageMix = field(default_factory=LanguageMix)
    differ: Annotated[Any, Anything('a list of "kind" and "color"')] = ()
    later: Annotated[Any, Anything("a list of tables")] = ()
    legs: Annotated[Any, Anything("a list of tables")] = ()
    sizes: Annotated[str, Name((ENLARGED, REAL))] = ENLARGED


@dataclass(frozen=True)
class Definition:
    """One named scenario of a file.

    Attributes:
        name: of the scenario.
        description: one line for people.
        source: the file.
        distributions: each scene is drawn from one of them.
        hash: sha256 of the content that these come from.
        family: shared by the scenarios that differ in nothing but the side that is asked for, e.g. "obstacle_*".
        twin: the scenario of the family with the other side; "" for none.
        family_hash: sha256 of the content without the side.
    """

    name: str
    description: str
    source: Path
    distributions: tuple[SceneDistribution, ...]
    hash: str
    family: str
    twin: str
    family_hash: str


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
    table, place = _extended(path), Place(path, error=ScenarioError)
    names, more = _names(table, place)
    description = Text().read(table.get("description", ""), place.at("description"))
    body = {key: value for key, value in table.items() if key in BODY}
    listed = [*names, *more]
    contents = {one.name: _contents(body, table.get("matrix", {}), one, place) for one in listed}
    if sum(map(len, contents.values())) > MAX_COMBINATIONS:
        raise place.at("matrix").wrong(f"gives more than {MAX_COMBINATIONS} combinations of its choices in all")
    found = {name: tuple(_distribution(one, place) for one in tables) for name, tables in contents.items()}
    contents = {name: [with_mesh_contents(table, place) for table in tables] for name, tables in contents.items()}
    families = {name: _hash([_without_side(table) for table in tables]) for name, tables in contents.items()}
    sides = {name: _side(distributions) for name, distributions in found.items()}
    return {
        one.name: Definition(
            name=one.name,
            description=description,
            source=path,
            distributions=found[one.name],
            hash=_hash(contents[one.name]),
            family=_family(one, listed, families, sides),
            twin=_twin(one, listed, families, sides),
            family_hash=families[one.name],
        )
        for one in listed
    }


def read_names(path: Path) -> tuple[list[str], list[str], bool]:
    """Names that a file adds to its suite, those that it defines besides, and whether it defines or only uses them.

    Raises:
        ScenarioError: the file is wrong.
    """
    table, place = _extended(path), Place(path, error=ScenarioError)
    if "use" in table:
        return list(ListOf(Text()).read(table["use"], place.at("use"))), [], False
    names, more = _names(table, place)
    return [one.name for one in names], [one.name for one in more], True


def _extended(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's tables over those of the file it extends; names are never inherited."""
    place = Place(path, error=ScenarioError)
    if path in seen:
        raise place.wrong(f"extends goes in a circle: {' -> '.join(p.stem for p in (*seen, path))}")
    try:
        table = read_toml(path)
    except UserError as error:
        raise ScenarioError(str(error)) from error
    if table.get("format") != FORMAT:
        raise place.at("format").wrong(f"must be {FORMAT}, got {shown(table.get('format'))}")
    check_keys(table, [f.name for f in fields(ScenarioFile)], place)
    table = with_mesh_paths(table, place)
    base = table.pop("extends", None)
    if base is None:
        return table
    under = _extended(_base_path(path, Text().read(base, place.at("extends"))), (*seen, path))
    for key in ("names", "more_names", "use"):
        under.pop(key, None)
    return merged(under, table)


def _base_path(path: Path, base: str) -> Path:
    """`extends` is a file beside this one or, as suite/file, one of the shipped ones; without its ending."""
    folders = (path.parent, content_folder("scenarios"))
    try:
        for folder in folders:
            if (folder / f"{base}.toml").is_file():
                return folder / f"{base}.toml"
    except (OSError, ValueError):
        pass
    known = [p.relative_to(f).with_suffix("").as_posix() for f in folders for p in sorted(f.glob("**/*.toml"))]
    raise ScenarioError(f"{path}: extends names no file {shown(base)}; {suggest(base, dict.fromkeys(known))}")


def _names(table: Mapping[str, Any], place: Place) -> tuple[list[Named], list[Named]]:
    """What `names` and `more_names` stand for."""
    matrix = table.get("matrix", {})
    if not isinstance(matrix, Mapping):
        raise place.at("matrix").wrong(f"must be a table, got {shown(matrix)}")
    for axis, choices in matrix.items():
        here = place.at("matrix").at(axis)
        if not isinstance(choices, Mapping) or not choices:
            raise here.wrong(f"must be a table of choices, got {shown(choices)}")
        for choice, over in choices.items():
            check_keys(over, BODY, here.at(choice))
    if "names" in table:
        names = named_scenarios(table["names"], matrix, place.at("names"))
    else:
        stem = Path(place.source).stem
        names = [Named(Text(longest=100).read(stem, place.at("name of the file")), stem, {})]
    more = named_scenarios(table.get("more_names", []), matrix, place.at("more_names"))
    listed = [one.name for one in (*names, *more)]
    for key, found in (("names", names), ("more_names", more)):
        for one in found:
            if listed.count(one.name) > 1:
                raise place.at(key).wrong(f"gives {one.name!r} twice")
    return names, more


def _contents(
    body: Mapping[str, Any], matrix: Mapping[str, Mapping[str, Any]], named: Named, place: Place
) -> list[dict[str, Any]]:
    """The tables among which a scenario draws: the file's, with every combination of free choices laid over it."""
    options = [[named.choices[axis]] if axis in named.choices else list(found) for axis, found in matrix.items()]
    count = math.prod(map(len, options))
    if count > MAX_COMBINATIONS:
        raise place.at("matrix").wrong(f"has {count} combinations for {named.name!r}; at most {MAX_COMBINATIONS} work")
    tables = []
    for choices in itertools.product(*options):
        table = dict(body)
        for axis, choice in zip(matrix, choices, strict=True):
            table = merged(table, matrix[axis][choice])
        tables.append(table)
    return tables


def _hash(tables: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps([FORMAT, tables], sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _twin(one: Named, listed: list[Named], families: Mapping[str, str], sides: Mapping[str, Side | None]) -> str:
    """The scenario that differs in nothing but the side; of several, the one of the same pattern. "" for none."""
    side = sides[one.name]
    if side is None:
        return ""
    alike = [o for o in listed if families[o.name] == families[one.name] and sides[o.name] is side.opposite]
    return min(alike, key=lambda o: o.pattern != one.pattern).name if alike else ""


def _family(one: Named, listed: list[Named], families: Mapping[str, str], sides: Mapping[str, Side | None]) -> str:
    """A name for all that differ in nothing but the side: the pattern of both, with "*" for the axis of the side."""
    if not _twin(one, listed, families, sides):
        return one.name
    alike = [o for o in listed if families[o.name] == families[one.name]]
    for left, right in itertools.combinations(alike, 2):
        apart = [axis for axis in left.choices if left.choices[axis] != right.choices.get(axis)]
        if left.pattern == right.pattern and sides[left.name] is not sides[right.name] and len(apart) == 1:
            return left.filled({**left.choices, apart[0]: "*"})
    return "|".join(sorted(o.name for o in alike))


def _without_side(table: Mapping[str, Any]) -> dict[str, Any]:
    task = {key: value for key, value in table.get("task", {}).items() if key != "side"}
    return {**table, "task": task}


def _side(distributions: tuple[SceneDistribution, ...]) -> Side | None:
    """The side that all scenes of a scenario ask for."""
    sides = {one.task.side for one in distributions}
    return sides.pop() if len(sides) == 1 else None


def _distribution(table: Mapping[str, Any], place: Place) -> SceneDistribution:
    """What one combination of choices says, checked."""
    objects = table.get("objects")
    if not isinstance(objects, Mapping) or not objects:
        raise place.at("objects").wrong(f"must hold at least the goal, e.g. [objects.goal], got {shown(objects)}")
    rest = {key: value for key, value in table.items() if key not in ("objects", "movers", "walls")}
    found = tuple(_object(name, content, place.at("objects")) for name, content in objects.items())
    movers = _named(MoverDistribution, table, place, "movers")
    walls = _named(WallDistribution, table, place, "walls")
    distribution = read_table(SceneDistribution, rest, place, objects=found, movers=movers, walls=walls)
    check_distribution(distribution, place)
    return distribution


def _named(cls: type[T], table: Mapping[str, Any], place: Place, key: str) -> tuple[T, ...]:
    """The tables `[key.NAME]`, one instance each."""
    tables, here = table.get(key, {}), place.at(key)
    if not isinstance(tables, Mapping):
        raise here.wrong(f"must hold tables, e.g. [{key}.first], got {shown(tables)}")
    for name in tables:
        Text(longest=60).read(name, here.at(name))
    return tuple(read_table(cls, content, here.at(name), name=name) for name, content in tables.items())


def _object(name: str, content: Any, objects: Place) -> ObjectDistribution:
    Text(longest=60).read(name, objects.at(name))
    item = read_table(ObjectDistribution, content, objects.at(name), name=name)
    if item.size_m is not None:
        for key in EXTENTS:
            if getattr(item, key) is not None:
                raise objects.at(name).at("size_m").wrong(f"already says {key}: give one of them")
        item = replace(item, depth_m=item.size_m, width_m=item.size_m, height_m=item.size_m)
    return item if item.mesh is None else _as_in_file(item, item.mesh, content, objects.at(name))


def _as_in_file(item: ObjectDistribution, mesh: ObjMesh, content: Any, place: Place) -> ObjectDistribution:
    """An object with a mesh: what is not said of its extents and colour is what the file says."""
    if "texture" in content:
        raise place.at("texture").wrong("goes with no mesh: its colours are those of its materials, or color")
    said = (item.depth_m, item.width_m, item.height_m)
    for key, extent, plan in zip(EXTENTS, mesh.size_m, said, strict=True):
        least, most = MESH_EXTENTS_M
        if plan is None and not least <= extent <= most:
            raise place.at("mesh").wrong(
                f"is {' x '.join(f'{one:.3g}' for one in mesh.size_m)} m large; between {least:g} and {most:g} m work: "
                f"say {key}"
            )
    depth, width, height = (plan or fixed(extent) for plan, extent in zip(said, mesh.size_m, strict=True))
    item = replace(item, depth_m=depth, width_m=width, height_m=height)
    if not mesh.colored:
        return item
    if "color" in content:
        raise place.at("color").wrong(f"is said, and by the materials of {mesh.name} too: leave out one of them")
    # No sentence can name it by a colour.
    return replace(item, color=Choice((UNNAMED_COLOR,)))
