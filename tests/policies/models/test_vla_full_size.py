"""Kosmos-2 and CLIP at full size drive an episode, with random weights: it says that they can, not how well."""

from pathlib import Path

import pytest

from vla_sim.core.content import content_folder
from vla_sim.core.types import Outcome
from vla_sim.evaluation.runner import evaluate
from vla_sim.rollout.plan import Plan

POLICY = "vla_sim.policies.models.full_size:RandomFullSize"
STEPS = 4
NEEDED_GB = 8


def available_gb() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 2**20
    except (OSError, StopIteration):
        return 0.0


@pytest.mark.slow
@pytest.mark.skipif(available_gb() < NEEDED_GB, reason=f"needs {NEEDED_GB} GB of free memory")
def test_full_size_models_with_random_weights_drive_an_episode(tmp_path):
    text = (content_folder("scenarios") / "core" / "obstacle.toml").read_text("utf-8")
    short = tmp_path / "short.toml"
    short.write_text(text.replace("time_limit_s = 16.0", f"time_limit_s = {STEPS * 0.4}"), "utf-8")
    plan = Plan((POLICY,), (f"{short}#obstacle_left",), ("",), 1, 100_000, "serbot")
    (record,) = evaluate(plan, tmp_path / "run", workers=1, hang_timeout_s=280).records
    assert record.outcome is not Outcome.ERROR, record.error
    assert 1 <= record.steps <= STEPS
    assert all(abs(value) <= 0.5 for action in record.actions for value in action)
    assert record.inference_ms > 0
    print(f"full size, random weights: {record.inference_ms / 1e3:.1f} s a step on one core")
