"""Drives with a `VlaModel`: the policy types "vla" and (of version 0.1) "clip". Importing this module loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.models.backbones import Features
from vla_sim.policies.models.encoder import VlaEncoder
from vla_sim.policies.models.heads import State
from vla_sim.policies.models.loading import backbone_folders, load_model, text_reader
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.texts import TextReader


class VlaPolicy(Policy):
    """A model and its tokenizers; a `chunking.ChunkPredictor`, too.

    Args:
        model: on the device where it is to run.
        reader: its tokenizers.
        keys: of its encoders; those of other policies with the same key give the same features. Empty: its own.
    """

    def __init__(self, model: VlaModel, reader: TextReader, keys: Sequence[str] = ()) -> None:
        self.model, self.reader = model.eval(), reader
        config = model.config
        action = config.action_spec
        self.spec = PolicySpec(
            action.driven_names,
            tuple(config.image_px),
            description=config.description or "vla",
            still=tuple(action.still),
            sensors={name: (spec.rays,) for name, spec in config.sensor_specs.items()},
        )
        self.horizon, self.remembers = action.horizon, model.head.remembers
        self.encoders = _encoders(model, reader, keys)
        driven = [action.names.index(name) for name in action.driven_names]
        self._driven, self._scale = driven, torch.tensor(action.scale)[driven]
        self.tells_spread = model.head.codec.tells_spread
        self._spread: np.ndarray | None = None
        self._sent = list(range(len(driven)))
        self._components = len(driven)
        self._state: State = ()
        self._num_envs = 0

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> VlaPolicy:
        """Config: see `VlaConfig`. Nothing is fetched and nothing is executed.

        Raises:
            PolicyError: config, weights or tokenizer cannot be used.
        """
        model = load_model(folder)
        shared = backbone_folders(folder, model.config)
        first = next(iter(shared.values()), folder)
        keys = [model.config.backbone_sha256[name] for name in shared]
        reader = text_reader(first, model.config)
        model.backbone.ready()
        return cls(model, reader, keys or [f"{folder.path}:{w.name}" for w in model.backbone.widths])

    def prepare(self, robot: Embodiment) -> None:
        """Components that the robot has besides are sent as 0.

        Raises:
            UserError: a LiDAR measures otherwise than the one that was learned from.
        """
        for name, spec in self.model.config.sensor_specs.items():
            reason = spec.misfit(robot.sensors[name])
            if reason:
                raise UserError(f"the sensor {name!r} of {robot.name} {reason}")
        self._sent = [list(robot.action_names).index(name) for name in self.spec.action_names]
        self._components = len(robot.action_names)

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Forget the marked envs."""
        fresh = self.model.head.initial_state(len(reset_mask))
        if self._num_envs != len(reset_mask):
            self._num_envs, self._state = len(reset_mask), fresh
            return
        marked = torch.from_numpy(np.asarray(reset_mask, dtype=bool)).to(self.model.device)
        # where and not a product: whatever an env held before, even a NaN, is gone.
        self._state = tuple(
            torch.where(marked.view(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(fresh, self._state, strict=True)
        )

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A): the first of each chunk."""
        return self.chunk(observation, infos)[:, 0]

    def chunk(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists of the next k steps, float32 (N, k, A); moves the memory one step on."""
        return self._decided([encoder.features(observation) for encoder in self.encoders], observation)

    def decide(self, features: Sequence[Features], observation: Mapping[str, Any]) -> np.ndarray:
        """As `act`, from what this policy's encoders see."""
        return self._decided(features, observation)[:, 0]

    @torch.inference_mode()
    def _decided(self, features: Sequence[Features], observation: Mapping[str, Any]) -> np.ndarray:
        if len(features[0].image) != self._num_envs:
            raise ValueError(f"reset was called for {self._num_envs} envs, act for {len(features[0].image)}")
        head = self.model.head
        outputs, self._state = head.step_outputs(self._fused(features, observation), self._state)
        if self.tells_spread:
            spread = head.codec.spread(outputs)
            self._spread = (spread[:, 0, self._driven].float().cpu() * self._scale).norm(dim=1).numpy()
        return self._for_robot((head.decode(outputs)[..., self._driven].float().cpu() * self._scale).numpy())

    def _fused(self, features: Sequence[Features], observation: Mapping[str, Any]) -> torch.Tensor:
        return self.model.fused(tuple(features), self.model.measured(observation))[0]

    def _for_robot(self, twists: np.ndarray) -> np.ndarray:
        """Twists (..., A) in the components of the robot."""
        if self._components == len(self._sent):
            return twists
        sent = np.zeros((*twists.shape[:-1], self._components), dtype=twists.dtype)
        sent[..., self._sent] = twists
        return sent

    def diagnostics(self) -> dict[str, np.ndarray]:
        """`spread_mps`, (N,): how far from the right action it expects to be, where its head can tell."""
        return {} if self._spread is None else {"spread_mps": self._spread}


def _encoders(model: VlaModel, reader: TextReader, keys: Sequence[str]) -> tuple[VlaEncoder, ...]:
    keys = keys or [f"{id(model)}:{widths.name}" for widths in model.backbone.widths]
    named = zip(model.backbone.parts, model.backbone.widths, keys, strict=True)
    return tuple(VlaEncoder(part, reader.only(widths.name), key) for part, widths, key in named)
