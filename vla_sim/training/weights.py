"""Writes tensors as one safetensors file that is complete or absent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.files import write_whole

if TYPE_CHECKING:
    import torch


def write_weights(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Put a weights file in its place, or leave the place as it was.

    Args:
        path: of the file; its folder is made where it is missing.
        tensors: by name, on any device.
        metadata: of the file's head; "format" says "pt" unless given.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save

    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(contiguous, metadata=dict(metadata or {"format": "pt"})))
