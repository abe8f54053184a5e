"""From a config to its backbone; only the libraries of the one that is asked for are loaded."""

from __future__ import annotations

from vla_sim.policies.models.backbones import Backbone, BothBackbones, ClipBackbone, Kosmos2Backbone
from vla_sim.policies.models.config import VlaConfig


def build_backbone(config: VlaConfig) -> Backbone:
    """The backbone of a config, its weights fresh."""
    if config.backbone == "conv_clip":
        from vla_sim.policies.models.conv_clip import ConvClipBackbone

        return ConvClipBackbone(config)
    if config.backbone == "open_clip":
        from vla_sim.policies.models.open_clip import OpenClipBackbone

        return OpenClipBackbone(config)
    if config.backbone == "both":
        return BothBackbones(config)
    return Kosmos2Backbone(config) if config.backbone == "kosmos2" else ClipBackbone(config)
