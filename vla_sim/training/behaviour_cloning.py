"""Behaviour cloning of both heads at once from labelled episodes: aggregates (DAgger), resumes, exports."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.training.batches import Batch, Sampler, Sequences, goal_cells, whole_batch
from vla_sim.training.config import TrainConfig
from vla_sim.training.trainer import Learner

if TYPE_CHECKING:
    import torch

    from vla_sim.policies.clip import DrivingModel
    from vla_sim.policies.tokenizer import InstructionTokenizer


class Trainer(Learner):
    """Learns from what was added; see `Learner`.

    Args:
        model: both heads on a backbone.
        tokenizer: the one whose sizes the model has.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
    """

    LOSSES = ("lstm", "mlp", "where")
    model: DrivingModel
    source: Sampler

    def __init__(
        self, model: DrivingModel, tokenizer: InstructionTokenizer, config: TrainConfig, out_dir: Path
    ) -> None:
        super().__init__(model, Sampler(config), config, out_dir)
        self.tokenizer = tokenizer

    def add(self, sequences: Sequences) -> None:
        """Learn from these too, from now on."""
        self.source.add(sequences)

    def total(self, losses: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Both heads alike, the lesson with its weight."""
        recurrent, single, where = losses
        return recurrent + single + self.config.where_weight * where

    def losses(self, model: Any, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Of the LSTM head, of the MLP head, of the lesson in which cell the goal is."""
        import torch
        from torch.nn.functional import cross_entropy, smooth_l1_loss

        target, grid = torch.from_numpy(batch.actions), model.config.grid
        ids = torch.from_numpy(self.tokenizer.encode(batch.texts))
        with self.autocast():
            outputs = model(self._pixels(batch), ids, torch.from_numpy(batch.mask))
        *actions, cells = (output.float() for output in outputs)
        recurrent, single = (smooth_l1_loss(action, target, beta=self.config.huber_beta) for action in actions)
        cell, seen = goal_cells(batch.goals, grid)
        where = cross_entropy(cells[torch.from_numpy(seen)], torch.from_numpy(cell)) if seen.any() else cells.sum() * 0
        return recurrent, single, where

    def _pixels(self, batch: Batch) -> torch.Tensor:
        """Recoloured and normalised, (F, 3, h, w)."""
        import torch

        from vla_sim.policies.clip import PIXEL_MEAN, PIXEL_STD

        frames, height, width, _ = batch.images.shape
        # Colour by colour, with the normalisation in the same product: five times faster than pixel by pixel.
        flat = torch.from_numpy(batch.images).view(frames, height * width, 3).transpose(1, 2)
        planes = flat.to(torch.float32, memory_format=torch.contiguous_format)
        matrix, offset = map(torch.from_numpy, batch.colour)
        shift = ((offset - PIXEL_MEAN) / PIXEL_STD)[:, :, None]
        pixels = torch.baddbmm(shift, (matrix / PIXEL_STD).transpose(1, 2), planes)
        limit = PIXEL_MEAN / PIXEL_STD
        return pixels.clamp_(-limit, limit).view(frames, 3, height, width)

    def validate(self, sequences: Sequences, *, batch_episodes: int = 50) -> dict[str, float]:
        """Losses of the averaged model on episodes that it has not learned from, nothing augmented."""
        import torch

        plain = dataclasses.replace(self.config, mirror=0, jitter=0, shift_px=0, vary_words=0, max_steps=10**6)
        model = self.averaged()
        sums, frames = np.zeros(3), 0
        for first in range(0, len(sequences.mask), batch_episodes):
            batch = whole_batch(sequences, range(first, min(first + batch_episodes, len(sequences.mask))), plain)
            with torch.inference_mode():
                losses = self.losses(model, batch)
            sums += [loss.item() * batch.frames for loss in losses]
            frames += batch.frames
        return {"loss_lstm": sums[0] / frames, "loss_mlp": sums[1] / frames, "loss_where": sums[2] / frames}

    def export(self, root: Path) -> None:
        """Write policy folders `clip_small`, `clip_lstm`, `clip_mlp` and `ensemble` with the averaged weights.

        Args:
            root: the folder that they go into; usually `policies/`.
        """
        from vla_sim.training.export import export_policies

        facts = {"steps": self.step, "images_seen": self.images_seen, "minutes": round(self.seconds / 60, 1)}
        facts |= {"episodes": self.source.episodes, "seed": self.config.seed}
        export_policies(
            self.averaged(),
            self.tokenizer,
            Path(root),
            action_names=self.config.action_names,
            action_scale=self.config.action_scale,
            facts=facts,
        )


def fresh_model(
    tokenizer: InstructionTokenizer, *, seed: int = 0, actions: int = 2, hidden: int = 256, **sizes: Any
) -> DrivingModel:
    """A model for this tokenizer, initialised from a seed.

    Args:
        tokenizer: gives vocabulary and context length.
        seed: of the initial weights.
        actions: components of an action.
        hidden: width of the heads.
        sizes: other fields of `ClipConfig`.
    """
    import torch

    from vla_sim.policies.clip import ClipConfig, DrivingModel

    config = ClipConfig(vocab_size=tokenizer.vocab_size, context_length=tokenizer.context_length, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return DrivingModel(config, actions=actions, hidden=hidden)
