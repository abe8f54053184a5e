"""Every command: lines that we print or document can be typed, numbers have bounds, old spellings are answered."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
import types
import typing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tyro.conf import Suppress

from vla_sim.__main__ import commands, main
from vla_sim.core.bounds import Range
from vla_sim.core.cli import BAD_INPUT
from vla_sim.core.errors import UserError
from vla_sim.core.options import OLD_SPELLINGS, Command, flag_of, parse

ROOT = Path(__file__).parents[1]
OPTIONS = {name: importlib.import_module(f"vla_sim.{name}").Options for name in commands()}
# What a command cannot do without.
NEEDED = {
    "audit": ["--data", "data"],
    "augment": ["--data", "data", "--recipe", "mirror"],
    "clone": ["--data", "data"],
    "collect": ["--episodes", "1"],
    "convert": ["--data", "data"],
    "expand": ["--data", "data", "--target-episodes", "1"],
    "ppo": ["--kind", "state"],
    "replay": ["runs", "1"],
}


def parsed(name, words):
    return parse(OPTIONS[name], words, Command(f"vla_sim.{name}", "Told."))


# --- lines that we print or document --------------------------------------------------------------------------------

LINE = re.compile(r"(?:python -m vla_sim\.|\$\(RUN\) -m vla_sim\.|vla-sim )(\w+)((?: [^`\n]*)?)")


# A module of ours in a sentence, or behind `python -m`.
NO_MODULES = {"vla_sim.filled", "vla_sim.jsonl", "vla_sim.policy_types"}  # a value, a file, a group of entry points
MODULE = re.compile(r"\b(?:vla_sim|recipes|benchmarks)(?:\.[a-z_]+)+\b(?![\w.(/])")


def told():
    """(where, text) of all pages, the Makefile, help, messages and docstrings."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"), ROOT / "Makefile"]
    sources = [*ROOT.glob("vla_sim/**/*.py"), *ROOT.glob("recipes/*.py")]
    texts = [(path, path.read_text("utf-8")) for path in pages]
    return texts + [(path, text) for path in sources for text in strings(path)]


def documented():
    """(where, command, words) of every command line in them."""
    for path, text in told():
        for name, rest in LINE.findall(text.replace("\\\n", " ").replace("\t", " ")):
            if name in OPTIONS and rest.strip(" .,:;") and not rest.startswith((" ...", " COMMAND", " makes", " is ")):
                yield str(path.relative_to(ROOT)), name, words_of(rest)


def strings(path):
    """All texts in a module, with a word for each value that is filled in."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "filled" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def words_of(text):
    text = re.split(r"\s&&|\s\|\s|\s->|'\)|\"|;\s", text)[0]
    words = shlex.split(text.replace("$(WORKERS)", "2"), comments=True)
    # What follows a command within a sentence is no part of it.
    return [word.rstrip(",.;:)") for word in words if word not in ("...",)]


DOCUMENTED = sorted({(where, name, tuple(words)) for where, name, words in documented()})


def test_there_are_documented_lines_of_every_command():
    assert {name for _, name, _ in DOCUMENTED} == set(OPTIONS)
    assert len(DOCUMENTED) > 60


@pytest.mark.parametrize(("where", "name", "words"), DOCUMENTED, ids=lambda value: str(value)[:60])
def test_every_line_that_we_print_or_document_can_be_typed(where, name, words):
    parsed(name, [*(NEEDED.get(name, []) if "--resume" in words else []), *words])


def test_every_module_that_we_name_exists():
    """The audit advised a command that there was not."""
    named = {name: path for path, text in told() for name in MODULE.findall(text) if name not in NO_MODULES}
    assert len(named) > 60
    assert {name: str(path) for name, path in named.items() if not exists(name)} == {}


def exists(name):
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return "." in name and exists(module) and hasattr(importlib.import_module(module), attribute)
    return True


@pytest.mark.parametrize(
    "line", ["eval --list", "audit --help", "eval --policy hold --scenario reach_goal --episodes 1 --out OUT"]
)
def test_cheap_lines_run(line, tmp_path):
    words = line.replace("OUT", str(tmp_path / "out")).split()
    done = subprocess.run([sys.executable, "-m", "vla_sim", *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


# --- words ------------------------------------------------------------------------------------------------------------


(SUPPRESSED,) = typing.get_args(Suppress[int])[1:]


def fields_of(options):
    """(options that a field belongs to, field, hint), nested ones included."""
    hints = typing.get_type_hints(options, include_extras=True)
    for field in dataclasses.fields(options):
        if dataclasses.is_dataclass(hints[field.name]):
            yield from fields_of(hints[field.name])
        elif SUPPRESSED not in typing.get_args(hints[field.name]):
            yield options, field, hints[field.name]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_has_help_and_a_meaning_of_its_own(name):
    for _, field, _ in fields_of(OPTIONS[name]):
        assert flag_of(field.name) not in {**OLD_SPELLINGS[""], **OLD_SPELLINGS.get(name, {})}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [(n, old, new) for n in OPTIONS for old, new in {**OLD_SPELLINGS[""], **OLD_SPELLINGS.get(n, {})}.items()],
)
def test_an_old_spelling_is_answered_with_the_new_one(name, old, new, capsys):
    assert main([name, old, "1"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert said == f"python -m vla_sim.{name}: {old} is now {new}\n" or (old == "DIR" and new in said)
    assert (
        new.partition(" ")[0] in {flag_of(field.name) for _, field, _ in fields_of(OPTIONS[name])}
        or old in OLD_SPELLINGS[""]
    )


# Why an option of one name differs: "meaning", "type" or "default" by option and, where not all differ, command.
DIFFERENT = {
    ("first_seed", "default"): "evaluations begin where trainings end, data sets at 0",
    ("policy", "type"): "eval and benchmark compare several, one steers in collect",
    ("policy", "default"): "benchmark ranks all, collect is steered by the expert",
    ("data", "type"): "trainings mix several sets by weight, the others take one",
    ("data", "default"): "dagger can do without",
    ("init", "type"): "dagger cannot do without, clone can begin anew, ppo --kind state has none",
    ("init", "default"): "the same",
    ("embodiment", "type"): "recordings, which augment reads, may say which robot they are of",
    ("embodiment", "default"): "the same",
    ("episodes", "type"): "a round of dagger may gather none",
    ("episodes", "default"): "of each scenario, of a round, or in all",
    ("steps", "default"): "of a whole training, of a round",
    ("check_every", "default"): "a round of dagger is shorter than a training",
    ("patience", "default"): "a round of dagger is shorter than a training",
    ("learning_rate", "type"): "of ppo it depends on --kind",
    ("learning_rate", "default"): "dagger goes on from weights that are good already",
    ("threads", "default"): "networks of ppo are so small that more seldom pays",
    ("video", "type"): "replay has one episode, eval chooses among many",
    ("video", "default"): "the same",
    ("video", "meaning"): "the same",
}


def meaning_of(options, name):
    """The help of an option up to the first "(", ";" or ":": what follows may belong to one command."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(options)))
    body = tree.body[0].body
    (place,) = [i for i, node in enumerate(body) if isinstance(node, ast.AnnAssign) and node.target.id == name]
    return re.split(r" ?[(;:]", body[place + 1].value.value)[0].rstrip(".")


