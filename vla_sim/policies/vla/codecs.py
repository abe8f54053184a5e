"""Between normalised actions and a head's last layer: numbers, one of nine headings, or bins. Loads torch."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn
from torch.nn import functional

from vla_sim.policies.vla.specs import ActionSpec, HeadSpec

# Class -> signs of (vx, vy); y points left. The order is that of the users' data set.
HEADINGS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
HEADING_NAMES = ("stop", "F", "B", "L", "R", "FL", "FR", "BL", "BR")
# Where the Huber loss turns from a parabola into a line, in normalised units.
HUBER_BETA = 0.1


def build_codec(head: HeadSpec, action: ActionSpec) -> ActionCodec:
    """The codec that a head asks for."""
    components = len(action.names)
    if head.codec == "headings":
        return HeadingCodec(head.threshold, head.level, head.class_weights)
    return BinCodec(components, head.bins) if head.codec == "bins" else ContinuousCodec(components)


class ActionCodec(nn.Module, ABC):
    """Actions are float (..., A), normalised to -1..1; outputs are (..., *shape), classes int64.

    Attributes:
        shape: of what the last layer gives for one action.
    """

    shape: tuple[int, ...]

    @property
    def width(self) -> int:
        """Numbers that the last layer gives for one action."""
        return int(torch.Size(self.shape).numel())

    @abstractmethod
    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """Normalised actions (..., A) from outputs (..., *shape)."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of each action, (M,), from outputs (M, *shape) and normalised actions (M, A)."""


class ContinuousCodec(ActionCodec):
    """The outputs are the actions; Huber loss."""

    def __init__(self, components: int) -> None:
        super().__init__()
        self.shape = (components,)

    def decode(self, outputs: torch.Tensor) -> torch.Tensor:
        """The outputs, limited to -1..1."""
        return outputs.clamp(-1, 1)

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        return functional.smooth_l1_loss(outputs, target, reduction="none", beta=HUBER_BETA).mean(dim=-1)


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

    def loss(self, outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """See `ActionCodec.loss`."""
        flat = functional.cross_entropy(outputs.flatten(0, 1), self.encode(target).flatten(), reduction="none")
        return flat.view(target.shape).mean(dim=-1)
