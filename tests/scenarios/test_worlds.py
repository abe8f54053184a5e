"""Every shipped scenario: worlds are feasible, repeatable, fair to both sides, and told truly."""

import functools
import itertools
import math

import numpy as np
import pytest
from shapely.affinity import rotate, translate
from shapely.geometry import Point, box

from vla_sim.core.geometry import clearances
from vla_sim.core.planner import Planner
from vla_sim.core.surfaces import FLOOR_TEXTURES, TEXTURES, WALL_TEXTURES
from vla_sim.core.types import Kind, Role, Side
from vla_sim.scenarios import load_scenario, load_suite, opposite, scenario_names

RADIUS_M = 0.15
SEEDS = range(30)
NAMES = scenario_names()
LEFT_NAMES = [name for name in NAMES if "left" in name.split("_") and load_scenario(name).twin]
# Four walls around a start at the usual place, and a goal in view from there.
OPEN = [name for name in NAMES if load_scenario(name).suite in ("core", "hard", "seed")]
CORE = [scenario.name for scenario in load_suite("core")]


@functools.cache
def worlds_of(name):
    return tuple(load_scenario(name).sample(seed) for seed in SEEDS)


def footprint(body):
    """An independent idea of what a body covers."""
    if body.round:
        return Point(body.x_m, body.y_m).buffer(body.size_m[0] / 2)
    half_x, half_y = body.size_m[0] / 2, body.size_m[1] / 2
    turned = rotate(box(-half_x, -half_y, half_x, half_y), body.yaw_rad, origin=(0, 0), use_radians=True)
    return translate(turned, body.x_m, body.y_m)


@pytest.mark.parametrize("name", NAMES)
def test_every_world_is_feasible_on_the_asked_side(name):
    for world in worlds_of(name):
        planner = Planner(world, RADIUS_M, 0.05)
        start = (world.start.x_m, world.start.y_m)
        assert planner.clearance(*start) > 0.02
        if world.task.refuse:
            continue
        assert 0 < planner.distance(*start) < 8
        assert planner.distance(*start) / 0.5 < 0.7 * world.task.time_limit_s


@pytest.mark.parametrize("name", NAMES)
def test_bodies_stand_apart_from_each_other_inside_the_walls(name):
    for world in worlds_of(name):
        bodies = [body for body in world.bodies if body.role not in (Role.WALL, Role.MOVER)]
        areas = [footprint(body) for body in bodies]
        assert all(one.distance(other) > 0.01 for one, other in itertools.combinations(areas, 2))
        x_min, x_max, y_min, y_max = world.bounds_m
        assert all(box(x_min, y_min, x_max, y_max).contains(area) for area in areas)
        walls = [footprint(wall) for wall in world.with_role(Role.WALL)]
        assert all(wall.distance(area) > 0.01 for wall, area in itertools.product(walls, areas))
        assert name not in OPEN or len(walls) == 4
        assert all(body.mass_kg > 0 for body in bodies)


@pytest.mark.parametrize("name", OPEN)
def test_the_goal_is_ahead_and_in_view_at_the_start(name):
    for world in worlds_of(name):
        assert abs(math.atan2(world.goal.y_m, world.goal.x_m)) < math.radians(35)


@pytest.mark.parametrize("name", NAMES)
def test_looks_use_known_surfaces_and_visible_colors(name):
    for world in worlds_of(name):
        look = world.look
        assert look.floor_texture in FLOOR_TEXTURES
        assert look.wall_texture in WALL_TEXTURES
        assert all(body.texture in TEXTURES for body in world.bodies)
        assert 0.75 <= look.sun + look.ambient <= 1.25
        assert max(map(abs, look.camera_tilt_rad)) <= math.radians(2)
        for body in world.bodies:
            if body.role not in (Role.WALL, Role.MOVER):
                assert math.dist(body.color, look.floor_color) > 0.15


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_scene_in_any_order(name):
    scenario = load_scenario(name)
    forwards = [scenario.sample(seed) for seed in range(3)]
    backwards = [scenario.sample(seed) for seed in reversed(range(3))]
    assert forwards == backwards[::-1]
    assert len({world.bodies for world in forwards}) == 3


@pytest.mark.parametrize("name", LEFT_NAMES)
def test_twins_share_world_and_look_and_differ_in_side_and_sentence(name):
    twin = name.replace("left", "right")
    for seed, split in itertools.product(range(3), ("train", "eval")):
        left, right = (load_scenario(n).sample(seed, split=split) for n in (name, twin))
        assert (left.bodies, left.look, left.bounds_m) == (right.bodies, right.look, right.bounds_m)
        assert (left.task.side, right.task.side) == (Side.LEFT, Side.RIGHT)
        assert left.instruction.text != right.instruction.text
        assert opposite(left) == right
        assert opposite(right) == left


def test_opposite_of_a_world_without_a_side_is_none():
    assert opposite(load_scenario("reach_goal").sample(0)) is None


def test_split_and_language_do_not_change_the_world():
    scenario = load_scenario("obstacle_left")
    for seed in SEEDS:
        worlds = [scenario.sample(seed, split=s, language=lang) for s in ("train", "eval") for lang in ("en", "ko")]
        assert len({(world.bodies, world.look) for world in worlds}) == 1


