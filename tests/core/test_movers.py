"""Things that move by themselves: where they are, how they react, and that planner and physics agree about them."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.geometry import surface_distance
from vla_sim.core.movers import Movers, placed
from vla_sim.core.timed_planner import TimedPlanner
from vla_sim.core.types import (
    Body,
    Instruction,
    Kind,
    Look,
    Motion,
    Outcome,
    Pose2,
    Reaction,
    Role,
    Scene,
    SuccessRule,
    Task,
)
from vla_sim.envs.simulation import Simulation
from vla_sim.scenarios import load_scenario, load_suite

RADIUS_M = 0.15
GOAL = Body("goal", Kind.CUP, Role.GOAL, (0.2, 0.2, 0.3), 3.0, 0.0, mass_kg=0.4)
STOPPED = Task(success=SuccessRule.STOPPED, time_limit_s=30.0)
STILL = np.zeros(2)


def walker(*points, speed=0.5, wait_s=0.0, kind=Kind.PERSON, size=(0.5, 0.5, 1.7), **motion):
    """A body and its motion through points (x, y)."""
    times, poses = [0.0], [Pose2(*points[0], math.atan2(*np.subtract(points[1], points[0])[::-1]))]
    if wait_s:
        times, poses = [0.0, wait_s], poses * 2
    for here, there in itertools.pairwise(points):
        times.append(times[-1] + math.dist(here, there) / speed)
        poses.append(Pose2(*there, poses[-1].yaw_rad))
    body = Body("ann", kind, Role.MOVER, size, *points[0], yaw_rad=poses[0].yaw_rad)
    return body, Motion("ann", tuple(times), tuple(poses), **motion)


def scene_with(body, motion, *others, task=STOPPED):
    bodies = (GOAL, body, *others)
    return Scene("", 0, Pose2(0.0, 0.0), bodies, (-2, 5, -2.5, 2.5), task, Look(), Instruction(""), motions=(motion,))


def run(scene, action=STILL, steps=60, robot="serbot"):
    """Drive one action until the episode ends; the simulation and where the mover was after each step."""
    simulation = Simulation(load_embodiment(robot))
    simulation.start(scene)
    places = []
    while simulation.outcome is None and len(places) < steps:
        simulation.advance(np.asarray(action, dtype=float))
        places.append(simulation.moved()["ann"][0])
    simulation.close()
    return simulation, np.array(places)


def test_a_mover_follows_its_path_by_the_clock():
    scene = scene_with(*walker((2.0, -2.0), (2.0, 2.0), speed=0.5, wait_s=1.0))
    movers = Movers(scene, RADIUS_M)
    for _ in range(10):
        movers.decide(scene.start)
        movers.advance(0.4)
    assert movers.placed_after(0.0)[0].y_m == pytest.approx(-2 + 0.5 * (4.0 - 1.0))
    assert movers.placed_after(0.2)[0].y_m == pytest.approx(-2 + 0.5 * (4.2 - 1.0))


@pytest.mark.parametrize("kind", [Kind.PERSON, Kind.CART])
def test_who_walks_into_a_standing_robot_is_the_collision_partner(kind):
    size = (0.5, 0.5, 1.0) if kind is Kind.PERSON else (0.8, 0.5, 0.9)
    simulation, places = run(scene_with(*walker((2.0, 0.0), (-1.0, 0.0), kind=kind, size=size)))
    assert (simulation.outcome, simulation.collision_partner) == (Outcome.COLLISION, "ann")
    assert places[-1][0] == pytest.approx(size[0] / 2 + RADIUS_M, abs=0.02)


def test_the_robot_that_drives_into_a_standing_person_names_it():
    simulation, _ = run(scene_with(*walker((1.5, 0.0), (1.5, 1.0), wait_s=50.0)), action=(0.5, 0.0))
    assert (simulation.outcome, simulation.collision_partner) == (Outcome.COLLISION, "ann")


@pytest.mark.parametrize("reaction", [Reaction.STOP, Reaction.ASIDE])
def test_polite_movers_do_not_touch_a_robot_that_stands(reaction):
    simulation, places = run(scene_with(*walker((2.0, 0.05), (-1.5, 0.05), reaction=reaction, react_m=0.8)))
    assert simulation.outcome is not Outcome.COLLISION
    assert (places[-1][0] > 0.7) == (reaction is Reaction.STOP)


def test_who_steps_aside_stays_out_of_walls():
    wall = Body("wall", Kind.WALL, Role.WALL, (4.0, 0.1, 1.0), 1.0, 0.45)
    scene = scene_with(*walker((2.0, 0.1), (-1.5, 0.1), reaction=Reaction.ASIDE), wall)
    movers = Movers(scene, RADIUS_M)
    robot = Pose2(0.0, -0.2)
    for _ in range(20):
        movers.decide(robot)
        movers.advance(0.4)
        assert movers.placed_after(0.0)[0].y_m + 0.25 < 0.4


def test_a_mover_that_waits_for_the_robot_starts_when_it_is_near():
    scene = scene_with(*walker((2.0, 0.0), (2.0, 2.0), starts_within_m=1.0))
    movers = Movers(scene, RADIUS_M)
    for robot, started in ((Pose2(0, 0), False), (Pose2(0.5, 0), False), (Pose2(0.7, 0), True), (Pose2(0, 0), True)):
        movers.decide(robot)
        before = movers.placed_after(0.0)[0].y_m
        movers.advance(0.4)
        assert (movers.placed_after(0.0)[0].y_m > before) == started


def test_waiting_near_somebody_under_way_is_not_giving_up():
    crossing = walker((2.0, -2.0), (2.0, 2.0), speed=0.5)
    simulation, _ = run(scene_with(*crossing))
    assert simulation.outcome is Outcome.STOPPED_SHORT
    # Its rim is within 2.5 m from the first moment on, and the walk takes 8 s.
    assert simulation.time_s == pytest.approx(8.0 + STOPPED.give_up_s, abs=0.5)
    far, _ = run(scene_with(*walker((4.7, -2.0), (4.7, 2.0), speed=0.5)))
    assert far.time_s == pytest.approx(STOPPED.give_up_s)


def test_stopping_at_the_goal_counts_while_somebody_is_near():
    scene = scene_with(*walker((2.0, -2.0), (2.0, 2.0), speed=0.1))
    scene = replace(scene, start=Pose2(2.6, 0.0))
    simulation, _ = run(scene)
    assert simulation.outcome is Outcome.SUCCESS


@pytest.mark.parametrize("robot", ["serbot", "lekiwi", "diffbot"])
def test_physics_and_coasting_agree_on_the_moment_of_contact(robot, monkeypatch):
    scene = scene_with(*walker((2.0, 0.3), (-1.0, 0.3), speed=0.37))
    action = {"serbot": (0.0, 0.0), "lekiwi": (0.1, 0.0, 0.0), "diffbot": (0.1, 0.0)}[robot]
    coasting, _ = run(scene, action, robot=robot)
    monkeypatch.setattr("vla_sim.sim.robot.Robot._free_steps", lambda self, most: 0)
    physics, _ = run(scene, action, robot=robot)
    assert coasting.outcome is physics.outcome is Outcome.COLLISION
    assert coasting.time_s == pytest.approx(physics.time_s, abs=0.02)


def test_a_lagging_robot_may_stand_for_a_minute():
    lekiwi = load_embodiment("lekiwi")
    simulation = Simulation(lekiwi)
    simulation.start(replace(scene_with(*walker((4.5, -2.0), (4.5, 2.0))), task=Task(time_limit_s=90.0)))
    simulation.advance(np.array([0.3, 0.0, 0.0]))
    while simulation.outcome is None:
        simulation.advance(np.zeros(3))
    assert simulation.outcome is Outcome.TIMEOUT
    simulation.close()


def test_a_plan_among_movers_never_comes_near_them():
    scene = scene_with(*walker((2.5, 0.0), (-1.5, 0.0), speed=0.6))
    planner = TimedPlanner(scene, RADIUS_M, margin_m=0.1, mover_margin_m=0.12, speed_mps=0.5, step_s=0.4)
    movers, here = Movers(scene, RADIUS_M), (0.0, 0.0)
    for _ in range(30):
        movers.decide(Pose2(*here))
        there = planner.next_point(*here, movers, 8.0)
        for share in np.linspace(0.0, 1.0, 9):
            point = np.array(here) + share * np.subtract(there, here)
            assert planner.gaps(point[None], np.array([0.4 * share]), movers)[0] > 0.1
        movers.advance(0.4)
        here = there
    assert math.dist(here, (GOAL.x_m, GOAL.y_m)) < 0.6


def test_scenes_that_movers_make_impossible_are_not_solvable():
    walls = [Body(f"w{y}", Kind.WALL, Role.WALL, (6.0, 0.1, 1.0), 2.0, y) for y in (-0.5, 0.5)]
    end = Body("end", Kind.WALL, Role.WALL, (0.1, 1.1, 1.0), -0.5, 0.0)
    scene = scene_with(*walker((2.0, 0.0), (-0.2, 0.0), speed=0.05), *walls, end)
    planner = TimedPlanner(scene, RADIUS_M, margin_m=0.05, mover_margin_m=0.1, speed_mps=0.5, step_s=0.4)
    assert not planner.solvable(Movers(scene, RADIUS_M), 30.0)
    away = scene_with(*walker((1.0, 0.0), (2.0, 0.0), (2.0, 2.4)), *walls[:1], end)
    planner = TimedPlanner(away, RADIUS_M, margin_m=0.05, mover_margin_m=0.1, speed_mps=0.5, step_s=0.4)
    assert planner.solvable(Movers(away, RADIUS_M), 30.0)


@pytest.mark.parametrize("name", [scenario.name for scenario in load_suite("people")])
def test_people_keep_out_of_what_stands_and_of_the_start(name):
    for seed in range(6):
        scene = load_scenario(name).sample(seed)
        movers = Movers(scene, RADIUS_M)
        movers.start()
        solid = [b for b in scene.bodies if b.role is not Role.MOVER]
        for time_s in np.arange(0.0, 30.0, 0.5):
            for body in (placed(b, p) for b, p in zip(movers.bodies, movers.poses_after(time_s).values(), strict=True)):
                # Circles inside the footprint: no body lies within them.
                radius = min(body.size_m[:2]) / 2
                assert all(surface_distance(s, body.x_m, body.y_m) > radius for s in solid)
        first = movers.placed_after(0.0)[0]
        assert math.dist((first.x_m, first.y_m), (scene.start.x_m, scene.start.y_m)) > 0.5


@pytest.mark.parametrize("name", [s.name for suite in ("rooms", "people") for s in load_suite(suite)])
def test_same_seed_gives_the_same_movers(name):
    assert load_scenario(name).sample(7) == load_scenario(name).sample(7)
