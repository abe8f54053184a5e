"""`VlaModel`: backbone, resampler, normalisation, fusion and head as one network. Loads torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from vla_sim.policies.models.adapter import Adapter
from vla_sim.policies.models.backbones import Backbone, Features
from vla_sim.policies.models.building import build_backbone
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.fusion import FinishedFusion, Fusion
from vla_sim.policies.models.heads import build_head
from vla_sim.policies.models.sensing import Sensing
from vla_sim.policies.models.text_batch import TextBatch, picked

# Ranges (n, rays) in metres of LiDARs by name.
Sensors = Mapping[str, torch.Tensor]
NO_SENSORS: Sensors = {}


@dataclass(frozen=True)
class VlaOutput:
    """What `VlaModel.forward` gives.

    Attributes:
        outputs: (E, T, k, *codec.shape), for the head's `loss` and `decode`.
        features: (F, feature_dim) of the steps that exist.
        where: logits (F, P): in which patch of the first backbone the goal is; a lesson for training, never used to
            drive. None with a pooled fusion or a resampler whose queries have no place.
        read: what each backbone read.
    """

    outputs: torch.Tensor
    features: torch.Tensor
    where: torch.Tensor | None
    read: tuple[Features, ...]


class VlaModel(nn.Module):
    """Images and instructions to actions.

    Driving takes `encode_text` once for each text, then `features` and `head.step` at each step; training takes
    `forward` and `loss`, or `decided` on what was read before.
    """

    def __init__(self, config: VlaConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = build_backbone(config)
        self.adapters = nn.ModuleList(Adapter(config, widths) for widths in self.backbone.widths)
        streams = tuple(adapter.widths for adapter in self.adapters)
        self.fusion: nn.Module
        if config.backbone == "conv_clip":
            self.fusion = FinishedFusion(streams[0])  # type: ignore[arg-type]
        else:
            self.fusion = Fusion(config.fusion_spec, streams)  # type: ignore[arg-type]
        # Only where it is asked for: other models keep the names and the first values of their weights.
        self.sensing = Sensing(config.sensor_specs, config.feature_dim) if config.sensors else None
        self.head = build_head(config.feature_dim, config.head_spec, config.action_spec)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.out.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.head.out.weight.dtype

    def share(self, parts: Sequence[Backbone]) -> None:
        """Take these single backbones, in the order of `backbone.widths`, in place of its own."""
        if len(self.backbone.parts) == 1:
            (self.backbone,) = parts
        else:
            self.backbone.first, self.backbone.second = parts  # type: ignore[assignment]

    def behind_backbone(self) -> nn.Module:
        """All that is not backbone, under its names in this model: what a folder with a shared backbone holds."""
        behind: dict[str, nn.Module] = {"adapters": self.adapters, "fusion": self.fusion, "head": self.head}
        return nn.ModuleDict(behind if self.sensing is None else {**behind, "sensing": self.sensing})

    def encode_text(self, tokens: TextBatch) -> TextBatch:
        """What of instructions can be computed before an image is seen; see `Backbone.encode_text`."""
        return self.backbone.encode_text(tokens)

    def features(self, images: torch.Tensor, language: TextBatch, sensors: Sensors = NO_SENSORS) -> torch.Tensor:
        """Features (n, feature_dim) of images uint8 (n, H, W, 3), n rows from `encode_text`, and ranges (n, rays)."""
        return self.fused(self.backbone(images, language), sensors)[0]

    def measured(self, values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """What the LiDARs measured that it reads, by name, from an observation or a batch's sensors."""
        if self.sensing is None:
            return {}
        found = {name: values[name] for name in self.sensing.readers if name in values}
        return {name: torch.from_numpy(np.asarray(ranges, dtype=np.float32)) for name, ranges in found.items()}

    def fused(
        self, read: tuple[Features, ...], sensors: Sensors = NO_SENSORS
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, feature_dim) of what the backbones read and the LiDARs measured, and `VlaOutput.where`."""
        features, where = self.fusion(tuple(adapt(part) for adapt, part in zip(self.adapters, read, strict=True)))
        if self.sensing is not None:
            features = self.sensing(features, sensors)
        spec = self.config.resampler_spec
        return features, where if spec is None or spec.placed else None

    def decided(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The head's outputs (E, T, k, *codec.shape) for features (F, feature_dim) of the steps that exist."""
        padded = features.new_zeros(*mask.shape, features.shape[1]).masked_scatter(mask[..., None], features)
        return self.head.sequence(padded, mask)

    def forward(
        self, images: torch.Tensor, tokens: TextBatch, mask: torch.Tensor, sensors: Sensors = NO_SENSORS
    ) -> VlaOutput:
        """Whole episodes, for training.

        Args:
            images: uint8 or float (F, H, W, 3) in 0..255, the steps that exist, episode after episode.
            tokens: from `TextReader.read`, E rows.
            mask: bool (E, T), which steps exist; each row is True from its start on without a gap, F in all.
            sensors: ranges (F, rays) in metres of the LiDARs that it reads, by name.
        """
        episode = mask.nonzero()[:, 0]
        return self.behind(self.backbone(images, picked(self.encode_text(tokens), episode)), mask, sensors)

    def behind(self, read: tuple[Features, ...], mask: torch.Tensor, sensors: Sensors = NO_SENSORS) -> VlaOutput:
        """As `forward`, from what the backbones read."""
        features, where = self.fused(read, sensors)
        return VlaOutput(self.decided(features, mask), features, where, read)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See `ActionHead.loss`."""
        return self.head.loss(outputs, target, mask)

    def activation_checkpointing_enable(self) -> None:
        """Compute transformers' layers a second time on the way back instead of keeping what they gave."""
        for module in self.backbone.modules():
            enable: Any = getattr(module, "activation_checkpointing_enable", None)
            if enable is not None:
                enable()
