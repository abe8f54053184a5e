import numpy as np
import pytest
from serbot_files import episode

from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.actions import (
    UNSCALED,
    LabelScale,
    check_columns,
    padded,
    pick_columns,
    with_still_start,
)

TABLE = np.array([[1.15, -1.15, 0], [0, 1.15, 0]], np.float32)


def test_a_full_label_is_the_calibrated_speed():
    twists = LabelScale().twists(TABLE, ("vx", "vy", "wz"))
    assert twists.dtype == np.float32
    assert twists.tolist() == [[0.5, -0.5, 0.0], [0.0, 0.5, 0.0]]
    assert LabelScale(turn_radps=0.8).twists(np.array([[1.15]]), ("wz",)) == pytest.approx(0.8)
    assert np.array_equal(UNSCALED.twists(TABLE, ("vx", "vy", "wz")), TABLE)


def test_labels_and_twists_are_inverse():
    twists = np.random.default_rng(0).uniform(-0.5, 0.5, (50, 2)).astype(np.float32)
    again = LabelScale().twists(LabelScale().labels(twists, ("vx", "vy")), ("vx", "vy"))
    assert np.allclose(again, twists, rtol=2e-7, atol=0)


@pytest.mark.parametrize("bad", [0, -1.15, float("nan")])
def test_a_scale_must_be_positive(bad):
    with pytest.raises(ValueError, match="label must be positive"):
        LabelScale(label=bad)


def test_columns_are_picked_by_name_and_motion_is_never_lost():
    assert pick_columns(TABLE, ("vx", "vy", "wz"), ("vx", "vy"), "a.h5").tolist() == TABLE[:, :2].tolist()
    assert pick_columns(TABLE, ("vx", "wz", "gripper"), ("vx", "wz"), "a.h5").tolist() == TABLE[:, :2].tolist()
    with pytest.raises(UserError, match=r"a.h5: column 1 \(vy\) is not zero at step 0"):
        pick_columns(TABLE, ("vx", "vy", "wz"), ("vx", "wz"), "a.h5")
    with pytest.raises(UserError, match="but no vy"):
        pick_columns(TABLE, ("vx", "wz", "gripper"), ("vx", "vy"), "a.h5")


def test_column_names_are_checked():
    with pytest.raises(UserError, match=r"unknown action column 'vz'; did you mean 'v[xy]'|'wz'"):
        check_columns(("vx", "vz"))
    with pytest.raises(UserError, match="must differ"):
        check_columns(("vx", "vx"))


@pytest.mark.parametrize("last", [True, False])
def test_still_start_puts_a_standing_frame_before_the_drive(last):
    drive = episode(5, last=last)
    started = with_still_start(drive)
    assert len(started) == 6
    assert started.has_last_image == last
    assert np.array_equal(started.images[0], started.images[1])
    assert not started.actions[0].any()
    assert not started.labels[0].any()
    assert started.events[0] == "episode_start"
    assert np.array_equal(started.images[1:], drive.images)
    assert np.array_equal(started.actions[1:], drive.actions)
    assert np.array_equal(started.states[1:], drive.states)


@pytest.mark.parametrize("last", [True, False])
def test_padding_repeats_the_last_picture_with_stops(last):
    drive = episode(5, last=last)
    longer = padded(drive, 18)
    assert len(longer) == 18
    assert longer.has_last_image == last
    assert (longer.images[len(drive.images) :] == drive.images[-1]).all()
    assert not longer.actions[5:].any()
    assert set(longer.events[5:]) == {"stop_action"}
    assert np.array_equal(longer.actions[:5], drive.actions)
    assert padded(drive, 5) is drive
