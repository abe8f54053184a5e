"""A layout: bodies in place before they get their looks. Passed between sampling, feasibility and appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.types import Body, Role
from vla_sim.scenarios.scene_distribution import ObjectDistribution


@dataclass(frozen=True)
class Layout:
    """Bodies in place (colours come later), the inner faces of the walls, and the plans of the movable bodies."""

    bodies: tuple[Body, ...]
    bounds_m: tuple[float, float, float, float]
    plans: tuple[ObjectDistribution, ...]


def candidates(bodies: Sequence[Body]) -> list[Body]:
    """Goal and distractors from left to right."""
    named = [body for body in bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    return sorted(named, key=lambda body: -body.y_m)
