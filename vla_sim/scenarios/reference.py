"""The page of all keys of a scenario file and its JSON schema, made from the classes that read it.

`python -m vla_sim.scenarios.reference` writes both beside the scenarios of a checkout; a test holds them to the code.
"""

from __future__ import annotations

import json
from dataclasses import MISSING
from enum import Enum
from pathlib import Path
from typing import Any

from vla_sim.core.config import Key, Table, keys_of
from vla_sim.core.content import content_folder
from vla_sim.core.surfaces import FLOOR_TEXTURES, TEXTURES, WALL_TEXTURES
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import DISTRIBUTION_SCHEMA, Choice, Normal, Uniform
from vla_sim.scenarios.reading import BODY, ScenarioFile
from vla_sim.scenarios.scene_distribution import ObjectDistribution, SceneDistribution
from vla_sim.scenarios.surroundings import MoverDistribution, WallDistribution
from vla_sim.scenarios.task_rules import LaterSentence, LegRule
from vla_sim.scenarios.usual_sizes import DEFAULTS, MOVER_SIZES, REAL_SIZES

# Tables of tables, objects apart.
NAMED = {"walls": WallDistribution, "movers": MoverDistribution}
PAGE, SCHEMA = "README.md", "scenario.schema.json"
INTRODUCTION = """# Scenario files

One TOML file describes one or several scenarios: what stands in a scene, what is asked and how scenes differ. A scene
is drawn from it by a seed. Every key is listed here; this page and `scenario.schema.json` are made from the code
(`python -m vla_sim.scenarios.reference`). Editors complete and check scenario files with a first line such as
`#:schema scenario.schema.json`.

```toml
format = 1
description = "Pass one pot on the named side and reach the cup"
names = ["pot_first_{side}"]

[matrix.side]
left.task.side = "left"
right.task.side = "right"

[objects.pot]
role = "obstacle"
kind = "pot"
ahead_m = { uniform = [1.0, 1.4] }

[objects.goal]
role = "goal"
kind = "cup"
ahead_m = 1.5
ahead_from = "pot"
```

`python -m vla_sim.eval --policy expert --scenario my.toml` drives it. Lengths are metres, times seconds, masses
kilograms, angles degrees; in the room x is ahead of the robot's usual start and y to its left. An unknown key, a value
out of its limits or a table that contradicts itself is refused with file, key, value and what would be right.

Rooms have four walls or any right-angled outline, inner walls with doorways, and a start pose. Sides, `ahead_m` and
`aside_m` follow the robot's first heading, however it starts; objects with `frame = "room"` stay where they are. What
moves by itself follows its path by a clock of its own and looks for the robot once a control step; who waits for the
robot stops that clock. Touching it is a collision that names it. While something with some of its path ahead of it is
within 2.5 m of the robot, standing still counts as waiting and not as giving up (`give_up_s`). A drawn scene is used
only if a robot of 0.38 m/s can reach the goal in three quarters of the time among movers that never give way.

Scenarios that differ in nothing but `task.side` are twins: a seed gives both the same scene, and the same sentence with
the other side. Of any ten consecutive seeds as many instructions are Korean as `language` says.
"""
DISTRIBUTIONS = """## Distributions

Where "number or distribution" is allowed, each scene draws a value anew from:

| written | drawn |
|---|---|
| `0.4` | always 0.4 |
| `{ uniform = [0.3, 0.5] }` | any number between both |
| `{ choice = [0.3, 0.5] }` | one of the listed; a value that is listed twice comes twice as often |
| `{ normal = [0.4, 0.05], clip = [0.3, 0.5] }` | normal numbers (mean, standard deviation), cut off at `clip`; without it at two deviations |
| `{ either_side = [0.3, 0.5] }` | a number between both, or the negative of one |

Where "name or choice of names" is allowed: `"cup"` or `{ choice = ["cup", "pot"] }`.
"""  # noqa: E501


def page() -> str:
    """The page of keys, Markdown."""
    parts = [INTRODUCTION, "## Top of the file\n", _keys(keys_of(ScenarioFile))]
    parts += ["## `[objects.NAME]`\n", _keys(_own_keys(ObjectDistribution)), _kinds()]
    for name, cls in NAMED.items():
        parts += [f"## `[{name}.NAME]`\n", f"{_summary(cls)}\n", _keys(_own_keys(cls))]
        parts += [_mover_sizes()] if cls is MoverDistribution else []
    for key in keys_of(ScenarioFile):
        if isinstance(key.value, Table):
            parts += [f"## `[{key.name}]`\n", f"{_summary(key.value.cls)}\n", _keys(keys_of(key.value.cls))]
    for name, cls in {"later": LaterSentence, "legs": LegRule}.items():
        parts += [f"## `[[{name}]]`\n", f"{_summary(cls)}\n", _keys(keys_of(cls))]
    surfaces = [("floor", FLOOR_TEXTURES), ("walls", WALL_TEXTURES), ("objects", TEXTURES)]
    listed = "\n".join(f"- {name}: {', '.join(textures)}" for name, textures in surfaces)
    parts += [DISTRIBUTIONS, f"## Names\n\n- colours: {', '.join(PALETTE)}\n{listed.replace(': ', ', textures: ')}\n"]
    return "\n".join(parts)


