"""Made-up data: an episode of a data set, a result of an evaluation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.types import Outcome, Side
from vla_sim.rollout.result import EpisodeResult

HASH = "0123456789abcdef" * 4


def make_episode(*, steps: int = 6, size_px: tuple[int, int] = (32, 24), seed: int = 0, **changes: Any) -> Episode:
    """A demonstration with random images and actions, and with all that an episode may have.

    Args:
        steps: T, the number of actions; there is one image more.
        size_px: (width, height) of the images.
        seed: of all that is random.
        **changes: fields of `Episode` that are to be different.
    """
    rng = np.random.default_rng(seed)
    width, height = size_px
    names = changes.get("action_names", ("vx", "vy"))
    fields: dict[str, Any] = {
        "name": f"episode_{seed}",
        "images": rng.integers(0, 256, (steps + 1, height, width, 3), dtype=np.uint8),
        "actions": rng.uniform(-0.3, 0.3, (steps, len(names))).astype(np.float32),
        "action_names": names,
        "instruction": "Pass the box on the left and stop at the basket",
        "step_s": 0.4,
        "labels": rng.uniform(-0.3, 0.3, (steps, len(names))).astype(np.float32),
        "states": rng.normal(size=(steps + 1, 6)).astype(np.float32),
        "state_names": ("x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps", "wz_radps"),
        "events": ("episode_start", *["start_action"] * (steps - 1)),
        "outcome": Outcome.SUCCESS,
        "provenance": {"scenario": "obstacle_left", "seed": seed, "side": "left", "simulated": True},
    }
    return Episode(**{**fields, **changes})


def make_result(**changes: Any) -> EpisodeResult:
    """A successful episode of two steps.

    Args:
        **changes: fields of `EpisodeResult` that are to be different; an outcome may be its word.
    """
    outcome = Outcome(changes.pop("outcome", Outcome.SUCCESS))
    if outcome is Outcome.ERROR:
        changes.setdefault("error", "Traceback (most recent call last):\nValueError: action is nan")
    return replace(_successful(), outcome=outcome, **changes)


def _successful() -> EpisodeResult:
    return EpisodeResult(
        policy="ensemble",
        policy_hash="p1",
        scenario="obstacle_left",
        suite="core",
        scenario_hash="s1",
        embodiment="serbot",
        seed=100_000,
        index=0,
        instruction="Pass the box on the left and stop at the basket",
        language="en",
        phrasing="pass_side.en.eval.2",
        outcome=Outcome.SUCCESS,
        steps=2,
        sim_time_s=0.8,
        path_length_m=0.41,
        expert_path_length_m=0.4,
        final_distance_m=0.0,
        min_clearance_m=0.12,
        clearance_p5_m=0.13,
        collision_partner=None,
        collision_events=0,
        asked_side=Side.LEFT,
        realised_side=Side.LEFT,
        step_s=0.4,
        path=((0.0, 0.0, 0.0), (0.2, 0.05, 0.0), (0.4, 0.1, 0.0)),
        actions=((0.5, 0.125), (0.5, 0.125)),
        picture_hash=HASH[:32],
        state_hash=HASH,
        privileged=False,
        error=None,
        diagnostics={"disagreement_mps": (0.1,)},
        inference_ms=1.25,
    )
