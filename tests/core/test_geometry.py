"""Distances between points and footprints."""

import math

import numpy as np
import pytest
import shapely
from shapely import affinity

from vla_sim.core.geometry import clearances, resample, surface_distance, surface_distances
from vla_sim.core.types import Body, Kind, Role
from vla_sim.scenarios import load_scenario


@pytest.mark.parametrize("kind", [Kind.BOX, Kind.CUP])
def test_distance_agrees_with_shapely(kind):
    body = Body("b", kind, Role.OBSTACLE, (0.6, 0.4 if kind is Kind.BOX else 0.6, 0.3), 0.5, -0.2, 0.7)
    if body.round:
        shape = shapely.Point(0.5, -0.2).buffer(0.3, quad_segs=200)
    else:
        shape = affinity.translate(affinity.rotate(shapely.box(-0.3, -0.2, 0.3, 0.2), math.degrees(0.7)), 0.5, -0.2)
    points = np.random.default_rng(0).uniform(-1, 2, (200, 2))
    signed = [
        shape.exterior.distance(point) * (-1 if shape.contains(point) else 1) for point in map(shapely.Point, points)
    ]
    assert surface_distances(body, points) == pytest.approx(signed, abs=1e-4)
    assert [surface_distance(body, x, y) for x, y in points] == pytest.approx(list(surface_distances(body, points)))


def test_clearance_leaves_the_goal_out():
    scene = load_scenario("choose_goal").sample(0)
    at_goal = np.array([[scene.goal.x_m, scene.goal.y_m]])
    assert clearances(scene, at_goal, 0.15)[0] > 0.3
    (other, *_) = scene.with_role(Role.DISTRACTOR)
    assert clearances(scene, np.array([[other.x_m, other.y_m]]), 0.15)[0] < -0.15


def test_resampling_keeps_the_ends_and_the_spacing():
    points = resample(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.05]]), 0.02)
    assert points[0].tolist() == [0, 0]
    assert points[-1].tolist() == [1, 0.05]
    assert np.linalg.norm(np.diff(points, axis=0), axis=1).max() <= 0.02 + 1e-12
