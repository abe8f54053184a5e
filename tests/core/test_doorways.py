"""Doorways: what goes through one, and the shortest path through one that must be gone through."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.doorways import Doorway
from vla_sim.core.legs import at_leg, behind_doorway, doorway_ahead
from vla_sim.core.planner import Planner
from vla_sim.core.types import Body, Instruction, Kind, Leg, Look, Outcome, Pose2, Role, Scene, SuccessRule, Task
from vla_sim.envs.judge import Judge, Situation

RADIUS_M = 0.15
number = st.floats(-3, 3)
points = st.tuples(number, number)


def free_wall(door_y_m, *, from_y_m=-1.0, to_y_m=1.0):
    """A wall at x = 1 that does not reach the walls of the room, with a doorway of 1 m in its middle."""
    parts = [(from_y_m, door_y_m - 0.5), (door_y_m + 0.5, to_y_m)]
    return [
        Body(f"inner_{i}", Kind.WALL, Role.WALL, (0.1, high - low, 2.5), 1.0, (low + high) / 2)
        for i, (low, high) in enumerate(parts, start=1)
    ], Doorway("inner", ((1.0, door_y_m - 0.5), (1.0, door_y_m + 0.5)))


def scene(goal_xy, *, door_y_m=0.0, through=True, ends=(-1.0, 1.0)):
    walls, doorway = free_wall(door_y_m, from_y_m=ends[0], to_y_m=ends[1])
    legs = (Leg("inner", through=True), Leg("goal")) if through else ()
    return Scene(
        "s",
        0,
        Pose2(0, 0),
        (Body("goal", Kind.CUP, Role.GOAL, (0.2, 0.2, 0.3), *goal_xy), *walls),
        (-2, 6, -4, 4),
        Task(success=SuccessRule.REACHED, legs=legs, time_limit_s=60),
        Look(),
        Instruction(""),
        doorways=(doorway,),
    )


@given(points, points, st.floats(-math.pi, math.pi), points)
def test_a_move_goes_through_where_it_crosses_between_the_posts(before, after, yaw_rad, first):
    """Compared with the two lines' crossing by determinants; both directions agree."""
    posts = (first, (first[0] + math.cos(yaw_rad), first[1] + math.sin(yaw_rad)))
    along, move = np.subtract(posts[1], posts[0]), np.subtract(after, before)
    doorway, det = Doorway("w", posts), along[0] * move[1] - along[1] * move[0]
    if abs(det) < 1e-6:
        return
    off = np.subtract(before, posts[0])
    share_of_door = (off[0] * move[1] - off[1] * move[0]) / det
    share_of_move = (off[0] * along[1] - off[1] * along[0]) / det
    if min(abs(s - e) for s in (share_of_door, share_of_move) for e in (0, 1)) > 1e-6:
        expected = 0 < share_of_door < 1 and 0 < share_of_move < 1
        assert doorway.passed(before, after) == doorway.passed(after, before) == expected


@given(points)
def test_points_are_found_where_they_are_seen(point):
    doorway = Doorway("w", ((1.0, 2.0), (1.6, 2.8)))
    assert doorway.point(*doorway.seen(point)) == pytest.approx(point, abs=1e-9)


def test_posts_must_be_apart():
    with pytest.raises(ValueError, match="must be apart"):
        Doorway("w", ((1.0, 2.0), (1.0, 2.0)))


@pytest.mark.parametrize(
    "start", [(0.0, 0.0), (0.0, 3.0), (0.0, -2.5), (3.0, 0.5), (1.0, 2.5), (1.0, 0.1), (0.99, 0.0)]
)
@pytest.mark.parametrize("goal", [(3.0, 0.0), (2.5, 2.5)])
def test_a_path_goes_through_the_doorway_wherever_it_starts(start, goal):
    """Even from beside a wall that could be gone around, and from its other side."""
    planner = Planner(scene(goal), RADIUS_M, margin_m=0.1)
    path = planner.path(*start)
    _, doorway = free_wall(0.0)
    assert any(doorway.passed(a, b) for a, b in itertools.pairwise(path.tolist()))
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    assert planner.distance(*start) <= length + 1e-6 <= planner.distance(*start) + 0.3
    assert np.array_equal(planner.leg_path(*start), path)


def test_where_only_the_doorway_leads_on_the_way_is_as_long_as_without_the_leg():
    for goal in ((3.0, 0.0), (2.5, 2.5), (2.0, -3.0)):
        told, free = (Planner(scene(goal, through=through, ends=(-4.0, 4.0)), RADIUS_M) for through in (True, False))
        assert free.distance(0.0, 0.0) - 1e-6 <= told.distance(0.0, 0.0) <= free.distance(0.0, 0.0) + 0.03


def test_too_narrow_a_doorway_leaves_no_way():
    assert math.isinf(Planner(scene((3.0, 0.0)), RADIUS_M, margin_m=0.4).distance(0.0, 0.0))


def driven(judge, way):
    for time_s, (before, after) in enumerate(itertools.pairwise(way)):
        outcome = judge.outcome(Situation(Pose2(*before), Pose2(*after), False, False, 0.4 * time_s))
        if outcome:
            return outcome
    return None


@pytest.mark.parametrize(
    ("way", "outcome", "done"),
    [
        ([(0, 0), (0.9, 0), (1.2, 0)], None, 1),
        ([(0, 0), (0.9, 0), (1.2, 0), (2.7, 0)], Outcome.SUCCESS, 2),
        ([(0, 0), (0, 2), (2, 2), (2.7, 0)], None, 0),  # around the wall: not through the door
        ([(0, 0), (0, 2), (2, 2), (2, 0), (0.5, 0), (2.7, 0)], Outcome.SUCCESS, 2),
    ],
)
def test_a_doorway_counts_when_it_is_gone_through(way, outcome, done):
    judge = Judge(scene((3.0, 0.0)), RADIUS_M, 0.4)
    assert driven(judge, way) is outcome
    assert judge.legs_done == done


def test_behind_the_doorway_the_goal_is_what_is_left():
    first = scene((3.0, 0.0))
    behind = behind_doorway(first)
    assert doorway_ahead(first) == first.doorways[0]
    assert behind == at_leg(first, 1)
    assert doorway_ahead(behind) is None
    assert behind_doorway(behind) is None
