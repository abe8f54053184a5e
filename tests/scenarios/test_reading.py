"""Scenario files: what they may say, and that every slip is answered with file, field, value and a way out."""

import re

import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.types import Kind, Role, Side, SuccessRule
from vla_sim.scenarios import (
    InfeasibleScenarioError,
    ScenarioError,
    load_scenario,
    load_suite,
    opposite,
    scenario_names,
    suite_names,
)
from vla_sim.scenarios.library import _shelf

GOOD = """
format = 1
description = "One box, one cup"

[task]
side = "left"
time_limit_s = 12.5

[objects.box]
role = "obstacle"
kind = "box"
ahead_m = { uniform = [1.0, 1.4] }
size_m = 0.4

[objects.goal]
role = "goal"
kind = "cup"
ahead_m = 1.5
ahead_from = "box"
color = "red"
"""


def written(tmp_path, text, name="mine.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_good_file_gives_what_it_says(tmp_path):
    scenario = load_scenario(written(tmp_path, GOOD))
    world = scenario.sample(1)
    box, goal = world.with_role(Role.OBSTACLE)[0], world.goal
    assert (scenario.name, scenario.suite, scenario.description) == ("mine", "", "One box, one cup")
    assert world.task.side is Side.LEFT
    assert world.task.time_limit_s == 12.5
    assert world.task.success is SuccessRule.STOPPED
    assert box.size_m == (0.4, 0.4, 0.4)
    assert goal.kind is Kind.CUP
    assert goal.x_m == pytest.approx(box.x_m + 1.5)


WRONG = {
    "unknown key": ("side = ", "sied = ", "task.sied is not a known key; did you mean 'side'"),
    "unknown key of an object": ("role = ", "rol = ", r"objects\.\w+\.rol is not a known key; did you mean 'role'"),
    "unknown table": ("[task]", "[tsak]", "tsak is not a known key; did you mean 'task'"),
    "wrong unit": (
        "ahead_m = 1.5",
        "ahead_cm = 150",
        "objects.goal.ahead_cm is not a known key; did you mean 'ahead_m'",
    ),
    "no unit": ("size_m = 0.4", "size = 0.4", "objects.box.size is not a known key; did you mean 'size_m'"),
    "text for a number": ("ahead_m = 1.5", 'ahead_m = "1.5"', "objects.goal.ahead_m must be a number, got '1.5'"),
    "number for a name": ('kind = "cup"', "kind = 3", "objects.goal.kind must be a name, got 3"),
    "unknown kind": ('kind = "cup"', 'kind = "cpu"', "objects.goal.kind unknown 'cpu'; did you mean 'cup'"),
    "unknown role": ('role = "goal"', 'role = "gaol"', "objects.goal.role unknown 'gaol'; did you mean 'goal'"),
    "unknown side": ('side = "left"', 'side = "lfet"', "task.side unknown 'lfet'; did you mean 'left'"),
    "unknown color": ('color = "red"', 'color = "rde"', "objects.goal.color unknown 'rde'; did you mean 'red'"),
    "unknown texture": (
        "size_m = 0.4",
        'texture = "carboard"',
        "box.texture unknown 'carboard'; did you mean 'cardboard'",
    ),
    "centimetres": ("size_m = 0.4", "size_m = 40", "objects.box.size_m must lie between 0.02 and 3, got 40"),
    "negative size": ("size_m = 0.4", "size_m = -0.4", "objects.box.size_m must lie between 0.02 and 3, got -0.4"),
    "negative time": (
        "time_limit_s = 12.5",
        "time_limit_s = -1",
        "task.time_limit_s must lie between 0.5 and 600, got -1",
    ),
    "spread where one number is needed": (
        "time_limit_s = 12.5",
        "time_limit_s = { uniform = [10, 12] }",
        "task.time_limit_s must be one number",
    ),
    "turned range": ("[1.0, 1.4]", "[1.4, 1.0]", "objects.box.ahead_m uniform must go from low to high"),
    "unknown distribution": (
        "{ uniform",
        "{ unifrom",
        "box.ahead_m unknown distribution 'unifrom'; did you mean 'uniform'",
    ),
    "missing key": ('kind = "cup"', "", "objects.goal.kind is missing"),
    "unknown anchor": ('ahead_from = "box"', 'ahead_from = "bxo"', "goal.ahead_from unknown 'bxo'; did you mean 'box'"),
    "size twice": ("size_m = 0.4", "size_m = 0.4\ndepth_m = 0.3", "objects.box.size_m already says depth_m"),
    "wrong format": ("format = 1", "format = 2", "format must be 1, got 2"),
    "no goal": ('role = "goal"', 'role = "obstacle"', "objects need exactly one goal, .* got 0 goals"),
    "mixed obstacles": ('kind = "box"', 'kind = { choice = ["box", "pot"] }', "obstacles must be of one kind"),
    "side without obstacle": (
        'role = "obstacle"',
        'role = "distractor"',
        "task.side is 'left', but no object has the role",
    ),
    "flag": ("[task]", "[task]\ncollision_ends = 1", "task.collision_ends must be true or false, got 1"),
    "shares": ("[task]", "[language]\nen = 0.7\nko = 0.7\n[task]", "shares in language must add up to 1"),
    "unknown difference": (
        "format = 1",
        'format = 1\ndiffer = ["colour"]',
        "differ unknown 'colour'; did you mean 'color'",
    ),
    "table expected": ("[task]", "room = 3\n[task]", "room must be a table, got 3"),
    "broken TOML": ("[task]", "[task", "is not valid TOML"),
    "axis unknown": (
        "format = 1",
        'format = 1\nnames = ["a_{sdie}"]\nmatrix.side.left.task.side = "left"',
        "did you mean 'side'",
    ),
    "name twice": ("format = 1", 'format = 1\nnames = ["a", "a"]', "names gives 'a' twice"),
    "matrix lays over what is not there": (
        "format = 1",
        'format = 1\nmatrix.side.left.tsak.side = "left"',
        r"matrix\.side\.left\.tsak is not a known key; did you mean 'task'",
    ),
    "extends nothing": (
        "format = 1",
        'format = 1\nextends = "core/obstacel"',
        "extends names no file .* did you mean 'core/obstacle'",
    ),
}


@pytest.mark.parametrize("slip", WRONG)
def test_every_slip_is_named_with_its_file(tmp_path, slip):
    old, new, said = WRONG[slip]
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1) if slip != "broken TOML" else GOOD.replace(old, new))
    with pytest.raises(ScenarioError, match=said) as caught:
        load_scenario(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_slip_in_one_choice_of_the_matrix_is_found_at_once(tmp_path):
    matrix = '\n[matrix.side]\nleft.task.side = "left"\nright.task.side = "rihgt"\n'
    path = written(tmp_path, GOOD.replace("[task]", matrix + "[task]"))
    with pytest.raises(ScenarioError, match=r"task.side unknown 'rihgt'; did you mean 'right'"):
        load_scenario(path)


def test_circle_of_places_is_refused(tmp_path):
    text = GOOD.replace("size_m = 0.4", 'size_m = 0.4\nahead_from = "goal"')
    with pytest.raises(ScenarioError, match=r"ahead_from goes in a circle: box -> goal -> box"):
        load_scenario(written(tmp_path, text))


def test_infeasible_scenario_says_what_stood_in_the_way(tmp_path):
    blocked = GOOD.replace("size_m = 0.4", "depth_m = 0.3\nwidth_m = 2.9").replace(
        "[task]", "[room]\nwidth_m = 3.0\n[task]"
    )
    with pytest.raises(
        InfeasibleScenarioError,
        match=r"mine: no feasible scene for seed 0: in 200 tries no way to the goal on the left \(200 times\)",
    ):
        load_scenario(written(tmp_path, blocked)).sample(0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ahead_m = { uniform = [1.0, 1.4] }", "ahead_m = 0.2", "box stands on the start"),
        ("ahead_m = 1.5", "ahead_m = 0.1", "box and goal overlap"),
        ("ahead_m = 1.5", "ahead_m = 9", "goal stands in a wall or outside of the room"),
        ("ahead_m = 1.5", "ahead_m = 0.7\naside_m = 3", "goal stands in a wall or outside of the room"),
    ],
)
def test_reasons_of_infeasibility(tmp_path, old, new, said):
    with pytest.raises(InfeasibleScenarioError, match=said):
        load_scenario(written(tmp_path, GOOD.replace(old, new))).sample(0)


