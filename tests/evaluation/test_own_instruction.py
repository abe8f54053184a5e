"""`--instruction TEXT`: any sentence in any world, judged by the scenario's rule, marked wherever it shows."""

import json

import numpy as np
import pytest

from vla_sim import eval as command
from vla_sim import evaluate, replay
from vla_sim.core.errors import UserError
from vla_sim.evaluation.baseline import compare_baseline, record_baseline
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.rollout.plan import Plan

TEXT = "Bitte fahr über das grüne Ding"


class Hears(Policy):
    """Keeps what it was told."""

    spec = PolicySpec(action_names=("vx", "vy"), image_px=())

    def __init__(self):
        self.heard = set()

    def reset(self, reset_mask, seeds):
        pass

    def act(self, observation, infos=None):
        self.heard |= set(observation["instruction"])
        return np.zeros((len(observation["instruction"]), 2), dtype=np.float32)


def test_every_episode_is_told_it_and_judged_by_its_scenario():
    hears = Hears()
    found = evaluate(hears, scenario=["obstacle_left", "reach_goal"], episodes=1, instruction=TEXT, floors=False)
    running = {text for text in hears.heard if text}
    assert running == {TEXT}
    assert {(r.instruction, r.phrasing, r.language) for r in found.results} == {(TEXT, "user", "")}
    assert [r.asked_side.value if r.asked_side else None for r in found.results] == ["left", None]
    assert found.summary["instruction"] == TEXT
    assert f"in place of the scenario's sentence: {TEXT!r}" in str(found)


def test_an_empty_sentence_is_one():
    found = evaluate("expert", scenario="reach_goal", episodes=1, instruction="", floors=False)
    assert found.summary["instruction"] == "" == found.results[0].instruction
    assert found.success_rate() == 1.0


def test_command_writes_it_into_plan_results_report_and_replays(tmp_path, capsys):
    out = tmp_path / "run"
    line = ["--policy", "expert", "--scenario", "reach_goal", "--episodes", "1", "--no-floors", "--out", str(out)]
    assert command.main([*line, "--workers", "1", "--instruction", TEXT]) == 0
    assert f"all told {TEXT!r}" in capsys.readouterr().out
    assert json.loads((out / "run.json").read_text("utf-8"))["instruction"] == TEXT
    assert TEXT in (out / "report.html").read_text("utf-8")
    assert replay.main([str(out), "0"]) == 0


def test_a_baseline_of_other_sentences_is_refused(tmp_path):
    def results(**told):
        return evaluate("expert", scenario="reach_goal", episodes=1, floors=False, **told).results

    path = tmp_path / "baseline.json"
    record_baseline(results(instruction=TEXT), path)
    assert compare_baseline(results(instruction=TEXT), path).passed
    for other in ({}, {"instruction": "Go"}):
        report = compare_baseline(results(**other), path)
        assert not report.passed
        assert "another --instruction" in report.text("runs/x")
    with pytest.raises(ValueError, match="several instructions"):
        record_baseline(
            [*results(instruction=TEXT), *evaluate("hold", scenario="reach_goal", episodes=1).results], path
        )


@pytest.mark.parametrize(
    ("value", "said"),
    [("a\nb", "one line"), ("x" * 300, "at most 256"), (3, "got 3"), ("\x1b[31m", "printable")],
)
def test_what_is_no_sentence_is_refused(value, said):
    with pytest.raises(UserError, match=said):
        Plan(("a",), ("b",), instruction=value)


def test_it_does_not_go_with_a_language():
    with pytest.raises(UserError, match="leave --language ko away"):
        Plan(("a",), ("b",), instruction="Go", language="ko")
