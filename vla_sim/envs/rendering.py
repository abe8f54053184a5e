"""What `render()` of the envs shows: the robot's own image or an overview, as an array or in a window."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from vla_sim.core.config import shown
from vla_sim.core.errors import suggest
from vla_sim.core.sensors import IMAGE
from vla_sim.envs.checks import EnvError
from vla_sim.envs.sensing import Sensing
from vla_sim.sim.overview import ABOVE, VIEWS

CAMERA = "camera"
RENDER_VIEWS = (CAMERA, *VIEWS)
# (width, height) of overviews; "above" shows a square.
VIEW_PX = {view: (480, 480) if view == ABOVE else (480, 360) for view in VIEWS}
# The window is this many times as large as the image.
MAGNIFIED = 2

RGB_ARRAY, HUMAN = "rgb_array", "human"


def render_modes() -> list[str]:
    """Those that work here: a window needs pygame."""
    return [RGB_ARRAY, *([HUMAN] if importlib.util.find_spec("pygame") else [])]


def checked_render_mode(mode: Any, *, windows: bool = True) -> str | None:
    """A render mode that the env has.

    Raises:
        EnvError: another one; or a window without what it needs.
    """
    known = [RGB_ARRAY, HUMAN] if windows else [RGB_ARRAY]
    if mode is not None and mode not in known:
        raise EnvError(f"unknown render_mode {shown(mode)}; {suggest(str(mode), known)}")
    if mode == HUMAN and HUMAN not in render_modes():
        raise EnvError(
            "render_mode 'human' opens a window with pygame, which is not there: pip install 'vla-sim[render]'"
        )
    return None if mode is None else str(mode)


def checked_view(view: Any) -> str:
    """A view that `render()` has."""
    if view not in RENDER_VIEWS:
        raise EnvError(f"unknown render_view {shown(view)}; {suggest(str(view), RENDER_VIEWS)}")
    return str(view)


def rendered(sensing: Sensing, slot: int, view: str) -> np.ndarray:
    """What a view shows of a slot now, uint8 (H, W, 3) RGB."""
    if view == CAMERA:
        return sensing.images()[slot].copy()
    return sensing.renderers[IMAGE].overview(slot, *VIEW_PX[view], view)


class Window:
    """A window that shows images at the pace of the simulated time; opened with the first one.

    Args:
        fps: images a second.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._screen: Any = None

    def show(self, image: np.ndarray) -> None:
        """Show an image (H, W, 3), and wait until it is time for the next one.

        Raises:
            EnvError: there is no display.
        """
        import pygame

        size = (image.shape[1] * MAGNIFIED, image.shape[0] * MAGNIFIED)
        if self._screen is None:
            try:
                pygame.display.init()
                self._screen = pygame.display.set_mode(size)
            except pygame.error as error:
                raise EnvError(f"render_mode 'human' needs a display: {error}; 'rgb_array' needs none") from error
            pygame.display.set_caption("vla_sim")
            self._clock = pygame.time.Clock()
        surface = pygame.surfarray.make_surface(image.swapaxes(0, 1))
        self._screen.blit(pygame.transform.scale(surface, size), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close it, if it is open."""
        if self._screen is not None:
            import pygame

            pygame.display.quit()
            self._screen = None
