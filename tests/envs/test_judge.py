"""How an episode ends, from privileged state alone, and which outcome wins when several hold."""

from dataclasses import replace

import pytest

from vla_sim.core.types import Body, Instruction, Kind, Look, Outcome, Pose2, Role, Scene, Side, SuccessRule, Task
from vla_sim.envs.judge import Judge, Situation
from vla_sim.rollout.facts import reached_of

RADIUS_M = 0.15
BOX = Body("box", Kind.BOX, Role.OBSTACLE, (0.4, 0.4, 0.4), 1.0, 0.0)
OTHER = Body("other", Kind.CUP, Role.DISTRACTOR, (0.1, 0.1, 0.2), 2.0, 1.0)
GOAL = Body("goal", Kind.CUP, Role.GOAL, (0.1, 0.1, 0.2), 2.0, 0.0)


def scene(side=None, success=SuccessRule.REACHED, limit_s=16.0, collision_ends=True):
    task = Task(side, success, time_limit_s=limit_s, collision_ends=collision_ends)
    return Scene(
        "test", 0, Pose2(0, 0), (BOX, OTHER, GOAL), (-0.5, 4.0, -2.0, 2.0), task, Look(), Instruction("go to the cup")
    )


def move(before, after, *, touched=False, stopped=False, time_s=1.0):
    return Situation(Pose2(*before), Pose2(*after), touched, stopped, time_s)


def outcome(world, *situations):
    """How the last of consecutive control steps of 0.4 s is judged; the episode went on before it."""
    judge = Judge(world, RADIUS_M, 0.4)
    outcomes = [judge.outcome(situation) for situation in situations]
    assert outcomes[:-1] == [None] * (len(situations) - 1)
    return outcomes[-1]


def test_an_episode_goes_on_while_nothing_happens():
    assert outcome(scene(Side.LEFT), move((0, 0), (0.2, 0))) is None


@pytest.mark.parametrize(("side", "y", "expected"), [
    (Side.LEFT, 0.6, None),
    (Side.LEFT, -0.6, Outcome.WRONG_SIDE),
    (Side.RIGHT, -0.6, None),
    (Side.RIGHT, 0.6, Outcome.WRONG_SIDE),
    (None, 0.6, None),
])  # fmt: skip
def test_passing_is_judged_where_the_centre_crosses_the_obstacles_line(side, y, expected):
    assert outcome(scene(side), move((0.9, y), (1.1, y))) is expected


def test_going_back_over_the_line_is_no_passing():
    assert outcome(scene(Side.LEFT), move((1.1, -0.6), (0.9, -0.6))) is None


@pytest.mark.parametrize(("gap", "expected"), [(0.29, Outcome.SUCCESS), (0.31, None)])
def test_reached_means_footprint_within_thirty_centimetres_of_the_surface(gap, expected):
    x = GOAL.x_m - GOAL.size_m[0] / 2 - RADIUS_M - gap
    assert outcome(scene(), move((x - 0.1, 0), (x, 0))) is expected


def test_where_stopping_is_asked_for_passing_by_is_no_success():
    world = scene(success=SuccessRule.STOPPED)
    assert outcome(world, move((1.6, 0), (1.7, 0))) is None
    standing = move((1.7, 0), (1.7, 0), stopped=True)
    assert outcome(world, standing) is None
    assert outcome(world, standing, move((1.7, 0), (1.7, 0)), standing) is None
    assert outcome(world, standing, standing) is Outcome.SUCCESS


def test_stopping_beside_another_object_is_the_wrong_goal_and_its_name_is_kept():
    judge = Judge(scene(success=SuccessRule.STOPPED), RADIUS_M, 0.4)
    standing = move((1.7, 1), (1.7, 1), stopped=True)
    assert [judge.outcome(standing), judge.outcome(standing)] == [None, Outcome.WRONG_GOAL]
    assert judge.reached == "other"