def test_some_infeasible_draws_are_drawn_again(tmp_path):
    wide = GOOD.replace("[1.0, 1.4]", "[0.1, 3.0]").replace("ahead_from", "# ahead_from").replace("1.5\n", "3.2\n")
    scenario = load_scenario(written(tmp_path, wide))
    ahead = [scenario.sample(seed).with_role(Role.OBSTACLE)[0].x_m for seed in range(40)]
    assert min(ahead) > 0.3


def test_goal_that_can_only_be_reached_past_a_distractor_is_refused(tmp_path):
    beside = '\n[objects.other]\nrole = "distractor"\nkind = "cup"\nahead_m = 2.2\naside_m = 0.05\ncolor = "blue"\n'
    text = GOOD.replace('side = "left"', "").replace('role = "obstacle"', 'role = "distractor"')
    narrow = text.replace("[task]", "[room]\nwidth_m = 1.3\n[task]") + beside
    with pytest.raises(InfeasibleScenarioError, match=r"no way to the goal"):
        load_scenario(written(tmp_path, narrow)).sample(0)


def test_a_scenario_may_extend_a_shipped_one(tmp_path):
    text = 'format = 1\nextends = "core/obstacle"\nnames = ["near_{side}"]\n[objects.box]\nahead_m = 1.25\n'
    path = written(tmp_path, text)
    world = load_scenario(f"{path}#near_right").sample(3)
    assert world.task.side is Side.RIGHT
    assert world.with_role(Role.OBSTACLE)[0].x_m == 1.25


