"""Several policies as one: the policy type "ensemble". Members on the same backbone see each picture once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder

FUSIONS = ("weighted",)


class EnsemblePolicy(Policy):
    """The weighted mean of its members' actions.

    Args:
        members: at least one; they must give the same components.
        weights: positive, one for each member; they are taken relative to their sum.
    """

    def __init__(self, members: Sequence[Policy], weights: Sequence[float], *, description: str = "ensemble") -> None:
        if not members or len(members) != len(weights):
            raise ValueError(f"weights must be one for each of {len(members)} members, got {list(weights)}")
        if not all(isinstance(weight, (int, float)) and np.isfinite(weight) and weight > 0 for weight in weights):
            raise ValueError(f"weights must be positive, got {list(weights)}")
        names = {member.spec.action_names for member in members}
        pictures = {member.spec.image_px for member in members if member.spec.image_px}
        if len(names) > 1 or len(pictures) > 1:
            raise ValueError(
                f"members must give the same actions and read the same pictures, got {names} and {pictures}"
            )
        self.members = tuple(members)
        self._weights = np.asarray(weights, dtype=np.float64) / np.sum(weights)
        self._disagreement = np.zeros(0, dtype=np.float32)
        self.spec = PolicySpec(
            action_names=names.pop(),
            image_px=pictures.pop() if pictures else (),
            requires_privileged_info=any(member.spec.requires_privileged_info for member in members),
            description=description,
        )

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> EnsemblePolicy:
        """Config: members, weights, fusion."""
        folder.know(("members", "weights", "fusion"))
        fusion = folder.get("fusion", str, "weighted")
        if fusion not in FUSIONS:
            raise folder.error(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}")
        names = folder.get("members", list)
        if not all(isinstance(name, str) for name in names):
            raise folder.error(f"members must be names of policies, got {names!r}")
        try:
            return cls(_members(folder, names), folder.get("weights", list), description=folder.description)
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error

    def reset(self, lanes: np.ndarray, seeds: np.ndarray) -> None:
        """Reset every member."""
        for member in self.members:
            member.reset(lanes, seeds)

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The weighted mean, float32 (N, A)."""
        features: dict[int, Any] = {}
        actions = np.stack([self._member_action(member, observation, infos, features) for member in self.members])
        fused = np.einsum("m,mna->na", self._weights, actions)
        self._disagreement = np.linalg.norm(actions - fused, axis=2).max(axis=0).astype(np.float32)
        return fused.astype(np.float32)

    @staticmethod
    def _member_action(
        member: Policy,
        observation: Mapping[str, Any],
        infos: Sequence[Mapping[str, Any]] | None,
        features: dict[int, Any],
    ) -> np.ndarray:
        """A member's action; what an encoder sees is computed once for all members that share it."""
        encoder = getattr(member, "encoder", None)
        if encoder is None:
            return member.act(observation, infos if member.spec.requires_privileged_info else None)
        if id(encoder) not in features:
            features[id(encoder)] = encoder.features(observation)
        return member.decide(features[id(encoder)])  # type: ignore[attr-defined]

    def diagnostics(self) -> dict[str, np.ndarray]:
        """How far the member furthest from the mean is from it, (N,) in m/s."""
        return {"disagreement_mps": self._disagreement}


def _members(folder: PolicyFolder, names: Sequence[str]) -> list[Policy]:
    """Load the members; those with an equal encoder get the same one."""
    from vla_sim.policies.loading import load_folder

    members = [load_folder(folder.sibling(name)) for name in names]
    encoders: dict[str, Any] = {}
    for member in members:
        encoder = getattr(member, "encoder", None)
        if encoder is not None:
            member.encoder = encoders.setdefault(encoder.key, encoder)  # type: ignore[attr-defined]
    return members
