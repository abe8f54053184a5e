"""From a trained model to the policy folders that ship: weights, configs, tokenizer, model cards."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.policies.folders import CONFIG, FORMAT, TOKENIZER, WEIGHTS, PolicyFolder

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
    notes: str = "",
) -> None:
    """Write `clip_small` (backbone), `clip_lstm`, `clip_mlp` and `ensemble` under a folder.

    Args:
        model: its weights are written as they are.
        tokenizer: the one it was trained with.
        root: usually `policies/`.
        action_names: components of an action.
        action_scale: an action of 1 in m/s or rad/s.
        facts: of the training, kept in the configs and cards.
        notes: more lines for the cards.
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
    _write_card(folder, _sizes(model.backbone, folder), facts, notes)
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
        head = getattr(model, kind)
        folder = _write(root / f"clip_{kind}", config, head)
        _write_card(folder, _sizes(head, folder), facts, notes)
    ensemble = {
        "format": FORMAT,
        "type": "ensemble",
        "description": "60/40 of the LSTM and the MLP on one CLIP",
        "members": [f"clip_{kind}" for kind in SHARES],
        "weights": list(SHARES.values()),
        "fusion": "weighted",
    }
    _write(root / "ensemble", ensemble, None)
    _write_card(root / "ensemble", "No weights of its own.", facts, notes)


def _write(folder: Path, config: Mapping[str, Any], module: nn.Module | None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if module is not None:
        from safetensors.torch import save_file

        tensors = {name: tensor.detach().contiguous() for name, tensor in module.state_dict().items()}
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    return folder


def _sizes(module: nn.Module, folder: Path) -> str:
    parameters = sum(p.numel() for p in module.parameters())
    return f"{parameters:,} parameters, {(folder / WEIGHTS).stat().st_size / 1e6:.1f} MB (float32, safetensors)."


def _write_card(folder: Path, sizes: str, facts: Mapping[str, Any], notes: str) -> None:
    description = json.loads((folder / CONFIG).read_text("utf-8"))["description"]
    trained = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in facts.items())
    card = f"""---
license: apache-2.0
tags: [robotics, imitation-learning, vla-sim]
---

# {folder.name}

{description[0].upper()}{description[1:]}. {sizes}

## What it reads and gives

A 224x224 RGB picture from the robot's camera and an instruction in English or Korean; body twists (vx, vy) in m/s
(x forward, y left). No ground truth. Use: `vla-sim eval --policy {folder.name} --suite core`, or
`vla_sim.policies.loading.load_policy("{folder.name}")`.

## Training

Behaviour cloning of the scripted expert in simulation, then rounds of DAgger, from scratch; both heads and the CLIP
together, left and right balanced by mirroring. Only simulated pictures: expect no more of real ones.

{trained}
"""
    (folder / "README.md").write_text(card + (f"\n{notes.strip()}\n" if notes.strip() else ""), "utf-8")
