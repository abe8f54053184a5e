"""What a model is trained to do, as numbers: the expert's action, and in which cell of the image the goal is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vla_sim.policies.chunking import chunk_targets
from vla_sim.training.batches import Batch, goal_cells

if TYPE_CHECKING:
    import torch

    from vla_sim.policies.models.specs import ActionSpec
    from vla_sim.policies.models.text_batch import TextBatch


def recoloured(batch: Batch) -> torch.Tensor:
    """The batch's images in their changed colours, float32 (F, h, w, 3) in 0..255."""
    import torch

    frames, height, width, _ = batch.images.shape
    # Colour by colour, in one product: five times faster than pixel by pixel.
    flat = torch.from_numpy(batch.images).view(frames, height * width, 3).to(torch.float32)
    matrix, offset = map(torch.from_numpy, batch.colour)
    return torch.baddbmm(offset[:, None], flat, matrix).clamp_(0, 255).view(frames, height, width, 3)


def trimmed(tokens: TextBatch) -> TextBatch:
    """Without the columns in which every text is padding; what models make of the rest is the same."""
    rows = dict(tokens)
    for name in [key.removesuffix(".mask") for key in tokens if key.endswith(".mask")]:
        longest = int(tokens[f"{name}.mask"].sum(dim=1).max())
        for part in ("ids", "mask"):
            rows[f"{name}.{part}"] = tokens[f"{name}.{part}"][:, :longest]
    return rows


def action_target(
    actions: np.ndarray, mask: np.ndarray, spec: ActionSpec, names: Sequence[str], scale: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a head should have given, in its own units.

    Args:
        actions: float32 (F, A), the expert's, normalised by `scale`; the steps that exist, episode after episode.
        mask: bool (E, T), which steps exist.
        spec: of the head; components that the demonstrations lack are 0.
        names: components of the actions.
        scale: m/s or rad/s of an action of 1, for each.

    Returns:
        Normalised actions (E, T, k, A'), and bool (E, T, k), which of them exist.
    """
    import torch

    steps = np.zeros((*mask.shape, len(spec.names)), dtype=np.float32)
    for column, name in enumerate(names):
        place = spec.names.index(name)
        steps[mask, place] = actions[:, column] * np.float32(scale[column] / spec.scale[place])
    target, exists = chunk_targets(steps, mask, spec.horizon)
    return torch.from_numpy(target.astype(np.float32)), torch.from_numpy(exists)


def where_loss(logits: torch.Tensor, goals: np.ndarray) -> torch.Tensor:
    """Cross-entropy of the cell of the goal, over the images that show it.

    Args:
        logits: (F, P), a square grid of cells.
        goals: see `Demonstrations`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    cell, seen = goal_cells(goals, round(logits.shape[1] ** 0.5))
    if not seen.any():
        return logits.sum() * 0
    return cross_entropy(logits[torch.from_numpy(seen)], torch.from_numpy(cell))
