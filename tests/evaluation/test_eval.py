"""The evaluation command: files, determinism, resuming, and what happens when something goes wrong."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_sim import eval as command
from vla_sim import replay
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError
from vla_sim.evaluation import runner
from vla_sim.evaluation.runner import evaluate
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import read_results

REQUIRED = {
    "policy",
    "scenario",
    "n",
    "successes",
    "success_rate",
    "success_ci95",
    "spl",
    "soft_spl",
    "collision_rate",
    "wrong_side_rate",
    "timeout_rate",
    "error_count",
    "inference_ms_p50",
}


def plan(*policies, scenarios=("obstacle_left",), episodes=4, seed=100):
    return Plan(policies, tuple(scenarios), ("",) * len(scenarios), episodes, seed, "serbot", "train")


def run(arguments):
    return command.main([str(a) for a in arguments])


def lines(folder):
    return [record.deterministic_json() for record in read_results(Path(folder) / "episodes.jsonl")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the expert and a policy that drives straight."""
    out = tmp_path_factory.mktemp("finished") / "run"
    code = run(
        [
            *"--policy expert bad_policies:Straight --scenario obstacle_left reach_goal".split(),
            *"--episodes 3 --first-seed 5".split(),
            *["--workers", 2, "--video", 1, "--out", out],
        ]
    )
    assert code == 0
    return out


def test_a_run_leaves_all_files_with_the_promised_fields(finished):
    summary = json.loads((finished / "summary.json").read_text("utf-8"))
    assert len(summary["results"]) == 4
    assert all(set(row) >= REQUIRED for row in summary["results"])
    provenance = summary["provenance"]
    assert {"versions", "git_commit", "policy_hashes", "scenario_hashes", "seeds", "plan"} <= set(provenance)
    assert provenance["plan"]["renderer"] == "software"
    assert (finished / "report.html").stat().st_size > 1000
    (film,) = (finished / "videos").iterdir()
    assert film.suffix == ".mp4"
    assert "expert" in film.name, "a policy that never succeeds is filmed last"
    records = read_results(finished / "episodes.jsonl")
    assert [r.seed for r in records] == [5, 6, 7] * 4
    assert all(r.success for r in records if r.policy == "expert")
    assert all(r.privileged == (r.policy == "expert") for r in records)


def test_replay_rebuilds_an_episode_bit_for_bit(finished, capsys):
    assert replay.main([str(finished), "expert/obstacle_left/6"]) == 0
    assert "bit for bit" in capsys.readouterr().out


def test_replay_of_a_changed_record_says_what_differs(finished, tmp_path, capsys):
    for name in ("run.json", "episodes.jsonl"):
        (tmp_path / name).write_text((finished / name).read_text("utf-8"), "utf-8")
    path = tmp_path / "episodes.jsonl"
    first, *rest = path.read_text("utf-8").splitlines()
    record = json.loads(first)
    record["actions"][2] = [0.0, 0.5]
    path.write_text("\n".join([json.dumps(record), *rest]) + "\n", "utf-8")
    assert replay.main([str(tmp_path), "0"]) == 1
    assert "state hash" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "word"), [("99", "no episode"), ("obstacle_left/5", "say which")])
def test_replay_of_an_unclear_episode_is_answered(finished, name, word, capsys):
    assert replay.main([str(finished), name]) == 2
    assert word in capsys.readouterr().err


@pytest.mark.parametrize("workers", [2, 8])
def test_records_do_not_depend_on_the_number_of_workers(tmp_path, workers):
    alone = plan("random", scenarios=("obstacle_left", "choose_goal"), episodes=30)
    evaluate(alone, tmp_path / "one", workers=1)
    evaluate(alone, tmp_path / "many", workers=workers)
    assert lines(tmp_path / "one") == lines(tmp_path / "many")


def test_the_ensemble_gives_the_same_records_with_one_and_two_workers(tmp_path):
    both = plan("ensemble", scenarios=("obstacle_left", "choose_goal"), episodes=20, seed=100_000)
    evaluate(both, tmp_path / "one", workers=1)
    evaluate(both, tmp_path / "two", workers=2)
    assert lines(tmp_path / "one") == lines(tmp_path / "two")
    for record in read_results(tmp_path / "one" / "episodes.jsonl"):
        said = record.diagnostics["disagreement_mps"]
        assert len(said) == record.steps
        assert len(set(said)) > 1


