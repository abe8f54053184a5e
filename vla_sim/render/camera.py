"""What every renderer does, and how one is chosen. Used by the envs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from vla_sim.errors import UserError, suggest
from vla_sim.specs import CameraSpec
from vla_sim.types import Pose2, Scene, Vec3

RENDERERS = ("software", "gpu", "tiny")


class Renderer(Protocol):
    """Draws `slots` scenes, each from a camera on its robot. The robot itself is not in its picture."""

    slots: int

    def load(self, slot: int, scene: Scene, camera: CameraSpec) -> None:
        """Build a scene in a slot in place of the one before."""

    def place(
        self, slot: int, robot: Pose2, moved: Mapping[str, tuple[Vec3, tuple[float, float, float, float]]] = ...
    ) -> None:
        """Put the camera on the robot (world pose) and pushed bodies at (centre, quaternion xyzw)."""

    def render(self) -> np.ndarray:
        """Pictures of all slots, uint8 RGB (slots, H, W, 3), contiguous, a new array each time."""

    def depth(self, slot: int) -> np.ndarray:
        """Distance along the optical axis, float32 (H, W) in metres; far_m where nothing is."""

    def segmentation(self, slot: int) -> np.ndarray:
        """int32 (H, W): 0 nothing, 1 floor, 2 + index of the body in `scene.bodies`."""

    def close(self) -> None:
        """Give everything back; calling it twice is harmless."""


def make_renderer(image_px: tuple[int, int], slots: int = 1, *, name: str = "software") -> Renderer:
    """A renderer by name.

    Args:
        image_px: (width, height) of every picture.
        slots: how many scenes it draws at once.
        name: "software" (Panda3D on the CPU, needs nothing), "gpu" (Panda3D through EGL), "tiny" (PyBullet's
            TinyRenderer with primitive shapes, the slow reference).

    Raises:
        UserError: unknown name, or a GPU pipe that does not work here (found out in a process of its own).
    """
    if name == "tiny":
        from vla_sim.render.tiny import TinyRenderer

        return TinyRenderer(image_px, slots)
    if name not in RENDERERS:
        raise UserError(f"unknown renderer {name!r}; {suggest(name, RENDERERS)}")
    if name == "gpu":
        from vla_sim.render.gpu_probe import require_gpu_pipe

        require_gpu_pipe()
    from vla_sim.render.panda import PandaRenderer

    return PandaRenderer(image_px, slots, pipe=name)
