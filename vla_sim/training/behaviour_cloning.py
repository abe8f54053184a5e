"""Behaviour cloning of any models of the family from labelled episodes: aggregates (DAgger), resumes, exports."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.training.batches import Sampler, whole_batch
from vla_sim.training.config import TrainConfig
from vla_sim.training.losses import action_target, where_loss
from vla_sim.training.trainer import Learner, Source

if TYPE_CHECKING:
    import torch

    from vla_sim.training.members import Members
    from vla_sim.training.warm_start import Beginning


class Trainer(Learner):
    """Learns from what was added; see `Learner`.

    Args:
        beginning: what learns, and how it is written.
        config: how to learn.
        out_dir: where the checkpoint and the log go.
        source: of batches; None: a `Sampler` of what is added.
    """

    model: Members

    def __init__(self, beginning: Beginning, config: TrainConfig, out_dir: Path, source: Source | None = None) -> None:
        super().__init__(beginning.members, source or Sampler(config), config, out_dir)
        self.beginning = beginning

    def run(self, *arguments: Any, **options: Any) -> None:
        """See `Learner.run`.

        Raises:
            UserError: the episodes lack a LiDAR that a member reads, or theirs measured otherwise.
        """
        lidars = getattr(self.source, "lidars", {})
        for name, model in self.model.by_name().items() if self.source.episodes else ():
            for sensor, spec in model.config.sensor_specs.items():
                reason = spec.misfit(lidars[sensor]) if sensor in lidars else "is not in all episodes"
                if reason:
                    raise UserError(f"{name} reads the sensor {sensor!r}, which {reason}")
        super().run(*arguments, **options)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """One for each member's actions, and "where": in which cell the goal is."""
        return (*self.model.names, "where")

    def add(self, sequences: Demonstrations) -> None:
        """Learn from these too, from now on."""
        assert isinstance(self.source, Sampler)
        self.source.add(sequences)

    def total(self, losses: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """All members alike, the lesson with its weight."""
        import torch

        return torch.stack(losses[:-1]).sum() + self.config.where_weight * losses[-1]

    def losses(self, model: Any, batch: Any) -> tuple[torch.Tensor, ...]:
        """Of each member's actions, and of the goal's cell where a fusion tells it."""
        import torch

        mask = torch.from_numpy(batch.mask)
        with self.autocast():
            read = batch.read(model)
            outputs = model(read, mask, batch.sensors)
        actions, cells = [], []
        for member, output in zip(model.models, outputs, strict=True):
            target, exists = action_target(
                *(batch.actions, batch.mask, member.config.action_spec),
                *(self.config.action_names, self.config.scale),
            )
            actions.append(member.loss(output.outputs.float(), target, exists))
            if output.where is not None:
                cells.append(where_loss(output.where.float(), batch.goals))
        return (*actions, torch.stack(cells).mean() if cells else actions[0].detach() * 0)

    def validate(self, sequences: Demonstrations, *, batch_episodes: int = 50) -> dict[str, float]:
        """Losses of the averaged model on episodes that it has not learned from, nothing augmented."""
        import torch

        plain = dataclasses.replace(self.config, mirror=0, jitter=0, shift_px=0, vary_words=0, max_steps=10**6)
        model = self.averaged()
        sums, frames = np.zeros(len(self.loss_names)), 0
        for first in range(0, len(sequences.mask), batch_episodes):
            batch = whole_batch(sequences, range(first, min(first + batch_episodes, len(sequences.mask))), plain)
            with torch.inference_mode():
                losses = self.losses(model, batch)
            sums += [loss.item() * batch.frames for loss in losses]
            frames += batch.frames
        return {f"loss_{name}": float(total / frames) for name, total in zip(self.loss_names, sums, strict=True)}

    def export(self, root: Path, *, robots: Sequence[str] = ()) -> None:
        """Write the policy folders of the members, their backbones and their ensemble with the averaged weights.

        Args:
            root: the folder that they go into; usually `policies/`.
            robots: that the episodes were driven with, for configs and cards.
        """
        from vla_sim.training.export import export_policies

        facts: dict[str, Any] = {
            "steps": self.step,
            "images_seen": self.images_seen,
            "minutes": round(self.seconds / 60, 1),
        }
        facts |= {"episodes": self.source.episodes, "seed": self.config.seed}
        if robots:
            facts["robots"] = list(robots)
        export_policies(self.averaged(), self.beginning, Path(root), facts)
