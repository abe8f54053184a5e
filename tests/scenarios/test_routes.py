"""Tasks of several legs: judged in order, planned and measured through all of them."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.legs import at_leg, next_target, targets
from vla_sim.core.planner import Planner
from vla_sim.core.types import Body, Instruction, Kind, Leg, Look, Outcome, Pose2, Role, Scene, SuccessRule, Task
from vla_sim.envs.judge import Judge, Situation
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.evaluation.api import evaluate
from vla_sim.evaluation.reporting.map import Map
from vla_sim.scenarios import load_scenario, load_suite, opposite
from vla_sim.scenarios.languages import language_codes, load_language, sentences_hash

NAMES = [scenario.name for scenario in load_suite("route")]
DOORS = ["through_then_choose", "past_then_through_left", "past_then_through_right"]
RADIUS_M = 0.15


def cup(name, x_m, y_m, role=Role.DISTRACTOR):
    return Body(name, Kind.CUP, role, (0.2, 0.2, 0.3), x_m, y_m)


def scene(*bodies, legs, **task):
    asked = Task(success=SuccessRule.STOPPED, legs=tuple(legs), time_limit_s=60, **task)
    return Scene("s", 0, Pose2(0, 0), bodies, (-2, 6, -3, 3), asked, Look(), Instruction(""))


def two():
    return scene(cup("a", 2.0, 1.0, Role.GOAL), cup("b", 2.0, -1.0), cup("c", 3.5, 0.0), legs=[Leg("a"), Leg("b")])


def driven(judge, points, *, stop=True):
    """The outcome after going through these points, and at the last one standing still."""
    before, time_s, outcome = Pose2(0, 0), 0.0, None
    for x, y in points:
        time_s += 0.01
        outcome = judge.outcome(Situation(before, Pose2(x, y), False, False, time_s))
        before = Pose2(x, y)
        if outcome:
            return outcome
    for _ in range(2 if stop else 0):
        time_s += 0.4
        outcome = judge.outcome(Situation(before, before, False, True, time_s))
    return outcome


@pytest.mark.parametrize(
    ("points", "outcome", "done"),
    [
        ([(2.0, 0.7), (2.0, -0.7)], Outcome.SUCCESS, 2),
        ([(2.0, -0.7)], Outcome.WRONG_GOAL, 0),  # the second one first
        ([(2.0, 0.7)], None, 1),  # only the first: it goes on
        ([(2.0, 0.7), (3.2, 0.0)], Outcome.WRONG_GOAL, 1),
        ([(2.0, -0.7), (2.0, 0.7), (2.0, -0.7)], Outcome.SUCCESS, 2),  # past the second one without stopping
    ],
)
def test_legs_are_judged_in_order(points, outcome, done):
    judge = Judge(two(), RADIUS_M, 0.4)
    assert driven(judge, points) is outcome
    assert judge.legs_done == done


def test_the_scene_of_a_leg_has_its_goal_and_what_was_reached_is_in_the_way():
    first = two()
    second = next_target(first)
    roles = {body.name: body.role for body in second.bodies}
    assert roles == {"a": Role.FURNITURE, "b": Role.GOAL, "c": Role.DISTRACTOR}
    assert next_target(second) is None
    assert at_leg(second, 0) == first
    assert [body.name for body in targets(first)] == ["a", "b"]


@pytest.mark.parametrize("name", [*NAMES, *DOORS])
def test_paths_lead_through_all_legs_and_have_the_length_that_is_said(name):
    for seed in range(12):
        world = load_scenario(name).sample(seed)
        planner = Planner(world, RADIUS_M)
        path = planner.path(0.0, 0.0)
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        # The path goes on to half the reach of the last goal.
        assert planner.distance(0.0, 0.0) - 1e-6 <= length <= planner.distance(0.0, 0.0) + world.task.reach_m
        judge = Judge(world, RADIUS_M, 0.4)
        steps = np.concatenate([np.linspace(a, b, 40) for a, b in itertools.pairwise(path)])
        assert driven(judge, steps.tolist()) is Outcome.SUCCESS
        assert judge.legs_done == len(world.task.legs)


def test_a_path_through_two_goals_is_no_longer_than_by_hand():
    """Around a square: the shortest way touches the first reach where that saves way to the second."""
    world = replace(two(), bodies=two().bodies[:2])
    reach = 0.1 + 0.3 + RADIUS_M
    best = min(
        math.dist((0, 0), touch) + math.dist(touch, (2.0, -1.0)) - reach
        for touch in ((2 + reach * math.cos(a), 1 + reach * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 400))
    )
    assert best - 1e-6 <= Planner(world, RADIUS_M).distance(0.0, 0.0) <= best + 0.12


@pytest.mark.parametrize("name", [*NAMES, *DOORS])
@pytest.mark.parametrize("language", language_codes())
def test_sentences_name_the_legs_in_order(name, language):
    words, scenario = load_language(language).words, load_scenario(name)
    said = 0
    for seed in range(15):
        world = scenario.sample(seed, language=language)
        text = world.instruction.text.lower()
        places = []
        for body in targets(world):
            noun = words[body.kind.value][0]
            places.append(text.find((noun if isinstance(noun, str) else noun["text"]).lower()))
        if all(place >= 0 for place in places):
            said += 1
            assert places == sorted(places), text
        assert "{" not in text
        assert world.instruction.text[0].isupper() or language == "ko"
    assert said


@pytest.mark.parametrize("name", [*NAMES, *DOORS])
def test_training_and_evaluation_have_parts_of_their_own(name):
    scenario = load_scenario(name)
    train, held_out = (set(scenario.instructions(split)) for split in ("train", "eval"))
    assert train
    assert held_out
    assert not train & held_out


def test_seldom_does_a_seed_speak_one_language_in_the_whole_suite():
    """With shares of 0.7 and 0.3 and three families, one of ten seeds at least has no Korean."""
    for first in (0, 100_000):
        spoken = [{load_scenario(name).sample(first + i).instruction.language for name in NAMES} for i in range(10)]
        assert sum(len(languages) == 1 for languages in spoken) == 1


def test_twins_differ_in_the_side():
    left, right = (load_scenario(f"route_three_{side}").sample(4) for side in ("left", "right"))
    assert opposite(left) == right


def test_expert_drives_them_and_straight_does_not():
    found = evaluate(["expert", "straight"], scenario=NAMES, episodes=4, floors=False)
    assert found.success_rate("expert") == 1.0
    rows = [row for row in found.summary["results"] if row["policy"] == "expert"]
    assert {row["legs_done"] for row in rows} == {1.0}
    assert found.success_rate("straight") < 0.5
    for result in found.results:
        assert 0 <= result.extra["legs_done"] <= result.extra["legs"]
        if result.policy == "expert":
            assert result.path_length_m > 0.9 * result.expert_path_length_m
            assert result.final_distance_m == 0.0


def test_another_goal_is_no_setback_for_a_learner():
    env = NavigateEnv("route_two_goals", renderer="tiny")
    env.reset(options={"scene": two()})
    rewards = []
    for _ in range(40):
        heading = math.atan2(1.0, 2.0) if env.simulation.leg == 0 else -math.pi / 2
        action = np.array([0.5 * math.cos(heading), 0.5 * math.sin(heading)], dtype=np.float32)
        rewards.append(env.step(action)[1])
        if env.simulation.outcome or env.simulation.leg:
            break
    env.close()
    assert env.simulation.leg == 1
    assert min(rewards) > -0.5


def test_the_map_rings_every_goal():
    world = two()
    record = evaluate("hold", scenario="route_two_goals", episodes=1, floors=False).results[0]
    drawn = Map(world, record, np.array(record.path), RADIUS_M, (400, 400))
    assert [drawn._title(number) for number in (1, 2)] == ["goal 1", "goal 2"]


HEAD = """format = 1
[task]
side = "left"
[objects.box]
role = "obstacle"
kind = "box"
ahead_m = 1.2
[objects.a]
role = "candidate"
kind = "cup"
ahead_m = 2.8
aside_m = 0.6
[objects.b]
role = "candidate"
kind = "pot"
ahead_m = 2.8
aside_m = -0.6
[walls.inner]
from_m = [2, -2.5]
to_m = [2, 2.5]
door_at_m = 2.5
[walls.other]
from_m = [4, -2.5]
to_m = [4, 2.5]
door_at_m = 2.5
[walls.solid]
from_m = [5, -2.5]
to_m = [5, 2.5]
"""


@pytest.mark.parametrize(
    ("legs", "said"),
    [
        ('{ to = "aa" }', "legs names 'aa', which is no candidate; did you mean 'a'"),
        ('{ past = "a" }, { to = "b" }', "legs names 'a', which is no obstacle"),
        ('{ to = "a" }, { past = "box" }', "must end with something to go to"),
        ('{ to = "a" }, { to = "a" }', "must name each object once"),
        ('{ to = "a", past = "box" }', "one of to, past and through"),
        (
            '{ through = "inne" }, { to = "a" }',
            "legs names 'inne', which is no wall with a doorway; did you mean 'inner'",
        ),
        ('{ through = "solid" }, { to = "a" }', "legs names 'solid', which is no wall with a doorway"),
        ('{ through = "inner" }, { to = "a" }', "must be gone through, but not other"),
        ('{ through = "inner" }', "must end with something to go to"),
        ('{ too = "a" }', "did you mean 'to'"),
    ],
)
def test_wrong_legs_are_refused(tmp_path, legs, said):
    path = tmp_path / "mine.toml"
    path.write_text(HEAD.replace("format = 1\n", f"format = 1\nlegs = [{legs}]\n"), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)):
        load_scenario(path)


@pytest.mark.parametrize("language", language_codes())
def test_a_doorway_is_said_between_what_comes_before_and_after(language):
    scenario, parts = load_scenario("past_then_through_left"), load_language(language).table["route"]["train"]
    for seed in range(6):
        text = scenario.sample(seed, language=language).instruction.text.lower()
        assert sum(part.lower() in text for part in parts["through"]) == 1, text
        box = min(i for i in (text.find(word) for word in BEFORE[language]) if i >= 0)
        assert box < min(text.find(part.lower()) for part in parts["through"] if part.lower() in text)


BEFORE = {
    "en": ("box", "obstacle"),
    "ko": ("상자", "장애물", "박스"),
    "de": ("kiste", "karton", "hindernis"),
}


def test_twins_with_a_doorway_differ_in_the_side():
    left, right = (load_scenario(f"past_then_through_{side}").sample(4) for side in ("left", "right"))
    assert opposite(left) == right


def test_what_is_not_behind_the_doorway_is_not_told_to_be(tmp_path):
    path = tmp_path / "mine.toml"
    text = 'extends = "rooms/through_then_choose"\nformat = 1\n[objects.goal]\nahead_m = 0.9\n'
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="what comes next does not stand behind inner"):
        load_scenario(path).sample(0)


def test_only_scenarios_with_doorways_have_their_sentences_in_the_hash():
    """So that what is said of doors leaves every other scenario of several legs what it was."""
    plain, doors = (sentences_hash(("en",), ("route", *more)) for more in ((), ("through",)))
    assert plain != doors


def test_past_needs_a_side(tmp_path):
    path = tmp_path / "mine.toml"
    text = HEAD.replace("format = 1\n", 'format = 1\nlegs = [{ past = "box" }, { to = "a" }]\n')
    path.write_text(text.replace('[task]\nside = "left"\n', ""), encoding="utf-8")
    with pytest.raises(UserError, match="side must say on which side"):
        load_scenario(path)
