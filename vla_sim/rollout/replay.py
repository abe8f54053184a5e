"""Rebuilds a recorded episode from its seed and actions and says whether it is the same. Used by replay and films."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import xxhash

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome, Scene
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult


@dataclass(frozen=True)
class Replayed:
    """A rebuilt episode.

    Attributes:
        scene: the world it ran in.
        frames: T + 1 observed pictures, uint8 (H, W, 3).
        differences: what is not as recorded, in words; empty when everything matches bit for bit.
    """

    scene: Scene
    frames: list[np.ndarray]
    differences: tuple[str, ...]


def replay_episode(plan: Plan, record: EpisodeResult) -> Replayed:
    """Drive the recorded actions again in the world of the recorded seed.

    Raises:
        UserError: the record holds nothing that was driven.
    """
    if not record.path:
        reason = (record.error or "").strip().splitlines()[-1:] or ["unknown"]
        raise UserError(f"episode {record.index} never drove ({reason[0]}): there is nothing to replay")
    env = NavigateEnv(
        record.scenario,
        plan.embodiment,
        instruction_set=plan.instruction_set,
        language=plan.language,
        renderer=plan.renderer,
    )
    try:
        scene = env.source.scene(record.seed)
        frames, path, outcome = _drive(env, scene, record)
    finally:
        env.close()
    found = {
        "scenario hash": env.source.scenario.hash,
        "instruction": scene.instruction.text,
        "outcome": outcome,
        "steps": len(path) - 1,
        "state hash": hashlib.sha256(np.array(path).tobytes()).hexdigest(),
        "picture hash": xxhash.xxh3_128(b"".join(frame.tobytes() for frame in frames)).hexdigest(),
    }
    return Replayed(scene, frames, tuple(_differences(found, record)))


def _drive(
    env: NavigateEnv, scene: Scene, record: EpisodeResult
) -> tuple[list[np.ndarray], list[tuple[float, float, float]], str]:
    observation, info = env.reset(seed=record.seed, options={"scene": scene})
    frames, path = [observation["image"]], [info["pose"]]
    for action in record.actions:
        if env.simulation.outcome is not None:
            break
        observation, _, _, _, info = env.step(np.array(action))
        frames.append(observation["image"])
        path.append(info["pose"])
    return frames, [tuple(pose.tolist()) for pose in path], info["outcome"]


def _differences(found: dict[str, object], record: EpisodeResult) -> list[str]:
    recorded = {
        "scenario hash": record.scenario_hash,
        "instruction": record.instruction,
        # An episode that raised has no outcome of the world.
        "outcome": "" if record.outcome is Outcome.ERROR else record.outcome.value,
        "steps": record.steps,
        "state hash": record.state_hash,
        "picture hash": record.picture_hash,
    }
    return [
        f"{name}: recorded {recorded[name]!r}, now {found[name]!r}" for name in found if found[name] != recorded[name]
    ]
