"""The rows of the users' table as small models: what each is made of, and how long its head learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vla_sim.core.errors import UserError, suggest

# As large as the shipped weights allow: sixty megabytes for all policies together.
FUSION = {"channels": 96, "readout": 12, "feature_dim": 128}
# Queries of a resampler stand for patches, so the fusion keeps as many numbers of each.
RESAMPLER = {"kind": "mobile", "queries": 49, "placed": True, "width": 64, "heads": 4, "dropout": 0.0}
LSTM = {"kind": "lstm", "codec": "laplace", "hidden": 128}
MLP = {"kind": "mlp", "codec": "laplace", "hidden": 192, "layers": 2}


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        description: one line.
        backbone: of `VlaConfig`.
        parts: further fields of `VlaConfig`.
        steps: of learning, if the gate does not ask for more; as many as fit into five minutes on two cores.
        epochs: checkpoints to keep along the way, as fractions of the steps, each a policy folder of its own.
        augmented: whether the augmented variants of the demonstrations are learned from, too.
    """

    description: str
    backbone: str
    parts: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 1600
    epochs: Mapping[str, float] = field(default_factory=dict)
    augmented: bool = True


def _three_dimensional() -> dict[str, Any]:
    """Yaw rates are predicted (the expert's are 0) and not sent to a robot that cannot turn."""
    return {"names": ["vx", "vy", "wz"], "scale": [0.5, 0.5, 1.0], "driven": ["vx", "vy"]}


ROWS = {
    "kosmos2_clip_lstm_norm": Row(
        "Kosmos-2 and CLIP with vision resampler and CLIP normalisation, LSTM head, 2D actions",
        "both",
        {"resampler": RESAMPLER, "normalisation": "bottleneck", "head": LSTM},
        steps=1000,
    ),
    "kosmos2_clip_lstm_norm_3d": Row(
        "Kosmos-2 and CLIP with vision resampler and CLIP normalisation, LSTM head, 3D actions",
        "both",
        {"resampler": RESAMPLER, "normalisation": "bottleneck", "head": LSTM, "action": _three_dimensional()},
        steps=1000,
    ),
    "kosmos2_clip_lstm_2d": Row(
        "Kosmos-2 and CLIP with vision resampler, LSTM head, 2D actions",
        "both",
        {"resampler": RESAMPLER, "head": LSTM},
        steps=1000,
    ),
    "mobile_vla": Row(
        "Kosmos-2 with an MLP head, after epoch 3",
        "kosmos2",
        {"head": MLP},
        epochs={"mobile_vla_epoch_1": 1 / 3, "mobile_vla_epoch_2": 2 / 3},
    ),
    "simple_clip": Row(
        "CLIP with an MLP head, on the demonstrations as they are", "clip", {"head": MLP}, augmented=False
    ),
    "clip_augmented": Row("CLIP with an MLP head, on augmented demonstrations", "clip", {"head": MLP}),
    "kosmos2_clip_gpt2": Row(
        "Kosmos-2 and CLIP with a GPT-2 head over the last eight steps",
        "both",
        {"head": {"kind": "gpt2", "codec": "laplace", "hidden": 128, "layers": 2, "window": 8}},
        steps=1000,
    ),
    "kosmos2_clip_discrete": Row(
        "Kosmos-2 and CLIP with a discrete head: 21 bins for each component",
        "both",
        {"head": {"kind": "discrete", "codec": "bins", "hidden": 128, "bins": 21}},
    ),
    "kosmos2_clip_headings": Row(
        "Kosmos-2 and CLIP with a discrete head: stop and eight headings",
        "both",
        {"head": {"kind": "discrete", "codec": "headings", "hidden": 128}},
    ),
}


def row(name: str) -> Row:
    """The row of that name.

    Raises:
        UserError: there is none; the message offers the nearest.
    """
    if name not in ROWS:
        raise UserError(f"unknown row {name!r}; {suggest(name, ROWS)}")
    return ROWS[name]