def test_a_cut_off_run_is_completed_to_what_it_would_have_been(tmp_path):
    whole = plan("bad_policies:Straight", episodes=30)
    evaluate(whole, tmp_path / "whole", workers=1)
    complete = (tmp_path / "whole" / "episodes.jsonl").read_bytes()
    evaluate(whole, tmp_path / "cut", workers=1)
    (tmp_path / "cut" / "episodes.jsonl").write_bytes(complete[: len(complete) // 2])
    result = evaluate(read_plan_of(tmp_path / "cut"), tmp_path / "cut", workers=1)
    assert result.complete
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def read_plan_of(folder):
    return runner.read_plan(folder)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("Raises", "my network exploded"),
        ("GivesNan", "finite"),
        ("WrongShape", "shape"),
        ("Hangs", "hangs"),
        ("Dies", "died"),
    ],
)
def test_a_misbehaving_policy_costs_only_its_own_episodes(tmp_path, policy, reason):
    result = evaluate(plan(f"bad_policies:{policy}"), tmp_path / "run", workers=2, hang_timeout_s=3)
    outcomes = {record.seed: record.outcome.value for record in result.records}
    assert [seed for seed, outcome in outcomes.items() if outcome == "error"] == [101, 103]
    errors = [record.error for record in result.records if record.error]
    assert all(reason in error for error in errors), errors
    (row,) = result.summary["results"]
    assert (row["n"], row["error_count"]) == (4, 2)
    sane = evaluate(plan("bad_policies:Straight"), tmp_path / "sane", workers=1).records
    assert {r.seed: r.state_hash for r in sane if r.seed % 2 == 0} == {
        r.seed: r.state_hash for r in result.records if r.seed % 2 == 0
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--policy ensembel --scenario obstacle_left", "ensemble"),
        ("--policy hold --scenario obstacle_lfet", "obstacle_left"),
        ("--policy hold --suite cor", "core"),
        ("--policy hold --scenario obstacle_left --embodiment serbott", "serbot"),
        ("--policy hold", "--scenario"),
        ("--scenario obstacle_left", "--policy"),
        ("--policy hold --scenario obstacle_left --episodes 0", "--episodes"),
        ("--policy hold --scenario obstacle_left --workers 0", "--workers"),
        ("--policy hold --scenario obstacle_left --video some", "--video"),
        ("--policy hold hold --scenario obstacle_left", "twice"),
        ("--policy bad_policies:Raise --scenario obstacle_left", "Raises"),
        ("--policy no_such_module:Thing --scenario obstacle_left", "no_such_module"),
        ("--policy bad_policies:CannotStart --scenario obstacle_left", "no such weights"),
        ("--policy bad_policies:WantsTurns --scenario obstacle_left", "wz"),
        ("--policy hold --scenario obstacle_left --baseline no_such.json", "no_such.json"),
        ("--resume no_such_folder", "no_such_folder"),
    ],
)
def test_bad_input_is_answered_in_one_sentence_with_exit_code_2(arguments, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = [] if "--resume" in arguments else ["--out", str(tmp_path / "run"), "--episodes", "1"]
    if "--episodes" in arguments:
        extra = extra[:2]
    assert run(arguments.split() + extra) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error or "CannotStart" in arguments


def test_an_output_folder_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["--policy", "hold", "--scenario", "obstacle_left", "--out", tmp_path / "file"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_full_disk_is_said_and_not_a_traceback(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert run(["--policy", "hold", "--scenario", "obstacle_left", "--out", tmp_path / "run"]) == 2
    assert "no space left" in capsys.readouterr().err


def test_results_of_two_plans_are_never_mixed(tmp_path):
    evaluate(plan("bad_policies:Straight", episodes=1), tmp_path, workers=1)
    with pytest.raises(UserError, match="belongs to another plan: episodes was 1, now 2"):
        evaluate(plan("bad_policies:Straight", episodes=2), tmp_path, workers=1)


def test_interrupting_leaves_complete_files_and_resuming_finishes(tmp_path):
    out = tmp_path / "run"
    arguments = [
        "--policy",
        "bad_policies:Straight",
        "--scenario",
        "reach_goal",
        "--episodes",
        "1000",
        "--first-seed",
        "0",
        "--out",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_sim.eval", *arguments, str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    records = out / "episodes.jsonl"
    deadline = time.monotonic() + 60
    while not (records.exists() and records.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in printed
    done = len(read_results(records))
    assert 0 < done < 1000
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["provenance"]["complete"] is False
    assert run(["--resume", out, "--workers", "2"]) == 0
    assert len(read_results(records)) == 1000


def test_a_file_with_several_scenarios_runs_them_all(tmp_path, capsys):
    shutil.copy(content_folder("scenarios") / "core" / "obstacle.toml", tmp_path / "my.toml")
    arguments = ["--policy", "expert", "--scenario", str(tmp_path / "my.toml"), "--episodes", "1"]
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 0
    found = {record.scenario for record in read_results(tmp_path / "run" / "episodes.jsonl")}
    assert found == {f"{tmp_path / 'my.toml'}#obstacle_{side}" for side in ("left", "right")}


def test_going_on_without_films_keeps_those_that_are_there(tmp_path, capsys):
    arguments = ["--policy", "expert", "--scenario", "reach_goal", "--episodes", "1", "--out", str(tmp_path / "run")]
    assert run([*arguments, "--video", "1"]) == 0
    assert run(["--resume", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.html").read_text("utf-8").count("<video") == 1


def test_going_on_with_a_finished_run_keeps_its_time_and_workers(tmp_path, capsys):
    arguments = ["--policy", "hold", "--scenario", "reach_goal", "--episodes", "2", "--out", str(tmp_path / "run")]
    assert run([*arguments, "--workers", "2"]) == 0
    first = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))["provenance"]
    assert run(["--resume", str(tmp_path / "run")]) == 0
    again = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))["provenance"]
    assert (again["workers"], again["wall_time_s"]) == (2, first["wall_time_s"])


def test_a_policy_that_always_raises_is_said_and_fails_the_command(tmp_path, capsys):
    arguments = ["--policy", "bad_policies:AlwaysRaises", "hold", "--scenario", "reach_goal", "--episodes", "2"]
    assert run([*arguments, "--out", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().out
    assert "2 of 2 episodes of bad_policies:AlwaysRaises raised: ValueError: always" in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--policy clip_small --scenario reach_goal", "it belongs to clip_lstm, clip_mlp"),
        ("--policy bad_policies:WantsTurns --scenario reach_goal", "policy 'bad_policies:WantsTurns'"),
    ],
)
def test_what_cannot_start_leaves_no_folder(arguments, expected, tmp_path, capsys):
    assert run([*arguments.split(), "--episodes", "1", "--out", str(tmp_path / "run")]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_all_names_are_listed(capsys):
    assert run(["--list"]) == 0
    said = capsys.readouterr().out
    for name in ("ensemble", "lekiwi", "suite hard: hard_choose_goal"):
        assert name in said
