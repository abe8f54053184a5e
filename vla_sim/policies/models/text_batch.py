"""Instructions inside the model: named tensors whose first dimension is the text. Loads torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

# Either token ids ("<backbone>.ids" int64 (n, L), "<backbone>.mask" bool (n, L)) or what a backbone makes of them.
Rows = dict[str, torch.Tensor]


def stacked(rows: Sequence[Rows]) -> Rows:
    """One below the other; all must have the same names."""
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def picked(rows: Rows, index: torch.Tensor) -> Rows:
    """The rows of these numbers, int64 (m,)."""
    return {name: tensor[index] for name, tensor in rows.items()}
