"""What a seed of a scene may be: numbers that every file format of ours can hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError

MAX_SEED = 2**63 - 1


class SeedError(UserError, ValueError):
    """What can be no seed."""


def checked_seed(value: Any, name: str = "seed") -> int:
    """A seed as an int.

    Raises:
        SeedError: no whole number, negative, or 2^63 and more.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise SeedError(f"{name} must be a whole number, got {shown(value)}")
    if value < 0:
        raise SeedError(f"{name} must not be negative, got {shown(int(value))}")
    if value > MAX_SEED:
        raise SeedError(f"{name} must be less than 2^63, got {shown(int(value))}")
    return int(value)
