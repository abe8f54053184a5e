from datetime import datetime

import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.types import Side
from vla_sim.datasets.serbot.names import labels_of_simulated, parse_name, simulated_stem
from vla_sim.scenarios import load_scenario, load_suite

TAKEN = datetime(2025, 8, 15, 12, 29, 23)

NAMES = [
    ("episode_20250815_122923_2box_vert_left_core_medium", "cup", "2box_vert_left", "left", "2box_vert_left_medium"),
    ("episode_20250815_122923_1box_hori_right_variant_far", "cup", "1box_hori_right", "right", "1box_hori_right_far"),
    ("episode_20251120_101010_1box_right_core_close", "bottle", "1box_right", "right", "bottle_1box_right"),
    ("episode_20251120_101010_2box_left", "bottle", "2box_left", "left", "bottle_2box_left"),
    (
        "episode_20260129_010422_basket_1box_hori_left_core_medium",
        *("basket", "basket_1box_hori_left", "left", "basket_1box_left"),
    ),
    ("episode_20260310_090000_v3_center", "basket_v3", "v3_center", None, "basket_clear"),
    ("episode_20260310_090000_v3_left", "basket_v3", "v3_left", "left", "basket_core_left"),
    ("episode_20260310_090000_v3_right", "basket_v3", "v3_right", "right", "basket_core_right"),
    ("episode_20260310_090000_v3_recovery", "basket_v3", "v3_recovery", None, ""),
    ("episode_20260310_090000_v3_noise", "basket_v3", "v3_noise", None, ""),
]


@pytest.mark.parametrize(("name", "family", "scenario", "side", "simulated"), NAMES)
def test_names_of_all_times_are_understood_and_made_again(name, family, scenario, side, simulated):
    labels = parse_name(name)
    assert (labels.family, labels.scenario, labels.side and labels.side.value) == (family, scenario, side)
    assert labels.simulated == simulated
    assert labels.stem == name
    if simulated:
        load_scenario(simulated)


@pytest.mark.parametrize(("name", "family", "scenario", "side", "simulated"), NAMES)
def test_sentences_made_from_a_name_say_its_side(name, family, scenario, side, simulated):
    labels = parse_name(name)
    if side:
        assert side in labels.instruction("en")
        # The Korean sentence of the bottle sets is the one that names no side.
        assert family == "bottle" or {"left": "왼쪽", "right": "오른쪽"}[side] in labels.instruction("ko")
    else:
        assert "left" not in labels.instruction("en")
    with pytest.raises(UserError, match="unknown language 'de'"):
        labels.instruction("de")


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("episode_20250815_122923_2box_vert_lefft_core_medium", "unknown label 'lefft'; did you mean 'left'"),
        ("episode_20250815_122923_3box_left", "unknown label '3box'; did you mean '1box'|'2box'"),
        ("episode_20250815_122923_left_2box", "must stand as"),
        ("episode_20250815_122923_v3_middle", "unknown label 'middle'"),
        ("episode_20251332_122923_2box_left", "no date and time"),
        ("notes", "not a recording's name"),
    ],
)
def test_other_names_are_refused_with_the_word_that_is_wrong(name, complaint):
    with pytest.raises(UserError, match=complaint):
        parse_name(name)


@pytest.mark.parametrize("scenario", [scenario.name for scenario in load_suite("seed")])
@pytest.mark.parametrize("distance", ["close", "far"])
def test_simulated_drives_get_names_that_lead_back_to_their_scenario(scenario, distance):
    labels = labels_of_simulated(scenario, distance=distance, pattern="variant", taken=TAKEN)
    if labels is None:
        assert scenario.startswith("pot_") or scenario in ("basket_close", "basket_far", "basket_offset")
        return
    again = parse_name(labels.stem)
    assert again == labels
    assert again.simulated in (scenario, f"{scenario}_{distance}", f"{scenario}_left")
    assert again.side == load_scenario(scenario).side


def test_scenarios_without_a_name_of_the_robots_keep_their_own():
    stem = simulated_stem("choose_goal", distance="", pattern="variant", taken=TAKEN)
    assert stem == "episode_20250815_122923_choose_goal"
    assert labels_of_simulated("2box_vert_left_close", distance="close", pattern="core", taken=TAKEN).side is Side.LEFT
