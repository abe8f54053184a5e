"""The README's Python runs as it stands."""

import os
import re
import sys
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.fixture
def policy_file(tmp_path, monkeypatch):
    """The README's policy as the file that it says it is."""
    (tmp_path / "my_policy.py").write_text(next(block for block in BLOCKS if block.startswith("# my_policy.py")))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_policy", None)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_of_the_readme_runs(number, policy_file):
    names = {"__name__": "__main__"}
    text = BLOCKS[number].replace("episodes=20, workers=2", "episodes=1")
    exec(compile(text, f"README.md, block {number}", "exec"), names)
    for name in ("env", "envs"):
        if name in names:
            names[name].close()


def test_the_policy_of_the_readme_drives(policy_file):
    from vla_sim import eval as command

    run = ["--policy", "my_policy:Straight", "--scenario", "obstacle_left", "--episodes", "1"]
    assert command.main([*run, "--out", str(policy_file / "run")]) == 0
