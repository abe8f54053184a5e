import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.experiment_dagger import Chain, Sizes
from benchmarks.experiment_dagger_report import ARMS, SUITES, write_report


def documents(**rates):
    """Three training seeds, 60 worlds in each suite."""
    made = []
    for seed in range(3):
        for arm in ARMS:
            rng = np.random.default_rng(seed)
            rows = [["obstacle_left", 100_000 + i, bool(rng.random() < rates.get(arm, 0.5))] for i in range(60)]
            made.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "steps": 10,
                    "frames": 100,
                    "frames_seen": 1000,
                    "results": dict.fromkeys(SUITES, rows),
                }
            )
    return made


@pytest.mark.parametrize(
    ("rates", "points", "rate"),
    [
        ({"dagger": 0.8}, True, False),
        ({}, False, False),
        ({"dagger": 0.53}, False, False),
        ({"dagger": 0.98, "control": 0.9}, False, True),
        ({"dagger": 0.98, "control": 0.5}, True, True),
        ({"dagger": 1.0, "control": 1.0}, False, False),
        ({"dagger": 0.97, "control": 1.0}, False, False),
    ],
)
def test_dagger_wins_only_if_it_beats_what_it_is_compared_with_clearly(rates, points, rate, tmp_path):
    write_report(documents(**rates), vars(Sizes()), tmp_path, None)
    found = json.loads((tmp_path / "experiment.json").read_text())["demand"]["core"]
    assert found["control"] == {"points": points, "rate": rate}
    assert set(found) == {"augment", "bc200", "longer", "control"}


def test_the_table_has_every_arm_and_step_and_the_plot_is_beside_it(tmp_path):
    text = write_report(documents(dagger=0.8), vars(Sizes()), tmp_path / "out", tmp_path / "docs")
    assert all(f"| {arm}: " in text for arm in ARMS)
    assert "| dagger | control, plain demonstrations in the same worlds | +" in text
    assert (tmp_path / "out" / "experiment.png").stat().st_size > 10_000
    shown = (tmp_path / "docs" / "experiment_dagger.md").read_text()
    assert "(images/experiment_dagger.png)" in shown
    assert (tmp_path / "docs" / "images" / "experiment_dagger.png").exists()


def test_a_try_is_smaller_and_keeps_the_recordings():
    small = Sizes().scaled(0.01)
    assert (small.recordings, small.expanded) == (72, 200)
    assert small.steps < 50
    assert Sizes().scaled(1.0) == Sizes()


@pytest.mark.slow
def test_recordings_are_few_scripts_again_and_again_and_the_control_has_as_many_pictures(tmp_path):
    chain = Chain(tmp_path, 0, Sizes())
    recorded, repeated, expanded = chain._recorded(), chain._repeated(), chain._expanded()
    scripts = [part.actions[i][part.mask[i]].tobytes() for part in recorded for i in range(len(part.mask))]
    assert len(scripts) == 72
    assert len(set(scripts)) <= 24
    frames = [sum(int(part.mask.sum()) for part in parts) for parts in (repeated, expanded)]
    assert frames[0] == frames[1]
    assert sum(len(part.mask) for part in expanded) == 200