def owner_of(options, name):
    return next(cls for cls in options.__mro__ if name in inspect.get_annotations(cls))


def spoken():
    """By option and what of it: its values, each with the commands that have it."""
    found = {}
    for command, options in OPTIONS.items():
        for owner, field, hint in fields_of(options):
            default = "needed" if field.default is dataclasses.MISSING else field.default
            values = {
                "meaning": meaning_of(owner_of(owner, field.name), field.name),
                "type": str(hint),
                "default": default,
            }
            for what, value in values.items():
                found.setdefault((field.name, what), {}).setdefault(value, []).append(command)
    return found


SPOKEN = spoken()


@pytest.mark.parametrize("what", SPOKEN, ids="-".join)
def test_an_option_is_the_same_in_every_command_or_there_is_a_reason(what):
    assert len(SPOKEN[what]) == 1 or what in DIFFERENT, SPOKEN[what]


def test_reasons_for_differences_are_of_differences_that_there_are():
    assert [what for what in DIFFERENT if len(SPOKEN[what]) == 1] == []


@pytest.mark.parametrize(
    ("word", "wanted"),
    [("--wrokers", "--workers"), ("--polcy", "--policy"), ("--ouput", "--out"), ("--dta", "--data"), ("--sucess", "")],
)
@pytest.mark.parametrize("name", OPTIONS)
def test_a_word_that_is_no_option_is_answered_with_a_near_one_where_there_is_one(name, word, wanted, capsys):
    flags = {flag_of(field.name) for _, field, _ in fields_of(OPTIONS[name])}
    assert main([name, word, "1"]) == BAD_INPUT
    error = capsys.readouterr().err
    assert f"unknown option {word}; " in error
    assert f"did you mean '{wanted}'?" in error or wanted not in flags


