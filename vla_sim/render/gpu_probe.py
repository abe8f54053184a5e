"""Finds out in a process of its own whether Panda3D's GPU pipe works: where EGL is missing or broken it may abort."""

from __future__ import annotations

import functools
import subprocess
import sys

from vla_sim.errors import UserError

PROBE = """
from panda3d import core
core.load_prc_file_data("", "notify-level fatal")
pipe = core.GraphicsPipeSelection.get_global_ptr().make_module_pipe("p3headlessgl")
engine = core.GraphicsEngine.get_global_ptr()
properties = core.FrameBufferProperties()
properties.set_rgba_bits(8, 8, 8, 0)
size = core.WindowProperties.size(32, 32)
buffer = pipe and engine.make_output(pipe, "probe", 0, properties, size, core.GraphicsPipe.BF_refuse_window)
texture = core.Texture()
if buffer:
    buffer.add_render_texture(texture, core.GraphicsOutput.RTM_copy_ram)
    engine.render_frame()
print("works" if texture.has_ram_image() else "no picture")
engine.remove_all_windows()
"""


@functools.lru_cache(maxsize=1)
def gpu_pipe_problem(timeout_s: float = 60.0) -> str | None:
    """Why the GPU pipe cannot be used here; None if it can."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the probe failed: {error}"
    if done.stdout.strip().endswith("works"):
        return None
    return f"it gave no picture (exit code {done.returncode})"


def require_gpu_pipe() -> None:
    """Raise a UserError where the GPU pipe cannot be used."""
    problem = gpu_pipe_problem()
    if problem:
        raise UserError(f"renderer 'gpu' cannot be used here: {problem}; use 'software'")
