"""Made-up episodes for the tests of what happens after an episode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vla_sim.core.types import Body, Instruction, Kind, Look, Pose2, Role, Scene, Side, Task
from vla_sim.rollout.result import EpisodeResult
from vla_sim.testing.made_up import HASH, make_result

__all__ = ["HASH", "make_drive", "make_record", "make_scene"]

make_record = make_result


def make_drive(seed: int, *, side: Side = Side.LEFT, steps: int = 16, **changes: Any) -> EpisodeResult:
    """An episode with a path that swings around a box and ends near (3.2, 0)."""
    rng = np.random.default_rng(seed)
    along = np.linspace(0, 1, steps + 1)
    swing = side.sign * (0.55 + 0.1 * rng.random()) * np.sin(np.pi * along)
    points = np.stack([3.2 * along, swing + 0.02 * rng.standard_normal(steps + 1).cumsum() * 0.2], axis=1)
    moves = np.diff(points, axis=0)
    length = float(np.linalg.norm(moves, axis=1).sum())
    changes = {
        "asked_side": side,
        "realised_side": side,
        "scenario": f"obstacle_{side.value}",
        "instruction": f"Go around the box on the {side.value} and stop at the basket",
        "path_length_m": length,
        "expert_path_length_m": 0.98 * length,
        **changes,
    }
    return make_record(
        seed=seed,
        index=max(0, seed - 100000),
        steps=steps,
        sim_time_s=0.4 * steps,
        path=tuple((float(x), float(y), 0.0) for x, y in points),
        actions=tuple((float(x) / 0.4, float(y) / 0.4) for x, y in moves),
        **changes,
    )


def make_scene(*, side: Side | None = Side.LEFT, text: str = "Pass the box on the left", language: str = "en") -> Scene:
    """A room with two boxes, a cup and a basket to reach."""
    wall = (0.85, 0.85, 0.82)
    bodies = (
        Body("goal", Kind.BASKET, Role.GOAL, (0.4, 0.4, 0.35), 3.4, 0.1, color=(0.8, 0.45, 0.1)),
        Body(
            "box_0", Kind.BOX, Role.OBSTACLE, (0.4, 0.5, 0.5), 1.6, 0.0, yaw_rad=math.radians(20), color=(0.6, 0.4, 0.2)
        ),
        Body("cup_0", Kind.CUP, Role.DISTRACTOR, (0.12, 0.12, 0.15), 2.4, -0.9, color=(0.2, 0.4, 0.9)),
        Body("wall_north", Kind.WALL, Role.WALL, (6.0, 0.1, 1.0), 2.0, 2.0, color=wall),
        Body("wall_south", Kind.WALL, Role.WALL, (6.0, 0.1, 1.0), 2.0, -2.0, color=wall),
        Body("wall_east", Kind.WALL, Role.WALL, (0.1, 4.0, 1.0), 5.0, 0.0, color=wall),
    )
    return Scene(
        scenario=f"obstacle_{side.value}" if side else "reach_goal",
        seed=100000,
        start=Pose2(0.0, 0.0),
        bodies=bodies,
        bounds_m=(-1.0, 5.0, -2.0, 2.0),
        task=Task(side=side),
        look=Look(),
        instruction=Instruction(text, language, "eval", "pass_side.en.eval.2"),
    )