def test_several_scenarios_in_a_file_need_a_name(tmp_path):
    text = 'names = ["near_{side}"]\nformat = 1\nextends = "core/obstacle"\n'
    path = written(tmp_path, text)
    with pytest.raises(ScenarioError, match=r"defines several scenarios; name one, e.g. .*#near_left"):
        load_scenario(path)
    with pytest.raises(ScenarioError, match=r"defines no scenario 'near_lfet'; did you mean 'near_left'"):
        load_scenario(f"{path}#near_lfet")


def test_extending_in_a_circle_is_refused(tmp_path):
    written(tmp_path, 'format = 1\nextends = "b"', "a.toml")
    path = written(tmp_path, 'format = 1\nextends = "a"', "b.toml")
    with pytest.raises(ScenarioError, match=r"extends goes in a circle"):
        load_scenario(path)


def test_a_change_of_content_changes_the_hash_and_a_comment_does_not(tmp_path):
    plain = load_scenario(written(tmp_path, GOOD)).hash
    assert re.fullmatch(r"[0-9a-f]{64}", plain)
    assert load_scenario(written(tmp_path, "# a comment\n" + GOOD)).hash == plain
    assert load_scenario(written(tmp_path, GOOD.replace("12.5", "12.6"))).hash != plain


def test_an_edited_file_is_read_anew(tmp_path):
    assert load_scenario(written(tmp_path, GOOD)).sample(0).task.time_limit_s == 12.5
    assert load_scenario(written(tmp_path, GOOD.replace("12.5", "9.0"))).sample(0).task.time_limit_s == 9.0


