"""A simple model of the robot for overview pictures: a round body on three omni wheels with a camera on a mast."""

from __future__ import annotations

from vla_sim.sim.stage import Layer, Stage
from vla_sim.types import Pose2


def robot_layer(robot: Pose2, stage: Stage) -> list[tuple[Layer, str]]:
    """The robot's triangles at a pose, each layer with the style it is drawn in."""
    return []
