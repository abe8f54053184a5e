"""The page of scenario keys and the JSON schema say what the code reads."""

import json
import re

import pytest

from vla_sim.core.content import content_folder
from vla_sim.core.toml_files import read_toml
from vla_sim.scenarios import load_scenario
from vla_sim.scenarios.reference import PAGE, SCHEMA, page, schema

FOLDER = content_folder("scenarios")
REMAKE = "make it anew: python -m vla_sim.scenarios.reference"


def test_page_and_schema_are_those_of_the_code():
    assert (FOLDER / PAGE).read_text(encoding="utf-8") == page(), REMAKE
    assert json.loads((FOLDER / SCHEMA).read_text(encoding="utf-8")) == schema(), REMAKE


def test_the_example_of_the_page_is_a_scenario(tmp_path):
    example = re.search(r"```toml\n(.*?)```", page(), re.DOTALL)[1]
    (tmp_path / "my.toml").write_text(example, encoding="utf-8")
    left = load_scenario(tmp_path / "my.toml#pot_first_left")
    assert (left.family, left.twin) == ("pot_first_*", "pot_first_right")
    assert left.sample(0).task.side.value == "left"


def test_every_key_has_a_description():
    def undescribed(node, path):
        if isinstance(node, dict):
            for name, value in node.get("properties", {}).items():
                if (
                    "description" not in value
                    and "$ref" not in value
                    and "properties" in node
                    and path[-1:] != ["form"]
                ):
                    yield [*path, name]
                yield from undescribed(value, [*path, name])

    found = schema()
    assert not list(undescribed({"properties": found["properties"]}, []))
    for name in ("objects", "walls", "movers"):
        assert not list(undescribed(found["$defs"][name], []))


@pytest.mark.parametrize(
    "path",
    sorted(path for path in FOLDER.glob("*/*.toml") if path.parent.name != "languages"),
    ids=lambda path: path.stem,
)
def test_shipped_files_follow_the_schema(path):
    def check(value, rule, where):
        if "$ref" in rule:
            at = schema()
            for part in rule["$ref"].removeprefix("#/").split("/"):
                at = at[part]
            return check(value, at, where)
        if "anyOf" in rule:
            assert any(fits(value, option, where) for option in rule["anyOf"]), where
        if "enum" in rule:
            assert value in rule["enum"], where
        kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
        if "type" in rule:
            assert isinstance(value, kinds[rule["type"]]), where
        if isinstance(value, dict):
            for key, item in value.items():
                inner = rule.get("properties", {}).get(key, rule.get("additionalProperties", {}))
                assert inner is not False, f"{where}.{key}"
                check(item, inner, f"{where}.{key}")
        if isinstance(value, list):
            for item in value:
                check(item, rule.get("items", {}), where)
        if "minimum" in rule:
            assert rule["minimum"] <= value <= rule["maximum"], where
        return None

    def fits(value, rule, where):
        try:
            check(value, rule, where)
        except AssertionError:
            return False
        return True

    check(read_toml(path), schema(), path.name)