def test_hashes_of_shipped_scenarios_differ_but_for_aliases():
    hashes = {name: load_scenario(name).hash for name in scenario_names()}
    assert hashes["obstacle_left"] != hashes["obstacle_right"]
    assert hashes["basket_core"] == hashes["basket_core_left"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("obstacle_lfet", "unknown scenario 'obstacle_lfet'; did you mean 'obstacle_left'"),
        ("seed/obstacle_left", "unknown scenario 'seed/obstacle_left'"),
        ("/nowhere/mine.toml", "cannot read /nowhere/mine.toml: No such file"),
    ],
)
def test_unknown_scenario_names_the_nearest(name, said):
    with pytest.raises(UserError, match=said):
        load_scenario(name)


def test_unknown_suite_names_the_nearest():
    with pytest.raises(UserError, match=r"unknown suite 'cor'; did you mean 'core'"):
        load_suite("cor")


def test_a_suite_prefix_may_be_given():
    assert load_scenario("core/obstacle_left") is not None
    assert load_scenario("core/obstacle_left").hash == load_scenario("obstacle_left").hash


def test_suites_hold_what_they_should():
    assert {"core", "hard", "people", "rooms", "seed", "smoke"} <= set(suite_names())
    core = {scenario.name for scenario in load_suite("core")}
    sides = {f"{kind}_{side}" for kind in ("obstacle", "two_obstacles") for side in ("left", "right")}
    assert core == sides | {"reach_goal", "choose_goal"}
    seed = {scenario.name for scenario in load_suite("seed")}
    cups = {f"{n}box_{o}_{s}" for n in (1, 2) for o in ("vert", "hori") for s in ("left", "right")}
    others = {f"{kind}_{n}box_{s}" for kind in ("bottle", "basket") for n in (1, 2) for s in ("left", "right")}
    v3 = {f"basket_{word}" for word in ("core", "core_left", "core_right", "close", "far", "offset", "clear")}
    assert seed == cups | others | v3 | {"pot_left", "pot_right"}
    assert {f"{name}_{d}" for name in cups for d in ("close", "medium", "far")} <= set(scenario_names())
    assert {scenario.name for scenario in load_suite("smoke")} <= core


def test_a_broken_file_in_a_folder_leaves_the_other_scenarios_usable(tmp_path):
    suite = tmp_path / "mine"
    suite.mkdir()
    written(suite, GOOD, "good.toml")
    written(suite, "format = [", "bad.toml")
    assert set(_shelf(tmp_path).files) == {"good", "bad"}


def test_a_name_defined_twice_is_refused(tmp_path):
    for suite in ("one", "two"):
        (tmp_path / suite).mkdir()
        written(tmp_path / suite, GOOD, "same.toml")
    with pytest.raises(ScenarioError, match=r"scenario 'same' is already defined in"):
        _shelf(tmp_path)


TWINS = GOOD.replace('side = "left"\n', "").replace("format = 1", "format = 1\nnames = [NAMES]")
TWINS += '[matrix.way]\nwest.task.side = "left"\neast.task.side = "right"\nany = {}\n'


@pytest.mark.parametrize(
    ("names", "family", "twins"),
    [
        ('"pass_{way}"', "pass_*", {"pass_west": "pass_east", "pass_east": "pass_west", "pass_any": ""}),
        ('{name = "a", way = "west"}, {name = "b", way = "east"}', "a|b", {"a": "b", "b": "a"}),
        ('{name = "left_alone", way = "west"}', "left_alone", {"left_alone": ""}),
    ],
)
def test_twins_are_known_by_what_is_asked_and_never_by_their_names(tmp_path, names, family, twins):
    path = written(tmp_path, TWINS.replace("NAMES", names))
    for name, twin in twins.items():
        scenario = load_scenario(f"{path}#{name}")
        assert scenario.twin == twin
        assert scenario.family == (family if twin else name)
        if twin:
            world, other = scenario.sample(1), load_scenario(f"{path}#{twin}").sample(1)
            assert opposite(world) == other
            assert world.instruction.language == other.instruction.language


