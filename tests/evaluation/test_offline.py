"""The offline half of the benchmark: what policies are shown, what is kept, and the figures made of it."""

import math

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.evaluation import open_loop as offline
from vla_sim.evaluation.benchmark.scores import (
    constant_guess,
    copy_last_guess,
    errors_of,
    heading_matches,
    offline_score,
    planar,
    policy_score,
)
from vla_sim.evaluation.open_loop import ExpertEpisode, OfflineBench, run_expert, stored_episodes, units_of
from vla_sim.evaluation.runner import evaluate
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.rollout.plan import NUM_ENVS, Plan
from vla_sim.scenarios import load_scenario

FIRST = 100_000


class Notebook(Policy):
    """Tells what it is shown: vx the steps since its reset, vy the length of its instruction."""

    spec = PolicySpec(action_names=("vx", "vy"))

    def reset(self, reset_mask, seeds):
        self.steps = np.where(reset_mask, 0, getattr(self, "steps", np.zeros(len(reset_mask))))

    def act(self, observation, infos=None):
        assert infos is None
        assert observation["image"].shape == (len(self.steps), 224, 224, 3)
        answer = np.stack([self.steps, [len(text) for text in observation["instruction"]]], axis=1)
        self.steps = self.steps + 1
        return answer


def plan(episodes=2, scenarios=("obstacle_left",)):
    return Plan(("hold",), tuple(scenarios), ("",) * len(scenarios), episodes, FIRST, "serbot")


def asked(policies, episodes=2):
    bench = OfflineBench(plan(episodes), policies)
    try:
        return bench.drive("obstacle_left", range(FIRST, FIRST + episodes))
    finally:
        bench.close()


@pytest.fixture(scope="module")
def drives():
    """More episodes than envs, so that envs are used twice."""
    return asked(["expert", "hold", "test_offline:Notebook", "bad_policies:Raises"], NUM_ENVS + 2)


def drive_of(labels, *, seed=FIRST, names=("vx", "vy"), **actions):
    arrays = {name: np.array(rows, dtype=float) for name, rows in actions.items()}
    return ExpertEpisode(
        "obstacle_left", "s", seed, "success", names, np.array(labels, float), arrays, {}, {"expert": "e"}
    )


def test_the_expert_has_no_error_against_itself(drives):
    score = policy_score("expert", drives)
    for errors in (score.every_step, score.without_first):
        assert errors.mae_mps == 0.0
        assert set(errors.mae_by_axis.values()) == {0.0}
        assert (errors.heading_accuracy, errors.direction_accuracy) == (1.0, 1.0)


def test_the_reference_is_the_experts_closed_loop_drive(drives, tmp_path):
    driven = evaluate(
        Plan(("expert",), ("obstacle_left",), ("",), len(drives), FIRST, "serbot"), tmp_path, workers=1
    ).records
    for drive, record in zip(drives, driven, strict=True):
        assert (drive.seed, drive.outcome) == (record.seed, record.outcome.value)
        assert len(drive.labels) == record.steps
        np.testing.assert_allclose(drive.labels, record.actions, atol=1e-6)


def test_a_policy_sees_each_drive_from_its_first_step_with_its_own_memory_and_instruction(drives):
    scenario = load_scenario("obstacle_left")
    for drive in drives:
        answers = drive.actions["test_offline:Notebook"]
        np.testing.assert_array_equal(answers[:, 0], np.arange(len(drive.labels)))
        text = scenario.sample(drive.seed, split="eval", robot_radius_m=0.15).instruction.text
        assert set(answers[:, 1]) == {len(text)}


def test_a_policy_that_raises_has_no_figures_and_costs_the_others_none(drives):
    assert "my network exploded" in policy_score("bad_policies:Raises", drives)
    alone = asked(["hold"])
    np.testing.assert_array_equal(alone[0].labels, drives[0].labels)
    np.testing.assert_array_equal(alone[0].actions["hold"], drives[0].actions["hold"])


@pytest.mark.parametrize(("policy", "reason"), [("GivesNan", "finite"), ("WrongShape", "shape")])
def test_actions_that_are_none_are_said(policy, reason):
    assert reason in policy_score(f"bad_policies:{policy}", asked([f"bad_policies:{policy}"]))


def test_a_policy_for_another_robot_is_refused():
    with pytest.raises(UserError, match="wz"):
        OfflineBench(plan(), ["bad_policies:WantsTurns"])


def test_standing_still_is_wrong_by_the_size_of_the_experts_actions(drives):
    labels = np.concatenate([drive.labels for drive in drives])
    assert policy_score("hold", drives).every_step.mae_mps == pytest.approx(np.abs(labels).mean())


# --- figures ------------------------------------------------------------------------------------------------------


def test_the_constant_baseline_is_the_hand_computed_one():
    # Mean action (0.3, 0.1): |vx| errors 0.2, 0.1, 0.3 and |vy| errors 0.1, 0.1, 0.2; the mean of the six is 1/6.
    two = [drive_of([[0.5, 0.0], [0.4, 0.0]]), drive_of([[0.0, 0.3]])]
    score = offline_score(constant_guess(two), two)
    assert score.every_step.mae_mps == pytest.approx(1 / 6)
    assert score.every_step.mae_by_axis == pytest.approx({"vx": 0.2, "vy": 0.4 / 3})
    assert (score.every_step.steps, score.without_first.steps) == (3, 1)
    assert score.without_first.mae_mps == pytest.approx(0.1)


