"""Env ids of earlier versions: what they answer."""

from __future__ import annotations

from typing import Any, NoReturn

from vla_sim.core.errors import UserError


def navigate_v0(**_: Any) -> NoReturn:
    """Refuse `VLASim/Navigate-v0`, whose figures cannot be compared with those of today.

    Raises:
        UserError: always.
    """
    raise UserError(
        "VLASim/Navigate-v0 is gone: success now means reached and stopped, scenes look indoors, and policies were "
        "trained again for both; use VLASim/Navigate-v1 and measure anew"
    )
