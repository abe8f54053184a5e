"""Rebuilds a recorded episode from its seed and actions and says whether it is the same. Used by replay and films."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.types import Scene
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.rollout.observers import ImageHash, Images, Observers, Path
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult
from vla_sim.rollout.rollout import Scenes, rollout
from vla_sim.rollout.steering import ByActions


@dataclass
class Replaying(Observers):
    """What is compared, and the images."""

    path: Path = field(default_factory=Path)
    hash: ImageHash = field(default_factory=ImageHash)
    seen: Images = field(default_factory=Images)


@dataclass(frozen=True)
class Replayed:
    """A rebuilt episode.

    Attributes:
        scene: the world it ran in.
        frames: T + 1 observed images, uint8 (H, W, 3).
        sensors: as many values of each further sensor, by name.
        differences: what is not as recorded, in words; empty when everything matches bit for bit.
    """

    scene: Scene
    frames: list[np.ndarray]
    differences: tuple[str, ...]
    sensors: Mapping[str, list[np.ndarray]] = field(default_factory=dict)


def replay_episode(plan: Plan, record: EpisodeResult) -> Replayed:
    """Execute the recorded actions again in the world of the recorded seed.

    Raises:
        UserError: the record holds nothing that was driven.
    """
    if not record.path:
        reason = (record.error or "").strip().splitlines()[-1:] or ["unknown"]
        raise UserError(f"episode {record.index} never drove ({reason[0]}): there is nothing to replay")
    scenes = Scenes(load_embodiment(plan.embodiment), plan.instruction_set, plan.language, plan.instruction)
    env = NavigateVectorEnv(1, record.scenario, plan.embodiment, renderer=plan.renderer, autoreset_mode="Disabled")
    try:
        steering = ByActions(np.array(record.actions, dtype=np.float64), env.embodiment)
        (ended,) = rollout(env, steering, [record], scenes, Replaying)
    finally:
        env.close()
    facts = ended.observer
    found = {
        "scenario hash": scenes.source(record.scenario).scenario_hash,
        "instruction": ended.scene.instruction.text,
        "outcome": ended.outcome.value,
        "steps": len(facts.path.poses) - 1,
        "state hash": hashlib.sha256(np.array(facts.path.poses).tobytes()).hexdigest(),
        "image hash": facts.hash.hexdigest,
    }
    return Replayed(ended.scene, facts.seen.images, tuple(_differences(found, record)), facts.seen.sensors)


def _differences(found: Mapping[str, object], record: EpisodeResult) -> list[str]:
    recorded = {
        "scenario hash": record.scenario_hash,
        "instruction": record.instruction,
        "outcome": record.outcome.value,
        "steps": record.steps,
        "state hash": record.state_hash,
        "image hash": record.picture_hash,
    }
    if not record.picture_hash:  # it was driven without images
        del recorded["image hash"]
    return [
        f"{name}: recorded {value!r}, now {found[name]!r}" for name, value in recorded.items() if found[name] != value
    ]


def find_episode(records: Sequence[EpisodeResult], name: str) -> EpisodeResult:
    """The record of that name (a line number, or as much of POLICY/SCENARIO/SEED as tells it from others).

    Raises:
        UserError: none or several have it.
    """
    if name.isdecimal() and int(name) < len(records):
        return records[int(name)]
    found = [r for r in records if f"/{'/'.join(map(str, r.key))}".endswith(f"/{name}")]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join("/".join(map(str, r.key)) for r in found[:4])
        raise UserError(f"{len(found)} episodes are named {name!r}; say which: {keys}, ...")
    near = difflib.get_close_matches(name, ["/".join(map(str, r.key)) for r in records], n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UserError(
        f"no episode {name!r}: the run has {len(records)} (0 to {len(records) - 1}), or POLICY/SCENARIO/SEED{hint}"
    )
