"""The plan of an evaluation, and going on in its folder when what lies there is damaged or of another version."""

import json

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.evaluation import runner
from vla_sim.evaluation.runner import evaluate, read_plan
from vla_sim.evaluation.summary import summarise
from vla_sim.policies.registry import load_policy
from vla_sim.rollout import evaluating
from vla_sim.rollout.evaluating import EvaluationRollout
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult, read_results
from vla_sim.scenarios.library import chosen_scenarios, load_suite

PLAN = Plan(("hold",), ("reach_goal",), episodes=4, seed=7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a finished run of `PLAN`."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert evaluate(PLAN, out).complete
    return out


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run that a test may damage; the lines of its results."""
    out = tmp_path / "run"
    out.mkdir()
    for name in (runner.PLAN_FILE, runner.EPISODES_FILE, runner.SUMMARY_FILE):
        (out / name).write_bytes((finished / name).read_bytes())
    return out


def lines(folder):
    return [result.deterministic_json() for result in read_results(folder / runner.EPISODES_FILE)]


def test_a_plan_survives_its_file():
    plan = Plan(("a", "b"), ("x", "y"), ("core", ""), 3, 5, "lekiwi", "train", "ko", "tiny")
    assert Plan.from_json(plan.to_json()) == plan


def test_a_plan_of_an_earlier_version_lacks_what_has_a_default():
    text = json.dumps({"format": 1, "policies": ["hold"], "scenarios": ["reach_goal"]})
    assert Plan.from_json(text) == Plan(("hold",), ("reach_goal",), ("",))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.pop("policies"), "policies is missing"),
        (lambda p: p.update(noise=0.1), "'noise', which this version does not know"),
        (lambda p: p.update(format=2), "format 2"),
        (lambda p: p.update(episodes="4"), "--episodes must be a whole number, got '4'"),
        (lambda p: p.update(episodes=True), "--episodes must be a whole number"),
        (lambda p: p.update(episodes=10**9), "at most 10000000"),
        (lambda p: p.update(seed=2**63), "last seed"),
        (lambda p: p.update(suites=["a", "b"]), "1 scenarios need as many suites, got 2"),
        (lambda p: p.update(policies="hold"), "--policy must be a list"),
        (lambda p: p.update(policies=[1]), "--policy must be a list"),
        (lambda p: p.update(language="kr"), "allowed: de, en, ko"),
        (lambda p: p.update(renderer="tinny"), "did you mean 'tiny'"),
        (lambda p: p.update(embodiment=None), "--embodiment must be a name"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_sentence(run, edit, message):
    values = json.loads((run / runner.PLAN_FILE).read_text("utf-8"))
    edit(values)
    (run / runner.PLAN_FILE).write_text(json.dumps(values), "utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_plan(run)
    assert str(run) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000, b'{"format": ' + b"9" * 5000 + b"}"]
)
def test_a_file_that_is_no_plan_is_refused_in_one_sentence(run, content):
    (run / runner.PLAN_FILE).write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json"):
        read_plan(run)


DAMAGES = {
    "no JSON": lambda line: "{broken",
    "no object": lambda line: "[1, 2]",
    "a key less": lambda line: json.dumps({k: v for k, v in json.loads(line).items() if k != "steps"}),
    "a value of the wrong type": lambda line: json.dumps({**json.loads(line), "path": 3}),
    "not finite": lambda line: json.dumps({**json.loads(line), "path_length_m": float("nan")}),
    "nested deeply": lambda line: "[" * 100_000,
    "cut off": lambda line: line[:200],
    "another episode": lambda line: json.dumps({**json.loads(line), "seed": 99}),
    "another index": lambda line: json.dumps({**json.loads(line), "index": 2}),
    "another policy": lambda line: json.dumps({**json.loads(line), "policy": "straight"}),
    "a NUL byte": lambda line: line[:100] + "\0" + line[100:],
}


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_told_and_its_episode_runs_again(run, finished, damage, place, caplog):
    path = run / runner.EPISODES_FILE
    content = path.read_text("utf-8").splitlines()
    content[place] = DAMAGES[damage](content[place])
    path.write_text("\n".join(content) + "\n", "utf-8")
    result = evaluate(PLAN, run)
    assert result.complete
    assert [r.seed for r in result.records] == [7, 8, 9, 10]
    assert len(caplog.messages) == 1
    assert lines(run) == lines(finished)


def test_lines_that_are_there_twice_count_once(run, finished, caplog):
    path = run / runner.EPISODES_FILE
    path.write_text(3 * path.read_text("utf-8"), "utf-8")
    result = evaluate(PLAN, run)
    assert result.complete
    assert result.summary["results"][0]["n"] == 4
    assert len(caplog.messages) == 8
    assert lines(run) == lines(finished)


def test_lines_in_another_order_are_put_in_order(run, finished):
    path = run / runner.EPISODES_FILE
    path.write_text("\n".join(reversed(path.read_text("utf-8").splitlines())), "utf-8")
    assert evaluate(PLAN, run).complete
    assert lines(run) == lines(finished)


def test_a_run_of_an_earlier_version_is_gone_on_with(run, finished):
    path = run / runner.EPISODES_FILE
    earlier = []
    for line in path.read_text("utf-8").splitlines()[:2]:
        values = json.loads(line)
        for later in ("diagnostics", "embodiment_hash", "earlier_error"):
            del values[later]
        earlier.append(json.dumps({**values, "format": 1}))
    path.write_text("\n".join(earlier) + "\n", "utf-8")
    assert evaluate(PLAN, run).complete
    assert [r.state_hash for r in read_results(path)] == [
        r.state_hash for r in read_results(finished / runner.EPISODES_FILE)
    ]


def test_a_new_fact_is_added_in_one_place_and_breaks_no_earlier_run(finished, monkeypatch):
    """The facts of an episode come from `measures_of`; one more needs no field, no column and no new format."""
    measures_of = evaluating.measures_of
    monkeypatch.setattr(
        evaluating,
        "measures_of",
        lambda *args: {**measures_of(*args), "closest_wall_m": np.float64(args[0].job.seed - 7)},
    )
    results = []
    driven = EvaluationRollout(PLAN, load_policy("hold"), "", num_envs=4)
    driven.run(PLAN.jobs(), results.append)
    driven.close()
    assert [EpisodeResult.from_json(r.to_json()) for r in results] == results
    (row,) = summarise(results, {})["results"]
    assert row["facts"]["closest_wall_m"] == {"mean": 1.5, "n": 4}
    earlier = read_results(finished / runner.EPISODES_FILE)
    (row,) = summarise([*earlier[:3], results[3]], {})["results"]
    assert row["n"] == 4
    assert row["facts"]["closest_wall_m"] == {"mean": 3.0, "n": 1}


def test_two_suites_with_common_scenarios_keep_all_of_theirs():
    chosen = chosen_scenarios([], ["core", "smoke"])
    for suite in ("core", "smoke"):
        members = [scenario.name for scenario in load_suite(suite)]
        assert {name for name in chosen if suite in chosen[name].split("+")} == set(members)


def test_pooled_rows_hold_every_scenario_of_their_suite(finished):
    first, *others = read_results(finished / runner.EPISODES_FILE)
    shared = EpisodeResult.from_json(first.to_json().replace('"suite": ""', '"suite": "core+smoke"'))
    own = EpisodeResult.from_json(others[0].to_json().replace('"suite": ""', '"suite": "core"'))
    pooled = {row["suite"]: row["n"] for row in summarise([shared, own], {})["suites"]}
    assert pooled == {"core": 2, "smoke": 1}