@pytest.mark.parametrize("name", ["obstacle_left", "two_obstacles_left", "1box_hori_left", "2box_hori_left"])
def test_neither_side_is_favoured(name):
    worlds = [load_scenario(name).sample(seed) for seed in range(120)]
    ways = np.array([[Planner(w, RADIUS_M).distance(0, 0) for w in (world, opposite(world))] for world in worlds])
    assert abs(ways[:, 0].mean() / ways[:, 1].mean() - 1) < 0.03
    assert 0.38 < (ways[:, 0] < ways[:, 1]).mean() < 0.62
    assert ways.max(axis=1).mean() / ways.min(axis=1).mean() < 1.1


def test_every_object_of_choose_goal_is_picked_about_equally():
    worlds = [load_scenario("choose_goal").sample(seed) for seed in range(300)]
    picked = np.array([["left", "middle", "right"].index(world.goal.name) for world in worlds])
    assert np.bincount(picked, minlength=3).min() > 75


def test_choices_differ_in_kind_and_color_and_stand_apart():
    for seed in range(100):
        world = load_scenario("choose_goal").sample(seed)
        bodies = [world.goal, *world.with_role(Role.DISTRACTOR)]
        assert len({body.kind for body in bodies}) == 3
        asides = sorted(body.y_m for body in bodies)
        assert min(np.diff(asides)) >= 0.85
        for one, other in itertools.combinations(bodies, 2):
            assert math.dist(one.color, other.color) > 0.2


@pytest.mark.parametrize("name", [name for name in CORE if "obstacle" in name])
def test_core_goals_lie_well_behind_the_last_box(name):
    """A robot that keeps its heading must still see the goal once it has passed the box."""
    for seed in range(100):
        world = load_scenario(name).sample(seed)
        assert world.goal.x_m - max(body.x_m for body in world.with_role(Role.OBSTACLE)) > 1.1


def test_two_obstacles_stand_in_a_row_or_side_by_side():
    worlds = [load_scenario("two_obstacles_left").sample(seed) for seed in range(200)]
    gaps = [np.subtract(*[body.x_m for body in world.with_role(Role.OBSTACLE)][::-1]) for world in worlds]
    in_a_row = np.array(gaps) > 0.5
    assert 0.35 < in_a_row.mean() < 0.65


def test_a_bigger_robot_gets_feasible_worlds_too():
    for name, seed in itertools.product(CORE, range(10)):
        world = load_scenario(name).sample(seed, robot_radius_m=0.25)
        assert math.isfinite(Planner(world, 0.25, 0.1).distance(0, 0))


STATED = {
    "basket_core": ((1.0, 1.5), (2.5, 2.5)),
    "basket_close": ((0.3, 0.5), (2.5, 2.5)),
    "basket_far": ((2.5, 3.0), (4.0, 4.5)),
    "basket_offset": ((1.0, 2.0), (2.5, 2.5)),
    "basket_clear": (None, (2.0, 2.0)),
}


@pytest.mark.parametrize(("name", "distances"), list(STATED.items()))
def test_basket_variants_have_the_stated_distances_from_the_front_edge(name, distances):
    pot, basket = distances
    for world in worlds_of(name):
        assert world.goal.kind is Kind.BASKET
        assert basket[0] - 1e-9 <= world.goal.x_m - 0.15 <= basket[1] + 1e-9
        pots = world.with_role(Role.OBSTACLE)
        assert len(pots) == (pot is not None)
        for body in pots:
            assert body.kind is Kind.POT
            assert pot[0] <= body.x_m - 0.15 <= pot[1]
    if name == "basket_offset":
        assert {math.copysign(1, world.with_role(Role.OBSTACLE)[0].y_m) for world in worlds_of(name)} == {-1, 1}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("2box")])
def test_two_boxes_stand_as_the_name_says(name):
    for world in worlds_of(name):
        one, two = world.with_role(Role.OBSTACLE)
        along, across = abs(one.x_m - two.x_m), abs(one.y_m - two.y_m)
        assert (along > across) == ("vert" in name)


def test_distances_of_the_names_are_apart_and_the_plain_name_draws_all():
    names = [f"1box_vert_left_{word}" for word in ("close", "medium", "far")]
    ranges = []
    for name in names:
        xs = [world.with_role(Role.OBSTACLE)[0].x_m for world in worlds_of(name)]
        ranges.append((min(xs), max(xs)))
    assert ranges[0][1] < ranges[1][0]
    assert ranges[1][1] < ranges[2][0]
    xs = np.array([load_scenario("1box_vert_left").sample(seed).with_role(Role.OBSTACLE)[0].x_m for seed in range(150)])
    for low, high in ranges:
        assert ((xs > low - 0.05) & (xs < high + 0.05)).mean() > 0.2


def test_the_free_start_is_judged_with_walls_too():
    world = load_scenario("obstacle_left").sample(0)
    assert clearances(world, np.array([[0.0, 0.0]]), RADIUS_M)[0] > 0.3


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        load_scenario("obstacle_left").sample(-1)
