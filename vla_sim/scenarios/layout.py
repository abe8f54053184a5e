"""A layout: bodies in place before they get their looks. Passed between sampling, feasibility and appearance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.doorways import Doorway
from vla_sim.core.types import Body, Motion, Pose2, Role
from vla_sim.scenarios.scene_distribution import ObjectDistribution


@dataclass(frozen=True)
class Layout:
    """What was drawn of a scene, but colours and words.

    Attributes:
        bodies: objects, outer walls, inner walls, movers.
        bounds_m: (x_min, x_max, y_min, y_max) of the outer walls' inner faces.
        plans: of the objects, in the same order.
        start: of the robot.
        motions: of the movers.
        outline: corners of the room, counter-clockwise.
        doorways: of the inner walls.
    """

    bodies: tuple[Body, ...]
    bounds_m: tuple[float, float, float, float]
    plans: tuple[ObjectDistribution, ...]
    start: Pose2
    motions: tuple[Motion, ...]
    outline: tuple[tuple[float, float], ...]
    doorways: tuple[Doorway, ...] = ()


def candidates(bodies: Sequence[Body], start: Pose2) -> list[Body]:
    """Goal and distractors from left to right, as seen from the start."""
    named = [body for body in bodies if body.role in (Role.GOAL, Role.DISTRACTOR)]
    return sorted(named, key=lambda body: -start.seen_from(body.x_m, body.y_m)[1])
