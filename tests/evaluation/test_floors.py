"""Tables say what policies that do not look reach in the same worlds, and nobody mistakes them for competitors."""

import json

import pytest

import vla_sim
from vla_sim import benchmark, replay
from vla_sim import eval as command
from vla_sim.evaluation import runner
from vla_sim.evaluation.floors import FLOORS, FLOORS_FILE, drive_floors, floors_of
from vla_sim.evaluation.planning import make_plan
from vla_sim.evaluation.runner import evaluate
from vla_sim.rollout.result import read_results

RUN = "--policy expert --scenario reach_goal obstacle_left --episodes 3 --out".split()


def plan(*policies, episodes=14, scenarios=("reach_goal", "obstacle_left"), **settings):
    return make_plan(policies or ("expert",), scenarios=scenarios, episodes=episodes, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("floors") / "run"
    assert command.main([*RUN, str(out)]) == 0
    return out


def test_table_summary_and_report_hold_all_floors(finished, capsys):
    assert command.main(["--resume", str(finished)]) == 0
    said = capsys.readouterr().out
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    report = (finished / "report.html").read_text("utf-8")
    for floor in FLOORS:
        assert f"{floor} (floor)" in said
        assert {row["n"] for row in summary["floors"]["results"] if row["policy"] == floor} == {3}
        assert f'<td class="t name">{floor} ' in report
    assert report.count('title="It does not look') == 3 * 3


def test_floors_are_in_nothing_that_is_the_users(finished):
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    of_floors = summary.pop("floors")
    assert {row["policy"] for row in of_floors["results"]} == set(FLOORS)
    assert not any(f'"{floor}"' in json.dumps(summary) for floor in FLOORS)
    assert {record.policy for record in read_results(finished / "episodes.jsonl")} == {"expert"}
    assert "6 episodes in 6 worlds" in (finished / "report.html").read_text("utf-8")


def test_baselines_and_exit_codes_know_no_floors(finished, tmp_path):
    baseline = tmp_path / "baseline.json"
    assert command.main(["--resume", str(finished), "--no-floors", "--update-baseline", str(baseline)]) == 0
    assert command.main(["--resume", str(finished), "--baseline", str(baseline)]) == 0


def test_without_floors_there_are_none(tmp_path, capsys):
    assert command.main([*RUN, str(tmp_path / "run"), "--no-floors"]) == 0
    assert "(floor)" not in capsys.readouterr().out
    assert not (tmp_path / "run" / FLOORS_FILE).exists()
    assert 'class="tag"' not in (tmp_path / "run" / "report.html").read_text("utf-8").split("expert", 1)[0]


def test_the_printed_table_names_the_scenarios_in_which_a_floor_reaches_something():
    found = vla_sim.evaluate("expert", scenario=["reach_goal", "obstacle_left"], episodes=12)
    rows = [line.split("  ")[0].strip() for line in str(found).splitlines() if "(floor)" in line]
    assert rows == ["straight (floor)", *(f"{floor} (floor)" for floor in FLOORS)]


def test_a_floor_that_is_named_is_driven_once_and_marked():
    found = vla_sim.evaluate(["expert", "straight"], scenario="reach_goal", episodes=2)
    assert {row["policy"] for row in found.summary["floors"]["results"]} == {"hold", "random"}
    assert [line.split("  ")[0] for line in str(found).splitlines()[2:6]] == [
        "expert (privileged)",
        "straight (floor)",
        "hold (floor)",
        "random (floor)",
    ]
    assert len(found.results) == 4


@pytest.mark.parametrize("robot", ["serbot", "serbot_wide", "lekiwi", "diffbot"])
def test_floors_drive_every_robot_as_when_they_are_named(robot, tmp_path):
    wanted = plan("expert", embodiment=robot, episodes=2)
    floors = drive_floors(wanted)
    named = evaluate(plan(*FLOORS, embodiment=robot, episodes=2), tmp_path / "run").records
    assert [(r.key, r.outcome, r.state_hash) for r in floors] == [(r.key, r.outcome, r.state_hash) for r in named]
    assert {r.picture_hash for r in floors} == {""}


def test_floors_do_not_depend_on_the_number_of_workers(monkeypatch):
    monkeypatch.setattr("vla_sim.evaluation.floors.FEW_EPISODES", 0)
    alone, many = (drive_floors(plan(), workers=workers) for workers in (1, 3))
    assert [r.deterministic_json() for r in alone] == [r.deterministic_json() for r in many]


def test_floors_that_are_there_are_not_driven_again_unless_something_has_changed(tmp_path):
    path, told = tmp_path / FLOORS_FILE, []

    def drive(wanted):
        told.clear()
        drive_floors(wanted, path, on_progress=lambda done, total: told.append(done))
        return len(told)

    assert drive(plan(episodes=2)) == 12
    assert drive(plan(episodes=2)) == 0
    assert drive(plan(episodes=3)) == 18
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert drive(plan(episodes=3)) == 18


def test_ctrl_c_among_the_floors_keeps_the_users_episodes_and_can_be_gone_on_with(tmp_path, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner, "drive_floors", interrupted)
        assert command.main([*RUN, str(tmp_path / "run")]) == 130
    said = capsys.readouterr().out
    assert "100.0 %" in said
    assert "--resume" in said
    assert len(read_results(tmp_path / "run" / "episodes.jsonl")) == 6
    assert command.main(["--resume", str(tmp_path / "run")]) == 0
    assert "straight (floor)" in capsys.readouterr().out


def test_an_episode_of_a_floor_can_be_replayed(finished, capsys):
    assert replay.main([str(finished), "straight/obstacle_left/100000"]) == 0
    assert "same" in capsys.readouterr().out


def test_a_benchmark_of_named_policies_has_the_floors_without_ranks(tmp_path):
    out = tmp_path / "benchmark"
    words = "--policy bad_policies:Straight --scenario reach_goal --episodes 2 --workers 1 --out".split()
    assert benchmark.main([*words, str(out)]) == 0
    document = json.loads((out / "benchmark.json").read_text("utf-8"))
    rows = {row["model"]: row for row in document["rows"]}
    for floor in FLOORS:
        assert rows[floor]["kind"] == "floor"
        assert rows[floor]["rank"] is rows[floor]["mae_rank"] is None
        assert rows[floor]["success_rate"] is not None
        assert rows[floor]["mae_mps"] is not None
        assert f"{floor} (floor)" in (out / "benchmark.md").read_text("utf-8")
    assert document["agreement"]["all"]["policies"] == ["bad_policies:Straight"]


def test_plans_lack_only_the_floors_that_they_do_not_name():
    assert floors_of(plan("hold")) == ("random", "straight")
    assert floors_of(plan(*FLOORS)) == ()
    assert drive_floors(plan(*FLOORS)) == []


@pytest.mark.parametrize("run", [command, benchmark])
def test_what_is_refused_is_refused_before_any_headline_or_bar(run, tmp_path, capsys):
    words = "--policy hold --scenario reach_goal --no-floors --out".split()
    assert run.main([*words, str(tmp_path / "run"), "--episodes", "1"]) == 0
    capsys.readouterr()
    assert run.main([*words, str(tmp_path / "run"), "--episodes", "2"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert "belongs to another plan" in said.err


def test_many_episodes_do_not_make_floors_dear():
    floors = drive_floors(plan(episodes=25, scenarios=("reach_goal",)))
    assert [sum(r.policy == floor for r in floors) for floor in FLOORS] == [20] * 3
    assert {r.seed for r in floors} == set(range(100_000, 100_020))
