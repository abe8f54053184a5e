"""What every policy is: `reset` and `act` on a batch of lanes. Used by the rollout; numpy only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_sim.core.specs import ACTION_NAMES


@dataclass(frozen=True)
class PolicySpec:
    """What a policy reads and gives; checked against the env before the first step.

    Attributes:
        action_names: components of its actions, of ("vx", "vy", "wz") in that order; empty: it follows the env.
        image_px: (width, height) of the pictures it reads; empty: it does not look at them.
        requires_privileged_info: it reads ground truth from the infos; reports print that beside its score.
        description: one line for tables.
    """

    action_names: tuple[str, ...] = ("vx", "vy")
    image_px: tuple[int, ...] = (224, 224)
    requires_privileged_info: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        if [name for name in ACTION_NAMES if name in self.action_names] != list(self.action_names):
            raise ValueError(f"action_names must be some of {ACTION_NAMES} in this order, got {self.action_names}")
        if len(self.image_px) not in (0, 2) or any(side < 1 for side in self.image_px):
            raise ValueError(f"image_px must be (width, height) in pixels, got {self.image_px}")


class Policy(ABC):
    """Drives N worlds ("lanes") side by side, each in its own episode.

    What it decides for a lane depends on that lane alone, and on nothing before its last reset.
    """

    spec: PolicySpec = PolicySpec()

    @abstractmethod
    def reset(self, lanes: np.ndarray, seeds: np.ndarray) -> None:
        """Start new episodes.

        Args:
            lanes: bool (N,), which lanes start anew; the others keep their memory. The first call fixes N.
            seeds: int64 (N,), the episodes' seeds; those of other lanes mean nothing.
        """

    @abstractmethod
    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A), in m/s and rad/s.

        Args:
            observation: "image" uint8 (N, 224, 224, 3), "instruction" a list of N texts, "state" float32 (N, S).
            infos: ground truth of each lane; only for policies that say `requires_privileged_info`.
        """

    def diagnostics(self) -> dict[str, np.ndarray]:
        """What the policy says about its last decision, arrays (N, ...); nothing by default."""
        return {}
