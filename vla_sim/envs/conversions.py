"""Lets Gymnasium's `NumpyToTorch` and its like pass on what is no array: sentences, names of outcomes, scenes.

Without it they take a text for a list of letters, each of which is a text again, until Python's stack is full.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from vla_sim.core.types import Scene


def _as_it_is(value: Any, xp: Any, device: Any = None) -> Any:
    return value


def register_conversions() -> None:
    """Add our values to `array_conversion`, where this Gymnasium has it (from 1.2, with `array-api-compat`)."""
    try:
        from gymnasium.wrappers.array_conversion import array_conversion
    except ImportError:
        return
    arrays = array_conversion.dispatch(Iterable)

    def of_array(value: np.ndarray, xp: Any, device: Any = None) -> Any:
        return value if value.dtype == object else arrays(value, xp, device)

    array_conversion.register(str, _as_it_is)
    array_conversion.register(Scene, _as_it_is)
    array_conversion.register(np.ndarray, of_array)
