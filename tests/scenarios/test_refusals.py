"""Scenes in which standing still is the right answer: their sentences are wrong of them as the file says."""

import re

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome, Role
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.evaluation.api import evaluate
from vla_sim.scenarios import load_scenario, load_suite
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.languages import REFUSALS, language_codes, load_language
from vla_sim.scenarios.task_rules import Refusal

SEEDS = range(40)
NOUNS = {"box", "cup", "bottle", "pot", "basket"}


def nearest_color(body):
    return min(PALETTE, key=lambda name: np.linalg.norm(np.subtract(PALETTE[name], body.color)))


def fitting(scene):
    """The objects that the words of an English sentence fit."""
    words = set(re.findall(r"\w+", scene.instruction.text.lower()))
    kinds, colors = words & NOUNS, words & set(PALETTE)
    named = [body for body in scene.bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    assert kinds or colors, scene.instruction.text
    return [b for b in named if (not kinds or b.kind.value in kinds) and (not colors or nearest_color(b) in colors)]


@pytest.mark.parametrize("split", ["train", "eval"])
@pytest.mark.parametrize(("name", "fits"), [("refuse_absent", {0}), ("refuse_ambiguous", {2, 3})])
def test_no_object_or_several_fit_the_description(name, fits, split):
    scenes = [load_scenario(name).sample(seed, split=split, language="en") for seed in SEEDS]
    assert {len(fitting(scene)) for scene in scenes} <= fits
    how = {scene.instruction.phrasing.split(".")[-1] for scene in scenes}
    assert {"kind", "color", "color_kind"} == how


def test_an_absent_object_is_sometimes_of_a_kind_and_colour_that_are_there():
    scenes = [load_scenario("refuse_absent").sample(seed, language="en") for seed in SEEDS]
    for scene in scenes:
        if scene.instruction.phrasing.endswith("color_kind"):
            words = set(re.findall(r"\w+", scene.instruction.text.lower()))
            assert words & {body.kind.value for body in scene.bodies}
            assert words & {nearest_color(body) for body in scene.with_role(Role.DISTRACTOR)}


@pytest.mark.parametrize("language", language_codes())
def test_a_contradiction_says_both_sides(language):
    words = load_language(language).words
    for text in load_scenario("refuse_contradiction").instructions("all", language):
        for side in ("left", "right"):
            forms = [words[side]] if isinstance(words[side], str) else words[side].values()
            assert any(form in text.lower() for form in forms), text


@pytest.mark.parametrize("language", language_codes())
@pytest.mark.parametrize("section", REFUSALS)
def test_phrasings_of_training_and_evaluation_differ(section, language):
    lists = load_language(language).table[section]
    assert set(lists["train"]) & set(lists["eval"]) == ({""} if section == "nothing" else set())
    assert len(set(lists["train"])) >= 12
    assert len(set(lists["eval"])) >= 5


@pytest.mark.parametrize("scenario", load_suite("refuse"), ids=lambda scenario: scenario.name)
def test_listed_and_equivalent_sentences_hold_the_drawn_one(scenario):
    listed = set(scenario.instructions("train"))
    for seed in range(20):
        scene = scenario.sample(seed)
        assert scene.instruction.text in listed
        assert scene.instruction.text in scenario.equivalents(seed)
        assert all(change.instruction.text in listed for change in scene.changes)


def test_expert_refuses_and_hold_is_right_and_who_drives_is_not():
    names = [scenario.name for scenario in load_suite("refuse")]
    found = evaluate(["expert", "straight"], scenario=names, episodes=4)
    assert found.success_rate("expert") == 1.0
    assert found.success_rate("straight") == 0.0
    outcomes = {result.outcome for result in found.results if result.policy == "expert"}
    assert outcomes == {Outcome.REFUSED}


def test_who_is_told_to_stop_may_come_the_way_of_one_step():
    found = evaluate("expert", scenario=["stop_midway_left"], episodes=6)
    for result in found.results:
        first, (at_s, told) = result.extra["sentences"]
        assert first == [0.0, result.instruction] != [0.0, told]
        assert result.extra["obeyed_s"] == 0.0
        assert 0.8 <= at_s <= 3.6
        assert result.path_length_m > 0.2


@pytest.mark.parametrize(("steps_late", "outcome"), [(0, "refused"), (1, "refused"), (3, "stopped_short")])
def test_stopping_late_is_not_obeying(steps_late, outcome):
    env = NavigateEnv("stop_midway_left", renderer="tiny")
    scene = load_scenario("stop_midway_left").sample(3)
    observation, _ = env.reset(options={"scene": scene})
    told, late, info = False, 0, {"outcome": ""}
    while not info["outcome"]:
        told = told or observation["instruction"] == scene.changes[0].instruction.text
        late += told
        action = [0.0, 0.0] if late > steps_late else [0.0, 0.5]
        observation, *_, info = env.step(np.array(action, dtype=np.float32))
    env.close()
    assert info["outcome"] == outcome


def test_standing_still_where_it_should_drive_is_a_false_refusal_by_either_rule(tmp_path):
    text = 'format = 1\nextends = "core/reach_goal"\nnames = ["{rule}"]\n[matrix.rule]\n'
    text += 'reached.task.success = "reached"\nstopped.task.success = "stopped"\n'
    (tmp_path / "both.toml").write_text(text, encoding="utf-8")
    found = evaluate(["hold", "expert"], scenario=str(tmp_path / "both.toml"), episodes=2)
    rates = {
        (row["policy"], row["scenario"].partition("#")[2]): row["false_refusal_rate"]
        for row in found.summary["results"]
    }
    assert rates == {(p, rule): float(p == "hold") for p in ("hold", "expert") for rule in ("reached", "stopped")}


CANDIDATES = "".join(
    f'[objects.{name}]\nrole = "candidate"\nkind = "cup"\nahead_m = 2.0\naside_m = {aside}\ncolor = "red"\n'
    for name, aside in (("a", 0.8), ("b", -0.8))
)
GOAL = '[objects.goal]\nrole = "goal"\nkind = "cup"\nahead_m = 2.0\n'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f'[task]\nrefuse = "absnt"\n{GOAL}', "task.refuse unknown 'absnt'; did you mean 'absent'"),
        (f'[task]\nrefuse = "absent"\n{GOAL}', "task.refuse is 'absent', which needs objects with the role candidate"),
        (f'[task]\nrefuse = "contradiction"\n{GOAL}', "needs an object with the role obstacle"),
        (f'[task]\nrefuse = "absent"\n{CANDIDATES}', "needs more kinds or colours than there are candidates"),
        (f'differ = ["kind"]\n[task]\nrefuse = "ambiguous"\n{CANDIDATES}', "differ"),
        (f'{GOAL}[[later]]\nat_s = 2\nsay = "stpo"\n', "unknown 'stpo'; did you mean 'stop'"),
        (f'{GOAL}[[later]]\nsay = "stop"\n', "at_s is missing"),
        (f"{GOAL}[later]\nat_s = 2\n", "later must be a list"),
    ],
)
def test_what_cannot_be_is_said_with_file_and_key(tmp_path, content, said):
    path = tmp_path / "mine.toml"
    path.write_text(f"format = 1\n{content}", encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(said)) as error:
        load_scenario(path)
    assert str(path) in str(error.value)


def test_every_reason_has_a_scenario():
    reasons = {plan.task.refuse for scenario in load_suite("refuse") for plan in scenario.distributions}
    assert reasons == {*Refusal, None}
