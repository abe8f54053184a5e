"""Embodiment files: what ships is right, and mistakes are answered in the file's words."""

import math

import pytest

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.specs import DriveKind
from vla_sim.sim.kinematics import Drive

GOOD = 'format = 1\nname = "mine"\n'


def load_text(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text, "utf-8")
    return load_embodiment(str(path))


@pytest.mark.parametrize("name", embodiment_names())
def test_every_shipped_embodiment_loads_under_its_own_name(name):
    spec = load_embodiment(name)
    assert spec.name == name
    assert spec.description
    assert len(spec.content_hash) == 64


@pytest.mark.parametrize("name", embodiment_names())
def test_every_shipped_embodiment_can_reach_its_own_top_speed_straight_ahead(name):
    spec = load_embodiment(name)
    vx, vy, wz = Drive(spec.drive).limit((spec.max_mps, 0.0, 0.0))
    assert (vx, vy, wz) == pytest.approx((spec.max_mps, 0.0, 0.0), abs=1e-9)


def test_angles_are_degrees_in_the_file_and_radians_in_the_spec(tmp_path):
    spec = load_text(tmp_path, GOOD + "[camera]\nhfov_deg = 120\npitch_deg = 5\n")
    assert spec.camera.hfov_rad == pytest.approx(math.radians(120))
    assert spec.camera.pitch_rad == pytest.approx(math.radians(5))


def test_an_extending_file_changes_only_what_it_says():
    plain, wide = load_embodiment("serbot"), load_embodiment("serbot_wide")
    assert wide.camera.hfov_rad > plain.camera.hfov_rad
    assert (wide.body, wide.drive, wide.actuation) == (plain.body, plain.drive, plain.actuation)
    assert wide.content_hash != plain.content_hash


def test_the_differential_robot_has_no_sideways_action():
    spec = load_embodiment("diffbot")
    assert spec.drive.kind is DriveKind.DIFFERENTIAL
    assert spec.action_names == ("vx", "wz")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("format = 2\nname = 'mine'", ["format", "2"]),
        ("name = 'mine'", ["format"]),
        (GOOD + "[body]\nradius = 0.2", ["body.radius", "radius_m"]),
        (GOOD + "[body]\nradius_m = 'wide'", ["body.radius_m", "wide"]),
        (GOOD + "[body]\nradius_m = -1", ["radius_m", "-1"]),
        (GOOD + "[camera]\nhfov_rad = 1.5", ["camera.hfov_rad", "hfov_deg"]),
        (GOOD + "[camera]\nhfov_deg = 200", ["200"]),
        (GOOD + "[camera]\nimage_px = [224]", ["image_px", "2 numbers"]),
        (GOOD + "[drive]\nkind = 'omni'", ["drive.kind", "omni3"]),
        (GOOD + "[actuation]\nkind = 'pulse'", ["actuation.kind", "heading_pulse"]),
        (GOOD + "[timing]\ncontrol_s = 0.33", ["whole number"]),
        (GOOD + "[action]\nnames = ['vy', 'vx']", ["action.names"]),
        (GOOD + "[drive]\nkind = 'differential'", ["sideways"]),
        (GOOD + "[drive]\nkind = 'ackermann'", ["sideways", "ackermann"]),
        (GOOD + "[drive]\nwheel_gains = [1, 1]", ["drive.wheel_gains", "3 wheels", "[1.0, 1.0]"]),
        (GOOD + "[drive]\nwheel_gains = [0, 0, 0]", ["drive.wheel_gains", "never move"]),
        (GOOD + "[drive]\nwheel_gains = [1, 1, 1.2]", ["drive.wheel_gains", "1.2"]),
        (
            GOOD + "[action]\nnames = ['vx', 'wz']\n[drive]\nkind = 'ackermann'\nwheel_gain_spread = 0.1",
            ["wheel_gain_spread", "ackermann", "actuation.slip"],
        ),
        (GOOD + "[sensor]\nx = 1", ["sensor"]),
        (GOOD + "body = 3", ["body", "table"]),
        (GOOD + "extends = 'mine'", ["circle"]),
        (GOOD + "extends = 'serbott'", ["serbot"]),
        ("this is no toml", ["mine.toml"]),
    ],
)
def test_a_mistake_is_named_with_file_and_what_would_be_right(tmp_path, text, words):
    with pytest.raises(UserError) as error:
        load_text(tmp_path, text)
    for word in words:
        assert word in str(error.value)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(UserError, match=r"none\.toml"):
        load_embodiment(str(tmp_path / "none.toml"))
