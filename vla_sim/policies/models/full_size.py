"""Kosmos-2 and CLIP at full size with RANDOM weights: what driving with them costs, not how well they drive.

`python -m vla_sim.eval --policy vla_sim.policies.models.full_size:RandomFullSize --scenario obstacle_left --episodes 1
--hang-timeout 300` needs 4 GB and half a minute a step: one core, and a batch of twelve envs of which one drives. A
step of one world alone takes 1.6 s on two cores (`benchmarks/bench_vla.py --full`). Loads torch and transformers.
"""

from __future__ import annotations

from typing import Any

import torch

from vla_sim.policies.models.hub import init
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.policy import VlaPolicy
from vla_sim.policies.models.presets import preset
from vla_sim.policies.models.texts import TextReader, kosmos2_prompt
from vla_sim.policies.tokenizer import InstructionTokenizer

DESCRIPTION = "Kosmos-2 and CLIP at full size, RANDOM weights: for timing only"
STD, BLOCK = 0.02, 2**20 + 7
TEXTS = ["Pass the box on the left.", "Pass the box on the right.", "Go to the red cup."]


def random_full_size(
    backbone: str = "both", *, dtype: torch.dtype = torch.bfloat16, device: str = "cpu", **changes: Any
) -> VlaModel:
    """A model of full size whose weights are random, from seed 0.

    Args:
        backbone: "kosmos2", "clip" or "both".
        dtype: of the weights.
        device: where they are.
        changes: fields of `VlaConfig`.
    """
    config = preset(backbone, **{"description": DESCRIPTION, **changes})
    standard = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with init.no_init_weights(), torch.device(device):
            model = VlaModel(config).eval()
    finally:
        torch.set_default_dtype(standard)
    # One block of numbers again and again: to draw 1.8 billion of them takes longer than to drive.
    block = STD * torch.randn(BLOCK, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            whole = parameter.view(-1)
            for first in range(0, len(whole), BLOCK):
                whole[first : first + BLOCK] = block[: len(whole) - first]
    return model


class RandomFullSize(VlaPolicy):
    """Drives with `random_full_size`: an LSTM head on both backbones."""

    def __init__(self) -> None:
        tokenizer = InstructionTokenizer.trained([*TEXTS, *map(kosmos2_prompt, TEXTS)], vocab_size=300)
        model = random_full_size(context_length=tokenizer.context_length)
        super().__init__(model, TextReader.small(tokenizer, [widths.name for widths in model.backbone.widths]))
