"""Closed-loop regression: the shipped policies on suite `smoke`, outcome by outcome, against a recorded baseline.

After a change that is meant to change outcomes, record it anew:
python -m vla_sim.eval --policy ensemble clip_lstm clip_mlp --suite smoke --episodes 6 --workers 2 \
    --update-baseline tests/baselines/smoke.json
"""

from pathlib import Path

import pytest

from vla_sim.evaluation.baseline import compare_baseline
from vla_sim.evaluation.runner import evaluate
from vla_sim.rollout.plan import Plan
from vla_sim.scenarios import load_suite

BASELINE = Path(__file__).parent / "baselines" / "smoke.json"
POLICIES = ("ensemble", "clip_lstm", "clip_mlp")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    names = tuple(scenario.name for scenario in load_suite("smoke"))
    plan = Plan(POLICIES, names, ("smoke",) * len(names), 6, 100_000, "serbot")
    return evaluate(plan, tmp_path_factory.mktemp("smoke"), workers=2)


def test_no_outcome_has_changed(result):
    report = compare_baseline(result.records, BASELINE)
    assert report.passed, report.text("runs/smoke")


def test_the_ensemble_still_drives_well(result):
    driven = [record for record in result.records if record.policy == "ensemble"]
    assert sum(record.success for record in driven) >= 0.95 * len(driven)
    assert all(record.asked_side in (None, record.realised_side) for record in driven if record.success)
