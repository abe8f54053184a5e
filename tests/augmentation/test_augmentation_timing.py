import math

import numpy as np
import pytest
from augmentation_episodes import driven, invented, same
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_sim.augmentation.redriving import Studio, origin_of
from vla_sim.augmentation.timing import (
    FASTEST,
    SLOWEST,
    Speed,
    as_driven,
    possible_factors,
)
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.motion import joining_twist, path_of
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.rollout.steering import ByActions

FACTORS = (0.5, 0.8, 0.95, 1.3, 2.0)


def _rng(seed=0):
    return np.random.default_rng(seed)


def _slow(steps=9, names=("vx", "vy", "wz"), **fields):
    """An episode that lekiwi could do twice as fast."""
    actions = np.random.default_rng(1).uniform(-0.1, 0.1, (steps, len(names))).astype(np.float32)
    return invented(steps=steps, names=names, actions=actions, labels=(actions * 0.9).astype(np.float32), **fields)


def _end(episode):
    """Where the actions lead, x, y, yaw."""
    twists = np.zeros((len(episode), 3))
    twists[:, [ACTION_NAMES.index(name) for name in episode.action_names]] = episode.actions
    return np.array(path_of(twists, episode.step_s).poses)


@pytest.mark.parametrize("factor", FACTORS)
def test_stretched_drives_take_the_same_path_in_another_time(factor):
    before = _slow()
    after = Speed(factor, embodiment="lekiwi")(before, _rng())
    np.testing.assert_allclose(_end(after), _end(before), atol=1e-6)
    assert len(after) * after.step_s == pytest.approx(len(before) * before.step_s / factor)
    assert np.array_equal(after.images, before.images)
    np.testing.assert_allclose(after.labels, before.labels * factor, rtol=1e-6)
    np.testing.assert_allclose(after.states[:, :3], before.states[:, :3])
    np.testing.assert_allclose(after.states[:, 3:], before.states[:, 3:] * factor, rtol=1e-6)


@pytest.mark.parametrize("last_image", [True, False])
@pytest.mark.parametrize("factor", FACTORS)
def test_resampled_drives_pass_through_the_poses_of_the_old_path(factor, last_image):
    before = _slow(steps=12, last_image=last_image)
    after = Speed(factor, keep_step=True, embodiment="lekiwi")(before, _rng())
    assert after.step_s == before.step_s
    assert len(after) == int(np.ceil(12 / factor - 1e-9))
    assert after.has_last_image == last_image
    old, new = _end(before), _end(after)
    np.testing.assert_allclose(new[-1], old[-1], atol=1e-5)
    # Wherever a new step begins with an old one, the robot is at the same place.
    for step in range(len(after)):
        if abs(step * factor - round(step * factor)) < 1e-9:
            np.testing.assert_allclose(new[step], old[round(step * factor)], atol=1e-5)


def test_resampled_pictures_and_labels_are_the_nearest_recorded():
    before = _slow(steps=12)
    after = Speed(2.0, keep_step=True, embodiment="lekiwi")(before, _rng())
    assert np.array_equal(after.images, before.images[::2])
    np.testing.assert_allclose(after.labels, 2 * before.labels[::2], rtol=1e-6)
    assert after.events == before.events[::2]


def test_resampled_robots_without_sideways_motion_stay_without():
    gentle = _slow(names=("vx", "wz"))
    turning = np.tile(np.float32([[0.3, 0.9], [0.3, -0.9]]), (4, 1))
    zigzag = invented(steps=8, names=("vx", "wz"), actions=turning, labels=None)
    assert Speed(1.5, keep_step=True, embodiment="diffbot")(gentle, _rng()).action_names == ("vx", "wz")
    with pytest.raises(UserError, match="sideways"):
        Speed(0.75, keep_step=True, embodiment="diffbot")(zigzag, _rng())
    assert len(Speed(0.75, embodiment="diffbot")(zigzag, _rng())) == 8


