"""`VlaModel`: backbone, resampler, normalisation, fusion and head as one transformers model, which it loads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from vla_sim.policies.models.adapter import Adapter
from vla_sim.policies.models.backbones import Features, build_backbone
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.fusion import Fusion
from vla_sim.policies.models.heads import build_head
from vla_sim.policies.models.hub import ModelOutput, PreTrainedModel, init
from vla_sim.policies.models.resampler import QUERY_STD, MobileResampler, PerceiverResampler
from vla_sim.policies.models.text_batch import Rows, picked


@dataclass
class VlaOutput(ModelOutput):
    """What `VlaModel.forward` gives.

    Attributes:
        outputs: (E, T, k, *codec.shape), for the head's `loss` and `decode`.
        features: (F, feature_dim) of the steps that exist.
        where: logits (F, P): in which patch of the first backbone the goal is; a lesson for training, never used to
            drive. None with a pooled fusion or a resampler.
        read: what each backbone read.
    """

    outputs: torch.Tensor | None = None
    features: torch.Tensor | None = None
    where: torch.Tensor | None = None
    read: tuple[Features, ...] | None = None


class VlaModel(PreTrainedModel):
    """Pictures and instructions to actions.

    `from_pretrained` and `save_pretrained` are transformers' own, with local folders, `dtype` and safetensors.
    Driving takes `encode_text` once for each text, then `features` and `head.step` at each step; training takes
    `forward` and `loss`.
    """

    config: VlaConfig
    config_class = VlaConfig
    base_model_prefix = "vla"
    main_input_name = "images"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: VlaConfig) -> None:
        super().__init__(config)
        self.backbone = build_backbone(config)
        self.adapters = nn.ModuleList(Adapter(config, widths) for widths in self.backbone.widths)
        streams = tuple(adapter.widths for adapter in self.adapters)
        self.fusion = Fusion(config.fusion_spec, streams)  # type: ignore[arg-type]
        self.head = build_head(config.fusion_spec.feature_dim, config.head_spec, config.action_spec)
        self.post_init()

    def behind_backbone(self) -> nn.Module:
        """All that is not backbone, under its names in this model: what a folder with a shared backbone holds."""
        return nn.ModuleDict({"adapters": self.adapters, "fusion": self.fusion, "head": self.head})

    def encode_text(self, tokens: Rows) -> Rows:
        """What of instructions can be computed before a picture is seen; see `Backbone.encode_text`."""
        return self.backbone.encode_text(tokens)

    def features(self, images: torch.Tensor, language: Rows) -> torch.Tensor:
        """Features (n, feature_dim) of pictures uint8 (n, H, W, 3) and n rows from `encode_text`."""
        return self.fused(self.backbone(images, language))[0]

    def fused(self, read: tuple[Features, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features (n, feature_dim) of what the backbones read, and `VlaOutput.where`."""
        features, where = self.fusion(tuple(adapt(part) for adapt, part in zip(self.adapters, read, strict=True)))
        return features, where if self.config.resampler is None else None

    def decided(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The head's outputs (E, T, k, *codec.shape) for features (F, feature_dim) of the steps that exist."""
        padded = features.new_zeros(*mask.shape, features.shape[1]).masked_scatter(mask[..., None], features)
        return self.head.sequence(padded, mask)

    def forward(self, images: torch.Tensor, tokens: Rows, mask: torch.Tensor) -> VlaOutput:
        """Whole episodes, for training.

        Args:
            images: uint8 or float (F, H, W, 3) in 0..255, the steps that exist, episode after episode.
            tokens: from `TextReader.read`, E rows.
            mask: bool (E, T), which steps exist; each row is True from its start on without a gap, F in all.
        """
        episode = mask.nonzero()[:, 0]
        read = self.backbone(images, picked(self.encode_text(tokens), episode))
        features, where = self.fused(read)
        return VlaOutput(outputs=self.decided(features, mask), features=features, where=where, read=read)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See `ActionHead.loss`."""
        return self.head.loss(outputs, target, mask)

    def freeze_backbone(self) -> None:
        """Train only what comes behind the pretrained models."""
        self.backbone.requires_grad_(False)

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        """Layers of ours as torch has them: transformers' normal of 0.02 is too small for narrow layers."""
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            bound = 1 / math.sqrt(module.weight[0].numel())
            init.uniform_(module.weight, -bound, bound)
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
            return
        super()._init_weights(module)
        if isinstance(module, (MobileResampler, PerceiverResampler)):
            init.normal_(module.queries, std=QUERY_STD)
