"""What is seen and what is said become one feature vector. Loads torch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from vla_sim.policies.models.specs import FusionSpec


@dataclass(frozen=True)
class Stream:
    """One backbone's part of the fusion; n rows.

    Attributes:
        patches: (n, P, V), the patches' tokens, or the resampler's.
        image: (n, V'), the image as one token.
        text: (n, D).
    """

    patches: torch.Tensor
    image: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True)
class StreamWidths:
    """Sizes of a `Stream`: P, V, V' and D."""

    patches: int
    vision: int
    image: int
    text: int


class Fusion(nn.Module):
    """All streams to features (n, feature_dim), not negative."""

    def __init__(self, spec: FusionSpec, streams: tuple[StreamWidths, ...]) -> None:
        super().__init__()
        kind = SpatialReadout if spec.kind == "spatial" else PooledReadout
        self.readouts = nn.ModuleList(kind(spec, widths) for widths in streams)
        self.out = nn.Linear(sum(readout.width for readout in self.readouts), spec.feature_dim)  # type: ignore[misc]
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, streams: tuple[Stream, ...]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features, and which patch of the first stream the goal may be in: logits (n, P), None if pooled."""
        read = [readout(stream) for readout, stream in zip(self.readouts, streams, strict=True)]
        features = functional.relu(self.out(torch.cat([part for part, _ in read], dim=1)))
        return self.dropout(features), read[0][1]


class FinishedFusion(nn.Module):
    """For a backbone that has fused by itself: its features pass; one layer tells in which cell the goal is."""

    def __init__(self, widths: StreamWidths) -> None:
        super().__init__()
        self.where = nn.Linear(widths.vision, 1)

    def forward(self, streams: tuple[Stream, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """As `Fusion.forward`."""
        (stream,) = streams
        return stream.image, self.where(stream.patches)[..., 0]


class SpatialReadout(nn.Module):
    """Language modulates every patch twice (FiLM); then a few numbers of each patch are kept in their place.

    A readout that pools over the image does not learn to steer, nor does one that only reads the last token.

    Attributes:
        width: of the result.
    """

    def __init__(self, spec: FusionSpec, widths: StreamWidths) -> None:
        super().__init__()
        channels = spec.channels
        self.norm, self.norm_text = nn.LayerNorm(widths.vision), nn.LayerNorm(widths.text)
        self.project, self.mix = nn.Linear(widths.vision, channels), nn.Linear(channels, channels)
        self.norm_mix = nn.LayerNorm(channels)
        self.film = nn.Linear(widths.text, 4 * channels)
        self.squeeze, self.where = nn.Linear(channels, spec.readout), nn.Linear(channels, 1)
        self.width = widths.patches * spec.readout + widths.image + widths.text

    def forward(self, stream: Stream) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, width), and logits (n, P)."""
        text = self.norm_text(stream.text)
        scale, shift, scale_mix, shift_mix = self.film(text)[:, None].chunk(4, dim=-1)
        x = self.project(self.norm(stream.patches))
        x = functional.relu(x * (1 + scale) + shift)
        mixed = self.norm_mix(self.mix(x))
        x = x + functional.relu(mixed * (1 + scale_mix) + shift_mix)
        kept = functional.relu(self.squeeze(x)).flatten(1)
        return torch.cat([kept, stream.image, text], dim=1), self.where(x)[..., 0]


class PooledReadout(nn.Module):
    """The users' fusion: mean over patches, the image's and the text's token, one layer."""

    def __init__(self, spec: FusionSpec, widths: StreamWidths) -> None:
        super().__init__()
        self.width = spec.channels
        inputs = widths.vision + widths.image + widths.text
        self.layers = nn.Sequential(nn.Linear(inputs, spec.channels), nn.LayerNorm(spec.channels), nn.ReLU())

    def forward(self, stream: Stream) -> tuple[torch.Tensor, None]:
        """(n, width), and nothing."""
        return self.layers(torch.cat([stream.patches.mean(dim=1), stream.image, stream.text], dim=1)), None