def schema() -> dict[str, Any]:
    """The JSON schema of a scenario file (draft 2020-12)."""
    tables = {
        name: {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{name}"}} for name in ("objects", *NAMED)
    }
    top = {key.name: key.schema() for key in keys_of(ScenarioFile)}
    lists = {key.name: key.schema() for key in keys_of(SceneDistribution) if key.name in ("differ", "later", "legs")}
    top |= {name: {**top[name], **table} for name, table in tables.items()} | lists
    body = {name: {"$ref": f"#/properties/{name}"} for name in BODY}
    choice = {"type": "object", "properties": body, "additionalProperties": False}
    axis = {"type": "object", "additionalProperties": choice, "minProperties": 1}
    top["matrix"] = {**top["matrix"], "type": "object", "additionalProperties": axis}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "VLA-Sim scenario",
        "type": "object",
        "properties": top,
        "required": ["format"],
        "additionalProperties": False,
        "$defs": {
            "distribution": DISTRIBUTION_SCHEMA,
            **{name: _named_schema(cls) for name, cls in {"objects": ObjectDistribution, **NAMED}.items()},
        },
    }


def _named_schema(cls: type) -> dict[str, Any]:
    properties = {key.name: key.schema() for key in _own_keys(cls)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _own_keys(cls: type) -> list[Key]:
    """The keys of a table `[....NAME]`."""
    return [key for key in keys_of(cls) if key.name != "name"]


def _summary(cls: type) -> str:
    return " ".join((cls.__doc__ or "").partition("\n\n")[0].split())


def _keys(keys: list[Key] | tuple[Key, ...]) -> str:
    rows = [f"| `{key.name}` | {key.value.words} | {_default(key.default)} | {key.description} |" for key in keys]
    return "\n".join(["| key | value | without it | |", "|---|---|---|---|", *rows, ""])


def _default(default: Any) -> str:
    """A default as a file would write it."""
    if default is MISSING:
        return "needed"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, Choice) and len(default.values) > 1:
        return "any of them" if len(default.values) > 2 else f"`{{ choice = {json.dumps(list(default.values))} }}`"
    if isinstance(default, Uniform):
        return f"`{{ uniform = [{default.low:g}, {default.high:g}] }}`"
    if isinstance(default, Normal):
        return f"`{{ normal = [{default.mean:g}, {default.std:g}] }}`"
    value = default.values[0] if isinstance(default, Choice) else default
    value = value.value if isinstance(value, Enum) else value
    if isinstance(value, (int, float)):
        return f"`{value:g}`"
    return f'`"{value}"`' if isinstance(value, str) and value else ""


def _kinds() -> str:
    header = ["What the kinds are like without further keys:", ""]
    header += ["| kind | depth_m | width_m | height_m | mass_kg | texture |", "|---|---|---|---|---|---|"]
    rows = []
    real = [(f'{kind.value}, sizes = "real"', usual) for kind, usual in REAL_SIZES.items() if usual != DEFAULTS[kind]]
    for kind, usual in [*((kind.value, usual) for kind, usual in DEFAULTS.items()), *real]:
        values = (usual.depth_m, usual.width_m, usual.height_m, usual.mass_kg, usual.textures)
        rows.append(f"| {kind} | {' | '.join(map(_default, values))} |")
    return "\n".join([*header, *rows, ""])


def _mover_sizes() -> str:
    header = ["How large they are without further keys:", "", "| kind | depth_m | width_m | height_m |"]
    rows = [f"| {kind.value} | {' | '.join(map(_default, sizes))} |" for kind, sizes in MOVER_SIZES.items()]
    return "\n".join([*header, "|---|---|---|---|", *rows, ""])


def write(folder: Path) -> None:
    """Write page and schema into a folder."""
    (folder / PAGE).write_text(page(), encoding="utf-8")
    (folder / SCHEMA).write_text(json.dumps(schema(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(content_folder("scenarios"))
