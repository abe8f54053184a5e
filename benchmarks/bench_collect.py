"""The command `collect`, imports included: simulated seconds per second at 224x224 with two workers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vla_sim.data.store import read_manifest
from vla_sim.embodiments import load_embodiment

EPISODES, WORKERS = 200, 2


def collect(kind: str, episodes: int = EPISODES, workers: int = WORKERS) -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "set"
        numbers = f"--episodes {episodes} --workers {workers} --format {kind} --out {out}".split()
        command = [sys.executable, "-m", "vla_sim.collect", "--policy", "expert", "--suite", "seed", *numbers]
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - begin
        steps, size = _steps(out, kind), sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    simulated = steps * load_embodiment("serbot").control_s
    print(f"  {kind}, {episodes} episodes, {steps} steps, --workers {workers}: {wall:.1f} s in all")
    print(f"    {simulated / wall:.0f} x real time (goal 20), {size / 1e6 / episodes:.2f} MB an episode")


def _steps(out: Path, kind: str) -> int:
    if kind == "hdf5":
        return sum(entry.frames for entry in read_manifest(out).entries.values())
    from vla_sim.data.lerobot import LeRobotReader

    return sum(len(recording) for recording in LeRobotReader(out).recordings())


def main() -> None:
    print(f"collecting the expert's drives at 224x224; load of the machine: {os.getloadavg()[0]:.1f}")
    collect("hdf5")
    collect("lerobot")


if __name__ == "__main__":
    main()
