"""The base in a world: coasting must be what physics would have done."""

from dataclasses import replace

import numpy as np
import pytest

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.types import Body, Kind, Look, Pose2, Role, Scene, Task
from vla_sim.scenarios import load_scenario
from vla_sim.sim import robot as robot_module
from vla_sim.sim.robot import Robot
from vla_sim.sim.world import World


def drive(embodiment, scene, actions, *, stop=True):
    """Poses, twists and contacts of an episode."""
    world = World(physics_hz=embodiment.physics_hz)
    base = Robot(embodiment, world)
    base.place(scene, np.random.default_rng(3))
    seen = []
    for action in actions:
        motion = base.drive(action, stop_on_contact=stop)
        pose, twist = base.pose, base.twist
        touched = tuple(contact.other for contact in motion.contacts)
        seen.append(((pose.x_m, pose.y_m, pose.yaw_rad, *twist), motion.steps, touched))
        if touched and stop:
            break
    world.close()
    return seen


def wandering(seed, embodiment, steps=25):
    rng = np.random.default_rng(seed)
    vx, vy, wz = rng.uniform(-0.1, 0.5, steps), rng.uniform(-0.4, 0.4, steps), rng.uniform(-1, 1, steps)
    turns = "wz" in embodiment.action_names
    return [(float(x), float(y), float(w) if turns else 0.0) for x, y, w in zip(vx, vy, wz, strict=True)]


@pytest.mark.parametrize("name", embodiment_names())
@pytest.mark.parametrize("seed", range(4))
def test_coasting_gives_the_motion_and_contacts_of_physics(name, seed, monkeypatch):
    embodiment = load_embodiment(name)
    scene = load_scenario("two_obstacles_left").sample(seed)
    actions = wandering(seed, embodiment)
    coasted = drive(embodiment, scene, actions)
    monkeypatch.setattr(robot_module, "NEAR_M", 100.0)
    stepped = drive(embodiment, scene, actions)
    assert [(steps, touched) for _, steps, touched in coasted] == [(steps, touched) for _, steps, touched in stepped]
    for (one, _, touched), (other, *_) in zip(coasted, stepped, strict=True):
        # How a base bounces off depends on what Bullet has kept of the approach; where and when it touches does not.
        assert one[:3] == pytest.approx(other[:3], abs=1e-3 if touched else 1e-9)
        assert touched or one[3:] == pytest.approx(other[3:], abs=1e-9)


def test_a_push_goes_on_after_the_first_contact():
    scene = Scene(
        scenario="push",
        seed=0,
        start=Pose2(0.0, 0.0),
        bodies=(
            Body("goal", Kind.CUP, Role.GOAL, (0.1, 0.1, 0.1), 3.0, 0.0),
            Body("box_0", Kind.BOX, Role.OBSTACLE, (0.3, 0.3, 0.3), 0.8, 0.0, mass_kg=1.0),
        ),
        bounds_m=(-5, 5, -5, 5),
        task=Task(),
        look=Look(),
        instruction=load_scenario("reach_goal").sample(0).instruction,
    )
    seen = drive(load_embodiment("serbot"), scene, [(0.5, 0.0, 0.0)] * 8, stop=False)
    assert [touched for _, _, touched in seen if touched] == [("box_0",)]
    assert seen[-1][0][0] > 0.8, "the base must push the box away and go on"


def test_nothing_is_built_while_nothing_is_near(monkeypatch):
    monkeypatch.setattr(Robot, "_build", lambda self: pytest.fail("the world was built"))
    embodiment = load_embodiment("serbot")
    drive(embodiment, load_scenario("reach_goal").sample(1), [(0.5, 0.0, 0.0)] * 2)


def test_standing_still_beside_a_wall_is_not_a_division_by_zero():
    embodiment = load_embodiment("serbot")
    scene = load_scenario("obstacle_left").sample(2)
    box = scene.with_role(Role.OBSTACLE)[0]
    beside = Pose2(box.x_m - box.size_m[0] / 2 - embodiment.body.radius_m - 0.05, box.y_m)
    standing = replace(scene, start=beside, bodies=(replace(box, yaw_rad=0.0), scene.goal))
    seen = drive(embodiment, standing, [(0.5, 0.0, 0.0), (0.0, 0.0, 0.0)], stop=False)
    assert [steps for _, steps, _ in seen] == [embodiment.substeps] * 2
