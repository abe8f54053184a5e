"""The difficulty of a scene grows with what makes it hard, one thing at a time."""

from dataclasses import replace

import numpy as np
import pytest

from vla_sim.core.difficulty import difficulty
from vla_sim.core.planner import Planner
from vla_sim.core.types import Body, Instruction, Kind, Look, Motion, Pose2, Role, Scene, Task

RADIUS_M = 0.15
GOAL = Body("goal", Kind.CUP, Role.GOAL, (0.2, 0.2, 0.3), 3.0, 0.0)
OPEN = Scene("", 0, Pose2(0.0, 0.0), (GOAL,), (-1, 5, -3, 3), Task(), Look(), Instruction(""))


def level(scene):
    start = scene.start
    return difficulty(scene, Planner(scene, RADIUS_M).path(start.x_m, start.y_m), RADIUS_M)


def wall(name, x, y, length):
    return Body(name, Kind.WALL, Role.WALL, (0.1, length, 1.0), x, y)


def test_straight_through_open_space_is_zero():
    assert level(OPEN) == pytest.approx(0.0)


def test_narrower_doorways_are_harder():
    levels = []
    for width in (1.5, 0.9, 0.5):
        side = 3 - width / 2
        pieces = (wall("a", 1.5, width / 2 + side / 2, side), wall("b", 1.5, -width / 2 - side / 2, side))
        levels.append(level(replace(OPEN, bodies=(GOAL, *pieces))))
    assert 0 <= levels[0] < levels[1] < levels[2] <= 1


def test_a_way_around_is_harder_the_longer_it_is():
    levels = [level(replace(OPEN, bodies=(GOAL, wall("a", 1.5, 0.0, width)))) for width in (0.5, 1.5, 3.0)]
    assert 0 < levels[0] < levels[1] < levels[2]


def test_every_mover_beside_the_way_counts_one():
    def person(name, *xs):
        body = Body(name, Kind.PERSON, Role.MOVER, (0.5, 0.5, 1.7), xs[0], -2.0)
        return body, Motion(name, (0.0, 4.0), tuple(Pose2(x, y) for x, y in zip(xs, (-2.0, 0.0), strict=True)))

    beside, away = person("ann", 1.5, 1.5), person("bob", 4.9, 4.9)
    for people, met in (((beside,), 1), ((away,), 0), ((beside, away), 1)):
        scene = replace(OPEN, bodies=(GOAL, *(b for b, _ in people)), motions=tuple(m for _, m in people))
        assert level(scene) == pytest.approx(met)


def test_no_way_is_no_difficulty():
    assert difficulty(OPEN, np.zeros((0, 2)), RADIUS_M) == 0.0


def test_a_way_that_turns_back_has_a_number():
    """As between two goals one after the other."""
    scene = replace(OPEN, bodies=(GOAL, wall("a", 2.5, 1.0, 1.0)))
    with np.errstate(all="raise"):
        back = difficulty(scene, np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), RADIUS_M)
    assert np.isfinite(back)
    assert back >= 1
