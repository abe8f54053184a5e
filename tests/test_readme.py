"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "README.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_of_the_readme_runs(number):
    names = {"__name__": "readme"}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    for name in ("env", "envs"):
        if name in names:
            names[name].close()


def test_a_policy_of_the_readme_drives(tmp_path, monkeypatch):
    from vla_sim import eval as command

    (tmp_path / "readme_policy.py").write_text(next(block for block in BLOCKS if "class Straight" in block))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    run = ["--policy", "readme_policy:Straight", "--scenario", "obstacle_left", "--episodes", "1"]
    assert command.main([*run, "--out", str(tmp_path / "run")]) == 0