def test_copy_last_gives_the_action_before_and_starts_each_drive_at_zero():
    two = [drive_of([[0.5, 0.0], [0.4, 0.1]]), drive_of([[0.2, 0.3], [0.2, 0.3]])]
    first, second = copy_last_guess(two)
    assert first.tolist() == [[0.0, 0.0], [0.5, 0.0]]
    assert second.tolist() == [[0.0, 0.0], [0.2, 0.3]]


def test_turning_has_an_axis_of_its_own_and_no_part_in_metres_per_second():
    errors = errors_of([np.array([[0.1, 2.0]])], [np.array([[0.5, 0.0]])], ("vx", "wz"))
    assert errors.mae_mps == pytest.approx(0.4)
    assert errors.rmse_mps == pytest.approx(0.4)
    assert errors.mae_by_axis == pytest.approx({"vx": 0.4, "wz": 2.0})
    assert errors.mae_interval_mps is None, "one drive says nothing about others"
    assert planar(np.array([[0.1, 2.0]]), ("vx", "wz")).tolist() == [[0.1, 0.0]]


def moves(*headings_deg, speed=0.5):
    return np.array([[speed * math.cos(math.radians(h)), speed * math.sin(math.radians(h))] for h in headings_deg])


@pytest.mark.parametrize(
    ("one", "other", "match"),
    [(0, 0, True), (0, 22.5, True), (0, 23, False), (10, -12, True), (179, -179, True), (90, -90, False)],
)
def test_headings_match_within_the_stated_tolerance(one, other, match):
    assert heading_matches(moves(one), moves(other)).tolist() == [match]
    assert heading_matches(moves(other), moves(one)).tolist() == [match]


def test_standing_matches_standing_and_nothing_else():
    still, creeping, moving = np.zeros((1, 2)), np.array([[0.1, -0.1]]), moves(0)
    assert heading_matches(still, creeping).all()
    assert not heading_matches(still, moving).any()
    assert not heading_matches(moving, creeping).any()


def test_a_drive_of_one_step_has_no_figures_without_its_first():
    assert offline_score([np.zeros((1, 2))], [drive_of([[0.5, 0.0]])]).without_first is None


# --- the file -----------------------------------------------------------------------------------------------------


def test_a_drive_is_read_as_it_was_written(drives):
    again = ExpertEpisode.from_json(drives[0].to_json())
    assert again.to_json() == drives[0].to_json()
    np.testing.assert_array_equal(again.labels, drives[0].labels)


@pytest.mark.parametrize("line", ["", "{", "[]", '{"format": 2}', '{"format": 1, "scenario": "x"}'])
def test_any_other_line_is_refused(line):
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own words or ours)
        ExpertEpisode.from_json(line)


def test_numbers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="shape"):
        drive_of([[0.5, 0.0]], hold=[[0.0]])
    with pytest.raises(ValueError, match="at least one step"):
        drive_of(np.zeros((0, 2)))


def test_a_cut_file_is_completed_to_what_it_would_have_been(tmp_path, monkeypatch):
    path, wanted = tmp_path / "offline.jsonl", plan(episodes=3)
    run_expert(wanted, ["hold"], path, workers=1)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert 0 < len(stored_episodes(wanted, ["hold"], path)) < 3
    run_expert(wanted, ["hold"], path, workers=1)
    assert path.read_bytes() == whole
    monkeypatch.setattr(offline, "_driven", lambda plan, policies, units, workers: iter(units and [1 / 0]))
    assert len(run_expert(wanted, ["hold"], path)) == 3, "a whole file is not driven again"
    assert stored_episodes(wanted, ["random"], path) == [], "answers of other policies are no answers"


def test_answers_do_not_depend_on_the_number_of_workers(tmp_path):
    wanted = plan(episodes=2, scenarios=("obstacle_left", "reach_goal", "choose_goal"))
    for workers in (1, 2):
        run_expert(wanted, ["clip_lstm", "random"], tmp_path / f"{workers}.jsonl", workers=workers)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("bad_policies:Dies", "died"),
        ("wild_policies:CannotStart", "no such weights"),
        ("wild_policies:PatchesTheJudge", "it changes the simulation"),
    ],
)
def test_what_a_policy_does_to_its_process_is_its_own_failure(tmp_path, policy, reason):
    alone = run_expert(plan(episodes=2), ["clip_mlp"], tmp_path / "alone.jsonl")
    drives = run_expert(plan(episodes=2), ["clip_mlp", policy], tmp_path / "both.jsonl", workers=2)
    for one, both in zip(alone, drives, strict=True):
        assert np.array_equal(one.labels, both.labels)
        assert np.array_equal(one.actions["clip_mlp"], both.actions["clip_mlp"])
        assert set(both.failures) == {policy}
        assert reason in both.failures[policy]


def test_every_world_of_the_plan_is_in_exactly_one_unit():
    units = units_of(plan(episodes=150, scenarios=("obstacle_left", "reach_goal")))
    worlds = [(scenario, seed) for scenario, seeds in units for seed in seeds]
    assert worlds == [(s, FIRST + i) for s in ("obstacle_left", "reach_goal") for i in range(150)]


def test_root_mean_square_error_weighs_large_errors_more():
    errors = errors_of([np.array([[0.3, 0.0], [0.0, 0.0]])], [np.array([[0.0, 0.1], [0.0, 0.0]])], ("vx", "vy"))
    assert errors.mae_mps == pytest.approx(0.1)
    assert errors.rmse_mps == pytest.approx(math.sqrt((0.09 + 0.01) / 4))
