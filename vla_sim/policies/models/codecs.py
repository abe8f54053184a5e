"""Between normalised actions and a head's last layer: numbers, one of nine headings, or bins. Loads torch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from vla_sim.policies.models.specs import ActionSpec, HeadSpec

# Class -> signs of (vx, vy); y points left. The order is that of the users' data set.
HEADINGS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
# Where the Huber loss turns from a parabola into a line, in normalised units.
HUBER_BETA = 0.1
# Limits of the logarithm of a spread, in normalised units, and the weight of learning it.
LOG_SPREAD = (-6.0, 1.0)
SPREAD_WEIGHT = 0.02


def build_codec(head: HeadSpec, action: ActionSpec) -> ActionCodec:
    """The codec that a head asks for."""
    components = len(action.names)
    if head.codec == "headings":
        return HeadingCodec(head.threshold, head.level, head.class_weights)
    if head.codec == "bins":
        return BinCodec(components, head.bins)
    return LaplaceCodec(components) if head.codec == "laplace" else ContinuousCodec(components)


class ActionCodec(nn.Module, ABC):
    """Actions are float (..., A), normalised to -1..1; outputs are (..., *shape), classes int64.

    Attributes:
        shape: of what the last layer gives for one action.
        tells_spread: whether the outputs say how far off the action may be.
    """

    shape: tuple[int, ...]
    tells_spread = True

    @property
    def width(self) -> int:
        """Numbers that the last layer gives for one action."""
        return int(torch.Size(self.shape).numel())

    @abstractmethod
    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., A) from outputs (..., *shape)."""

    @abstractmethod
    def spread(self, outputs: torch.Tensor) -> torch.Tensor:
        """How far off each component may be, (..., A), normalised."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of each action, (M,), from outputs (M, *shape) and normalised actions (M, A)."""


class ContinuousCodec(ActionCodec):
    """The outputs are the actions; Huber loss."""

    tells_spread = False

    def __init__(self, components: int) -> None:
        super().__init__()
        self.shape = (components,)

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The outputs, limited to -1..1."""
        return outputs.clamp(-1, 1)

    def spread(self, outputs: torch.Tensor) -> torch.Tensor:
        """It cannot tell."""
        raise NotImplementedError("a continuous head does not tell how far off it may be; take codec laplace")

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        return functional.smooth_l1_loss(outputs, target, reduction="none", beta=HUBER_BETA).mean(dim=-1)


class LaplaceCodec(ActionCodec):
    """Actions, and the logarithm of how far off they may be; Huber loss of the one, Laplace's likelihood of the other.

    The error is taken as given while its size is learned, so the actions are those of `ContinuousCodec`.
    """

    def __init__(self, components: int) -> None:
        super().__init__()
        self.shape = (2, components)

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The actions, limited to -1..1."""
        return outputs[..., 0, :].clamp(-1, 1)

    def spread(self, outputs: torch.Tensor) -> torch.Tensor:
        """Laplace's scale, which is the mean absolute error."""
        return outputs[..., 1, :].clamp(*LOG_SPREAD).exp()

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        actions, scale = outputs[:, 0], outputs[:, 1].clamp(*LOG_SPREAD)
        error = (actions.detach() - target).abs()
        likelihood = error * torch.exp(-scale) + scale
        huber = functional.smooth_l1_loss(actions, target, reduction="none", beta=HUBER_BETA)
        return (huber + SPREAD_WEIGHT * likelihood).mean(dim=-1)


class HeadingCodec(ActionCodec):
    """Nine classes of (vx, vy): stop and eight headings; cross-entropy.

    Args:
        threshold: a component beyond it counts as moving; normalised.
        level: what a moving component is decoded to; normalised.
        class_weights: nine numbers, or empty.
    """

    def __init__(self, threshold: float, level: float, class_weights: tuple[float, ...] = ()) -> None:
        super().__init__()
        if class_weights and len(class_weights) != len(HEADINGS):
            raise ValueError(f"head.class_weights must be {len(HEADINGS)} numbers, got {len(class_weights)}")
        self.shape = (len(HEADINGS),)
        self.threshold, self.level, self._weights = threshold, level, class_weights

    def encode(self, actions: torch.Tensor) -> torch.Tensor:
        """Classes (...) of normalised actions (..., 2)."""
        moving = torch.where(actions.abs() > self.threshold, actions.sign(), 0.0).to(torch.int64) + 1
        table = [0] * 9
        for number, (x, y) in enumerate(HEADINGS):
            table[3 * (x + 1) + y + 1] = number
        return torch.tensor(table, device=actions.device)[3 * moving[..., 0] + moving[..., 1]]

    def actions_of(self, classes: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., 2) of classes (...)."""
        return torch.tensor(HEADINGS, device=classes.device, dtype=torch.float32)[classes] * self.level

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The action of the likeliest class."""
        return self.actions_of(outputs.argmax(dim=-1))

    def spread(self, outputs: torch.Tensor) -> torch.Tensor:
        """Standard deviation over the classes."""
        every = torch.tensor(HEADINGS, device=outputs.device, dtype=torch.float32) * self.level
        return _deviation(outputs.softmax(dim=-1)[..., None], every)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        weight = outputs.new_tensor(self._weights) if self._weights else None
        return functional.cross_entropy(outputs, self.encode(target), weight=weight, reduction="none")


class BinCodec(ActionCodec):
    """Each component is one of `bins` equal bins of -1..1, decoded to the bin's middle; cross-entropy."""

    def __init__(self, components: int, bins: int) -> None:
        super().__init__()
        self.shape = (components, bins)

    @property
    def bins(self) -> int:
        """Bins of a component; an odd number has one whose middle is 0."""
        return self.shape[1]

    def encode(self, actions: torch.Tensor) -> torch.Tensor:
        """Bins (..., A) of normalised actions (..., A); what lies outside -1..1 falls into the outermost ones."""
        return ((actions + 1) / 2 * self.bins).floor().clamp(0, self.bins - 1).to(torch.int64)

    def actions_of(self, classes: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., A) of bins (..., A)."""
        return (classes.float() + 0.5) * 2 / self.bins - 1

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The middle of each component's likeliest bin."""
        return self.actions_of(outputs.argmax(dim=-1))

    def spread(self, outputs: torch.Tensor) -> torch.Tensor:
        """Standard deviation over the bins."""
        middles = self.actions_of(torch.arange(self.bins, device=outputs.device))
        return _deviation(outputs.softmax(dim=-1)[..., None], middles[:, None])[..., 0]

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        flat = functional.cross_entropy(outputs.flatten(0, 1), self.encode(target).flatten(), reduction="none")
        return flat.view(target.shape).mean(dim=-1)


def _deviation(shares: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Standard deviation (..., A) of values (K, A) that have shares (..., K, 1)."""
    mean = (shares * values).sum(dim=-2, keepdim=True)
    return (shares * (values - mean) ** 2).sum(dim=-2).sqrt()
