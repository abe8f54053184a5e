"""Folders that remember the command line they were begun with."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from vla_sim.core.cli import BAD_INPUT, INTERRUPTED, run_command
from vla_sim.core.errors import UserError
from vla_sim.core.options import Names, OptionalFolder

SEEN = []


@dataclass(frozen=True, kw_only=True)
class Options:
    need: str
    """Needed to begin, not to go on."""
    name: Names = ()
    """Names."""
    steps: int = 3
    """How many."""
    out: OptionalFolder = None
    """Folder."""
    resume: OptionalFolder = None
    """Folder to go on in."""


def interrupted(options):
    SEEN.append(options)
    options.out.mkdir(exist_ok=True)
    (options.out / "part").write_text("")
    raise KeyboardInterrupt


def ended(options):
    SEEN.append(options)
    return 0


def refused(options):
    raise UserError("no such name")


def run(what, text, **more):
    return run_command(
        what,
        Options,
        text.split() if "--resume" in text else ["--need", "x", *text.split()],
        remembers=lambda options: True,
        **more,
    )


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SEEN.clear()


@pytest.mark.parametrize("data_set", [False, True])
def test_resume_goes_on_with_the_options_of_the_beginning(data_set, capsys, tmp_path):
    assert run(interrupted, "--name a b --out there --steps 4", data_set=data_set) == INTERRUPTED
    said = capsys.readouterr()
    assert (said.out + said.err).count("interrupted") == 1
    assert "--resume there" in said.err
    if data_set:
        assert [path.name for path in (tmp_path / "there").iterdir()] == ["part"], "a data set holds nothing else"
    assert run(ended, "--resume there --steps 7", data_set=data_set) == 0
    first, again = SEEN
    assert (again.name, again.out, again.steps, first.steps) == (("a", "b"), first.out, 7, 4)
    if data_set:
        assert sorted(path.name for path in tmp_path.rglob("*")) == ["part", "there"]
    else:
        assert run(ended, "--resume there", data_set=data_set) == 0, "a training may go on after its end"


@pytest.mark.parametrize("data_set", [False, True])
@pytest.mark.parametrize("out", ["--out new", ""])
def test_what_fails_at_once_leaves_no_trace(data_set, out, tmp_path):
    assert run(refused, out, data_set=data_set) == BAD_INPUT
    assert [path for path in tmp_path.rglob("*") if path.name != "runs"] == []


@pytest.mark.parametrize("data_set", [False, True])
def test_a_folder_of_the_users_is_left_as_it_was(data_set, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    assert run(refused, "--out mine", data_set=data_set) == BAD_INPUT
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "thesis.tex"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"command": 1, "arguments": [1]}', "[" * 100_000, "\0", '{"a'])
def test_a_damaged_memory_is_one_sentence(content, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / ".command.json").write_text(content)
    assert run(ended, "--resume there") == BAD_INPUT
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "repeat the whole command" in error


def test_a_folder_of_another_command_or_none_is_refused(tmp_path, capsys):
    assert run(ended, "--resume nowhere") == BAD_INPUT
    assert "nothing there to go on with" in capsys.readouterr().err
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / ".command.json").write_text('{"command": "vla_sim.clone", "arguments": []}')
    assert run(ended, "--resume there") == BAD_INPUT
    assert "was begun by vla_sim.clone" in capsys.readouterr().err
    assert run(ended, "--resume there --out here") == BAD_INPUT
    assert "leave --out away" in capsys.readouterr().err
