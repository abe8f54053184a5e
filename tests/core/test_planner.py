"""The planner and the wrong-side rule."""

import itertools
import math

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from vla_sim.core.geometry import clearances, resample, surface_distances
from vla_sim.core.planner import Planner, crossed_wrong_side, passed_side, realised_side
from vla_sim.core.types import Body, Instruction, Kind, Look, Pose2, Role, Scene, Side, Task
from vla_sim.scenarios import load_scenario

RADIUS_M = 0.15
ROOM = (-0.8, 5.2, -2.5, 2.5)
LEFT, RIGHT = Side.LEFT, Side.RIGHT


def walls():
    x_min, x_max, y_min, y_max = ROOM
    along, across = (x_max - x_min + 0.1, 0.05, 0.8), (0.05, y_max - y_min, 0.8)
    middle = (x_min + x_max) / 2
    return (
        Body("wall_left", Kind.WALL, Role.WALL, along, middle, y_max + 0.025),
        Body("wall_right", Kind.WALL, Role.WALL, along, middle, y_min - 0.025),
        Body("wall_front", Kind.WALL, Role.WALL, across, x_max + 0.025, 0.0),
        Body("wall_back", Kind.WALL, Role.WALL, across, x_min - 0.025, 0.0),
    )


def box(x, y, *, name="box", size=(0.4, 0.4, 0.4), yaw=0.0, role=Role.OBSTACLE):
    return Body(name, Kind.BOX, role, size, x, y, yaw)


def cup(x, y, *, name="goal", role=Role.GOAL):
    return Body(name, Kind.CUP, role, (0.2, 0.2, 0.3), x, y)


def scene(*bodies, side=None, with_walls=True):
    standing = (*bodies, *(walls() if with_walls else ()))
    return Scene("test", 0, Pose2(0, 0), standing, ROOM, Task(side=side), Look(), Instruction(""))


def length(path):
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def test_free_way_is_straight_and_ends_within_reach():
    planner = Planner(scene(cup(3, 0)), RADIUS_M)
    assert planner.distance(0, 0) == pytest.approx(3 - 0.1 - RADIUS_M - 0.3)
    path = planner.path(0, 0)
    assert planner.goal_gap(*path[-1]) < 0.3
    np.testing.assert_allclose(path[:, 1], 0, atol=1e-9)


@pytest.mark.parametrize("name", ["obstacle_left", "obstacle_right", "two_obstacles_left", "two_obstacles_right"])
@pytest.mark.parametrize("margin_m", [0.0, 0.1, 0.2])
def test_path_keeps_its_margin_and_its_side(name, margin_m):
    for seed in range(15):
        world = load_scenario(name).sample(seed)
        path = Planner(world, RADIUS_M, margin_m).path(0, 0)
        assert clearances(world, resample(path, 0.01), RADIUS_M).min() >= margin_m - 1e-6
        assert realised_side(world, path) is world.task.side


@pytest.mark.parametrize("side", [None, LEFT, RIGHT])
def test_distance_matches_a_dense_grid_search(side):
    """An independent way to the same figure: Dijkstra on a 5 cm grid of 16 neighbours, up to 3 % too long."""
    world = scene(box(1.4, 0.1, yaw=0.5), box(2.0, -0.3, name="box_2"), cup(3.4, 0.1), side=side)
    spacing = 0.05
    xs, ys = np.arange(-0.6, 5.0, spacing), np.arange(-2.3, 2.3001, spacing)
    points = np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)
    free = clearances(world, points, RADIUS_M) >= 0
    index = np.arange(len(points)).reshape(len(xs), len(ys))
    rows, columns, lengths = [], [], []
    steps = [(1, 0), (0, 1), (1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1)]
    for i, j in [*steps, *((-i, -j) for i, j in steps)]:
        here = index[max(0, -i) : len(xs) - max(0, i), max(0, -j) : len(ys) - max(0, j)].ravel()
        there = here + i * len(ys) + j
        keep = free[here] & free[there]
        for body in world.with_role(Role.OBSTACLE) if side else ():
            before, after = points[here], points[there]
            ahead = (before[:, 0] < body.x_m) & (after[:, 0] >= body.x_m)
            share = np.divide(body.x_m - before[:, 0], i * spacing, where=ahead, out=np.zeros(len(here)))
            y = before[:, 1] + share * j * spacing
            keep &= ~(ahead & ((y - body.y_m) * side.sign < 0))
        rows.append(here[keep])
        columns.append(there[keep])
        lengths.append(np.full(keep.sum(), spacing * math.hypot(i, j)))
    graph = coo_matrix((np.concatenate(lengths), (np.concatenate(rows), np.concatenate(columns))), (len(points),) * 2)
    start = int(np.argmin(np.linalg.norm(points, axis=1)))
    costs = dijkstra(graph.tocsr(), indices=start)
    reached = surface_distances(world.goal, points) - RADIUS_M <= 0.3
    found = Planner(world, RADIUS_M).distance(*points[start])
    assert 0.965 * costs[reached].min() - spacing <= found <= 1.005 * costs[reached].min()


def test_distance_shrinks_by_what_is_driven():
    world = load_scenario("two_obstacles_right").sample(3)
    planner = Planner(world, RADIUS_M, 0.1)
    points = resample(planner.path(0, 0), 0.05)
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    total = planner.distance(0, 0)
    for point, done in zip(points, travelled, strict=True):
        assert planner.distance(*point) == pytest.approx(max(0.0, total - done), abs=2e-3)


