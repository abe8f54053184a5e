"""Off-screen buffers of Panda3D: the engine, its pipes and what is drawn into. Used by `panda` and `gpu_probe`.

One GraphicsEngine a process, no window and no ShowBase.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

BACKGROUND = (0.72, 0.78, 0.84)
_SETTINGS = """
notify-level-display error
notify-level-x11display fatal
notify-level-tinydisplay error
notify-level-egldisplay error
audio-library-name null
sync-video false
textures-power-2 down
uniquify-transforms false
uniquify-matrix false
transform-cache false
"""


def new_target(pipe: str, size_px: tuple[int, int], *, background: tuple[float, ...] = BACKGROUND) -> Target:
    """A buffer that was given back, or a new one."""
    free = _free_targets.get((pipe, size_px))
    target = free.pop() if free else Target(pipe, size_px)
    target.background(background)
    return target


# Panda3D's software pipe never frees the pixels of a removed buffer: those given back wait here for the next renderer.
_free_targets: dict[tuple[str, tuple[int, int]], list[Target]] = {}


class Target:
    """An off-screen buffer with a camera; idle except while `draw` runs. Made by `new_target`."""

    def __init__(self, pipe: str, size_px: tuple[int, int]) -> None:
        core = core_module()
        self._pipe, self.size_px = pipe, size_px
        properties = core.FrameBufferProperties()
        properties.setRgbaBits(8, 8, 8, 8)
        properties.setDepthBits(24)
        window = core.WindowProperties(size=size_px)
        self.buffer = _engine().makeOutput(
            _pipe(pipe), "camera", 0, properties, window, core.GraphicsPipe.BFRefuseWindow
        )
        if self.buffer is None:
            raise RuntimeError(f"Panda3D gave no off-screen buffer of {size_px} pixels on its {pipe} pipe")
        self.texture = core.Texture("picture")
        self.buffer.addRenderTexture(self.texture, core.GraphicsOutput.RTMCopyRam, core.GraphicsOutput.RTPColor)
        self.lens = core.PerspectiveLens()
        self.camera = core.Camera("eye", self.lens)
        region = self.buffer.makeDisplayRegion()
        region.setCamera(core.NodePath(self.camera))
        self.buffer.setActive(False)

    def background(self, color: tuple[float, ...]) -> None:
        """Set the colour where nothing is, 0..1."""
        self.buffer.setClearColor((*color, 1.0))

    def look(self, half_tan: tuple[float, float], near_m: float, far_m: float) -> None:
        """Set the field of view by the tangents of its halves (horizontal, vertical), and the range that is drawn."""
        self.lens.setFov(*(math.degrees(2 * math.atan(value)) for value in half_tan))
        self.lens.setNearFar(near_m, far_m)

    def pixels(self) -> np.ndarray:
        """The drawn image, uint8 RGB (H, W, 3), top row first; a view."""
        width, height = self.size_px
        data = np.frombuffer(self.texture.getRamImageAs("RGB"), np.uint8)
        return data.reshape(height, width, 3)[::-1]

    def close(self) -> None:
        """Give the buffer back."""
        _free_targets.setdefault((self._pipe, self.size_px), []).append(self)


@functools.cache
def core_module() -> Any:
    """panda3d.core, imported and set up when the first renderer is made."""
    from panda3d import core

    core.loadPrcFileData("vla_sim", _SETTINGS)
    return core


@functools.cache
def _engine() -> Any:
    return core_module().GraphicsEngine.getGlobalPtr()


@functools.cache
def _pipe(name: str) -> Any:
    selection = core_module().GraphicsPipeSelection.getGlobalPtr()
    if name == "gpu":
        pipe = selection.makeModulePipe("p3headlessgl")
    else:
        pipe = selection.makePipe("TinyOffscreenGraphicsPipe", "p3tinydisplay")
    if pipe is None:
        raise RuntimeError(f"this build of Panda3D has no {name} pipe")
    return pipe


def draw(targets: list[Target]) -> None:
    """Draw one frame into these targets and no others."""
    for target in targets:
        target.buffer.setActive(True)
    try:
        _engine().renderFrame()
    finally:
        for target in targets:
            target.buffer.setActive(False)
        # Panda3D keeps every pose that was ever drawn until this is called, as its own main loop does each frame.
        core_module().TransformState.garbageCollect()
