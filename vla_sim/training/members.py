"""Models that are trained side by side, e.g. the members of an ensemble: what they see alike is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from vla_sim.policies.models.backbones import Backbone, Features
from vla_sim.policies.models.model import VlaModel, VlaOutput
from vla_sim.policies.models.text_batch import picked
from vla_sim.policies.models.texts import TextReader
from vla_sim.training.losses import recoloured, trimmed

if TYPE_CHECKING:
    from vla_sim.training.batches import Batch


@dataclass(frozen=True)
class Part:
    """A single backbone.

    Attributes:
        name: of `vla_sim.policies.models.specs.SINGLE`.
        folder: name of the folder that it is written to.
        reader: its tokenizer.
        tokenizers: files that belong into its folder, by name.
        source: the folder that it came from; None: it is new.
        inside: its weights belong into the policy's own folder.
    """

    name: str
    folder: str
    reader: TextReader
    tokenizers: Mapping[str, Path]
    source: Path | None = None
    inside: bool = False


class Members(nn.Module):
    """Models by the names of their policies, and the single backbones under them, each of them once.

    Backbones that do not learn along (`Backbone.trained_along`) are frozen here, and see as they do when they drive.

    Args:
        models: by name.
        parts: the backbones.
        uses: for each model, which of the parts it sees with, in the order of its own.
    """

    def __init__(
        self, models: Mapping[str, VlaModel], parts: Sequence[tuple[Part, Backbone]], uses: Sequence[Sequence[int]]
    ) -> None:
        super().__init__()
        self.names, self.facts, self.uses = tuple(models), tuple(part for part, _ in parts), tuple(map(tuple, uses))
        # First: of a tensor with two names, the first counts in checkpoints.
        self.parts = nn.ModuleList(backbone for _, backbone in parts)
        self.models = nn.ModuleList(models.values())
        for model, used in zip(self.models, self.uses, strict=True):
            model.share([self.parts[number] for number in used])  # type: ignore[operator]
        for backbone in self.parts:
            if not backbone.trained_along:
                backbone.requires_grad_(False)
        self.train()

    @property
    def image_px(self) -> int:
        """Side of the images that they read."""
        return max(int(backbone.image_px) for backbone in self.parts)  # type: ignore[arg-type]

    def train(self, mode: bool = True) -> Members:
        """As of any network; frozen backbones stay as they drive."""
        super().train(mode)
        for backbone in self.parts:
            if not backbone.trained_along:
                backbone.eval()
        return self

    def by_name(self) -> dict[str, VlaModel]:
        """The models."""
        return dict(zip(self.names, self.models, strict=True))  # type: ignore[arg-type]

    def read(self, batch: Batch) -> list[Features]:
        """What each backbone reads out of a batch."""
        images = recoloured(batch)
        said = torch.from_numpy(batch.said)
        found = []
        for fact, backbone in zip(self.facts, self.parts, strict=True):
            learns = torch.is_grad_enabled() and bool(backbone.trained_along)
            tokens = trimmed(fact.reader.read(batch.texts))
            with torch.set_grad_enabled(learns):
                language = backbone.encode_text(tokens)  # type: ignore[operator]
                found.append(backbone(images, picked(language, said))[0])
        return found

    def forward(
        self,
        read: Sequence[Features],
        mask: torch.Tensor,
        sensors: Mapping[str, np.ndarray] = {},
    ) -> list[VlaOutput]:
        """What each model makes of it.

        Args:
            read: by each backbone.
            mask: bool (E, T), which steps exist.
            sensors: ranges (F, rays) of LiDARs by name.
        """
        return [
            model.behind(tuple(read[number] for number in used), mask, model.measured(sensors))  # type: ignore[operator]
            for model, used in zip(self.models, self.uses, strict=True)
        ]
