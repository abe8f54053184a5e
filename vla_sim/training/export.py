"""From a trained model to the policy folders that ship: weights, configs, tokenizer, model cards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.policies.folders import CONFIG, FORMAT, TOKENIZER, WEIGHTS, PolicyFolder
from vla_sim.training.cards import write_card
from vla_sim.training.weights import write_weights

if TYPE_CHECKING:
    from torch import nn

    from vla_sim.policies.clip import DrivingModel
    from vla_sim.policies.tokenizer import InstructionTokenizer

BACKBONE = "clip_small"
HEADS = {
    "lstm": "small CLIP with an LSTM head that remembers its episode",
    "mlp": "small CLIP with an MLP head that sees one picture",
}
SHARES = {"lstm": 0.6, "mlp": 0.4}


def export_policies(
    model: DrivingModel,
    tokenizer: InstructionTokenizer,
    root: Path,
    *,
    action_names: Sequence[str],
    action_scale: float,
    facts: Mapping[str, Any],
) -> None:
    """Write `clip_small` (backbone), `clip_lstm`, `clip_mlp` and `ensemble` under a folder.

    Args:
        model: its weights are written as they are.
        tokenizer: the one it was trained with.
        root: usually `policies/`.
        action_names: components of an action.
        action_scale: an action of 1 in m/s or rad/s.
        facts: of the training, kept in the configs and cards.
    """
    training = dict(facts)
    backbone = {
        "format": FORMAT,
        "type": "clip_backbone",
        "description": "small CLIP with a language-modulated readout; shared by clip_lstm and clip_mlp",
        "model": asdict(model.config),
        "training": training,
    }
    folder = _write(root / BACKBONE, backbone, model.backbone)
    tokenizer.save(folder / TOKENIZER)
    write_card(folder)
    backbone_hash = PolicyFolder.read(folder).own_hash()
    for kind, description in HEADS.items():
        config = {
            "format": FORMAT,
            "type": "clip",
            "description": description,
            "head": kind,
            "hidden": model.hidden,
            "backbone": BACKBONE,
            "backbone_sha256": backbone_hash,
            "action": {"names": list(action_names), "units": "m/s", "scale": action_scale},
            "image_px": [224, 224],
            "training": training,
        }
        folder = _write(root / f"clip_{kind}", config, getattr(model, kind))
        write_card(folder)
    ensemble = {
        "format": FORMAT,
        "type": "ensemble",
        "description": "60/40 of the LSTM and the MLP on one CLIP",
        "members": [f"clip_{kind}" for kind in SHARES],
        "weights": list(SHARES.values()),
        "fusion": "weighted",
    }
    _write(root / "ensemble", ensemble, None)
    write_card(root / "ensemble")


def _write(folder: Path, config: Mapping[str, Any], module: nn.Module | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if module is not None:
        write_weights(folder / WEIGHTS, module.state_dict())
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return folder
