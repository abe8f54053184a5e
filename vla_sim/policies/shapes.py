"""Networks that are only shapes: built without memory and without first weights, to hold their sizes against a file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

# What torch computes through its compiler on tensors without numbers, though their shape stays what it is.
_SAME_SHAPE = frozenset({torch.Tensor.normal_, torch.Tensor.triu, torch.Tensor.tril})


@contextlib.contextmanager
def shapes_only() -> Iterator[None]:
    """Networks that are built in this context have shapes and types, but no numbers."""
    with torch.device("meta"), _NoNumbers():
        yield


class _NoNumbers(TorchFunctionMode):
    """Computes nothing where only numbers would change.

    Torch would load its compiler for it: 800 modules, about a second, a third of what a policy takes to start.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _SAME_SHAPE or getattr(func, "__module__", None) == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
