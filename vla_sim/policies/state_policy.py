"""Drives with a small network on privileged state: the policy type "ppo_state". Importing this module loads torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from vla_sim.core.privileged import PRIVILEGED_NAMES, left_handed, privileged_vector
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Pose2
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.shapes import shapes_only

KEYS = ("observation", "left_handed", "hidden", "action", "training")
# Of the observation's "state", which ends with the body twist.
TWIST = slice(3, 6)
UNITS = {"vx": "m/s", "vy": "m/s", "wz": "rad/s"}


class StateHead(nn.Module):
    """Tanh layers and a linear one: from the normalised truth (n, inputs) to normalised actions (n, actions)."""

    def __init__(self, inputs: int, hidden: Sequence[int], actions: int) -> None:
        super().__init__()
        sizes = [inputs, *hidden]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in itertools.pairwise(sizes))
        self.out = nn.Linear(sizes[-1], actions)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        for layer in self.hidden:
            x = torch.tanh(layer(x))
        return self.out(x)


class StatePolicy(Policy):
    """Privileged: reads scene and pose from the infos, see `vla_sim.core.privileged`.

    Args:
        head: the network.
        spec: see `PolicySpec`.
        mean, variance: of each input in training, float64 (inputs,).
        clip: normalised inputs are limited to it.
        scale: an action of 1 in m/s or rad/s, float (actions,); actions are limited to it.
        mirror: whether worlds that say right are decided mirrored (`vla_sim.core.privileged.left_handed`).
    """

    def __init__(
        self,
        head: StateHead,
        spec: PolicySpec,
        *,
        mean: np.ndarray,
        variance: np.ndarray,
        clip: float,
        scale: np.ndarray,
        mirror: bool = False,
    ) -> None:
        self.spec = spec
        self._head = head.eval()
        self._mean, self._std, self._clip = mean, np.sqrt(variance), clip
        self._scale, self._mirror = scale, mirror

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> StatePolicy:
        """Config: observation (names, mean, variance, clip), left_handed, hidden, action (names, units, scale)."""
        folder.know(KEYS)
        observation, action = folder.get("observation", dict), folder.get("action", dict)
        if observation.get("names") != list(PRIVILEGED_NAMES):
            raise folder.error(
                "observation.names differ from what this version observes (vla_sim.core.privileged.TRUTH_NAMES)"
            )
        names = action.get("names")
        if not isinstance(names, list) or not names or not all(name in list(UNITS) for name in names):
            raise folder.error(f"action.names must be some of {', '.join(UNITS)}, got {names!r}")
        hidden = folder.get("hidden", list)
        if not all(isinstance(width, int) and not isinstance(width, bool) and 0 < width < 10_000 for width in hidden):
            raise folder.error(f"hidden must be positive whole numbers, got {hidden!r}")
        clip = observation.get("clip")
        if isinstance(clip, bool) or not isinstance(clip, (int, float)) or not 0 < clip < 1e9:
            raise folder.error(f"observation.clip must be a positive number, got {clip!r:.80}")
        if not 0 < len(hidden) <= 16:
            raise folder.error(f"hidden must be between 1 and 16 widths, got {len(hidden)}")
        with shapes_only():  # sizes are held against the file before anything is allocated
            wanted = StateHead(len(PRIVILEGED_NAMES), hidden, len(names)).state_dict()
        folder.check_weights({name: (tuple(tensor.shape), torch.float32) for name, tensor in wanted.items()})
        head = StateHead(len(PRIVILEGED_NAMES), hidden, len(names))
        folder.load_into(head)
        return cls(
            head,
            _spec(folder, names),
            mean=_numbers(folder, "observation", "mean", len(PRIVILEGED_NAMES)),
            variance=_numbers(folder, "observation", "variance", len(PRIVILEGED_NAMES), positive=True),
            clip=float(clip),
            scale=_numbers(folder, "action", "scale", len(names), positive=True),
            mirror=folder.get("left_handed", bool),
        )

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Nothing to forget: every step is decided by what is."""

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A); zeros in envs without a world."""
        if infos is None:
            raise ValueError("this policy needs privileged state: pass infos")
        there = [env_index for env_index, info in enumerate(infos) if "scene" in info]
        actions = np.zeros((len(infos), len(self._scale)), dtype=np.float32)
        if there:
            state_vectors = np.stack([_truth(infos[env_index], observation["state"][env_index]) for env_index in there])
            actions[there] = self.decide(state_vectors)
        return actions

    @torch.inference_mode()
    def decide(self, state_vectors: np.ndarray) -> np.ndarray:
        """Body twists, float32 (N, A), from truth vectors (N, len(TRUTH_NAMES))."""
        signs = np.ones(1, dtype=np.float32)
        if self._mirror:
            state_vectors, signs = left_handed(state_vectors, self.spec.action_names)
        normalised = np.clip((state_vectors - self._mean) / self._std, -self._clip, self._clip).astype(np.float32)
        actions = self._head(torch.from_numpy(normalised)).clamp(-1, 1).numpy()
        return (actions * signs * self._scale).astype(np.float32)


def _truth(info: Mapping[str, Any], state: np.ndarray) -> np.ndarray:
    embodiment: Embodiment = info["embodiment"]
    pose = Pose2(*map(float, info["pose"]))
    return privileged_vector(info["scene"], pose, state[TWIST].tolist(), embodiment.body.radius_m)


def _spec(folder: PolicyFolder, names: Sequence[str]) -> PolicySpec:
    try:
        return PolicySpec(tuple(names), (), requires_privileged_info=True, description=folder.description)
    except ValueError as error:
        raise folder.error(str(error)) from error


def _numbers(folder: PolicyFolder, table: str, key: str, count: int, *, positive: bool = False) -> np.ndarray:
    """A list of finite numbers in the config."""
    given = folder.get(table, dict).get(key)
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.zeros(0)
    if values.shape != (count,) or not np.isfinite(values).all() or (positive and not (values > 0).all()):
        what = "positive numbers" if positive else "numbers"
        raise folder.error(f"{table}.{key} must be {count} {what}")
    return values
