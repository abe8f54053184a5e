"""Weights' files: safetensors alone, written whole, and held against what a network asks for before they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole

if TYPE_CHECKING:
    import torch

# Shape and type of each tensor by its name.
Sizes = Mapping[str, tuple[tuple[int, ...], "torch.dtype"]]


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


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file.

    Raises:
        UserError: it is missing, truncated or no safetensors file.
    """
    from safetensors.torch import load_file

    with _sentences(path):
        return load_file(path)


def weight_sizes(path: Path) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shapes and types of the tensors of a file; only its head is read.

    Raises:
        UserError: see `read_weights`.
    """
    from safetensors import safe_open

    with _sentences(path), safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        return {name: (tuple(part.get_shape()), _dtype(part.get_dtype())) for name, part in slices.items()}


def check_sizes(path: Path, wanted: Sizes) -> None:
    """Hold a file against what a network asks for.

    Raises:
        UserError: names, shapes or types differ, or the file cannot be read.
    """
    given = weight_sizes(path)
    for what, names in (("misses", wanted.keys() - given.keys()), ("holds unknown", given.keys() - wanted.keys())):
        if names:
            some = ", ".join(sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(f"the weights' file {what} {some}{more} ({path})")
    for name, (shape, dtype) in given.items():
        wanted_shape, wanted_dtype = wanted[name]
        if shape != wanted_shape:
            raise UserError(f"weight {name} has shape {shape}, the config asks for {wanted_shape} ({path})")
        if dtype != wanted_dtype:
            raise UserError(f"weight {name} must be {wanted_dtype}, got {dtype} ({path})")


def check_finite(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raises: UserError: a tensor holds values that are not finite."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise UserError(f"weight {name} holds values that are not finite ({path})")


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Whatever reading a weights' file raises, as one sentence."""
    from safetensors import SafetensorError

    if not path.is_file():
        raise UserError(f"weights are missing: {path}")
    try:
        yield
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
        size = path.stat().st_size
        raise UserError(f"weights cannot be read (truncated?): {error} ({path}, {size} bytes)") from error


def _dtype(name: str) -> torch.dtype:
    import torch

    names = {"F": "float", "BF": "bfloat", "I": "int", "U": "uint"}
    letters, digits = name.rstrip("0123456789"), name.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    found = getattr(torch, f"{names.get(letters, letters.lower())}{digits}", None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"tensors of type {name} are unknown")
    return found
