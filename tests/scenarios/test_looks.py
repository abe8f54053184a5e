"""Keys of scenario files that change how scenes look, and the kinds that furnish them."""

from dataclasses import replace

import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.types import NAMED_KINDS, Kind, Role
from vla_sim.scenarios import load_scenario
from vla_sim.scenarios.appearance import FLOOR_COLORS
from vla_sim.scenarios.scene_distribution import KINDS
from vla_sim.scenarios.usual_sizes import DEFAULTS, REAL_SIZES

SCENE = """
format = 1
names = ["one"]
{keys}
[objects.goal]
role = "goal"
kind = "{goal}"
ahead_m = 2.5
[objects.thing]
role = "{role}"
kind = "{kind}"
ahead_m = 1.4
aside_m = 1.2
"""
LOOK = """
[room]
ceiling_m = 2.5
[look]
exposure = { uniform = [0.4, 0.5] }
noise = { uniform = [10, 12] }
floor_brightness = 0.5
"""


@pytest.fixture
def sampled(tmp_path):
    def sample(seed=0, keys="", goal="cup", kind="box", role="furniture"):
        path = tmp_path / "one.toml"
        path.write_text(SCENE.format(keys=keys, goal=goal, kind=kind, role=role))
        return load_scenario(path).sample(seed)

    return sample


@pytest.mark.parametrize("seed", range(5))
def test_looks_move_nothing_and_recolour_no_object(sampled, seed):
    usual, other = sampled(seed), sampled(seed, LOOK)
    there = [(b.name, b.x_m, b.y_m, b.size_m[:2], b.color) for b in usual.bodies if b.role is not Role.WALL]
    here = [(b.name, b.x_m, b.y_m, b.size_m[:2], b.color) for b in other.bodies if b.role is not Role.WALL]
    assert here == there
    assert usual.instruction == other.instruction


def test_walls_carry_the_ceiling(sampled):
    scene = sampled(keys=LOOK)
    assert scene.look.ceiling_m == 2.5
    assert {b.size_m[2] for b in scene.bodies if b.role is Role.WALL} == {2.5}


@pytest.mark.parametrize("texture", FLOOR_COLORS)
def test_floors_have_colours_of_such_floors_unless_their_brightness_is_given(sampled, texture):
    keys = f'[look]\nfloor_texture = "{texture}"\n'
    listed = [sampled(seed, keys).look.floor_color for seed in range(6)]
    for color in listed:
        assert any(
            all(abs(a - f * b) < 1e-6 for a, b in zip(color, one, strict=True))
            for one in FLOOR_COLORS[texture]
            for f in [color[0] / one[0]]
            if 0.9 <= f <= 1.1
        )
    pale = sampled(0, keys + "floor_brightness = 0.3\n").look.floor_color
    assert all(abs(value - 0.3) <= 0.08 + 1e-9 for value in pale)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_stand_as_furniture_at_its_usual_size(sampled, kind):
    usual = DEFAULTS[Kind(kind)]
    thing = next(b for b in sampled(kind=kind).bodies if b.name == "thing")
    assert thing.role is Role.FURNITURE
    for extent, plan in zip(thing.size_m[::2], (usual.depth_m, usual.height_m), strict=True):
        low, high = plan.range
        assert low <= extent <= high


@pytest.mark.parametrize("kind", [Kind.CUP, Kind.BOTTLE, Kind.POT])
def test_real_things_are_smaller_than_enlarged_ones(sampled, kind):
    enlarged, real = (
        next(b for b in sampled(keys=keys, goal=kind.value).bodies if b.name == "goal")
        for keys in ("", 'sizes = "real"')
    )
    assert all(a < b for a, b in zip(real.size_m, enlarged.size_m, strict=True))
    assert REAL_SIZES[kind].mass_kg == DEFAULTS[kind].mass_kg


@pytest.mark.parametrize("kind", [kind for kind in KINDS if Kind(kind) not in NAMED_KINDS])
def test_what_sentences_have_no_noun_for_is_an_obstacle_and_never_a_goal(sampled, kind):
    side = '[task]\nside = "left"\n[room]\nwidth_m = 8\n'
    assert kind not in sampled(keys=side, kind=kind, role="obstacle").instruction.text
    with pytest.raises(UserError, match="noun"):
        sampled(goal=kind)
    with pytest.raises(UserError, match="noun"):
        sampled(kind=kind, role="distractor")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('[look]\nstyle = "bare"', "not a known key"),
        ("[room]\nwall_height_m = 0.8", "not a known key"),
        ("[look]\nnoise = -1", "between 0 and 30"),
        ("[room]\nceiling_m = 0.5", "between 1 and 6"),
        ('sizes = "reel"', "real"),
    ],
)
def test_wrong_keys_are_refused_with_what_is_allowed(sampled, keys, message):
    with pytest.raises(UserError, match=message):
        sampled(keys=keys)


def test_lenses_are_drawn_in_steps_and_change_nothing_else(tmp_path):
    plain, bent = tmp_path / "plain.toml", tmp_path / "bent.toml"
    text = SCENE.format(keys="", goal="cup", role="furniture", kind="table")
    plain.write_text(text, encoding="utf-8")
    bent.write_text(text + "[look]\nlens = { uniform = [-0.1, 0.02] }\n", encoding="utf-8")
    seen = set()
    for seed in range(20):
        one, other = (load_scenario(path).sample(seed) for path in (plain, bent))
        assert one.look.distortion == 0
        assert replace(other.look, distortion=0.0) == one.look
        assert other.bodies == one.bodies
        assert other.look.distortion / 0.005 == pytest.approx(round(other.look.distortion / 0.005))
        seen.add(other.look.distortion)
    assert len(seen) > 8
