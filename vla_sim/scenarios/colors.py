"""Named colours that scenario files and instructions use; RGB in 0..1 as `Body.color` holds it."""

from __future__ import annotations

from vla_sim.core.types import Vec3

PALETTE: dict[str, Vec3] = {
    "red": (0.80, 0.10, 0.10),
    "orange": (0.90, 0.42, 0.05),
    "yellow": (0.90, 0.78, 0.10),
    "green": (0.12, 0.58, 0.18),
    "blue": (0.10, 0.25, 0.80),
    "purple": (0.48, 0.15, 0.62),
    "white": (0.92, 0.92, 0.92),
    "gray": (0.46, 0.47, 0.49),
    "brown": (0.42, 0.24, 0.12),
    "cardboard": (0.68, 0.50, 0.32),
}
