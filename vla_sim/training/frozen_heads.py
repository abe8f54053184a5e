"""Learning of what stands behind frozen backbones: adapters, fusion and head, from cached features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.policies.chunking import chunk_targets
from vla_sim.training.config import TrainConfig
from vla_sim.training.frozen_features import FeatureBatch, FeatureSampler
from vla_sim.training.grounding import where_loss
from vla_sim.training.trainer import Learner

if TYPE_CHECKING:
    import torch

    from vla_sim.policies.models.backbones import Features
    from vla_sim.policies.models.model import VlaModel


class HeadTrainer(Learner):
    """Teaches a `VlaModel` whose backbones are frozen, from what they have seen.

    Args:
        model: its backbones are frozen here.
        source: cached features of the same backbones.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
    """

    LOSSES = ("action", "where")
    model: VlaModel
    source: FeatureSampler

    def __init__(self, model: VlaModel, source: FeatureSampler, config: TrainConfig, out_dir: Path) -> None:
        model.freeze_backbone()
        super().__init__(model, source, config, out_dir)

    def total(self, losses: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The action, and the lesson in which cell the goal is with its weight."""
        return losses[0] + self.config.where_weight * losses[1]

    def losses(self, model: Any, batch: FeatureBatch) -> tuple[torch.Tensor, ...]:
        """Of the action; of the goal's cell, where the fusion tells it."""
        import torch

        mask = torch.from_numpy(batch.mask)
        target, exists = self._target(batch)
        features, where = model.fused(read(model, batch))
        outputs = model.decided(features, mask)
        action = model.head.loss(outputs, target, exists)
        return action, where_loss(where, batch.goals) if where is not None else action * 0

    def _target(self, batch: FeatureBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised actions (E, T, k, A), and which exist (E, T, k); components that demonstrations lack are 0."""
        import torch

        action = self.model.config.action_spec
        steps = np.zeros((*batch.mask.shape, len(action.names)), dtype=np.float32)
        steps[batch.mask, : batch.actions.shape[1]] = batch.actions
        target, exists = chunk_targets(steps, batch.mask, action.horizon)
        return torch.from_numpy(target.astype(np.float32)), torch.from_numpy(exists)


def read(model: VlaModel, batch: FeatureBatch) -> tuple[Features, ...]:
    """What the model's backbones have read of a batch. Tokens are left out: nothing behind a backbone asks for them."""
    import torch

    from vla_sim.policies.models.backbones import Features

    parts = []
    for widths in model.backbone.widths:
        kept = {key: torch.from_numpy(value).float() for key, value in batch.features[widths.name].items()}
        nothing = torch.zeros(batch.frames, 0)
        parts.append(Features(kept["patches"], kept["picture"], nothing[..., None], nothing.bool(), kept["text"]))
    return tuple(parts)
