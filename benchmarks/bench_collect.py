"""The command `collect`, imports included: simulated seconds per second at 224x224 with two workers."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vla_sim.core.embodiments import load_embodiment
from vla_sim.datasets.store import read_manifest

EPISODES, WORKERS = 200, 2


def collect(kind: str, episodes: int = EPISODES, workers: int = WORKERS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        numbers = f"--episodes {episodes} --workers {workers} --format {kind} --out {out}".split()
        command = [sys.executable, "-m", "vla_sim.collect", "--policy", "expert", "--suite", "seed", *numbers]
        begin, used = time.perf_counter(), _processor_s()
        subprocess.run(command, check=True, capture_output=True)
        wall, used = time.perf_counter() - begin, _processor_s() - used
        steps, size = _steps(out, kind), sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    simulated = steps * load_embodiment("serbot").control_s
    print(f"  {kind}, {episodes} episodes, {steps} steps, --workers {workers}: {wall:.1f} s in all")
    print(f"    {simulated / wall:.0f} x real time (goal 20), {size / 1e6 / episodes:.2f} MB an episode")
    print(
        f"    {used:.1f} s of processor time: at most {simulated * workers / used:.0f} x where {workers} cores are free"
    )


def _processor_s() -> float:
    """Of all processes that this one started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def _steps(out: Path, kind: str) -> int:
    if kind == "hdf5":
        return sum(entry.frames for entry in read_manifest(out).entries.values())
    from vla_sim.datasets.lerobot import LeRobotReader

    return sum(len(recording) for recording in LeRobotReader(out).recordings())


def main() -> None:
    print(f"collecting the expert's drives at 224x224; load of the machine: {os.getloadavg()[0]:.1f}")
    collect("hdf5")
    collect("lerobot")


if __name__ == "__main__":
    main()
