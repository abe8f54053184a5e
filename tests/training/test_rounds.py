import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from loop_fakes import CONFIG, SIDE_PX, successes, tiny_policy, toy

from vla_sim import clone, dagger
from vla_sim.core.errors import UserError
from vla_sim.policies.registry import load_policy, policy_hash
from vla_sim.training import dagger as module
from vla_sim.training.aggregation import Schedule
from vla_sim.training.closed_loop import ValidationSuite
from vla_sim.training.dagger import Rounds, RoundsPlan
from vla_sim.training.warm_start import begin_with, check_driver

WEIGHTS = "clip_small/model.safetensors"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return tiny_policy(tmp_path_factory.mktemp("tiny"))


def plan(policy, **changes):
    values = {
        "policy": str(policy),
        "rounds": 3,
        "scenarios": ("obstacle_left", "reach_goal"),
        "episodes": 4,
        "schedule": Schedule("constant", (0.5,)),
        "steps": 4,
        "check_every": 4,
        "choosing": 1,
        "comparing": 20,
    }
    return RoundsPlan(**{**values, **changes})


@pytest.fixture
def pretend(monkeypatch):
    """Successes of 40 worlds at the gate by round, without driving."""

    def with_counts(*counts):
        driven = []

        def drive(self, policy, out, *, workers=1):
            load_policy(str(policy))
            driven.append((out.parent.name, out.name))
            number = int(out.parent.name.removeprefix("round_")) if out.name == "gate" else 0
            return successes(counts[number] if out.name == "gate" else 1, self)

        monkeypatch.setattr(ValidationSuite, "drive", drive)
        return driven

    return with_counts


def rounds(policy, out, **changes):
    return Rounds(plan(policy, **changes), out, [toy(group="demo")], {"demo": 1.0}, CONFIG)


def manifest(out, number):
    return json.loads((out / "data" / f"round_{number:02}" / "manifest.json").read_text())


def test_only_rounds_that_win_are_built_upon(policy, tmp_path, pretend):
    pretend(10, 30, 31, 40)
    run = rounds(policy, tmp_path)
    entries = run.run()
    assert [entry["accepted"] for entry in entries] == [True, False, True]
    assert [entry["against"] for entry in entries] == ["round_00", "round_01", "round_01"]
    start, first = (policy_hash(str(run.policy_of(name) / "clip_lstm")) for name in ("round_00", "round_01"))
    assert [manifest(tmp_path, number)["learner_hash"] for number in (1, 2, 3)] == [start, first, first]
    assert entries[1]["overall"]["p_value"] == 1.0
    assert entries[2]["overall"]["only_new"] == 10


def test_a_dropped_round_is_trained_again_from_the_last_accepted_one(policy, tmp_path, pretend, monkeypatch):
    pretend(10, 5, 40)
    begun_with = []
    monkeypatch.setattr(
        module, "begin_with", lambda name, **options: begun_with.append(name) or begin_with(name, **options)
    )
    run = rounds(policy, tmp_path, rounds=2, gathered_share=1.0, keep_dropped=False)
    run.run()
    start = str(run.policy_of("round_00") / "clip_lstm")
    assert begun_with[-2:] == [start, start]  # what the first and the second round learned on from
    weights = [(run.policy_of(f"round_0{number}") / WEIGHTS).read_bytes() for number in range(3)]
    assert len(set(weights)) == 3
    config = json.loads((run.policy_of("round_02") / "clip_lstm" / "config.json").read_text())
    assert config["training"]["steps"] == 4
    assert config["training"]["episodes"] == 8 + 4


@pytest.mark.parametrize(("keep", "episodes"), [(True, 8 + 8), (False, 8 + 4)])
def test_drives_of_a_dropped_round_are_kept_or_not(policy, tmp_path, pretend, keep, episodes):
    pretend(10, 10, 10)
    run = rounds(policy, tmp_path, rounds=2, keep_dropped=keep)
    run.run()
    config = json.loads((run.policy_of("round_02") / "clip_lstm" / "config.json").read_text())
    assert config["training"]["episodes"] == episodes


def test_without_demonstrations_the_expert_gives_some_first(policy, tmp_path, pretend):
    pretend(10, 10)
    run = Rounds(plan(policy, rounds=1), tmp_path, [], {}, CONFIG)
    run.run()
    given = json.loads((tmp_path / "data" / "demonstrations" / "manifest.json").read_text())
    assert (given["beta"], given["episodes"], given["seeds"]) == (1.0, 4, [0, 3])
    assert manifest(tmp_path, 1)["seeds"] == [4, 7]


