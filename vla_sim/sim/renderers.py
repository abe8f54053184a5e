"""The way to get a renderer by name. Used by the envs and the reports."""

from __future__ import annotations

from vla_sim.core.config import shown
from vla_sim.core.errors import UserError, suggest
from vla_sim.sim.camera import Renderer

RENDERERS = ("software", "gpu", "tiny")


def make_renderer(image_px: tuple[int, int], slots: int = 1, *, name: str = "software") -> Renderer:
    """A renderer by name.

    Args:
        image_px: (width, height) of every image.
        slots: number of scenes that are shown at a time.
        name: "software" (Panda3D's own rasteriser, the default: needs nothing and is the same on every machine),
            "gpu" (Panda3D through EGL: probed in a process of its own first) or "tiny" (PyBullet's TinyRenderer with
            plain shapes: the slow reference that images are checked against).

    Raises:
        UserError: unknown name, or no working GPU pipe on this machine.
    """
    if slots < 1:
        raise ValueError(f"a renderer needs at least one slot, got {slots}")
    if name == "tiny":
        from vla_sim.sim.tiny import TinyRenderer

        return TinyRenderer(image_px, slots)
    if name not in RENDERERS:
        raise UserError(f"unknown renderer {shown(name)}; {suggest(str(name), RENDERERS)}")
    from vla_sim.sim.panda import PandaRenderer

    return PandaRenderer(image_px, slots, pipe=name)
