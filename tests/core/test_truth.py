"""Privileged state as a vector, against geometry worked out by hand."""

import dataclasses
import math

import numpy as np
import pytest

from vla_sim.core.privileged import NEAREST, PRIVILEGED_NAMES, left_handed, mirrored_privileged, privileged_vector
from vla_sim.core.types import Body, Instruction, Kind, Look, Pose2, Role, Scene, Side, SuccessRule, Task

RADIUS_M = 0.15
AT_REST = (0.0, 0.0, 0.0)


def body(name, role, x, y, size=(0.4, 0.2, 0.4), yaw=0.0, kind=Kind.BOX):
    return Body(name, kind, role, size, x, y, yaw)


def scene(*bodies, side=Side.LEFT, success=SuccessRule.REACHED):
    goal = body("goal", Role.GOAL, 3.0, 1.0, (0.2, 0.2, 0.2), kind=Kind.CUP)
    task = Task(side=side, success=success)
    return Scene("any", 0, Pose2(0, 0), (goal, *bodies), (-1.0, 5.0, -2.0, 2.5), task, Look(), Instruction("go"))


def seen(world, pose=None, twist=AT_REST):
    return dict(
        zip(PRIVILEGED_NAMES, privileged_vector(world, pose or Pose2(0, 0), twist, RADIUS_M).tolist(), strict=True)
    )


def mirrored(world):
    x_min, x_max, y_min, y_max = world.bounds_m
    return dataclasses.replace(
        world,
        bodies=tuple(dataclasses.replace(b, y_m=-b.y_m, yaw_rad=-b.yaw_rad) for b in world.bodies),
        bounds_m=(x_min, x_max, -y_max, -y_min),
        task=dataclasses.replace(world.task, side=world.task.side and world.task.side.opposite),
    )


def test_goal_and_room_are_those_of_the_drawing():
    found = seen(scene(), Pose2(1.0, 1.0))
    assert found["goal_x_m"] == pytest.approx(2.0)
    assert found["goal_y_m"] == pytest.approx(0.0)
    assert found["goal_gap_m"] == pytest.approx(2.0 - 0.1 - RADIUS_M)
    room = [found[f"room_{end}_m"] for end in ("front", "left", "back", "right")]
    assert room == pytest.approx([4 - RADIUS_M, 1.5 - RADIUS_M, 2 - RADIUS_M, 3 - RADIUS_M])


def test_places_turn_with_the_robot():
    box = body("box", Role.OBSTACLE, 0.0, 2.0)
    found = seen(scene(box), Pose2(0, 0, math.pi / 2), (0.1, 0.2, 0.3))
    assert (found["goal_x_m"], found["goal_y_m"]) == pytest.approx((1.0, -3.0))
    assert (found["body_0_x_m"], found["body_0_y_m"]) == pytest.approx((2.0, 0.0), abs=1e-6)
    # The box lies across now: its depth of 0.4 m is what the robot sees as width.
    assert (found["body_0_half_x_m"], found["body_0_half_y_m"]) == pytest.approx((0.1, 0.2))
    assert found["body_0_gap_m"] == pytest.approx(2.0 - 0.1 - RADIUS_M)
    # The world's x axis points to the robot's right.
    assert (found["ahead_x"], found["ahead_y"]) == pytest.approx((0.0, -1.0), abs=1e-6)
    assert (found["vx_mps"], found["vy_mps"], found["wz_radps"]) == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize(("side", "value"), [(Side.LEFT, 1), (Side.RIGHT, -1), (None, 0)])
def test_the_asked_side_has_its_sign(side, value):
    assert seen(scene(side=side))["side"] == value


def test_stopping_is_told():
    assert [seen(scene(success=rule))["stop_asked"] for rule in SuccessRule] == [
        float(rule is SuccessRule.STOPPED) for rule in SuccessRule
    ]


def test_bodies_come_nearest_first_with_their_roles_and_the_rest_is_zero():
    far, near = body("far", Role.OBSTACLE, 2.0, 0.0), body("near", Role.DISTRACTOR, 1.0, 0.0)
    found = seen(scene(far, near))
    assert [found[f"body_{i}_there"] for i in range(NEAREST)] == [1, 1, 0, 0]
    assert [found[f"body_{i}_obstacle"] for i in range(2)] == [0, 1]
    assert [found[f"body_{i}_distractor"] for i in range(2)] == [1, 0]
    assert not any(value for name, value in found.items() if name.startswith("body_2"))


def test_walls_around_the_arena_are_no_bodies_but_walls_inside_are():
    outer = body("wall_front", Role.WALL, 5.03, 0.0, (0.05, 5, 1))
    inner = body("wall_inner", Role.WALL, 2.0, -1.0, (0.05, 1, 1))
    assert sum(seen(scene(outer))[f"body_{i}_there"] for i in range(NEAREST)) == 0
    assert sum(seen(scene(outer, inner))[f"body_{i}_there"] for i in range(NEAREST)) == 1


def test_more_bodies_than_places_leave_the_farthest_out():
    boxes = [body(f"box_{i}", Role.OBSTACLE, 1.0 + i, 0.0, (0.2, 0.2, 0.2)) for i in range(NEAREST)]
    assert seen(scene(*boxes, body("last", Role.OBSTACLE, -0.9, -1.9))) != seen(scene(*boxes))
    assert seen(scene(*boxes, body("last", Role.OBSTACLE, 4.9, 2.4))) == seen(scene(*boxes))


def test_a_mirrored_world_gives_the_mirrored_vector():
    world = scene(body("a", Role.OBSTACLE, 1.2, 0.3, yaw=0.4), body("b", Role.DISTRACTOR, 2.0, -0.7, yaw=-1.0))
    given = privileged_vector(world, Pose2(0.2, 0.1, 0.3), (0.1, 0.2, 0.3), RADIUS_M)
    other = privileged_vector(mirrored(world), Pose2(0.2, -0.1, -0.3), (0.1, -0.2, -0.3), RADIUS_M)
    assert not np.allclose(other, given)
    np.testing.assert_allclose(other, mirrored_privileged(given), atol=1e-6)
    np.testing.assert_array_equal(mirrored_privileged(mirrored_privileged(given)), given)


def test_left_handed_turns_only_worlds_that_say_right():
    state_vectors = np.stack(
        [privileged_vector(scene(side=side), Pose2(0, 0), AT_REST, RADIUS_M) for side in (*Side, None)]
    )
    seen_so, signs = left_handed(state_vectors, ("vx", "vy", "wz"))
    np.testing.assert_array_equal(seen_so, [state_vectors[0], mirrored_privileged(state_vectors[1]), state_vectors[2]])
    assert signs.tolist() == [[1, 1, 1], [1, -1, -1], [1, 1, 1]]


def test_names_differ_and_match_the_vector():
    assert (
        len(set(PRIVILEGED_NAMES))
        == len(PRIVILEGED_NAMES)
        == privileged_vector(scene(), Pose2(0, 0), AT_REST, RADIUS_M).size
    )