@pytest.mark.parametrize("name", ["{a}", "{0}", "a {b.c}", "%s", "{a!r:>1000000000}", "상자"])
def test_the_name_of_a_file_is_taken_as_it_is(tmp_path, name):
    """Once `{a}.toml` was a format string."""
    assert load_scenario(written(tmp_path, GOOD, f"{name}.toml")).name == name


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ('"{side.value}"', "which is no axis"),
        ('"{side!r}"', "which is no axis"),
        ('"a{"', r"must not contain \{"),
        ('"a/b"', "must not contain /"),
        ('"../a"', "must not contain /"),
        ('"a#b"', "must not contain #"),
        (r'"a\nb"', "must be printable text"),
        (r'"\u001b[31m"', "must be printable text"),
        ('""', "must hold names"),
        (f'"{"x" * 300}"', "must have at most 100 characters, got 300"),
    ],
)
def test_what_can_be_no_name_is_refused(tmp_path, names, said):
    with pytest.raises(ScenarioError, match=said) as caught:
        load_scenario(written(tmp_path, GOOD.replace("format = 1", f"format = 1\nnames = [{names}]")))
    assert caught.value.args[0].isprintable()
    assert len(str(caught.value)) < 1000


CANDIDATES = """
format = 1
differ = ["kind"]
[objects.left]
role = "candidate"
kind = "cup"
ahead_m = 2.0
aside_m = 1.0
[objects.right]
role = "candidate"
kind = { choice = ["cup", "cup"] }
ahead_m = 2.0
aside_m = -1.0
"""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("word", ["kind", "color"])
def test_candidates_that_cannot_differ_are_refused_at_once(tmp_path, word):
    """Two cups that had to differ in kind were drawn for ever."""
    text = CANDIDATES.replace('["kind"]', f'["{word}"]').replace("ahead_m", 'color = "red"\nahead_m')
    with pytest.raises(ScenarioError, match=f"asks for another {word} of each candidate.*left: .*right: "):
        load_scenario(written(tmp_path, text))


@pytest.mark.timeout(20)
def test_candidates_that_hardly_ever_differ_end_in_a_sentence_with_scenario_seed_and_count(tmp_path):
    rare = "kind = { choice = [" + '"cup", ' * 5000 + '"pot"] }'
    text = CANDIDATES.replace('kind = { choice = ["cup", "cup"] }', rare)
    scenario = load_scenario(written(tmp_path, text))
    assert scenario.sample(0).goal is not None
    alike = CANDIDATES.replace('"kind"', '"color"').replace(
        "ahead_m", 'color = { choice = ["red", "orange"] }\nahead_m'
    )
    with pytest.raises(
        InfeasibleScenarioError, match=r"mine: no feasible scene for seed 3: the colours .* in all of 200 tries"
    ):
        load_scenario(written(tmp_path, alike)).sample(3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(f'[matrix.a{i}]\n' + "\n".join(f"c{j}.room.width_m = {j + 2}" for j in range(9)) for i in range(9)),
         "matrix has 387420489 combinations for 'mine'; at most 1000 work"),
        ("names = ['{a}{b}{c}{d}']\n" + "\n".join(f"matrix.{a}.c{j} = {{}}" for a in "abcd" for j in range(9)),
         "stands for more than 1000 scenarios"),
    ],
)  # fmt: skip
@pytest.mark.timeout(20)
def test_a_matrix_of_millions_is_refused_at_once(tmp_path, text, said):
    where = "format = 1\n" if text.startswith("names") else "\n[objects.goal]"
    assert where in GOOD
    with pytest.raises(ScenarioError, match=said):
        load_scenario(
            written(
                tmp_path, GOOD.replace(where, f"format = 1\n{text}\n" if "format" in where else f"\n{text}\n{where}", 1)
            )
        )


@pytest.mark.parametrize(
    ("seed", "said"),
    [(-1, "negative, got -1"), (2**63, r"less than 2\^63"), (1.5, "whole number"), (True, "whole number")],
)
def test_what_can_be_no_seed_is_the_users_error(seed, said):
    with pytest.raises(UserError, match=said):
        load_scenario("reach_goal").sample(seed)
    assert load_scenario("reach_goal").sample(2**63 - 1).seed == 2**63 - 1
