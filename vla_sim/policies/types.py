"""The one list of policy types: which class reads a folder of that type, and what such a folder rests on. No torch.

Another package adds its own types by entry points of the group `vla_sim.policy_types`, in its pyproject.toml:

    [project.entry-points."vla_sim.policy_types"]
    my_policy = "my_package.policies:MyPolicy"

The class has `from_folder(folder: PolicyFolder) -> Policy`, or a constructor that needs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

GROUP = "vla_sim.policy_types"
Needs = Callable[[Mapping[str, Any]], Any]


def _nothing(config: Mapping[str, Any]) -> Any:
    return []


def _backbones(config: Mapping[str, Any]) -> Any:
    shared = config.get("backbone_folders")
    return list(shared.values()) if isinstance(shared, dict) else []


@dataclass(frozen=True)
class PolicyType:
    """One type.

    Attributes:
        loader: "module:Class"; empty for parts.
        needs: names of the folders that a config names, of whatever type they are; checked by the caller.
        learned: it was trained: it has a card, and can be trained on.
        part: a part of policies, which does not drive by itself.
        code: what it does is its code, so the policy's hash covers that.
    """

    loader: str
    needs: Needs = _nothing
    learned: bool = False
    part: bool = False
    code: bool = False


BUILT_IN = {
    "hold": PolicyType("vla_sim.policies.baselines:HoldPolicy", code=True),
    "straight": PolicyType("vla_sim.policies.baselines:StraightPolicy", code=True),
    "random": PolicyType("vla_sim.policies.baselines:RandomPolicy", code=True),
    "replay": PolicyType("vla_sim.policies.baselines:ReplayPolicy", code=True),
    "expert": PolicyType("vla_sim.policies.expert:ExpertPolicy", code=True),
    "clip": PolicyType(
        "vla_sim.policies.models.policy:VlaPolicy", needs=lambda config: [config.get("backbone")], learned=True
    ),
    "vla": PolicyType("vla_sim.policies.models.policy:VlaPolicy", needs=_backbones, learned=True),
    "ensemble": PolicyType(
        "vla_sim.policies.ensemble:EnsemblePolicy", needs=lambda config: config.get("members"), learned=True
    ),
    "chunked": PolicyType("vla_sim.policies.chunking:ChunkedFolder", needs=lambda config: [config.get("predictor")]),
    "ppo_state": PolicyType("vla_sim.policies.state_policy:StatePolicy"),
    "checkpoint": PolicyType("vla_sim.policies.checkpoints.policy:CheckpointPolicy"),
    "clip_backbone": PolicyType("", learned=True, part=True),
    "vla_backbone": PolicyType("", learned=True, part=True),
}


@functools.lru_cache(maxsize=1)
def policy_types() -> Mapping[str, PolicyType]:
    """All types by the name that a config calls them; built-in ones cannot be replaced."""
    plugged = {point.name: PolicyType(point.value, code=True) for point in entry_points(group=GROUP)}
    return {**plugged, **BUILT_IN}


def drivers() -> list[str]:
    """Names of the types that drive."""
    return [name for name, kind in policy_types().items() if not kind.part]
