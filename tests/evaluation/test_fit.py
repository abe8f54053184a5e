"""Fitting of drives to worlds: the same motion and the same judgement as the simulator's, and ranges that hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.types import Look, Outcome, Pose2, Scene, SuccessRule, Task
from vla_sim.envs.simulation import Simulation, checked_action
from vla_sim.evaluation.fitting.ranges import GOOD_SHARE, box, fit
from vla_sim.evaluation.fitting.sequences import HEADINGS, KEYS, of_keys, of_recordings, steps_of
from vla_sim.evaluation.fitting.worlds import judge, path_of, worlds_of
from vla_sim.fit import main
from vla_sim.scenarios import load_scenario

BASKET = "F4 L1 FL3 F2 FR3 R1 F3"
SERBOT = load_embodiment("serbot")


@pytest.mark.parametrize(
    ("keys", "same"),
    [
        ("W3 A Q2", "WWWAQQ"),
        ("w w w a q q", "WWWAQQ"),
        ("WWWAQ2", "WWWAQQ"),
        ("F3 L FL2", "WWWAQQ"),
        ("SPACE W", "STOP F"),
        ("R", "R1"),
    ],
)
def test_both_notations_mean_the_same_moves(keys, same):
    assert steps_of(keys) == steps_of(same)


@given(st.lists(st.tuples(st.sampled_from(sorted(KEYS)), st.integers(1, 30)), min_size=1, max_size=12))
def test_counts_repeat_what_they_follow(tokens):
    written = " ".join(f"{name}{times}" for name, times in tokens)
    assert steps_of(written) == [KEYS[name] for name, times in tokens for _ in range(times)]


@given(st.lists(st.sampled_from(sorted(HEADINGS)), max_size=12))
def test_headings_are_known_by_their_letters(names):
    assert steps_of(" ".join(["F", *names])) == [HEADINGS[name] for name in ["F", *names]]


@pytest.mark.parametrize(("keys", "words"), [("", "W3 A Q8"), ("W3;A", "W3 A Q8"), ("F3 X", "'X'"), ("WWXW", "'X'")])
def test_what_is_no_key_is_said(keys, words):
    with pytest.raises(UserError, match=words):
        steps_of(keys)


def test_a_robot_that_cannot_move_so_is_refused():
    with pytest.raises(UserError, match="diffbot has no vy"):
        of_keys("W A", load_embodiment("diffbot"), "obstacle_left")


def empty(seed=0):
    task = Task(refuse=True, time_limit_s=100.0, give_up_s=99.0)
    room = (-50.0, 50.0, -50.0, 50.0)
    from vla_sim.core.types import Instruction

    return Scene("empty", seed, Pose2(0.0, 0.0), (), room, task, Look(), Instruction("stand"))


@pytest.mark.parametrize("embodiment", embodiment_names())
def test_a_path_is_where_the_simulator_drives(embodiment):
    robot = load_embodiment(embodiment)
    actions = np.random.default_rng(5).uniform(-1, 1, (9, len(robot.action_names)))
    simulation = Simulation(robot)
    simulation.start(empty())
    for action in actions:
        simulation.advance(checked_action(action, robot))
    bounded = np.stack([checked_action(action, robot) for action in actions])
    assert path_of(bounded, robot)[-1] == pytest.approx([simulation.pose.x_m, simulation.pose.y_m], abs=1e-9)
    simulation.close()


@pytest.mark.parametrize("rule", SuccessRule)
@pytest.mark.parametrize("scenario", ["basket_core_left", "bottle_2box_right", "1box_hori_left", "choose_goal"])
def test_worlds_are_judged_as_the_simulator_does(scenario, rule):
    drive = of_keys("F2 L1 FL2 F3 FR3 R1 F3" if "left" in scenario else "F2 R1 FR2 F3 FL3 L1 F3", SERBOT, scenario)
    # In one of the next ten worlds the robot ends 0.6 mm beside the goal, which physics counts as a touch.
    scenes = [load_scenario(scenario).sample(seed) for seed in range(35)]
    scenes = [replace(scene, task=replace(scene.task, success=rule)) for scene in scenes]
    stop = [np.zeros(2)] * scenes[0].task.stop_steps if rule is SuccessRule.STOPPED else []
    found = judge(worlds_of(scenes), path_of(drive.actions, SERBOT), SERBOT.body.radius_m)
    simulation = Simulation(SERBOT)
    for scene, success in zip(scenes, found.success, strict=True):
        simulation.start(scene)
        for action in [*drive.actions, *stop]:
            if simulation.outcome is None:
                simulation.advance(action)
        assert (simulation.outcome is Outcome.SUCCESS) == success
    simulation.close()


@given(st.integers(0, 1000))
def test_worlds_in_the_ranges_that_are_found_succeed(seed):
    rng = np.random.default_rng(seed)
    values = {"a": rng.uniform(0, 1, 4000), "b": rng.uniform(0, 1, 4000)}
    low, high = np.sort(rng.uniform(0, 1, (2, 2)), axis=0)
    low, high = low * 0.7, np.minimum(1.0, high + 0.2)
    success = np.all([(values[n] >= low[i]) & (values[n] <= high[i]) for i, n in enumerate("ab")], axis=0)
    ranges, share = box(values, success)
    assert share >= GOOD_SHARE
    for i, name in enumerate("ab"):
        assert ranges[name][0] >= low[i] - 0.06
        assert ranges[name][1] <= high[i] + 0.06


def test_where_nothing_succeeds_no_range_is_told():
    assert box({"a": np.arange(10.0)}, np.zeros(10, dtype=bool)) == ({}, 0.0)


def test_the_basket_keys_fit_their_scenario_and_not_with_another_speed():
    drive = of_keys(BASKET, SERBOT, "basket_core_left")
    right, fast = (fit(drive, SERBOT, speed, count=3000, seed=0) for speed in (0.5, 0.9))
    assert right.share_as_is == 1.0
    assert right.outside == ()
    assert fast.share_as_is < 0.2
    assert "goal_ahead_m" in fast.outside or "obstacle_ahead_m" in fast.outside
    assert fit(drive, SERBOT, 0.5, count=500, seed=0, success=SuccessRule.STOPPED).share_as_is == 0.0


def test_equal_recordings_count_as_one_drive():
    one, two = np.zeros((3, 2)), np.ones((3, 2))
    drives = of_recordings([("a", one), ("b", two), ("c", two + 1e-7)], "obstacle_left")
    assert [(drive.name, drive.count) for drive in drives] == [("b", 2), ("a", 1)]


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_the_command_writes_the_same_files_for_the_same_seed(tmp_path, capsys):
    for name in ("one", "two"):
        out = tmp_path / name
        assert run("--sequence", BASKET, "--scenario", "basket_core_left", "--worlds", 3000, "--out", out) == 0
    assert "succeeds as it is" in capsys.readouterr().out
    for file in ("fit.md", "fit.json", "fit.svg"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    (found,) = json.loads((tmp_path / "one" / "fit.json").read_text())
    assert found["share_as_is"] == 1.0
    assert set(found["ranges"]) == set(found["as_is"])


def test_a_file_of_sequences_names_its_scenarios(tmp_path, capsys):
    path = tmp_path / "keys.toml"
    path.write_text(f'[basket]\nkeys = "{BASKET}"\nscenario = "basket_core_left"\n[other]\nkeys = "W3"\n')
    assert run("--sequence", path, "--worlds", 200) == 2
    assert "other.scenario is missing" in capsys.readouterr().err
    assert run("--sequence", path, "--worlds", 200, "--scenario", "reach_goal") == 0
    assert capsys.readouterr().out.count("| reach_goal |") == 2


def test_recordings_are_fitted_by_their_actions(tmp_path, capsys):
    from vla_sim.collect import main as collect

    words = ["--scenario", "reach_goal", "--episodes", "2", "--image-px", "32", "32", "--workers", "1"]
    assert collect([*words, "--out", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    assert run("--data", tmp_path / "set", "--scenario", "reach_goal", "--worlds", 300) == 0
    assert capsys.readouterr().out.count("| reach_goal |") == 2
    assert run("--data", tmp_path / "set", "--scenario", "reach_goal", "--embodiment", "lekiwi") == 2
    assert "lekiwi takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "either --sequence or --data"),
        (("--sequence", "W"), "--scenario"),
        (("--sequence", "W", "--scenario", "obstacle_lft"), "obstacle_left"),
        (("--sequence", "none.toml"), "none.toml"),
        (("--sequence", "W", "--scenario", "reach_goal", "--speed", "0"), "--speed"),
    ],
)
def test_what_cannot_be_fitted_is_said_in_one_sentence(arguments, words, capsys):
    assert run(*arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in said
