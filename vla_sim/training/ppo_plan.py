"""What a run of PPO is, but for how long. No torch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

from vla_sim.core.errors import UserError, suggest

STATE, FEATURES = "state", "features"
KINDS = (STATE, FEATURES)


@dataclass(frozen=True)
class PpoPlan:
    """Everything that decides what is learned, but for how long.

    Attributes:
        kind: "state" learns a small network on privileged state, "features" the head of a policy on its frozen encoder.
        scenarios: what is driven, drawn anew for each episode.
        embodiment: who drives.
        policy: kind "features": whose encoder and head it starts from.
        seed: number of the run.
        num_envs: worlds side by side.
        rollout: steps of each env between two updates.
        batch, epochs: of an update.
        learning_rate: of Adam.
        discount: of rewards, each control step.
        deviation: of the actions around the network's, at first; in shares of full speed.
        entropy: weight of the bonus for spread actions.
        critic_first: steps in which only the critic learns; a good head is not to be spoiled by a fresh critic.
        mirror: kind "state": worlds that say right are learned as their mirrored twins.
        hidden: kind "state": widths of the actor's layers; of both kinds: widths of the critic's.
    """

    kind: str
    scenarios: tuple[str, ...]
    embodiment: str = "serbot"
    policy: str = ""
    seed: int = 0
    num_envs: int = 16
    rollout: int = 64
    batch: int = 256
    epochs: int = 10
    learning_rate: float = 3e-4
    discount: float = 0.98
    deviation: float = 0.6
    entropy: float = 0.0
    critic_first: int = 0
    mirror: bool = True
    hidden: tuple[int, ...] = (64, 64)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown kind {self.kind!r}; {suggest(self.kind, KINDS)}")
        for name in ("num_envs", "rollout", "batch", "epochs"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "deviation"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UserError(f"{name.replace('_', '-')} must be positive, got {value}")
        for name in ("seed", "critic_first", "entropy"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name.replace('_', '-')} must not be negative, got {getattr(self, name)}")
        if not 0 < self.discount <= 1:
            raise UserError(f"discount must lie in (0, 1], got {self.discount}")
        if self.num_envs * self.rollout < 2:
            raise UserError("envs * rollout must be at least 2: one step teaches nothing")

    @classmethod
    def usual(cls, kind: str, scenarios: tuple[str, ...], **changes: Any) -> PpoPlan:
        """The usual values of a kind, but for these changes; None changes nothing."""
        changes = {name: value for name, value in changes.items() if value is not None}
        if kind != FEATURES:
            return cls(kind, scenarios, **changes)
        usual: dict[str, Any] = {
            "policy": "clip_mlp",
            "num_envs": 8,
            "batch": 128,
            "epochs": 5,
            "learning_rate": 1e-4,
            "deviation": 0.2,
            "critic_first": 4096,
            "hidden": (256,),
        }
        return cls(kind, scenarios, **{**usual, **changes})

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values
