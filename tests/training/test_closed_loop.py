import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from loop_fakes import CONFIG, SUITE, successes, tiny_trainer, toy

from vla_sim.core.errors import UserError
from vla_sim.policies.registry import load_policy
from vla_sim.training import closed_loop
from vla_sim.training.batches import Sampler
from vla_sim.training.closed_loop import FitPlan, ValidationSuite, by_scenario, fit

WEIGHTS = "clip_small/model.safetensors"


@pytest.fixture
def pretend(monkeypatch):
    """Success in the closed loop by the number of the look, without driving."""

    def with_counts(*counts):
        seen = []

        def drive(self, policy, out, *, workers=1):
            load_policy(str(policy))
            seen.append(policy)
            return successes(counts[int(policy.parent.parent.name) // 3 - 1], self)

        monkeypatch.setattr(ValidationSuite, "drive", drive)
        return seen

    return with_counts


def plan(**changes):
    return FitPlan(**{"steps": 12, "check_every": 3, "patience": 0, "suite": SUITE, **changes})


def test_the_state_that_drives_best_is_kept_and_not_the_last(pretend, tmp_path):
    pretend(1, 6, 2, 3)
    trainer = tiny_trainer(tmp_path)
    folder = fit(trainer, plan(), validation=[toy(seed=5)])
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["best_step"] == 6
    assert [look["successes"] for look in best["looks"]] == [1, 6, 2, 3]
    assert all(look["losses"]["loss_clip_lstm"] > 0 for look in best["looks"])
    half = tiny_trainer(tmp_path / "half")
    half.run("fit", steps=12, until=6, decay=True)
    half.export(tmp_path / "expected")
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / "expected" / WEIGHTS).read_bytes()


def test_training_stops_when_the_closed_loop_gets_no_better(pretend, tmp_path):
    seen = pretend(1, 6, 6, 3)
    trainer = tiny_trainer(tmp_path)
    fit(trainer, plan(patience=1))
    assert len(seen) == 3
    assert trainer.step == 9


def test_the_loss_does_not_decide(pretend, tmp_path):
    pretend(8, 0, 0, 0)
    trainer = tiny_trainer(tmp_path)
    fit(trainer, plan(), validation=[toy()])
    best = json.loads((tmp_path / "best.json").read_text())
    losses = [look["losses"]["loss_clip_lstm"] for look in best["looks"]]
    assert best["best_step"] == 3
    assert losses[0] != min(losses)


class Killed(BaseException):
    pass


@pytest.mark.slow
def test_killed_at_any_file_it_goes_on_to_the_same_result(pretend, tmp_path, monkeypatch):
    pretend(1, 6, 2, 3)
    fit(tiny_trainer(tmp_path / "whole"), plan())
    expected = (tmp_path / "whole" / "policy" / WEIGHTS).read_bytes()
    write_whole, rmtree = closed_loop.write_whole, shutil.rmtree
    kills, out = 0, tmp_path / "killed"
    for place in range(1, 40):
        left = place

        def sometimes(action):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left == 0:
                    raise Killed
                return action(*args, **kwargs)

            return call

        with monkeypatch.context() as patched:
            patched.setattr(closed_loop, "write_whole", sometimes(write_whole))
            patched.setattr(closed_loop, "shutil", SimpleNamespace(rmtree=sometimes(rmtree), copytree=shutil.copytree))
            try:
                fit(tiny_trainer(out), plan())
                break
            except Killed:
                kills += 1
        assert (out / "policy").exists() <= (out / "checks" / "000012.json").exists()
        if place % 3 == 0:
            fit(tiny_trainer(out), plan())
            assert (out / "policy" / WEIGHTS).read_bytes() == expected
            rmtree(out)
    assert kills >= 8
    assert (out / "policy" / WEIGHTS).read_bytes() == expected


def test_a_finished_training_does_nothing_more(pretend, tmp_path):
    seen = pretend(1, 6, 2, 3)
    fit(tiny_trainer(tmp_path), plan())
    seen.clear()
    trainer = tiny_trainer(tmp_path)
    fit(trainer, plan())
    assert trainer.step == 0
    assert seen == []


def test_pausing_does_not_change_what_is_learned(tmp_path):
    paused, straight = tiny_trainer(tmp_path / "paused"), tiny_trainer(tmp_path / "straight")
    for until in (2, 5, 6):
        paused.run("fit", steps=6, until=until, decay=True)
    straight.run("fit", steps=6, decay=True)
    for one, other in zip(paused.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_groups_are_drawn_by_their_weights():
    sampler = Sampler(CONFIG, {"real": 3.0, "synthetic": 1.0})
    sampler.add(toy(episodes=2, group="real"))
    sampler.add(toy(episodes=30, group="synthetic", seed=1))
    rng = np.random.default_rng(0)
    real = sum(sampler._any(rng)[0].groups[0] == "real" for _ in range(2000))
    assert 0.71 < real / 2000 < 0.79


def test_without_weights_batches_are_what_they_always_were():
    sampler, rng, twin = Sampler(CONFIG), np.random.default_rng(3), np.random.default_rng(3)
    sampler.add(toy(group="a"))
    sampler.add(toy(group="b", seed=1))
    for _ in range(20):
        part, episode = sampler._any(rng)
        assert part.groups[0] == "ab"[twin.integers(2)]
        assert episode == twin.integers(8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"check_every": 0}, "check-every must be at least 1"),
        ({"patience": -1}, "patience must not be negative"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        plan(**changes)


def test_the_last_look_is_at_the_end_even_if_the_steps_do_not_divide():
    assert plan(steps=10, check_every=4).checks == [4, 8, 10]
    assert plan(steps=3, check_every=9).checks == [3]


def test_success_by_scenario():
    assert by_scenario(successes(6)) == {"obstacle_left": 1.0, "obstacle_right": 0.5}


def test_a_run_that_goes_on_keeps_its_curves(pretend, tmp_path, monkeypatch):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    seen = pretend(1, 6, 2, 3)
    fails = []

    def info(line):
        if len(seen) >= 2 and not fails:
            fails.append(line)
            raise ZeroDivisionError

    monkeypatch.setattr(closed_loop.log, "info", info)
    with pytest.raises(ZeroDivisionError):
        fit(tiny_trainer(tmp_path), plan())
    fit(tiny_trainer(tmp_path), plan())
    found = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in found.Scalars("train/loss_clip_lstm")] == [3, 6, 9, 12]


def test_curves_can_be_read_back_by_tensorboard(pretend, tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    pretend(1, 6, 2, 3)
    fit(tiny_trainer(tmp_path), plan(), validation=[toy(seed=5)])
    found = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in found.Scalars("closed_loop/success")] == [
        (3, 1 / 8),
        (6, 6 / 8),
        (9, 2 / 8),
        (12, 3 / 8),
    ]
    assert {"train/loss_clip_lstm", "validation/loss_clip_lstm", "closed_loop/obstacle_left"} <= set(
        found.Tags()["scalars"]
    )


@pytest.mark.slow
def test_a_policy_drives_the_worlds_of_an_exam_and_again_from_its_files(tmp_path):
    suite = ValidationSuite(("reach_goal",), range(96_000, 96_003))
    driven = suite.drive("expert", tmp_path)
    assert driven == {("reach_goal", seed): True for seed in suite.seeds}
    before = (tmp_path / "episodes.jsonl").read_bytes()
    assert suite.drive("expert", tmp_path) == driven
    assert (tmp_path / "episodes.jsonl").read_bytes() == before


def test_a_folder_of_another_validation_is_refused_and_stays(tmp_path, monkeypatch):
    """It was deleted."""
    from vla_sim.evaluation import runner

    suite = ValidationSuite(("reach_goal",), range(96_000, 96_001))
    driven = []

    def evaluate(plan, out, *, workers):
        out.mkdir(exist_ok=True)
        runner._bind(plan, out)
        driven.append(plan)
        return runner.Result([], {}, True)

    monkeypatch.setattr(runner, "evaluate", evaluate)
    suite.drive(tmp_path / "here" / "clip_lstm", tmp_path / "out")
    (tmp_path / "out" / "mine.txt").write_text("kept")
    (tmp_path / "here" / "clip_lstm").mkdir(parents=True)
    others = [
        (replace(suite, scenarios=("obstacle_left",)), tmp_path / "here" / "clip_lstm", "scenarios"),
        (replace(suite, seeds=range(96_001, 96_002)), tmp_path / "here" / "clip_lstm", "seed"),
        (suite, tmp_path / "here" / "clip_mlp", "policies"),
        (suite, tmp_path / "there" / "clip_lstm", "policies"),
    ]
    for other, policy, differs in others:
        with pytest.raises(UserError, match=rf"belongs to another plan: {differs}"):
            other.drive(policy, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").exists()
    assert len(driven) == 1
    (tmp_path / "here").rename(tmp_path / "there")  # the whole training was moved: its own checks are driven again
    suite.drive(tmp_path / "there" / "clip_lstm", tmp_path / "out")
    assert len(driven) == 2
    assert not (tmp_path / "out" / "mine.txt").exists()
    suite.drive("expert", tmp_path / "named")
    (tmp_path / "named" / "mine.txt").write_text("kept")
    suite.drive("expert", tmp_path / "named")  # a name is no folder, and has not moved
    assert (tmp_path / "named" / "mine.txt").exists()