def test_the_object_reached_first_is_kept_though_the_robot_drives_on():
    judge = Judge(scene(success=SuccessRule.STOPPED), RADIUS_M, 0.4)
    for place in ((1.7, 1), (1.7, 0), (1.7, -1)):
        assert judge.outcome(move(place, place)) is None
    assert judge.reached == "other"


def test_the_object_at_which_it_ended_is_named_whatever_was_reached_before():
    """A film once said that the goal was reached where the robot had gone on to another object."""
    world = scene(success=SuccessRule.STOPPED)
    judge = Judge(world, RADIUS_M, 0.4)
    standing = move((1.7, 1), (1.7, 1), stopped=True)
    assert judge.outcome(move((1.7, 0), (1.7, 0))) is None
    assert [judge.outcome(standing), judge.outcome(standing)] == [None, Outcome.WRONG_GOAL]
    named = reached_of(world, judge.reached, judge.ended_at)
    assert named["reached_goal"]
    assert "other" in named["reached_object"]


def test_standing_still_for_good_before_the_goal_has_an_outcome_of_its_own():
    standing = [move((0.5, 1), (0.5, 1), stopped=True)] * 10
    assert outcome(scene(success=SuccessRule.STOPPED), *standing) is Outcome.STOPPED_SHORT
    assert outcome(scene(), *standing) is None


@pytest.mark.parametrize(("x", "steps", "expected"), [
    (0.2, 9, None), (0.2, 10, Outcome.REFUSED), (0.4, 10, Outcome.STOPPED_SHORT),
])  # fmt: skip
def test_where_standing_still_is_right_it_counts_near_the_place_where_it_was_told(x, steps, expected):
    world = replace(scene(success=SuccessRule.STOPPED), task=Task(success=SuccessRule.STOPPED, refuse=True))
    assert outcome(world, *[move((x, 0), (x, 0), stopped=True)] * steps) is expected


def test_nothing_is_the_goal_where_standing_still_is_right():
    world = replace(scene(success=SuccessRule.STOPPED), task=Task(success=SuccessRule.STOPPED, refuse=True))
    standing = move((1.7, 0), (1.7, 0), stopped=True)
    assert outcome(world, standing, standing) is Outcome.WRONG_GOAL


def test_what_is_right_can_change_within_an_episode():
    world = scene(success=SuccessRule.STOPPED)
    judge = Judge(world, RADIUS_M, 0.4)
    assert judge.outcome(move((0.5, 1), (1.0, 1))) is None
    judge.told(replace(world, task=Task(success=SuccessRule.STOPPED, refuse=True)), Pose2(1.0, 1.0))
    standing = move((1.1, 1), (1.1, 1), stopped=True)
    assert [judge.outcome(standing) for _ in range(10)] == [None] * 9 + [Outcome.REFUSED]


def test_reaching_another_object_is_the_wrong_goal():
    assert outcome(scene(), move((1.5, 1), (1.7, 1))) is Outcome.WRONG_GOAL


def test_leaving_the_arena_and_running_out_of_time():
    assert outcome(scene(), move((0, 1.9), (0, 2.1))) is Outcome.OUT_OF_BOUNDS
    assert outcome(scene(limit_s=2.0), move((0, 0), (0, 0), time_s=2.0)) is Outcome.TIMEOUT


def test_touching_ends_only_where_the_task_says_so():
    assert outcome(scene(), move((0, 0), (0.1, 0), touched=True)) is Outcome.COLLISION
    assert outcome(scene(collision_ends=False), move((0, 0), (0.1, 0), touched=True)) is None


def test_precedence_is_the_order_of_the_enum():
    at_goal = move((1.6, 0), (1.7, 0), touched=True, time_s=99)
    assert outcome(scene(), at_goal) is Outcome.COLLISION
    assert outcome(scene(), move((1.6, 0), (1.7, 0), time_s=99)) is Outcome.SUCCESS
    out_on_the_wrong_side = move((0.9, -1.9), (1.1, -2.1))
    assert outcome(scene(Side.LEFT), out_on_the_wrong_side) is Outcome.OUT_OF_BOUNDS