def test_rounds_of_no_episodes_learn_on_from_the_demonstrations_alone(policy, tmp_path, pretend):
    pretend(10, 30)
    run = rounds(policy, tmp_path, rounds=1, episodes=0)
    (entry,) = run.run()
    assert entry["accepted"]
    config = json.loads((run.policy_of("round_01") / "clip_lstm" / "config.json").read_text())
    assert (config["training"]["episodes"], config["training"]["steps"]) == (8, 4)
    assert not (tmp_path / "data").exists()
    with pytest.raises(UserError, match="nothing to learn from"):
        Rounds(plan(policy, episodes=0), tmp_path / "none", [], {}, CONFIG).run()


def test_a_run_that_is_complete_does_nothing_more(policy, tmp_path, pretend):
    pretend(10, 30, 31, 40)
    entries = rounds(policy, tmp_path).run()
    driven = pretend(0, 0, 0, 0)
    assert rounds(policy, tmp_path).run() == entries
    assert driven == []


def test_a_run_may_get_more_rounds(policy, tmp_path, pretend):
    pretend(10, 30, 31, 40)
    first = rounds(policy, tmp_path, rounds=1).run()
    assert rounds(policy, tmp_path).run()[:1] == first


def test_another_policy_to_start_from_is_refused(policy, tmp_path, pretend):
    pretend(10, 10)
    rounds(policy, tmp_path / "run", rounds=1).run()
    other = tiny_policy(tmp_path / "other", seed=2)
    with pytest.raises(UserError, match="was begun with another"):
        rounds(other, tmp_path / "run", rounds=1).run()


def test_a_source_must_not_be_named_like_what_rounds_gather(policy, tmp_path):
    with pytest.raises(UserError, match="no source may be named 'gathered'"):
        Rounds(plan(policy), tmp_path, [toy(group="gathered")], {"gathered": 1.0}, CONFIG)


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_killed_at_any_file_a_run_ends_with_the_same_policies(policy, tmp_path, pretend, monkeypatch):
    from vla_sim.training import aggregation, closed_loop

    pretend(10, 30, 31, 40)
    rounds(policy, tmp_path / "whole", rounds=2).run()
    kills = 0
    for place in (1, 2, 3, 2, 4, 1, 5, 3, 1, 99):
        left = place

        def sometimes(action):
            def call(*arguments):
                nonlocal left
                left -= 1
                if left == 0:
                    raise Killed
                return action(*arguments)

            return call

        with monkeypatch.context() as patched:
            for where in (aggregation, closed_loop, module):
                patched.setattr(where, "write_whole", sometimes(where.write_whole))
            try:
                rounds(policy, tmp_path / "killed", rounds=2).run()
            except Killed:
                kills += 1
    assert kills >= 6
    for name in ("round_01", "round_02"):
        one, other = (tmp_path / run / name for run in ("whole", "killed"))
        assert (one / "policy" / WEIGHTS).read_bytes() == (other / "policy" / WEIGHTS).read_bytes()
        assert (one / "verdict.json").read_text() == (other / "verdict.json").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"episodes": 40_000}, "must lie among the seeds"),
        ({"level": 1.5}, "level must lie between 0 and 1"),
        ({"gathered_share": 0.0}, "gathered share"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(policy, changes, message):
    with pytest.raises(UserError, match=message):
        plan(policy, **changes)


def test_worlds_of_rounds_never_meet(policy):
    made = [plan(policy, seed=seed).worlds(number) for seed in (0, 1, 2) for number in range(4)]
    seeds = [seed for worlds in made for seed in worlds]
    assert len(set(seeds)) == len(seeds)
    assert max(seeds) < 92_000


@pytest.mark.parametrize(("name", "members"), [("clip_lstm", ["clip_lstm"]), ("ensemble", ["clip_lstm", "clip_mlp"])])
def test_training_begins_with_exactly_the_policy(policy, tmp_path, name, members):
    from vla_sim.training.behaviour_cloning import Trainer

    begun = begin_with(str(policy.parent / name))
    assert begun.driver == name
    Trainer(begun, CONFIG, tmp_path).export(tmp_path / "again")
    for path in (WEIGHTS, *(f"{member}/model.safetensors" for member in members)):
        assert (tmp_path / "again" / path).read_bytes() == (policy.parent / path).read_bytes()
    load_policy(str(tmp_path / "again" / name))


def test_an_ensemble_can_be_trained_on_and_other_policies_cannot(policy):
    assert begin_with(str(policy.parent / "ensemble")).driver == "ensemble"
    assert begin_with(str(policy.parent / "clip_mlp")).driver == "clip_mlp"
    with pytest.raises(UserError, match="cannot be trained on"):
        begin_with("hold")
    with pytest.raises(UserError, match="did you mean 'clip_lstm'"):
        check_driver("clip_lst")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--init clip_lstn", "clip_lstm"),
        ("--init hold", "cannot be trained on"),
        ("--beta nonsense", "unknown beta schedule"),
        ("--rounds 0", "--rounds must be at least 1"),
        ("--data nowhere", "no such folder"),
        ("--policy clip_lstm", "--policy is now --init"),
        ("--scenario obstacle_lef", "obstacle_left"),
        ("--learning-rate 0", "--learning-rate must be positive"),
    ],
)
def test_dagger_refuses_what_makes_no_sense_in_one_sentence(arguments, message, tmp_path, capsys):
    assert dagger.main([*arguments.split(), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--check-policy clip_mpl", "did you mean 'clip_mlp'"),
        ("--validation-share 1", "--validation-share must lie"),
        ("--init hold", "cannot be trained on"),
        ("--source somewhere", "--source is now --data"),
        ("--start clip_lstm", "--start is now --init"),
        ("--steps 0", "--steps must be at least 1"),
        ("--suite coer", "core"),
    ],
)
def test_clone_refuses_what_makes_no_sense_in_one_sentence(arguments, message, tmp_path, capsys):
    (tmp_path / "data").mkdir()
    command = ["--data", str(tmp_path / "data"), *arguments.split(), "--out", str(tmp_path / "out")]
    assert clone.main(command) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.fixture
