"""The head of a learned policy as an actor for PPO, whatever kind it is; everything before it is frozen.

What the actor sees is the head's last memory: an LSTM or GPT-2 remembers as it did before, and its last layer learns.
An MLP learns whole. Heads of classes draw classes, the others draw around their actions. Of a chunk the first action
learns, which is the one that is driven. Loads Stable-Baselines3 and torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.models.codecs import BinCodec, HeadingCodec
from vla_sim.policies.models.encoder import VlaEncoder
from vla_sim.policies.models.heads import MlpHead, State
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.registry import policy_folder
from vla_sim.training.warm_start import Beginning, begin_with, for_robot


class HeadStart:
    """An encoder and the head that learning starts from.

    Args:
        name: of the policy, or its folder.

    Raises:
        UserError: unknown, damaged, or no network with one head.
    """

    def __init__(self, name: str) -> None:
        self.name, self.folder = name, policy_folder(name)
        if self.folder.kind not in ("vla", "clip"):
            raise UserError(_why_not(self.folder))
        self._begun = begin_with(name)
        (self.model,) = self._begun.members.by_name().values()
        # What is exported must not be folded for driving, so what drives is loaded for itself.
        self._driving: VlaModel = next(iter(begin_with(name).members.by_name().values()))
        self._driving.eval()
        self._driving.backbone.ready()
        self._encoders = [
            VlaEncoder(part, fact.reader, fact.name)
            for part, fact in zip(self._driving.backbone.parts, self._begun.members.facts, strict=True)
        ]
        self._state: State = ()

    @property
    def head(self) -> Any:
        """The head as it began."""
        return self.model.head

    @property
    def feature_dim(self) -> int:
        """Numbers that the actor sees."""
        return self.model.config.feature_dim if isinstance(self.head, MlpHead) else int(self.head.out.in_features)

    @property
    def hidden(self) -> list[torch.nn.Linear]:
        """The layers before the last that learn."""
        layers: Any = self.head.layers if isinstance(self.head, MlpHead) else []
        return [layer[0] for layer in layers]

    @torch.inference_mode()
    def encode(self, observation: Mapping[str, Any]) -> np.ndarray:
        """What the actor sees, float32 (N, feature_dim); moves the memory of these envs one step on.

        Args:
            observation: of envs `env_index`, of which those in `started` have begun a new episode.
        """
        seen = tuple(encoder.features(observation) for encoder in self._encoders)
        features = self._driving.fused(seen, self._driving.measured(observation))[0]
        if isinstance(self.head, MlpHead):
            return features.numpy()
        return self._remembered(features, observation["env_index"], observation["started"]).numpy()

    def _remembered(self, features: torch.Tensor, env_indices: Any, started: Any) -> torch.Tensor:
        head, index = self._driving.head, torch.as_tensor(list(env_indices))
        if not self._state:  # the first observation is that of all envs
            self._state = head.initial_state(int(index.max()) + 1)
        new = head.initial_state(len(index))
        marked = torch.as_tensor(list(started), dtype=torch.bool)
        state = tuple(
            torch.where(marked.view(-1, *[1] * (part.ndim - 1)), part, whole[index])
            for part, whole in zip(new, self._state, strict=True)
        )
        hidden, state = head._remember(features, state)
        for whole, part in zip(self._state, state, strict=True):
            whole[index] = part
        return hidden

    @property
    def rows(self) -> torch.Tensor:
        """Which rows of the head's last layer the actor's last layer is: of the first action, what is driven."""
        spec, codec = self.model.config.action_spec, self.head.codec
        places = torch.arange(self.head.out.out_features).view(spec.horizon, *codec.shape)[0]
        if isinstance(codec, HeadingCodec):
            return places
        driven = [spec.names.index(name) for name in spec.driven_names]
        return (places[driven] if isinstance(codec, BinCodec) or places.ndim == 1 else places[0, driven]).flatten()

    def driven_by_outputs(self, env: VecEnv) -> VecEnv:
        """The env with the actions that the actor gives.

        Raises:
            UserError: the robot takes other actions than the policy gives, or at another rate.
        """
        robot: Embodiment = env.embodiment  # type: ignore[attr-defined]
        self._begun = for_robot(self._begun, robot)
        most = [robot.max_radps if name == "wz" else robot.max_mps for name in robot.action_names]
        return HeadActions(env, self.head.codec, np.array(self._begun.action_scale) / most)

    def exported(self, layers: list[torch.nn.Linear], last: torch.nn.Linear) -> Beginning:
        """The policy with the actor's layers in place of its own, for `export_policies`."""
        rows = self.rows
        with torch.no_grad():
            for mine, theirs in zip(self.hidden, layers, strict=True):
                mine.load_state_dict(theirs.state_dict())
            self.head.out.weight[rows] = last.weight
            self.head.out.bias[rows] = last.bias
        self._begun.members.requires_grad_(False)
        return self._begun


class HeadActions(VecEnvWrapper):
    """Around an env of shares of full speed: takes what a head gives, classes or normalised actions.

    Args:
        venv: the env.
        codec: of the head.
        share: of full speed that a normalised 1 is, for each component.
    """

    def __init__(self, venv: VecEnv, codec: Any, share: np.ndarray) -> None:
        space: spaces.Space[Any] = venv.action_space
        if isinstance(codec, BinCodec):
            space = spaces.MultiDiscrete([codec.bins] * len(share))
        elif isinstance(codec, HeadingCodec):
            space = spaces.Discrete(codec.shape[0])
        super().__init__(venv, action_space=space)
        self._codec, self._share = codec, share

    def reset(self) -> Any:
        """See `NavigateVecEnv`."""
        return self.venv.reset()

    def step_async(self, actions: np.ndarray) -> None:
        """Take classes int64 (num_envs, ...) or normalised actions float (num_envs, A)."""
        self.venv.step_async(self.shares(actions))

    def shares(self, actions: np.ndarray) -> np.ndarray:
        """Shares of full speed (n, A), of the same."""
        if isinstance(self._codec, (BinCodec, HeadingCodec)):
            actions = self._codec.actions_of(torch.as_tensor(actions)).numpy()
        return np.asarray(actions * self._share)

    def step_wait(self) -> Any:
        """See `NavigateVecEnv`."""
        return self.venv.step_wait()


def _why_not(folder: PolicyFolder) -> str:
    hint = f"; name one of its members: {', '.join(folder.needs())}" if folder.kind == "ensemble" else ""
    return (
        f"policy {folder.name!r} is of type {folder.kind!r}: PPO fine-tunes the head of one network, such as that of "
        f"'clip_mlp' or 'mobile_vla'{hint}"
    )
