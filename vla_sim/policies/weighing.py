"""How much each member of an ensemble counts, step by step. numpy only; a gate's weights load torch to be read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from vla_sim.policies.base import Policy
from vla_sim.policies.folders import PolicyError, PolicyFolder

# A member that claims to err by less than this is not believed.
FLOOR_MPS = 0.02
# Weights count relative to each other; sums of larger ones would not be numbers any more.
MOST_WEIGHT = 1e9


class Weighing(ABC):
    """Weights of members."""

    @abstractmethod
    def __call__(self, actions: np.ndarray, members: Sequence[Policy]) -> np.ndarray:
        """Weights (M, N), each column with sum 1, for the members' actions (M, N, A) at this step."""

    @abstractmethod
    def check(self, members: Sequence[Policy]) -> None:
        """Raise ValueError where it cannot weigh these."""


class Weights(Weighing):
    """The same at every step.

    Args:
        weights: positive, one for each member; they are taken relative to their sum.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self._given = weights
        if not all(isinstance(w, (int, float)) and not isinstance(w, bool) and 0 < w < MOST_WEIGHT for w in weights):
            raise ValueError(f"weights must be positive and below {MOST_WEIGHT:g}, got {list(weights)!r:.80}")
        self._weights = np.asarray(weights, dtype=np.float64) / np.sum(weights) if len(weights) else np.zeros(0)

    def __call__(self, actions: np.ndarray, members: Sequence[Policy]) -> np.ndarray:
        """See `Weighing`."""
        return np.repeat(self._weights[:, None], actions.shape[1], axis=1)

    def check(self, members: Sequence[Policy]) -> None:
        """See `Weighing`."""
        if not members or len(members) != len(self._given):
            raise ValueError(f"weights must be one for each of {len(members)} members, got {list(self._given)}")


class Dynamic(Weights):
    """By the members' own uncertainty: weights over the square of how far off each expects to be at this step."""

    def __call__(self, actions: np.ndarray, members: Sequence[Policy]) -> np.ndarray:
        """See `Weighing`."""
        spreads = np.stack([member.diagnostics()["spread_mps"] for member in members]).astype(np.float64)
        weights = super().__call__(actions, members) / np.maximum(spreads, FLOOR_MPS) ** 2
        return weights / weights.sum(axis=0)

    def check(self, members: Sequence[Policy]) -> None:
        """Every member must tell how sure it is."""
        super().check(members)
        silent = [member.spec.description for member in members if not getattr(member, "tells_spread", False)]
        if silent:
            raise ValueError(
                f"fusion 'dynamic' needs members that tell how sure they are (a vla head with codec laplace, headings "
                f"or bins); {silent[0]!r} does not"
            )


class Gate(Weighing):
    """A small network looks at what all members would do, and says which of them to trust: softmax over members.

    Args:
        tensors: "first.weight" (H, M*A), "first.bias" (H,), "out.weight" (M, H), "out.bias" (M,); actions in m/s.
    """

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self._tensors = {name: np.asarray(tensor, dtype=np.float64) for name, tensor in tensors.items()}

    @classmethod
    def from_folder(cls, folder: PolicyFolder, members: int, components: int) -> Gate:
        """Read from the folder's weights.

        Raises:
            PolicyError: they are missing or do not fit the members.
        """
        given = {name: tensor.float().numpy() for name, tensor in folder.weights().items()}
        hidden = given["first.bias"].shape[0] if "first.bias" in given and given["first.bias"].ndim == 1 else 0
        wanted = {
            "first.weight": (hidden, members * components),
            "first.bias": (hidden,),
            "out.weight": (members, hidden),
            "out.bias": (members,),
        }
        found = {name: tensor.shape for name, tensor in given.items()}
        if found != wanted or not hidden or not all(np.isfinite(tensor).all() for tensor in given.values()):
            raise PolicyError(f"a gate over {members} members has weights {wanted}, got {found} ({folder.path})")
        return cls(given)

    def __call__(self, actions: np.ndarray, members: Sequence[Policy]) -> np.ndarray:
        """See `Weighing`."""
        inputs = actions.transpose(1, 0, 2).reshape(actions.shape[1], -1)
        hidden = np.maximum(inputs @ self._tensors["first.weight"].T + self._tensors["first.bias"], 0)
        logits = hidden @ self._tensors["out.weight"].T + self._tensors["out.bias"]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).T

    def check(self, members: Sequence[Policy]) -> None:
        """See `Weighing`; shapes were checked when it was read."""
        if len(members) != len(self._tensors["out.bias"]):
            raise ValueError(f"the gate is for {len(self._tensors['out.bias'])} members, got {len(members)}")