def drives(tmp_path):
    """A folder of simulated rounds at the tiny policy's size."""
    from vla_sim.rollout.demonstrations import Collection, Task, collect
    from vla_sim.training.recorded import save_round

    tasks = [Task("obstacle_left", seed) for seed in range(6)]
    save_round(tmp_path / "drives" / "clone", collect(tasks, Collection("serbot", SIDE_PX), workers=1))
    return tmp_path / "drives"


def test_clone_goes_on_from_a_policy_and_refuses_another_plan_in_its_folder(policy, drives, tmp_path, pretend, capsys):
    pretend(1)
    command = f"--data sim={drives} --init {policy} --steps 4 --check-every 2 --batch-episodes 2 --workers 1"
    arguments = [*command.split(), "--scenario", "obstacle_left", "--out", str(tmp_path / "out")]
    assert clone.main(arguments) == 0
    load_policy(str(tmp_path / "out" / "policy" / "clip_lstm"))
    lines = (tmp_path / "out" / "training.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4
    assert clone.main([*arguments, "--learning-rate", "1e-4"]) == 2
    assert "belongs to another plan: learning." in capsys.readouterr().err


def test_clone_says_when_nothing_is_left_to_learn_from(policy, drives, tmp_path, capsys):
    command = f"--data sim={drives} --init {policy} --validation-share 0.95 --scenario obstacle_left --workers 1"
    assert clone.main([*command.split(), "--out", str(tmp_path / "out")]) == 2
    assert "leaves no episode to learn from" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["images.npy", "facts.json", "nan"])
def test_clone_names_drives_that_are_damaged(policy, drives, tmp_path, capsys, damage):
    folder = drives / "clone"
    if damage == "nan":
        actions = np.load(folder / "actions.npy")
        actions[0, 0] = np.nan
        np.save(folder / "actions.npy", actions)
    else:
        (folder / damage).write_bytes((folder / damage).read_bytes()[:-200])
    command = f"--data sim={drives} --init {policy} --scenario obstacle_left --workers 1"
    assert clone.main([*command.split(), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{folder}: its episodes cannot be read" in said
    assert said.count("\n") == 1


def test_a_loss_that_is_no_number_ends_the_training_in_one_sentence(policy, drives, tmp_path, capsys):
    command = f"--data sim={drives} --init {policy} --steps 30 --learning-rate 1e9 --scenario obstacle_left"
    more = "--batch-episodes 2 --check-every 30 --workers 1"
    assert clone.main([*command.split(), *more.split(), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "the loss is not a number any more at step" in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_sigkill_at_random_moments_loses_nothing(policy, tmp_path):
    """Killed again and again, the command ends with a complete run."""
    out = tmp_path / "run"
    command = f"--init {policy} --rounds 2 --episodes 6 --steps 6 --check-every 3 --batch-episodes 4 --workers 1"
    small = "--gate-episodes 2 --check-episodes 1 --report-episodes 1 --scenario obstacle_left reach_goal"
    arguments = [sys.executable, "-m", "vla_sim.dagger", *command.split(), *small.split(), "--out", str(out)]
    rng, kills, code = np.random.default_rng(0), 0, None
    for _ in range(12):
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            code = process.wait(timeout=float(rng.uniform(4, 12)))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.1)
    if code is None:
        code = subprocess.run(arguments, stdout=subprocess.DEVNULL, timeout=200, check=False).returncode
    assert code == 0
    assert kills > 0
    for path in out.rglob("*.json"):
        json.loads(path.read_text("utf-8"))
    assert not list(out.rglob("*.part"))
    report = json.loads((out / "report.json").read_text("utf-8"))
    assert [entry["round"] for entry in report["rounds"]] == ["round_01", "round_02"]
    accepted = [entry["round"] for entry in report["rounds"] if entry["accepted"]]
    assert report["last_accepted"] == (accepted or ["round_00"])[-1]
    assert (out / "policy" / "clip_lstm" / "config.json").exists()
