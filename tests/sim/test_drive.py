"""Wheel kinematics and actuation models."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.specs import ActuationKind, ActuationSpec, DriveKind, DriveSpec, Embodiment
from vla_sim.sim.actuation import Actuation
from vla_sim.sim.kinematics import Drive

FAST = DriveSpec(max_wheel_radps=1e6)


def embodiment(**actuation):
    return Embodiment("test", action_names=("vx", "vy", "wz"), drive=FAST, actuation=ActuationSpec(**actuation))


def drive_for(model, action, steps=48):
    model.command(action)
    return [model.next() for _ in range(steps)]


def test_omni_wheel_speeds_are_those_of_the_lekiwi_driver():
    # One wheel at -90 degrees rolls along -y: driving left (vy = 1 m/s) turns it at -1 / 0.05 rad/s.
    wheels = Drive(DriveSpec()).wheel_speeds((0.0, 1.0, 0.0))
    assert wheels == pytest.approx([math.sin(math.radians(150)) / 0.05, -20.0, math.sin(math.radians(30)) / 0.05])


@pytest.mark.parametrize("twist", [(0.3, 0.0, 0.0), (0.0, -0.2, 0.0), (0.1, 0.2, 0.5)])
def test_a_twist_within_the_limits_comes_out_unchanged(twist):
    assert Drive(FAST).limit(twist) == pytest.approx(twist, abs=1e-12)


def test_saturation_slows_all_wheels_together_and_keeps_the_direction():
    drive = Drive(DriveSpec(max_wheel_radps=9.2))
    vx, vy, wz = drive.limit((1.0, 1.0, 0.0))
    assert np.abs(drive.wheel_speeds((vx, vy, wz))).max() == pytest.approx(9.2)
    assert vx == pytest.approx(vy)
    assert wz == pytest.approx(0.0, abs=1e-12)


def test_some_diagonals_are_limited_where_the_same_speed_straight_ahead_is_not():
    drive = Drive(DriveSpec(max_wheel_radps=9.2))
    speed = 0.5
    straight = drive.limit((speed, 0.0, 0.0))
    sideways = drive.limit((0.0, speed, 0.0))
    assert math.hypot(*straight[:2]) == pytest.approx(speed)
    assert math.hypot(*sideways[:2]) < speed - 0.01


def test_a_differential_drive_cannot_move_sideways():
    drive = Drive(DriveSpec(kind=DriveKind.DIFFERENTIAL))
    assert drive.limit((0.2, 0.3, 0.1)) == pytest.approx((0.2, 0.0, 0.1))


@pytest.mark.parametrize("size", [0.1, 0.3, 1.15])
@pytest.mark.parametrize("heading_deg", [0, 45, 90, 180, -45, -135])
def test_heading_pulse_ignores_magnitude_and_gives_diagonals_the_same_speed(size, heading_deg):
    model = Actuation(embodiment(kind=ActuationKind.HEADING_PULSE, speed_mps=0.5, dead_zone_mps=0.05))
    angle = math.radians(heading_deg)
    vx, vy, wz = drive_for(model, (size * math.cos(angle), size * math.sin(angle), 0.0))[0]
    assert (vx, vy, wz) == pytest.approx((0.5 * math.cos(angle), 0.5 * math.sin(angle), 0.0), abs=1e-9)


def test_heading_pulse_is_mirror_symmetric():
    model = Actuation(embodiment(kind=ActuationKind.HEADING_PULSE))
    for vy in np.linspace(0, 0.4, 23):
        left = drive_for(model, (0.3, float(vy), 0.0))[0]
        right = drive_for(model, (0.3, -float(vy), 0.0))[0]
        assert left == pytest.approx((right[0], -right[1], right[2]))


def test_commands_in_the_dead_zone_do_nothing():
    model = Actuation(embodiment(kind=ActuationKind.HEADING_PULSE, dead_zone_mps=0.05))
    assert set(drive_for(model, (0.04, -0.05, 0.0))) == {(0.0, 0.0, 0.0)}


def test_a_pulse_shorter_than_the_step_ends_in_standstill():
    model = Actuation(embodiment(kind=ActuationKind.HEADING_PULSE, pulse_s=0.2))
    twists = drive_for(model, (0.5, 0.0, 0.0))
    assert [t[0] > 0 for t in twists] == [True] * 24 + [False] * 24


def test_acceleration_is_limited():
    model = Actuation(embodiment(max_accel_mps2=1.2))
    speeds = [0.0, *(t[0] for t in drive_for(model, (0.5, 0.0, 0.0)))]
    assert np.diff(speeds).max() == pytest.approx(1.2 / 120)
    assert speeds[-1] == pytest.approx(0.48)


def test_lag_approaches_the_command_exponentially():
    model = Actuation(embodiment(lag_s=0.1))
    speeds = [t[0] for t in drive_for(model, (0.5, 0.0, 0.0))]
    assert speeds[11] == pytest.approx(0.5 * (1 - math.exp(-1)))


def test_slip_takes_its_share_and_is_drawn_from_the_generator():
    spec = embodiment(slip=0.2, slip_spread=0.05)
    model = Actuation(spec)
    drawn = []
    for seed in (1, 1, 2):
        model.reset(np.random.default_rng(seed))
        drawn.append(drive_for(model, (0.5, 0.0, 0.0))[0][0])
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("slip", 1.0), ("speed_mps", 0.0), ("lag_s", -1.0), ("pulse_s", float("nan"))]
)
def test_impossible_actuation_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ActuationSpec(**{field: value})


def test_physics_and_control_rates_must_divide():
    with pytest.raises(ValueError, match="whole number"):
        Embodiment("test", control_s=0.33, physics_hz=70)


SPEEDS = st.floats(-2, 2)


@given(st.lists(st.tuples(SPEEDS, SPEEDS), min_size=1, max_size=6))
def test_a_car_never_turns_tighter_than_its_steering_not_even_between_two_commands(commands):
    car = load_embodiment("car")
    model = Actuation(car)
    for vx, wz in commands:
        model.command((vx, 0.0, wz))
        for _ in range(24):
            made_x, made_y, made_w = model.next()
            assert made_y == 0.0
            assert abs(made_w) <= abs(made_x) * car.drive.max_curvature + 1e-12


def test_a_car_that_is_told_to_turn_on_the_spot_stands():
    model = Actuation(load_embodiment("car"))
    model.command((0.0, 0.0, 1.0))
    assert model.target == (0.0, 0.0, 0.0)


def test_a_loose_wheel_turns_a_strafe_into_a_rotation():
    """As on the users' robot, whose loose wheel looked like a fault of the policy."""
    robot = replace(embodiment(), drive=replace(FAST, wheel_gains=(1.0, 0.5, 1.0)))
    model = Actuation(robot)
    model.command((0.0, 0.3, 0.0))
    assert abs(model.target[2]) > 0.1
    model.command((0.3, 0.0, 0.0))
    assert model.target == pytest.approx((0.3, 0.0, 0.0))


def test_a_blocked_wheel_is_what_a_two_wheeled_base_turns_about():
    base = DriveSpec(kind=DriveKind.DIFFERENTIAL, max_wheel_radps=1e6, wheel_gains=(0.0, 1.0))
    model = Actuation(replace(embodiment(), action_names=("vx", "wz"), drive=base))
    model.command((0.2, 0.0, 0.0))
    vx, _, wz = model.target
    assert vx == pytest.approx(0.1)
    assert vx - wz * base.base_radius_m == pytest.approx(0.0)


def test_what_wheels_lose_is_drawn_by_the_episode_s_seed_and_leaves_the_slip_as_it_was():
    def target(seed, **drive):
        model = Actuation(replace(embodiment(slip_spread=0.1), drive=replace(FAST, **drive)))
        model.reset(np.random.default_rng(seed))
        model.command((0.3, 0.0, 0.0))
        return model.target

    assert target(3, wheel_gain_spread=0.2) == target(3, wheel_gain_spread=0.2) != target(4, wheel_gain_spread=0.2)
    assert target(3, wheel_gains=(1.0, 1.0, 1.0)) == pytest.approx(target(3))
