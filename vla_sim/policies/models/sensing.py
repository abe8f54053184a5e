"""What LiDARs measure joins the features that a head reads. Loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from vla_sim.core.errors import UserError
from vla_sim.policies.models.specs import RangesSpec

# At this distance a range counts half as near as a touch.
NEAR_M = 0.5


class Sensing(nn.Module):
    """Features and ranges to features of the same width, not negative.

    It begins by passing features on as they are, so a policy that learned without it goes on where it was.

    Args:
        specs: of the LiDARs by name.
        feature_dim: width of the features.
    """

    def __init__(self, specs: Mapping[str, RangesSpec], feature_dim: int) -> None:
        super().__init__()
        self.readers = nn.ModuleDict({name: RangesReader(spec) for name, spec in specs.items()})
        width = sum(spec.width for spec in specs.values())
        self.mix, self.out = nn.Linear(feature_dim + width, feature_dim), nn.Linear(feature_dim, feature_dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: torch.Tensor, sensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Features (n, feature_dim) from features (n, feature_dim) and ranges (n, rays) in metres by name.

        Raises:
            UserError: there is nothing of a LiDAR.
        """
        lacking = [name for name in self.readers if name not in sensors]
        if lacking:
            raise UserError(f"the policy reads the LiDAR {lacking[0]!r}; of LiDARs, it was given {sorted(sensors)}")
        read = [reader(sensors[name].to(features.device)) for name, reader in self.readers.items()]
        mixed = functional.relu(self.mix(torch.cat([features, *read], dim=1)))
        return functional.relu(features + self.out(mixed))


class RangesReader(nn.Module):
    """Ranges (n, rays) in metres to (n, width), not negative: two convolutions along the rays, one layer."""

    def __init__(self, spec: RangesSpec) -> None:
        super().__init__()
        around: Literal["circular", "replicate"] = "circular" if spec.full_circle else "replicate"
        self._range_m = spec.range_m
        self.first = nn.Conv1d(2, 16, 5, stride=2, padding=2, padding_mode=around)
        self.second = nn.Conv1d(16, 32, 5, stride=2, padding=2, padding_mode=around)
        self.out = nn.Linear(32 * ((spec.rays + 3) // 4), spec.width)

    def forward(self, ranges: torch.Tensor) -> torch.Tensor:
        """See the class."""
        # How far, and how near: what is close decides most.
        far = ranges / self._range_m
        x = torch.stack([far, NEAR_M / (NEAR_M + ranges)], dim=1).to(self.out.weight.dtype)
        x = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.out(x.flatten(1)))
