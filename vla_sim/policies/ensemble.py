"""Several policies as one: the policy type "ensemble". Members on the same backbone see each image once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.weighing import Dynamic, Gate, Weighing, Weights

FUSIONS = ("weighted", "gated", "dynamic")


class EnsemblePolicy(Policy):
    """The weighted mean of its members' actions.

    Args:
        members: at least one; they must give the same components.
        weighing: says at each step how much each member counts; a sequence of numbers stands for fixed weights.
    """

    def __init__(
        self, members: Sequence[Policy], weighing: Weighing | Sequence[float], *, description: str = "ensemble"
    ) -> None:
        self._weighing = weighing if isinstance(weighing, Weighing) else Weights(weighing)
        self._weighing.check(members)
        specs = [member.spec for member in members]
        names, images, rates = (
            {getattr(spec, field) for spec in specs} - {(), None} for field in ("action_names", "image_px", "control_s")
        )
        if max(len(names), len(images), len(rates)) > 1:
            raise ValueError(
                "members must give the same actions, read the same images and have the same control rate, "
                f"got {names}, {images} and {rates or {'any'}}"
            )
        self.members = tuple(members)
        self._disagreement = np.zeros(0, dtype=np.float32)
        self.spec = PolicySpec(
            action_names=names.pop() if names else (),
            image_px=images.pop() if images else (),
            control_s=rates.pop() if rates else None,
            sensors={name: shape for spec in specs for name, shape in spec.sensors.items()},
            requires_privileged_info=any(member.spec.requires_privileged_info for member in members),
            description=description,
        )

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> EnsemblePolicy:
        """Config: members, fusion, and weights ("weighted", "dynamic") or a gate's weights file ("gated")."""
        folder.know(("members", "weights", "fusion", "training"))
        fusion = folder.get("fusion", str, "weighted")
        if fusion not in FUSIONS:
            raise folder.error(f"fusion must be one of {', '.join(FUSIONS)}, got {fusion!r}")
        names = folder.get("members", list)
        if not all(isinstance(name, str) for name in names):
            raise folder.error(f"members must be names of policies, got {names!r}")
        members = _members(folder, folder.needs())
        try:
            return cls(members, _weighing(folder, fusion, members), description=folder.description)
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error

    def prepare(self, robot: Embodiment) -> None:
        """Tell every member."""
        for member in self.members:
            member.prepare(robot)

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Reset every member."""
        for member in self.members:
            member.reset(reset_mask, seeds)

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The weighted mean, float32 (N, A)."""
        actions = member_actions(self.members, observation, infos)
        fused = np.einsum("mn,mna->na", self._weighing(actions, self.members), actions)
        self._disagreement = np.linalg.norm(actions - fused, axis=2).max(axis=0).astype(np.float32)
        return fused.astype(np.float32)

    def diagnostics(self) -> dict[str, np.ndarray]:
        """How far the member furthest from the mean is from it, (N,) in m/s."""
        return {"disagreement_mps": self._disagreement}


def member_actions(
    members: Sequence[Policy], observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None
) -> np.ndarray:
    """What each member would do, (M, N, A); what an encoder sees is computed once for all members that share it."""
    seen: dict[str, Any] = {}
    actions = []
    for member in members:
        encoders = getattr(member, "encoders", ())
        for encoder in encoders:
            if encoder.key not in seen:
                seen[encoder.key] = encoder.features(observation)
        if encoders:
            actions.append(member.decide([seen[encoder.key] for encoder in encoders], observation))  # type: ignore[attr-defined]
        else:
            actions.append(member.act(observation, infos if member.spec.requires_privileged_info else None))
    return np.stack(actions)


def _members(folder: PolicyFolder, names: Sequence[str]) -> list[Policy]:
    from vla_sim.policies.registry import load_folder

    return [load_folder(folder.sibling(name)) for name in names]


def _weighing(folder: PolicyFolder, fusion: str, members: Sequence[Policy]) -> Weighing:
    if fusion == "gated":
        return Gate.from_folder(folder, len(members), len(members[0].spec.action_names) if members else 0)
    weights = folder.get("weights", list)
    return Dynamic(weights) if fusion == "dynamic" else Weights(weights)
