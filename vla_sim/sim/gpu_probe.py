"""Finds out, in a process of its own, whether Panda3D can draw on a GPU here: a broken driver may abort a process."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import dataclass

PROBE_LIMIT_S = 60
PROBE_COMMAND = ("-m", "vla_sim.sim.gpu_probe")


@dataclass(frozen=True)
class GpuProbe:
    """Whether the GPU pipe drew a correct image; `message` names the device, or says what went wrong."""

    works: bool
    message: str


@functools.cache
def probe_gpu() -> GpuProbe:
    """Try the GPU pipe once a process."""
    command = [sys.executable, *PROBE_COMMAND]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return GpuProbe(False, f"the probe did not finish: {type(error).__name__}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("device: ", "failed: "))]
    if done.returncode == 0 and lines and lines[-1].startswith("device: "):
        return GpuProbe(True, lines[-1][len("device: ") :])
    if lines:
        return GpuProbe(False, lines[-1][len("failed: ") :])
    return GpuProbe(False, f"the probe ended with status {done.returncode}")


def draw_once() -> str:
    """Clear a small buffer on the GPU pipe, check its colour and return the device's name.

    Raises:
        RuntimeError: no pipe, no buffer, or a wrong image.
    """
    import numpy as np

    from vla_sim.sim.panda_target import draw, new_target

    target = new_target("gpu", (16, 16), background=(1.0, 0.5, 0.0))
    draw([target])
    if not target.texture.hasRamImage():
        raise RuntimeError("no image came back")
    if not np.allclose(target.pixels().reshape(-1, 3), (255, 128, 0), atol=2):
        raise RuntimeError("the image has the wrong colour")
    name: str = target.buffer.getGsg().getDriverRenderer()
    target.close()
    return name


def main() -> int:
    """Print the device's name, or why there is none."""
    try:
        print(f"device: {draw_once()}", flush=True)
    except Exception as error:  # whatever it is, the parent only needs to know that there is no GPU
        print(f"failed: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