@pytest.mark.parametrize(("old", "new"), [("train", "recipes.train_shipped"), ("train_rows", "recipes.train_zoo")])
def test_commands_of_earlier_versions_are_answered_with_those_of_today(old, new, capsys, tmp_path):
    assert main([old, "--out", "x"]) == BAD_INPUT
    said = capsys.readouterr().err
    assert f"python -m {new}" in said
    assert old not in commands()
    done = subprocess.run([sys.executable, "-m", f"vla_sim.{old}", "--scale", "1"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (BAD_INPUT, said.replace("vla-sim", f"python -m vla_sim.{old}", 1))


@pytest.mark.parametrize("name", OPTIONS)
def test_a_misspelt_option_is_answered_with_the_nearest(name, capsys):
    flag = next(flag_of(field.name) for _, field, hint in fields_of(OPTIONS[name]) if hint is not bool)
    assert main([name, f"{flag}x", "1"]) == BAD_INPUT
    assert f"unknown option {flag}x; did you mean '{flag}'?" in capsys.readouterr().err or flag == "--folder"


# --- names ----------------------------------------------------------------------------------------------------------

NAMES = [
    "x" * 300,
    "{a}",
    "%s",
    "a\x1b[31mb",
    "$(touch x)",
    "a b",
    "\udcff",
    "../nowhere",
    "no\nsuch",
    "ä왼쪽",
    "a/" * 200,
    "\0",
]
NAMED = [
    "eval --policy NAME --scenario reach_goal",
    "eval --policy NAME:Class --scenario reach_goal",
    "eval --policy hold --scenario NAME",
    "eval --policy hold --scenario NAME.toml",
    "eval --policy hold --suite NAME",
    "eval --policy hold --scenario reach_goal --embodiment NAME",
    "eval --policy hold --scenario reach_goal --baseline NAME",
    "eval --resume NAME",
    "benchmark --policy NAME",
    "benchmark --resume NAME",
    "replay NAME 1",
    "audit --data NAME",
    "clone --data NAME",
    "clone --data . --init NAME",
    "dagger --init NAME",
    "dagger --data NAME",
    "ppo --kind NAME",
    "collect --suite NAME --episodes 1",
    "collect --suite core --episodes 1 --policy NAME",
    "convert --data NAME",
    "augment --data NAME --recipe mirror",
    "augment --data . --recipe NAME",
    "expand --data NAME --target-episodes 2",
    "expand --resume NAME",
    "NAME",
]


@pytest.mark.parametrize("line", NAMED)
def test_a_name_that_is_none_is_one_sentence_whatever_stands_in_it(line, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        assert main([word.replace("NAME", name) for word in line.split()]) == BAD_INPUT, name
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert not set(error) & {"\x1b", "\0", "\udcff"}
        assert len(error) < 1500
        assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == [], name


# --- numbers ----------------------------------------------------------------------------------------------------------


def numbers_in(hint):
    """(type, bounds or None) of the numbers that a hint allows."""
    if typing.get_origin(hint) is typing.Annotated:
        inner, *marks = typing.get_args(hint)
        bounds = [mark for mark in marks if isinstance(mark, Range)]
        yield from ((kind, bounds[0] if bounds else found) for kind, found in numbers_in(inner))
    elif hint in (int, float):
        yield hint, None
    elif typing.get_origin(hint) in (typing.Union, types.UnionType, tuple):
        for part in typing.get_args(hint):
            yield from numbers_in(part)


NUMBERS = [
    (name, field.name, kind, bounds, len(list(numbers_in(hint))))
    for name, options in OPTIONS.items()
    for _, field, hint in fields_of(options)
    for kind, bounds in list(numbers_in(hint))[:1]
]


def test_every_number_of_every_command_has_bounds():
    assert [f"{name} {flag_of(field)}" for name, field, _, bounds, _ in NUMBERS if bounds is None] == []
    assert len(NUMBERS) > 50


ODD = st.sampled_from(
    ["nan", "-nan", "inf", "-inf", "1e400", "-1e400", "1e9", "1e-400", "0", "-0", "-1", "1.5", "0x10", "1_000", "", " ",
     "９", "one", "None", "True", "9223372036854775808", "18446744073709551616", "-9223372036854775809", "1" * 400]
)  # fmt: skip
TEXTS = st.one_of(
    ODD,
    st.integers().map(str),
    st.integers(-(10**25), 10**25).map(str),
    st.floats().map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda text: not text.startswith("-")),
)


@settings(max_examples=600, deadline=None)
@given(number=st.sampled_from(NUMBERS), texts=st.tuples(TEXTS, TEXTS))
def test_a_number_is_within_its_bounds_or_one_sentence(number, texts):
    name, field, kind, bounds, count = number
    found = outcome(name, [*NEEDED.get(name, []), flag_of(field), *texts[:count]])
    if isinstance(found, UserError):
        assert "\n" not in str(found) or "\n" in "".join(texts)
        assert any(words in str(found) for words in (flag_of(field), "NUL", "unexpected argument"))
        return
    holders = [found, *(getattr(found, part.name) for part in dataclasses.fields(found))]
    # Another part may have a field of this name that is no option, as ReadOptions.image_px.
    owner = next(owner for owner, known, _ in fields_of(OPTIONS[name]) if known.name == field)
    value = next(getattr(holder, field) for holder in holders if isinstance(holder, owner))
    for one in value if isinstance(value, tuple) else (value,):
        assert one in bounds
        assert kind(one) == one


def outcome(name, words):
    """The options, or how the words are refused."""
    try:
        return parsed(name, words)
    except UserError as error:
        return error