def test_distance_is_zero_just_when_the_goal_is_within_reach():
    planner = Planner(scene(cup(2, 0.3)), RADIUS_M)
    for x in np.linspace(1, 3, 41):
        assert (planner.distance(x, 0) == 0) == (planner.goal_gap(x, 0) <= 0.3)


def test_closed_room_has_no_way():
    barrier = box(2, 0, size=(0.3, 4.6, 0.4))
    planner = Planner(scene(barrier, cup(3.5, 0)), RADIUS_M)
    assert planner.distance(0, 0) == math.inf
    assert planner.path(0, 0).shape == (0, 2)


def test_way_closed_on_the_asked_side_only():
    shifted = box(2, 1.4, size=(0.3, 2.0, 0.4))
    assert Planner(scene(shifted, cup(3.5, 0), side=LEFT), RADIUS_M).distance(0, 0) == math.inf
    assert Planner(scene(shifted, cup(3.5, 0), side=RIGHT), RADIUS_M).distance(0, 0) < 5


def test_wall_inside_the_room_is_gone_around():
    screen = Body("screen", Kind.WALL, Role.WALL, (0.05, 2.0, 0.8), 1.5, 0.0)
    planner = Planner(scene(screen, cup(3, 0)), RADIUS_M)
    assert planner.distance(0, 0) > 3.0
    assert planner.clearance(*planner.path(0, 0)[1]) >= -1e-6


def test_start_overlapping_by_millimetres_is_freed_and_a_deep_one_is_not():
    planner = Planner(scene(box(1, 0), cup(3, 0)), RADIUS_M)
    touching = 1 - 0.2 - RADIUS_M
    assert planner.distance(touching + 0.005, 0) < 3
    assert planner.distance(touching + 0.1, 0) == math.inf


def test_distractor_is_kept_out_of_reach_on_the_way():
    world = scene(cup(1.6, 0.2, name="other", role=Role.DISTRACTOR), cup(3.2, 0))
    path = resample(Planner(world, RADIUS_M).path(0, 0), 0.01)
    assert (surface_distances(world.bodies[0], path) - RADIUS_M).min() > world.task.reach_m


def test_narrow_gap_beside_a_distractor_is_used_where_there_is_no_other_way():
    blocks = (box(1.6, 1.4, size=(0.3, 2.2, 0.4)), box(1.6, -1.4, name="box_2", size=(0.3, 2.2, 0.4)))
    beside = Body("other", Kind.BOTTLE, Role.DISTRACTOR, (0.08, 0.08, 0.4), 1.6, 0.26)
    planner = Planner(scene(*blocks, beside, cup(3.2, 0)), 0.1)
    assert planner.distance(0, 0) < 4
    assert len(planner.path(0, 0)) >= 2


def test_world_without_anything_but_a_goal_works():
    planner = Planner(scene(cup(2, 0), with_walls=False), RADIUS_M)
    assert planner.distance(0, 0) < 2
    assert planner.nearest(0, 0) == ("", math.inf)


def test_nearest_names_the_closest_body_and_leaves_the_goal_out():
    planner = Planner(scene(box(1, 0), cup(0.5, 0.5)), RADIUS_M)
    name, gap = planner.nearest(0, 0)
    assert name == "box"
    assert gap == planner.clearance(0, 0) == pytest.approx(1 - 0.2 - RADIUS_M)


@pytest.mark.parametrize(
    ("side", "y", "wrong"), [(LEFT, 0.5, False), (LEFT, -0.5, True), (RIGHT, 0.5, True), (RIGHT, -0.5, False)]
)
def test_wrong_side_is_the_other_side_of_the_obstacle(side, y, wrong):
    world = scene(box(1, 0), cup(3, 0), side=side)
    assert crossed_wrong_side(world, (0.9, y), (1.1, y)) is wrong


def test_wrong_side_needs_a_forward_crossing():
    world = scene(box(1, 0), cup(3, 0), side=LEFT)
    assert not crossed_wrong_side(world, (1.1, -0.5), (0.9, -0.5))
    assert not crossed_wrong_side(world, (0.5, -0.5), (0.9, -0.5))
    assert not crossed_wrong_side(scene(box(1, 0), cup(3, 0)), (0.9, -0.5), (1.1, -0.5))


@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_going_between_two_boxes_side_by_side_is_wrong_either_way(side):
    world = scene(box(1, 0.6), box(1, -0.6, name="box_2"), cup(3, 0), side=side)
    assert crossed_wrong_side(world, (0.9, 0), (1.1, 0))


def test_a_planned_path_never_crosses_the_wrong_side():
    for seed in range(20):
        world = load_scenario("two_obstacles_left").sample(seed)
        points = resample(Planner(world, RADIUS_M, 0.05).path(0, 0), 0.2)
        assert not any(crossed_wrong_side(world, a, b) for a, b in itertools.pairwise(points))


def test_side_passed_last_counts():
    path = np.array([[0, 0.5], [1.2, 0.5], [0.5, 0.0], [0.8, -0.5], [1.5, -0.5]])
    assert passed_side(Pose2(0, 0), box(1, 0), path) is RIGHT
    assert passed_side(Pose2(0, 0), box(1, 0), path[:1]) is None


def test_realised_side_is_none_when_mixed_or_not_reached():
    world = scene(box(1, 0), box(2, 0, name="box_2"), cup(4, 0), side=LEFT)
    assert realised_side(world, np.array([[0, 0.5], [3, 0.5]])) is LEFT
    assert realised_side(world, np.array([[0, 0.5], [1.5, 0.5], [1.6, -0.5], [3, -0.5]])) is None
    assert realised_side(world, np.array([[0, 0.0], [0.5, 0.0]])) is None
