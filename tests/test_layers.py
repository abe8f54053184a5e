"""Who may import whom, and what `--help` may load."""

import subprocess
import sys

import pytest

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


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert main(["evel"]) == 2
    assert "did you mean 'eval'" in capsys.readouterr().err


def test_import_contracts_hold():
    importlinter = pytest.importorskip("importlinter.cli")
    assert importlinter.lint_imports() == 0
