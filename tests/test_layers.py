"""Who may import whom, and what `--help` may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vla_sim
from vla_sim.__main__ import commands, main

HEAVY = ("torch", "pybullet", "panda3d", "transformers", "open_clip", "matplotlib", "scipy")


def loaded_by(code):
    probe = f"{code}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_by("import vla_sim") == "[]"


@pytest.mark.parametrize("command", commands())
def test_help_loads_nothing_heavy_and_answers(command):
    code = (
        f"import vla_sim.{command} as c\ntry:\n    c.main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0"
    )
    assert loaded_by(code) == "[]"


@pytest.mark.parametrize("command", commands())
def test_help_begins_with_the_description_that_the_list_of_commands_gives(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main([]) == 0
    told = commands()[command]
    assert f"{command:10} {told}\n" in capsys.readouterr().out
    assert told.endswith(".")
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.startswith(f"usage: python -m vla_sim.{command} ")
    assert told in shown


@pytest.mark.parametrize("command", commands())
@pytest.mark.parametrize("width", [70, 200])
def test_help_has_one_option_a_line_at_any_width(command, width, monkeypatch, capsys):
    """The help of dagger, the longest, once came in two columns that were read as one."""
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    options = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  -")]
    assert len(options) > 2
    assert not [line for line in options if re.search(r"\s{2,}--?\w", line[2:])]
    assert all(len(line) <= 110 for line in options)


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert main(["evel"]) == 2
    assert "did you mean 'eval'" in capsys.readouterr().err


def modules_of_the_package():
    """Path by module name; a package is its `__init__.py`."""
    root = Path(vla_sim.__file__).parent
    names = {path: ".".join(("vla_sim", *path.relative_to(root).with_suffix("").parts)) for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imports_of(name, modules):
    """Modules that a module imports anywhere, inside functions and for types too, but for packages that hold it."""
    for node in ast.walk(ast.parse(modules[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vla_sim"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found = inner if inner in modules else node.module
                if not name.startswith(f"{found}."):
                    yield found


def test_modules_import_each_other_one_way_even_lazily():
    modules = modules_of_the_package()
    arrows = {name: set(imports_of(name, modules)) - {name} for name in modules if name != "vla_sim"}
    while leaves := [name for name, targets in arrows.items() if not targets & set(arrows)]:
        for name in leaves:
            del arrows[name]
    assert len(modules) > 200
    assert not arrows, f"these import each other in a circle: {sorted(arrows)}"


def test_import_contracts_hold():
    pytest.importorskip("importlinter.cli")
    # In a process of its own: it sets up logging for itself, which silences all loggers that there are.
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
