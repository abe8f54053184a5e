"""Scenario and embodiment files with anything in them: a value or one sentence, never a traceback, never for ever."""

import copy
import json
import math
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_sim.core.content import content_folder
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.toml_files import read_toml
from vla_sim.scenarios import load_scenario
from vla_sim.scenarios.library import scenarios_of

SHIPPED = content_folder("scenarios")
SCENARIOS = [
    read_toml(SHIPPED / name) for name in ("core/obstacle.toml", "core/choose_goal.toml", "hard/obstacle.toml")
]
SCENARIOS += [
    {**read_toml(SHIPPED / "core/reach_goal.toml"), "language": {"en": 0.5, "ko": 0.5}, "look": {"sun": 0.5},
     "room": {"width_m": {"normal": [5.0, 0.2], "clip": [4.0, 6.0]}}},
    {"format": 1, "extends": "core/two_obstacles", "names": [{"name": "a", "side": "left"}, "b_{placing}"]},
]  # fmt: skip
EMBODIMENTS = [read_toml(path) for path in sorted(content_folder("envs").glob("*.toml"))]


class Raw(str):
    """Text that stands in the file as it is."""


RAW = [Raw(text) for text in ("1e400", "-1e400", "nan", "1979-05-27", "07:32:00", "[" * 300 + "]" * 300, "9" * 5000)]
values = st.one_of(
    st.sampled_from([0, -1, 1, 0.0, -0.5, 1e-300, 1e9, 1e308, 2**63, 2**64, -(2**63), math.inf, True, False, "", *RAW]),
    st.floats(),
    st.integers(-5, 50),
    st.text(max_size=8),
    st.sampled_from(
        ["left", "goal", "candidate", "obstacle", "line", "box", "{side}", "{a}", "../a", "x" * 300, "\x1b["]
    ),
    st.just([]),
    st.just({}),
    st.lists(st.floats(-3, 3), max_size=3),
    st.lists(st.sampled_from(["kind", "color", "cup", "a"]), max_size=3),
    st.fixed_dictionaries({"uniform": st.lists(st.floats(-2, 2), min_size=2, max_size=2)}),
    st.fixed_dictionaries({"choice": st.lists(st.sampled_from(["cup", "box", "red", 1.0, 0.3]), max_size=3)}),
    st.fixed_dictionaries(
        {"normal": st.lists(st.floats(-2, 2), min_size=2, max_size=2)}, optional={"clip": st.just([0, 1])}
    ),
)


def toml(value):
    """A value as TOML writes it on one line."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date) else repr(value)


def paths(table, path=()):
    """Where something stands in a table, and where something could be added."""
    yield (*path, "new")
    for key, value in table.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from paths(value, (*path, key))


@st.composite
def mutated(draw, originals):
    """A valid file with up to three of its values changed, taken away or added."""
    table = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(table))))
        here = table
        for key in path[:-1]:
            here = here[key]
        key = draw(st.text(max_size=6) | st.just("task")) if path[-1] == "new" else path[-1]
        if draw(st.integers(0, 4)) == 0:
            here.pop(key, None)
        else:
            here[key] = copy.deepcopy(draw(values))
    return "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in table.items())


def answer(use, *arguments):
    """What comes back, or the sentence."""
    try:
        return use(*arguments)
    except UserError as error:
        sentence = str(error)
        assert sentence.isprintable(), repr(sentence)
        assert len(sentence) < 2000
        return sentence


def sampled(path):
    for name in scenarios_of(str(path))[:3]:
        scenario = load_scenario(name)
        scene = scenario.sample(3)
        assert scene.goal is not None
        assert scenario.instructions("eval")
    return scene


many = settings(
    max_examples=400, deadline=timedelta(seconds=20), suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.timeout(280)
@many
@given(text=mutated(SCENARIOS))
def test_any_scenario_file_gives_scenes_or_one_sentence(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    answer(sampled, path)


@many
@given(text=mutated(EMBODIMENTS))
def test_any_embodiment_file_gives_a_robot_or_one_sentence(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    answer(load_embodiment, path)


@many
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_answered_in_one_sentence(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    for use in (sampled, load_embodiment):
        assert isinstance(answer(use, path), str)


NAMES = ["", ".", "/", "a/b", "x" * 300, "x" * 300 + ".toml", "a\0b", "a\0b.toml", "{a}", "a\nb", "$(touch x)"]
NAMES += ["#", ".toml#", "a.toml#", "/dev/null.toml", "/proc/self/mem.toml", "~/x.toml"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_answered_in_one_sentence(name):
    for use in (load_scenario, load_embodiment):
        assert isinstance(answer(use, name), str)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name, said in (("pipe.toml", "not a plain file"), ("folder.toml", "directory")):
        for use in (load_scenario, load_embodiment):
            assert said in answer(use, tmp_path / name)
