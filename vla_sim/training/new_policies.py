"""What trainings from new weights make: heads on one backbone, and their ensemble. Used by `warm_start` and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError, suggest

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment

ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class Ensemble:
    """How members drive together; it is written as it is, only they learn.

    Attributes:
        name: of its folder.
        config: the folder's.
        weights: file of its gate, None where it has none.
    """

    name: str
    config: Mapping[str, Any]
    weights: Path | None = None


@dataclass(frozen=True)
class NewHead:
    """A head with new weights.

    Attributes:
        kind: see `HeadSpec`.
        description: one line.
        share: its weight in the ensemble.
    """

    kind: str
    description: str
    share: float = 1.0


@dataclass(frozen=True)
class NewPolicies:
    """What a training from new weights makes: heads on one small convolutional CLIP; of several, their ensemble too.

    Attributes:
        backbone: name of the CLIP's folder.
        heads: by the names of their policies.
        action_scale: the m/s or rad/s of a component that become 1, by its name; the robot's limits where it says
            nothing.
        still: components of the robot that the policies leave at 0.
        sensors: LiDARs of the robot that they read beside the image.
    """

    backbone: str
    heads: Mapping[str, NewHead]
    action_scale: Mapping[str, float] = field(default_factory=dict)
    still: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()

    def read_of(self, robot: Embodiment) -> dict[str, Any] | None:
        """What their configs say of the sensors of a robot.

        Raises:
            UserError: it lacks one.
        """
        from vla_sim.policies.models.specs import RangesSpec

        lacking = [name for name in self.sensors if name not in robot.lidars]
        if lacking:
            raise UserError(f"{robot.name} has no LiDAR {lacking[0]!r}; {suggest(lacking[0], robot.lidars)}")
        return {name: RangesSpec.of(robot.lidars[name]) for name in self.sensors} or None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the policies, the ensemble last."""
        return (*self.heads, ENSEMBLE) if len(self.heads) > 1 else tuple(self.heads)

    @property
    def best(self) -> str:
        """The one that drives while more is learned: the ensemble, or the only head."""
        return self.names[-1]

    def ensemble(self) -> Ensemble | None:
        """Of all heads; None for a single one."""
        if len(self.heads) == 1:
            return None
        shares = {name: head.share for name, head in self.heads.items()}
        kinds = " and the ".join(head.kind.upper() for head in self.heads.values())
        config = {
            "format": 1,
            "type": ENSEMBLE,
            "description": f"{'/'.join(f'{100 * share:g}' for share in shares.values())} of the {kinds} on one CLIP",
            "members": list(shares),
            "weights": list(shares.values()),
            "fusion": "weighted",
        }
        return Ensemble(ENSEMBLE, config)


SMALL = NewPolicies(
    "clip_small",
    {
        "clip_lstm": NewHead("lstm", "small CLIP with an LSTM head that remembers its episode", 0.6),
        "clip_mlp": NewHead("mlp", "small CLIP with an MLP head that sees one image", 0.4),
    },
)
