"""Walls, doorways, outlines and turned starts of scenario files."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_sim.core.geometry import surface_distance
from vla_sim.core.movers import Movers, placed
from vla_sim.core.planner import Planner, crossed_wrong_side, realised_side
from vla_sim.core.types import Pose2, Role
from vla_sim.evaluation.api import evaluate
from vla_sim.scenarios import load_scenario, load_suite
from vla_sim.scenarios.reading import InfeasibleScenarioError, ScenarioError

RADIUS_M = 0.15
BASE = """format = 1
[objects.box]
role = "obstacle"
kind = "box"
ahead_m = { uniform = [1.2, 1.6] }
[objects.goal]
role = "goal"
kind = "cup"
ahead_m = 1.5
ahead_from = "box"
[room]
ahead_m = 6
behind_m = 6
width_m = 12
"""


def scene_of(tmp_path, text, seed=0):
    path = tmp_path / "one.toml"
    path.write_text(text)
    return load_scenario(path).sample(seed)


def turned(x, y, yaw_deg, side="left"):
    return f'{BASE}[start]\nx_m = {x}\ny_m = {y}\nyaw_deg = {yaw_deg}\n[task]\nside = "{side}"\n'


@settings(max_examples=25, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-180, 180), st.sampled_from(["left", "right"]))
def test_a_turned_start_gives_the_same_task_seen_from_the_robot(tmp_path_factory, x, y, yaw_deg, side):
    folder = tmp_path_factory.mktemp("turned")
    plain, other = (scene_of(folder, turned(*pose, side)) for pose in ((0, 0, 0), (x, y, yaw_deg)))
    for name in ("box", "goal"):
        here, there = (
            scene.start.seen_from(*next((b.x_m, b.y_m) for b in scene.bodies if b.name == name))
            for scene in (plain, other)
        )
        assert here == pytest.approx(there, abs=1e-9)
    ways = [Planner(scene, RADIUS_M, 0.1).path(scene.start.x_m, scene.start.y_m) for scene in (plain, other)]
    lengths = [np.linalg.norm(np.diff(way, axis=0), axis=1).sum() for way in ways]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.01)
    assert realised_side(other, ways[1]) is other.task.side
    assert not any(crossed_wrong_side(other, a, b) for a, b in itertools.pairwise(ways[1]))
    assert crossed_wrong_side(other, ways[1][0], other.start.point(4.0, -2.0 * other.task.side.sign))


def test_objects_of_the_room_stay_where_they_are_when_the_start_turns(tmp_path):
    shelf = '[objects.shelf]\nrole = "furniture"\nkind = "box"\nframe = "room"\nahead_m = -3\naside_m = 2\n'
    for yaw in (0, 100):
        scene = scene_of(tmp_path, turned(0, 0, yaw).replace("[room]", f"{shelf}[room]"))
        body = next(b for b in scene.bodies if b.name == "shelf")
        assert (body.x_m, body.y_m, body.role) == (-3, 2, Role.FURNITURE)


def test_a_doorway_is_the_only_way_and_as_wide_as_said(tmp_path):
    wall = "[walls.inner]\nfrom_m = [0.8, -6]\nto_m = [0.8, 6]\ndoor_at_m = 7\ndoor_width_m = 0.9\n"
    scene = scene_of(tmp_path, BASE + wall)
    way = Planner(scene, RADIUS_M, 0.1).path(0, 0)
    crossing = np.interp(0.8, way[:, 0], way[:, 1])
    assert 0.55 + RADIUS_M <= crossing <= 1.45 - RADIUS_M
    left, right = (b for b in scene.bodies if b.name.startswith("inner"))
    assert right.y_m - left.y_m - (left.size_m[0] + right.size_m[0]) / 2 == pytest.approx(0.9)


def test_an_outline_closes_the_room_at_every_corner(tmp_path):
    outline = "outline_m = [[-1, -1], [5, -1], [5, 3], [2, 3], [2, 1], [-1, 1]]\n"
    text = BASE.replace("ahead_m = 6\nbehind_m = 6\nwidth_m = 12\n", outline)
    scene = scene_of(tmp_path, text)
    walls = scene.with_role(Role.WALL)
    assert scene.bounds_m == (-1, 5, -1, 3)
    corners = [(-1, -1), (5, -1), (5, 3), (2, 3), (2, 1), (-1, 1)]
    for x, y in corners:
        for angle in np.linspace(0, 2 * math.pi, 60):
            px, py = x + 0.02 * math.cos(angle), y + 0.02 * math.sin(angle)
            inside = (-1 < px < 5 and -1 < py < 1) or (2 < px < 5 and -1 < py < 3)
            touched = min(surface_distance(wall, px, py) for wall in walls) <= 1e-9
            assert inside != touched


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[walls.inner]\nfrom_m = [1, 2]\n", "walls.inner.to_m is missing"),
        ("[walls.inner]\nfrom = [1, 2]\n", r"walls.inner.from is not a known key; did you mean 'from_m'.*door_at_m"),
        ("[walls.inner]\nfrom_m = [1]\nto_m = [1, 1]\n", r"a point is \[x, y\]"),
        ("[walls.goal]\nfrom_m = [1, 2]\nto_m = [1, 3]\n", "gives 'goal', which objects.goal has"),
        ("[walls.wall_2]\nfrom_m = [1, 2]\nto_m = [1, 3]\n", "name with a meaning of its own"),
        ("[movers.box]\nkind = 'person'\npath_m = [[1, 1], [2, 2]]\n", "gives 'box', which objects.box has"),
        ("[movers.ann]\nkind = 'cup'\npath_m = [[1, 1], [2, 2]]\n", "allowed: person, cart, robot, door"),
        ("[movers.ann]\nkind = 'person'\npath_m = [[1, 1]]\n", "a list of 2 to 12 points"),
        ("[movers.ann]\nkind = 'person'\n", "movers.ann needs either path_m or, for a door that swings, hinge_m"),
        (
            "[movers.ann]\nkind = 'door'\nyaw_deg = 0\nhinge_m = [1, 1]\npath_m = [[1, 1], [2, 2]]\n",
            "movers.ann needs either",
        ),
        ("[movers.ann]\nkind = 'person'\nyaw_deg = 0\nhinge_m = [1, 1]\n", "hinge_m is for kind = 'door' with yaw_deg"),
        ("[movers.ann]\nkind = 'door'\nhinge_m = [1, 1]\n", "hinge_m is for kind = 'door' with yaw_deg"),
        ("[start]\nyaw = 3\n", r"start.yaw is not a known key; did you mean 'yaw_deg'"),
    ],
)
def test_wrong_tables_are_refused_in_words(tmp_path, text, said):
    with pytest.raises(ScenarioError, match=said):
        scene_of(tmp_path, BASE + text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[walls.a]\nfrom_m = [1, -1]\nto_m = [1, 1]\ndoor_at_m = 1.9\n", "doorway of a lies beside the wall"),
        ("[walls.a]\nfrom_m = [0.1, -1]\nto_m = [0.1, 1]\n", "the start is in a wall"),
        ("[walls.a]\nfrom_m = [0.9, -6]\nto_m = [0.9, 6]\n", "no way to the goal"),
    ],
)
def test_rooms_that_never_work_say_why(tmp_path, text, said):
    with pytest.raises(InfeasibleScenarioError, match=said):
        scene_of(tmp_path, BASE + text)


@pytest.mark.parametrize("name", [scenario.name for scenario in load_suite("rooms")])
def test_goals_cannot_be_reached_through_a_wall(name):
    for seed in range(20):
        scene = load_scenario(name).sample(seed)
        reach = scene.task.reach_m
        inner = [wall for wall in scene.with_role(Role.WALL) if not wall.name.startswith("wall_")]
        for body in (scene.goal, *scene.with_role(Role.DISTRACTOR)):
            gaps = [surface_distance(wall, body.x_m, body.y_m) - max(body.size_m[:2]) / 2 for wall in inner]
            assert min(gaps, default=math.inf) > reach


def test_the_goal_of_two_rooms_is_behind_the_wall_at_first():
    for seed in range(20):
        scene = load_scenario("two_rooms").sample(seed)
        line = np.linspace((scene.start.x_m, scene.start.y_m), (scene.goal.x_m, scene.goal.y_m), 400)
        assert any(surface_distance(w, *p) < 0 for w in scene.with_role(Role.WALL) for p in line)


def test_a_pose_sees_and_gives_points():
    pose = Pose2(1.0, 2.0, math.pi / 2)
    assert pose.point(1.0, 0.5) == pytest.approx((0.5, 3.0))
    assert pose.seen_from(0.5, 3.0) == pytest.approx((1.0, 0.5))


DOOR = """
[movers.leaf]
kind = "door"
hinge_m = [0.6, 1.7]
yaw_deg = -90
swing_deg = {swing}
depth_m = 0.9
speed_mps = 0.45
start_s = 1.0
{more}
"""


@pytest.mark.parametrize("swing", [90, -90, 7])
def test_a_door_swings_about_its_hinge_at_the_speed_of_its_edge(tmp_path, swing):
    scene = scene_of(tmp_path, BASE + DOOR.format(swing=swing, more=""))
    movers = Movers(scene, 0.15)
    once_s = math.radians(abs(swing)) * 0.9 / 0.45
    for time_s in (0.0, 1.0, 1.0 + once_s / 3, 1.0 + once_s, 30.0):
        pose = movers.poses_after(time_s)["leaf"]
        hinge = pose.point(-0.45, 0.0)
        assert hinge == pytest.approx((0.6, 1.7), abs=2e-3)
        turned = math.degrees(pose.yaw_rad) + 90
        assert turned == pytest.approx(swing * min(1.0, max(0.0, time_s - 1.0) / once_s), abs=0.1)


def test_a_door_that_repeats_shuts_again(tmp_path):
    scene = scene_of(tmp_path, BASE + DOOR.format(swing=90, more="repeat = true"))
    movers, once_s = Movers(scene, 0.15), math.pi / 2 * 0.9 / 0.45
    for number in range(8):
        yaw = math.degrees(movers.poses_after(1.0 + number * once_s)["leaf"].yaw_rad)
        assert yaw == pytest.approx(-90 if number % 2 == 0 else 0, abs=0.1)
    assert scene.motions[0].times_s[-1] > 100


def test_a_shut_door_is_a_wall_and_an_open_one_is_none():
    scene = load_scenario("door_swings").sample(1)
    leaf = next(body for body in scene.bodies if body.name == "leaf")
    movers = Movers(scene, 0.15)
    movers.start()
    movers.advance(60.0)
    opened = placed(leaf, movers.poses_after(0.0)["leaf"])
    middle = scene.doorways[0].middle
    assert surface_distance(leaf, *middle) <= 0
    assert surface_distance(opened, *middle) > 0.3


def test_the_expert_waits_for_a_door_that_swings():
    found = evaluate("expert", scenario="door_swings", episodes=3, floors=False)
    assert found.success_rate("expert") == 1.0
