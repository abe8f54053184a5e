"""Reads checkpoint files without executing anything in them. Loads torch when it reads."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.policies.checkpoints.hyper_parameters import simple_values
from vla_sim.policies.folders import PolicyError

if TYPE_CHECKING:
    import torch

# Where a file keeps the weights, the first that is there; else the file itself is the state.
STATE_KEYS = ("model_state_dict", "state_dict", "model", "module")
# Leading parts of names that only say how the model was wrapped while it was trained.
WRAPPERS = ("module", "model", "_orig_mod", "_forward_module", "state_dict")
# weights_only is not safe before: CVE-2025-32434.
SAFE_TORCH = (2, 6)

CONVERT = (
    "On a machine where you trust the file, keep the weights alone and try again: "
    "python -c \"import torch; f = torch.load({name!r}, map_location='cpu', weights_only=False); "
    "torch.save({{'model_state_dict': f.get('model_state_dict') or f['state_dict']}}, 'weights.pt')\""
)


@dataclass(frozen=True)
class Contents:
    """What was read out of one checkpoint.

    Attributes:
        path: the file.
        state: tensors by their names without wrappers.
        names: those names -> the names in the file.
        facts: simple values beside the weights at any depth, e.g. {"epoch": 3, "config.window_size": 8}.
        ignored: entries of the file that were not used, e.g. "optimizer_state_dict".
    """

    path: Path
    state: Mapping[str, torch.Tensor]
    names: Mapping[str, str]
    facts: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_checkpoint(path: Path) -> Contents:
    """The weights of a checkpoint; nothing in the file is executed.

    Raises:
        PolicyError: not a checkpoint, damaged, pickled objects in it, or no weights.
    """
    whole = _load(path)
    if not isinstance(whole, Mapping):
        raise PolicyError(f"{path} holds a {type(whole).__name__}, not a checkpoint with named weights")
    where, raw = _state(whole)
    tensors = {str(name): value for name, value in raw.items() if _is_tensor(value)}
    if not tensors:
        entries = ", ".join(map(str, list(whole)[:8])) or "nothing"
        raise PolicyError(f"{path} holds no weights: its entries are {entries}")
    state: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, tensor in tensors.items():
        short = unwrapped(name)
        if short in state:
            raise PolicyError(f"{path} holds {short} twice: as {names[short]} and as {name}")
        state[short], names[short] = tensor, name
    beside = {str(key): value for key, value in whole.items() if where and key != where}
    return Contents(path, state, names, simple_values(beside), tuple(beside))


def unwrapped(name: str) -> str:
    """A weight's name without the wrappers before it: "model.module.lstm.bias" is "lstm.bias"."""
    first, dot, rest = name.partition(".")
    return unwrapped(rest) if dot and first in WRAPPERS else name


def _load(path: Path) -> Any:
    import torch

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < SAFE_TORCH:
        raise PolicyError(f"reading {path.name} safely needs torch {'.'.join(map(str, SAFE_TORCH))}")
    if path.stat().st_size == 0:
        raise PolicyError(f"{path} is empty")
    try:
        # Only what is used is read from the disk: two thirds of the users' files are the optimiser's.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise PolicyError(_refusal(path, str(error))) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle can make torch raise almost anything
        raise PolicyError(f"{path} cannot be read (truncated, or no checkpoint?): {_first_line(error)}") from error


def _refusal(path: Path, message: str) -> str:
    found = re.search(r"GLOBAL (\S+?)[ .]*(?:was not|is not|,|$)", message) or re.search(
        r"(?:global|class|type) [`']?([\w.]+\.[\w]+)", message, re.IGNORECASE
    )
    what = f"the object {found[1]}" if found else "something other than weights"
    return (
        f"{path} holds {what} beside or instead of weights. To read that could run any code: refused, nothing was "
        f"executed. {CONVERT.format(name=path.name)}"
    )


def _state(whole: Mapping[Any, Any]) -> tuple[str, Mapping[Any, Any]]:
    for key in STATE_KEYS:
        inner = whole.get(key)
        if isinstance(inner, Mapping):
            # Some files nest it twice.
            deeper = next((inner[k] for k in STATE_KEYS if isinstance(inner.get(k), Mapping)), inner)
            return key, deeper
    return "", whole


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
