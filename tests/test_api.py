"""The Python door: what `import vla_sim` offers."""

import doctest
import subprocess
import sys
import typing

import numpy as np
import pytest

import vla_sim
from vla_sim.core.errors import UserError
from vla_sim.evaluation import api
from vla_sim.rollout.result import read_results


class Forward(vla_sim.Policy):
    """Drives straight ahead."""

    spec = vla_sim.PolicySpec(description="straight ahead")

    def reset(self, num_envs, seeds):
        self.count = len(num_envs)

    def act(self, observation, infos=None):
        return np.tile(np.float32([0.5, 0.0]), (self.count, 1))


class Raising(Forward):
    def act(self, observation, infos=None):
        raise RuntimeError("my network exploded")


@pytest.mark.parametrize("module", [vla_sim, api], ids=lambda module: module.__name__)
def test_the_examples_are_true(module):
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 1


def test_all_public_names_exist_are_documented_and_listed():
    assert set(vla_sim.__all__) == set(vla_sim._HOMES)
    for name in vla_sim.__all__:
        assert getattr(vla_sim, name).__doc__
        assert name in dir(vla_sim)
    with pytest.raises(AttributeError, match="no_such"):
        _ = vla_sim.no_such


def test_every_parameter_of_evaluate_is_an_option_of_the_command():
    from vla_sim.eval import Options

    parameters = set(typing.get_type_hints(vla_sim.evaluate)) - {"return"}
    options = {name.replace("hang_timeout", "hang_timeout_s") for name in Options.__dataclass_fields__}
    assert parameters <= options


def test_objects_classes_and_names_give_the_same_results():
    settings = {"scenario": "reach_goal", "episodes": 5, "first_seed": 40}
    by_object = vla_sim.evaluate(Forward(), **settings)
    by_class = vla_sim.evaluate(Forward, **settings)
    by_name = vla_sim.evaluate("straight", **settings)
    hashes = [[result.state_hash for result in found.results] for found in (by_object, by_class, by_name)]
    assert hashes[0] == hashes[1] == hashes[2]
    assert by_object.success_rate() == by_class.success_rate("test_api:Forward")
    assert "Forward" in str(by_object)
    with pytest.raises(ValueError, match="no episode"):
        by_object.success_rate("nobody")


def test_a_folder_holds_what_the_command_leaves_and_is_gone_on_with(tmp_path):
    settings = {"scenario": ["reach_goal"], "episodes": 2, "out": tmp_path / "run", "video": "1"}
    found = vla_sim.evaluate(["hold", "expert"], **settings)
    assert (found.folder / "report.html").is_file()
    assert len(list((found.folder / "videos").iterdir())) == 1
    assert read_results(found.folder / "episodes.jsonl") == list(found.results)
    again = vla_sim.evaluate(["hold", "expert"], **settings)
    assert again.results == found.results
    assert vla_sim.open_dataset is not None


@pytest.mark.parametrize(
    ("policy", "settings", "message"),
    [
        ("holt", {"scenario": "reach_goal"}, "did you mean 'hold'"),
        ("hold", {"scenario": "reach_gaol"}, "did you mean 'reach_goal'"),
        ("hold", {"suite": "cor"}, "did you mean 'core'"),
        ("hold", {}, "name a scenario or a suite"),
        ("hold", {"scenario": "reach_goal", "episodes": 0}, "at least 1, got 0"),
        ("hold", {"scenario": "reach_goal", "video": "all"}, "video needs a folder"),
        (Forward(), {"scenario": "reach_goal", "out": "runs"}, "leave no files"),
        (Forward(), {"scenario": "reach_goal", "embodiment": "lekiwi"}, "lekiwi takes"),
    ],
)
def test_what_cannot_be_is_one_sentence(policy, settings, message):
    with pytest.raises(vla_sim.UserError, match=message) as raised:
        vla_sim.evaluate(policy, **settings)
    assert "\n" not in str(raised.value)


VALUES = [3, 1.5, None, True, b"hold", {"a": 1}, [3], object(), int, np.zeros((3, 3))]
RIGHT = {"episodes": [3], "workers": [3], "hang_timeout_s": [3, 1.5], "out": [None]}
WRONG = [
    pytest.param(name, value, id=f"{name}-{type(value).__name__}")
    for name in ("policy", "scenario", "suite", "embodiment", "episodes", "workers", "hang_timeout_s", "out")
    for value in VALUES
    if not any(value is right for right in RIGHT.get(name, []))
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_the_wrong_type_is_one_sentence(name, value, tmp_path):
    """Numbers, None and the like where names are meant were tracebacks from deep inside."""
    arguments = {"policy": "hold", "scenario": "reach_goal", "episodes": 1, "out": tmp_path / "run", name: value}
    with pytest.raises(vla_sim.UserError, match=name.split("_")[0]) as raised:
        vla_sim.evaluate(**arguments)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_what_an_object_raises_comes_through():
    with pytest.raises(RuntimeError, match="exploded"):
        vla_sim.evaluate(Raising(), scenario="reach_goal", episodes=1)


def test_actions_arrive_late_where_that_is_asked_for():
    settings = {"scenario": "reach_goal", "episodes": 2, "floors": False}
    prompt = vla_sim.evaluate(Forward(), **settings)
    late = vla_sim.evaluate(Forward(), delay=3, **settings)
    assert [result.delay_steps for result in (*prompt.results, *late.results)] == [0, 0, 3, 3]
    for one, other in zip(prompt.results, late.results, strict=True):
        assert other.actions[:3] == ((0.0, 0.0),) * 3
        assert other.actions[3:6] == one.actions[:3]
    with pytest.raises(UserError, match="--delay must be"):
        vla_sim.evaluate(Forward(), delay=-1, **settings)


def test_a_run_with_another_delay_is_not_gone_on_with(tmp_path):
    from vla_sim.evaluation.planning import make_plan
    from vla_sim.evaluation.runner import evaluate

    evaluate(make_plan(["hold"], scenarios=["reach_goal"], episodes=1, delay=2), tmp_path / "run")
    assert read_results(tmp_path / "run" / "episodes.jsonl")[0].delay_steps == 2
    with pytest.raises(UserError, match="delay was 2, now 0"):
        evaluate(make_plan(["hold"], scenarios=["reach_goal"], episodes=1), tmp_path / "run")


def test_a_script_needs_no_guard(tmp_path):
    """Worker processes ran the script again, which started workers again: pages of tracebacks."""
    script = tmp_path / "script.py"
    script.write_text(
        "import vla_sim\n"
        "print('begin')\n"
        "print(vla_sim.evaluate('expert', scenario='reach_goal', episodes=2, workers=2).success_rate('expert'))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "begin\n1.0\n", "")
