"""The physics world: bodies by name, real contacts, a base that hovers."""

import pytest

from vla_sim.core.types import Body, Kind, Pose2, Role
from vla_sim.sim.world import World


@pytest.fixture
def world():
    made = World(physics_hz=120)
    made.clear()
    yield made
    made.close()


def box(name="box_0", x=1.0, mass=2.0):
    return Body(name, Kind.BOX, Role.OBSTACLE, (0.3, 0.3, 0.3), x, 0.0, mass_kg=mass)


def add_base(world, x=0.0):
    world.add_base("robot", radius_m=0.15, height_m=0.28, mass_kg=8.0)
    world.stand("robot", Pose2(x, 0.0))


def push(world, steps, speed=0.5):
    for _ in range(steps):
        world.set_velocity("robot", speed, 0.0, 0.0)
        world.step()


def test_base_moves_exactly_as_fast_as_told_and_keeps_its_height(world):
    add_base(world)
    before = world.pose("robot")[0]
    push(world, 120)
    x, y, z = world.pose("robot")[0]
    assert x == pytest.approx(0.5, abs=1e-6)
    assert (y, z) == pytest.approx((before[1], before[2]), abs=1e-6)


def test_a_movable_box_is_pushed_and_reported_as_moved(world):
    world.add(box())
    add_base(world)
    push(world, 240)
    assert world.pose("box_0")[0][0] > 1.1
    assert set(world.moved()) == {"box_0"}


def test_a_fixed_box_stops_the_base(world):
    world.add(box(mass=0.0))
    add_base(world)
    push(world, 300)
    assert world.pose("robot")[0][0] < 1.0 - 0.15 - 0.15 + 0.02
    assert world.moved() == {}


def test_contact_names_both_bodies_and_appears_only_when_they_touch(world):
    world.add(box(mass=0.0))
    add_base(world)
    push(world, 120)
    assert world.contacts("robot") == []
    push(world, 60)
    assert {(c.body, c.other) for c in world.contacts("robot")} == {("robot", "box_0")}


def test_a_resting_body_stays_where_it_was_put(world):
    world.add(box())
    add_base(world, x=-3.0)
    for _ in range(600):
        world.step()
    assert world.moved() == {}


def test_two_bodies_cannot_share_a_name(world):
    world.add(box())
    with pytest.raises(ValueError, match="box_0"):
        world.add(box(x=2.0))


def test_heading_is_set_and_read_back(world):
    add_base(world)
    world.stand("robot", Pose2(0.3, 0.2, 2.5))
    assert world.yaw("robot") == pytest.approx(2.5)
    assert world.pose("robot")[0] == pytest.approx((0.3, 0.2, 0.14))


def test_clear_leaves_an_empty_world_that_can_be_built_again(world):
    world.add(box())
    world.clear()
    world.add(box())
    assert world.moved() == {}
