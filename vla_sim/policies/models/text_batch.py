"""Instructions inside the model: named tensors whose first dimension is the text. Loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Either token ids ("<backbone>.ids" int64 (n, L), "<backbone>.mask" bool (n, L)) or what a backbone makes of them.
TextBatch = dict[str, torch.Tensor]


def stacked(rows: Sequence[TextBatch]) -> TextBatch:
    """One below the other; all must have the same names."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def picked(rows: TextBatch, index: torch.Tensor) -> TextBatch:
    """The rows of these numbers, int64 (m,)."""
    return {name: tensor[index] for name, tensor in rows.items()}
