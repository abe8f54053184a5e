"""Ranges are those to the footprints: checked against the distance to a body's surface, and against walking the ray."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.geometry import surface_distance
from vla_sim.core.sensors import LidarSpec
from vla_sim.core.types import Body, Kind, Pose2, Role
from vla_sim.sim.lidar import Footprints, Lidar, ray_angles

PLACE = st.floats(-3, 3)
SIZE = st.floats(0.05, 1.5)


@st.composite
def bodies(draw):
    kind = draw(st.sampled_from([Kind.BOX, Kind.CUP, Kind.WALL]))
    x, y = draw(SIZE), draw(SIZE)
    size = (x, x if kind is Kind.CUP else y, 1.0)
    return Body("body", kind, Role.OBSTACLE, size, draw(PLACE), draw(PLACE), draw(st.floats(-4, 4)))


@given(st.lists(bodies(), min_size=1, max_size=4), PLACE, PLACE, st.floats(-4, 4))
def test_a_ray_ends_on_the_first_surface_that_it_meets(things, x, y, angle):
    (found,) = Footprints(things, 0.1).ranges(np.array([x, y]), np.array([angle])).tolist()
    walked = np.arange(0.0, 12.0, 0.02)
    gaps = [min(surface_distance(t, x + s * math.cos(angle), y + s * math.sin(angle)) for t in things) for s in walked]
    inside = np.flatnonzero(np.array(gaps) <= -1e-6)  # a ray that grazes may miss
    if math.isfinite(found):
        end = [surface_distance(t, x + found * math.cos(angle), y + found * math.sin(angle)) for t in things]
        assert found == 0.0 or min(abs(gap) for gap in end) < 1e-6
        assert not len(inside) or walked[inside[0]] >= found - 1e-9
    else:
        assert not len(inside)


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, math.pi, -math.pi / 2])
def test_rays_along_a_side_do_not_divide_by_zero(angle):
    box = Body("box", Kind.BOX, Role.OBSTACLE, (1.0, 1.0, 1.0), 2.0, 0.0)
    assert not np.isnan(Footprints([box], 0.1).ranges(np.array([1.5, 0.5]), np.array([angle]))).any()
    assert np.isinf(Footprints([box], 0.1).ranges(np.array([0.0, 0.6]), np.array([angle]))).all()


def test_the_middle_of_the_rays_looks_ahead_and_the_first_to_the_right():
    assert ray_angles(LidarSpec(rays=3, fov_rad=math.pi)) == pytest.approx([-math.pi / 2, 0.0, math.pi / 2])
    full = ray_angles(LidarSpec(rays=4))
    assert full == pytest.approx([-math.pi, -math.pi / 2, 0.0, math.pi / 2])


def measure(spec, things, pose=Pose2(0.0, 0.0), moved={}, seed=0):  # noqa: B006, B008
    lidar = Lidar(spec)
    lidar.load(things, np.random.default_rng(seed))
    return lidar.measure(pose, moved)


BOX = Body("box", Kind.BOX, Role.OBSTACLE, (0.4, 0.4, 0.5), 2.0, 0.0)


def test_ranges_are_measured_from_the_sensor_s_place_on_the_robot():
    spec = LidarSpec(rays=3, fov_rad=math.pi, mount_m=(0.1, 0.0, 0.2))
    assert measure(spec, [BOX], Pose2(0.5, 0.0)).tolist() == pytest.approx([6.0, 1.2, 6.0])
    assert measure(spec, [BOX], Pose2(2.0, 1.0, -math.pi / 2))[1] == pytest.approx(0.7)


def test_bodies_below_the_sensor_are_not_seen_and_pushed_ones_where_they_are():
    spec = LidarSpec(rays=3, fov_rad=math.pi)
    low = Body("low", Kind.BOX, Role.OBSTACLE, (0.4, 0.4, 0.1), 1.0, 0.0)
    quarter = (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4))
    assert measure(spec, [low, BOX])[1] == pytest.approx(1.8)
    assert measure(spec, [BOX], moved={"box": ((3.0, 0.0, 0.2), quarter)})[1] == pytest.approx(2.8)


def test_noise_is_drawn_from_the_seed_and_never_passes_the_range():
    spec = LidarSpec(rays=64, range_m=2.0, noise_m=0.3)
    ring = Body("ring", Kind.POT, Role.OBSTACLE, (0.4, 0.4, 0.5), 0.6, 0.0)
    first, again, other = (measure(spec, [ring], seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    assert ((first >= 0) & (first <= 2.0)).all()
    assert (first == 2.0).sum() >= 30
