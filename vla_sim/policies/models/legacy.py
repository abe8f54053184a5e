"""Folders of version 0.1's types "clip" and "clip_backbone", read as what they are: the family's conv_clip.

Their weights' files stay as they are. New trainings write types "vla" and "vla_backbone".
"""

from __future__ import annotations

from typing import Any

from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.models.config import VlaConfig

TYPE, BACKBONE_TYPE = "clip", "clip_backbone"
HEADS = ("lstm", "mlp")
POLICY_KEYS = ("head", "hidden", "backbone", "backbone_sha256", "action", "image_px", "training")
# Weights of the MLP head in the family -> in these files; the LSTM's are the same in both.
NAMES = {"layers.0.0.": "hidden."}


def policy_config(folder: PolicyFolder) -> VlaConfig:
    """The config of a head's folder, its backbone's included.

    Raises:
        PolicyError: a value that makes no sense.
    """
    folder.know(POLICY_KEYS)
    name = folder.get("backbone", str)
    backbone = folder.sibling(name)
    if backbone.kind != BACKBONE_TYPE:
        raise folder.error(f"backbone {backbone.name!r} must be of type {BACKBONE_TYPE}, got {backbone.kind!r}")
    kind = folder.get("head", str)
    if kind not in HEADS:
        raise folder.error(f"head must be one of {', '.join(HEADS)}, got {kind!r}")
    shared = backbone_config(backbone)
    try:
        return VlaConfig(
            backbone="conv_clip",
            description=folder.description,
            conv_clip=shared.conv_clip,
            context_length=shared.context_length,
            backbone_folders={"conv_clip": name},
            backbone_sha256={"conv_clip": folder.get("backbone_sha256", str)},
            head={"kind": kind, "hidden": folder.get("hidden", int), "single_cell": kind == "lstm"},
            action=_action(folder),
            image_px=folder.get("image_px", list, [224, 224]),
            training=folder.config.get("training"),
        )
    except (ValueError, TypeError) as error:
        raise folder.error(str(error)) from error


def backbone_config(folder: PolicyFolder) -> VlaConfig:
    """The config of a backbone's folder.

    Raises:
        PolicyError: a value that makes no sense.
    """
    folder.know(("model", "training"))
    sizes = dict(folder.get("model", dict))
    context_length = sizes.pop("context_length", 48)
    try:
        return VlaConfig(backbone="conv_clip", conv_clip=sizes, context_length=context_length)
    except (ValueError, TypeError) as error:
        raise folder.error(str(error).replace("conv_clip.", "model.")) from error


def in_file(name: str) -> str:
    """What a weight of the head is called in these files."""
    for ours, theirs in NAMES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _action(folder: PolicyFolder) -> dict[str, Any]:
    action = folder.get("action", dict)
    names, scale = action.get("names"), action.get("scale")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise folder.error(f"action.names must be a list of texts, got {names!r:.80}")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0 < scale < 100:
        raise folder.error(f"action.scale must be a positive number, got {scale!r:.80}")
    return {"names": names, "scale": [float(scale)] * len(names)}
