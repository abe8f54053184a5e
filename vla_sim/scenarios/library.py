"""Scenarios and suites by name: the files under `scenarios/`, one folder per suite."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from vla_sim.core.config import shown
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError, suggest
from vla_sim.scenarios.languages import FOLDER as LANGUAGES
from vla_sim.scenarios.reading import Definition, ScenarioError, read_definitions, read_names
from vla_sim.scenarios.scenario import Scenario

_AND = "+"  # between the suites that one scenario was asked for in


@dataclass(frozen=True)
class _Shelf:
    """Where every name is: file by scenario name, and the scenario names of each suite in order."""

    files: dict[str, Path]
    suites: dict[str, tuple[str, ...]]


@functools.lru_cache(maxsize=4)
def _shelf(folder: Path) -> _Shelf:
    files: dict[str, Path] = {}
    suites = {}
    for suite in sorted(path for path in folder.glob("*") if path.is_dir() and path.name != LANGUAGES):
        listed: list[str] = []
        for path in sorted(suite.glob("[!_]*.toml")):
            names, more, own = _names_in(path)
            listed += names
            for name in (*names, *more) if own else ():
                if name in files:
                    raise ScenarioError(f"{path}: scenario {name!r} is already defined in {files[name]}")
                files[name] = path
        suites[suite.name] = tuple(listed)
    return _Shelf(files, suites)


def _names_in(path: Path) -> tuple[list[str], list[str], bool]:
    """See `read_names`; a broken file has its own name."""
    try:
        return read_names(path)
    except ScenarioError:
        return [path.stem], [], True


def scenario_names() -> list[str]:
    """Names of all shipped scenarios."""
    return list(_shelf(content_folder("scenarios")).files)


def suite_names() -> list[str]:
    """Names of all shipped suites."""
    return list(_shelf(content_folder("scenarios")).suites)


def load_suite(name: str) -> list[Scenario]:
    """The scenarios of a suite, in order.

    Raises:
        UserError: no such suite (with the nearest name), or a file is wrong.
    """
    suites = _shelf(content_folder("scenarios")).suites
    if name not in suites:
        raise UserError(f"unknown suite {shown(name)}; {suggest(name, suites)}")
    return [load_scenario(scenario) for scenario in suites[name]]


def load_scenario(name_or_path: str | PathLike[str]) -> Scenario:
    """A scenario by name ("obstacle_left", "core/obstacle_left") or file ("my.toml", "my.toml#its_name").

    Raises:
        UserError: no such scenario (with the nearest name), or the file is wrong.
    """
    text = os.fspath(name_or_path)
    return _from_file(text) if ".toml" in text else _shipped(content_folder("scenarios"), text)


def family_of(name: str) -> str:
    """The family of a shipped scenario, e.g. "obstacle_*"; any other name is its own family. Opens no other file."""
    try:
        return _shipped(content_folder("scenarios"), name).family
    except UserError:
        return name


def twin_of(name: str) -> str:
    """The scenario that asks for the other side in the same scenes; "" for none. Opens no other file."""
    try:
        return _shipped(content_folder("scenarios"), name).twin
    except UserError:
        return ""


def chosen_scenarios(names: Iterable[str], suites: Iterable[str]) -> dict[str, str]:
    """What `--scenario` and `--suite` ask for: names or files, each with its suites ("" for none, "a+b" for two).

    Raises:
        UserError: no such scenario or suite (with the nearest name), or a file is wrong.
    """
    chosen: dict[str, list[str]] = {scenario: [] for name in names for scenario in scenarios_of(name)}
    for suite in dict.fromkeys(suites):
        for scenario in load_suite(suite):
            chosen.setdefault(scenario.name, []).append(suite)
    return {scenario: _AND.join(its) for scenario, its in chosen.items()}


def suites_of(text: str) -> list[str]:
    """The suites that a text of `chosen_scenarios` names; [""] for none."""
    return text.split(_AND)


def scenarios_of(name_or_path: str) -> list[str]:
    """What a name stands for: itself, and for a file that defines several scenarios "my.toml#one", "my.toml#other".

    Raises:
        UserError: no such scenario (with the nearest name), or the file is wrong.
    """
    if name_or_path.endswith(".toml"):
        found = list(read_definitions(Path(name_or_path)))
        if len(found) > 1:
            return [f"{name_or_path}#{name}" for name in found]
    load_scenario(name_or_path)
    return [name_or_path]


def _from_file(text: str) -> Scenario:
    file, mark, name = text.rpartition(".toml#")
    file = f"{file}.toml" if mark else text
    name = name if mark else ""
    path = Path(file)
    found = read_definitions(path)
    if not found:
        raise ScenarioError(f"{path}: defines no scenario")
    if not name and len(found) > 1:
        raise ScenarioError(f"{path}: defines several scenarios; name one, e.g. {file}#{next(iter(found))}")
    if name and name not in found:
        raise ScenarioError(f"{path}: defines no scenario {name!r}; {suggest(name, found)}")
    definition = found[name or next(iter(found))]
    return _scenario(definition, "")


@functools.lru_cache(maxsize=256)
def _shipped(folder: Path, name: str) -> Scenario:
    shelf = _shelf(folder)
    suite, _, short = name.rpartition("/")
    path = shelf.files.get(short)
    if path is None or (suite and path.parent.name != suite):
        raise UserError(f"unknown scenario {shown(name)}; {suggest(name, shelf.files)}")
    return _scenario(read_definitions(path)[short], path.parent.name)


def _scenario(definition: Definition, suite: str) -> Scenario:
    return Scenario(
        name=definition.name,
        suite=suite,
        description=definition.description,
        source=definition.source,
        distributions=definition.distributions,
        content_hash=definition.hash,
        family=definition.family,
        twin=definition.twin,
        family_hash=definition.family_hash,
    )
