"""Normalisation of CLIP's features, two kinds that differ in more than name. Loads torch."""

from __future__ import annotations

import torch
from torch import nn


def build_normalisation(kind: str, width: int) -> nn.Module:
    """Args: kind: "bottleneck", "l2" or "" (nothing); width: of the features."""
    if kind == "bottleneck":
        return BottleneckNormalisation(width)
    return L2Normalisation() if kind == "l2" else nn.Identity()


class BottleneckNormalisation(nn.Module):
    """What the users call CLIP normalisation: layer norm, then a residual bottleneck of half the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.bottleneck = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features: (..., width), also what is returned."""
        x = self.norm(features)
        return x + self.bottleneck(x)


class L2Normalisation(nn.Module):
    """Each feature vector on the unit sphere, as in CLIP's own contrastive loss; no parameters."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features: (..., width), also what is returned; a zero vector stays zero."""
        return nn.functional.normalize(features, dim=-1)
