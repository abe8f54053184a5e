"""Layers rebuilt from the shapes of a checkpoint's weights. Loads torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from vla_sim.policies.folders import PolicyError
from vla_sim.policies.models.normalisation import BottleneckNormalisation
from vla_sim.policies.models.resampler import MobileResampler
from vla_sim.policies.models.specs import ResamplerSpec

Size = tuple[int, ...]
# Of the users' resampler: it never keeps fewer tokens than this.
LEAST_TOKENS, THRESHOLD = 32, 0.5


class Shapes:
    """The shapes of a checkpoint's weights by canonical name.

    Args:
        sizes: of every weight.
        file: for messages.
        hints: names of layers -> what to say where they are missing.
        say: what a weight is called in the file.
    """

    def __init__(
        self,
        sizes: Mapping[str, Size],
        file: str,
        hints: Mapping[str, str] | None = None,
        say: Callable[[str], str] = str,
    ) -> None:
        self.sizes, self.file, self.hints, self.say = sizes, file, hints or {}, say

    def has(self, prefix: str) -> bool:
        """Whether a part is there at all."""
        return any(name.startswith(f"{prefix}.") for name in self.sizes)

    def of(self, name: str, dimensions: int) -> Size:
        """The shape of one weight.

        Raises:
            PolicyError: it is missing or has another number of dimensions.
        """
        if name not in self.sizes:
            hint = next((why for part, why in self.hints.items() if name.startswith(part)), "")
            raise PolicyError(f"{self.file} lacks {self.say(name)}, which would be random{hint}. Nothing was loaded")
        if len(self.sizes[name]) != dimensions:
            raise PolicyError(f"{self.file}: {name} must have {dimensions} dimensions, it has {self.sizes[name]}")
        return self.sizes[name]

    def expect(self, what: str, found: int, wanted: int) -> None:
        """Raises: PolicyError: two layers that follow each other do not fit."""
        if found != wanted:
            raise PolicyError(f"{self.file}: {what} takes {found} numbers, {wanted} come in")

    def linear(self, name: str, inputs: int) -> nn.Linear:
        """A linear layer; checked against what comes in."""
        outputs, found = self.of(f"{name}.weight", 2)
        self.expect(name, found, inputs)
        return nn.Linear(inputs, outputs)

    def lstm(self, name: str, inputs: int, layers: int) -> nn.LSTM:
        """An LSTM; how many layers it has must be known, for a file that lacks the last ones looks whole."""
        four, found = self.of(f"{name}.weight_ih_l0", 2)
        self.expect(name, found, inputs)
        if four % 4:
            raise PolicyError(f"{self.file}: {name} is no LSTM: weight_ih_l0 has {(four, found)}")
        return nn.LSTM(inputs, four // 4, layers, batch_first=True)

    def chain(self, name: str, inputs: int, pattern: str) -> nn.Sequential:
        """Numbered layers, as in an `nn.Sequential`.

        Args:
            name: of the `nn.Sequential`.
            inputs: numbers that come in.
            pattern: its layers: "linear", "norm", "relu", "gelu", and "drop", which does nothing while driving.
        """
        layers: list[nn.Module] = []
        for place, kind in enumerate(pattern.split()):
            if kind == "linear":
                layers.append(self.linear(f"{name}.{place}", inputs))
                inputs = self.sizes[f"{name}.{place}.weight"][0]
            elif kind == "norm":
                layers.append(nn.LayerNorm(inputs))
            else:
                layers.append({"relu": nn.ReLU, "gelu": nn.GELU, "drop": nn.Identity}[kind]())
        return nn.Sequential(*layers)


def width_of(chain: nn.Sequential) -> int:
    """Numbers that come out of a chain."""
    return next(int(layer.out_features) for layer in reversed(chain) if isinstance(layer, nn.Linear))


class SelectingResampler(MobileResampler):
    """The users' resampler with its token selector: each image keeps its most important tokens.

    The original counts them over the batch; driving one robot, that is the image alone, and so it is here.
    """

    def __init__(self, shapes: Shapes, name: str, inputs: int, heads: int) -> None:
        queries, width = shapes.of(f"{name}.queries", 2)
        inner = shapes.of(f"{name}.feed_forward.0.weight", 2)[0]
        if width % heads:
            raise PolicyError(f"{shapes.file}: attention_heads must divide the resampler's width {width}, got {heads}")
        super().__init__(ResamplerSpec(queries=queries, width=width, heads=heads, ratio=inner // width), inputs)
        half = shapes.of(f"{name}.token_selector.0.weight", 2)[0]
        self.token_selector = nn.Sequential(nn.Linear(width, half), nn.ReLU(), nn.Linear(half, 1), nn.Sigmoid())

    def selected(self, tokens: torch.Tensor) -> list[torch.Tensor]:
        """From (n, P, inputs) to n times (k, width), the kept tokens of each; most important first if some go."""
        return [self._kept(row) for row in self(tokens)]

    def _kept(self, tokens: torch.Tensor) -> torch.Tensor:
        importance = self.token_selector(tokens)[:, 0]
        most = len(tokens)
        count = max(LEAST_TOKENS, min(int((importance > THRESHOLD).sum()), most))
        return tokens if count >= most else tokens[importance.topk(count).indices]


class AdaptiveNormalisation(nn.Module):
    """The users' adaptive kind: layer norm, self-attention, feed-forward, layer norm; names as in their files."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.base_norm = nn.Module()
        self.base_norm.scale, self.base_norm.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = [nn.Linear(width, 2 * width), nn.GELU(), nn.Identity(), nn.Linear(2 * width, width)]
        self.feature_transform = nn.Sequential(*layers)
        self.layer_norm = nn.LayerNorm(width)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """features: (n, tokens, width), also what is returned."""
        base: nn.Module = self.base_norm
        x = nn.functional.layer_norm(features, features.shape[-1:], base.scale, base.shift, eps=1e-6)  # type: ignore[arg-type]
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return self.layer_norm(x + self.feature_transform(x))


def normalisation(shapes: Shapes, name: str, width: int, heads: int) -> nn.Module:
    """Whichever kind of CLIP normalisation the file holds."""
    if shapes.has(f"{name}.base_norm"):
        return AdaptiveNormalisation(width, heads)
    shapes.expect(name, shapes.of(f"{name}.norm.weight", 1)[0], width)
    return BottleneckNormalisation(width)