@given(st.tuples(*[st.floats(-2, 2)] * 3), st.tuples(*[st.floats(-0.5, 0.5)] * 3))
@settings(max_examples=60, deadline=None)
def test_the_joining_twist_leads_to_the_pose(start, move):
    end = path_of(np.array([_into(start), move]), 1.0).poses[2]
    begin = path_of(np.array([_into(start)]), 1.0).poses[1]
    np.testing.assert_allclose(joining_twist(begin, end), move, atol=1e-6)


def _into(pose):
    return joining_twist((0.0, 0.0, 0.0), pose)


def test_the_same_speed_is_the_same_episode():
    assert same(Speed(1.0)(driven(embodiment="lekiwi"), _rng()), driven(embodiment="lekiwi"))


def test_what_passes_the_robots_limit_is_refused_with_what_it_can_do():
    episode = driven(embodiment="lekiwi")
    _, high = possible_factors(episode, load_embodiment("lekiwi"))
    with pytest.raises(UserError, match=r"lekiwi cannot drive it 3 times as fast: .* allow .* to"):
        Speed(3.0)(episode, _rng())
    Speed(min(high, 10.0))(episode, _rng())
    with pytest.raises(UserError, match="cannot drive it"):
        Speed(high * 1.01)(episode, _rng())


def test_labels_count_for_the_limit_too():
    actions = np.full((5, 3), 0.05, np.float32)
    episode = invented(actions=actions, labels=actions * np.float32(7))
    with pytest.raises(UserError, match="cannot drive it 2 times"):
        Speed(2.0, embodiment="lekiwi")(episode, _rng())


def test_a_robot_with_one_speed_is_refused():
    with pytest.raises(UserError, match="serbot drives at one speed whatever it is told"):
        Speed(0.9)(driven(), _rng())


def test_recordings_that_name_no_robot_are_refused():
    with pytest.raises(UserError, match="does not say which robot drove"):
        Speed(0.9)(invented(), _rng())


@pytest.mark.parametrize("keep_step", [False, True])
def test_drawn_factors_lie_in_what_the_robot_can_do(keep_step):
    episode = driven(embodiment="lekiwi")
    low, high = possible_factors(episode, load_embodiment("lekiwi"))
    found = []
    for seed in range(12):
        made = Speed(keep_step=keep_step)(episode, _rng(seed))
        found.append(float(made.provenance["augmentation"].split("=")[1].rstrip(")")))
        assert same(made, Speed(keep_step=keep_step)(episode, _rng(seed)))
    assert max(low, SLOWEST) - 1e-3 <= min(found) < max(found) <= min(high, FASTEST) + 1e-3


@pytest.mark.parametrize("factor", [0.0, -1.0, 11.0, float("nan")])
def test_impossible_factors_are_refused(factor):
    with pytest.raises(UserError, match="factor must lie between"):
        Speed(factor)


def test_what_the_wheels_could_not_do_is_cut_first():
    robot = load_embodiment("lekiwi")
    fast = invented(actions=np.full((5, 3), 0.39, np.float32), labels=None)
    assert np.abs(as_driven(fast, robot).actions).max() < 0.39
    assert same(as_driven(_slow(), robot), _slow())
    half = Speed(0.5, embodiment="lekiwi")(fast, _rng())
    np.testing.assert_allclose(_end(half), _end(as_driven(fast, robot)), atol=1e-6)
    assert possible_factors(as_driven(fast, robot), robot)[1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("factor", [0.8, 0.9])
def test_the_resampled_drive_ends_where_the_simulator_drove(factor):
    """lekiwi's lag and limits of acceleration move it a little off what was commanded, then and now."""
    episode = driven(embodiment="lekiwi")
    made = Speed(factor, keep_step=True)(episode, _rng())
    origin = origin_of(episode)
    with Studio(origin) as studio:
        ended = studio.run(ByActions(made.actions, origin.robot), origin.scene)
    assert math.dist(ended.observer.seen.states[-1][:2], episode.states[-1, :2]) < 0.08
    assert ended.outcome is episode.outcome
