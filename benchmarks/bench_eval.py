"""The whole command, imports included: simulated seconds per second, and a worker's memory over a long run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from vla_sim.rollout.result import read_results

SCENARIOS = ("obstacle_left", "obstacle_right", "two_obstacles_left", "reach_goal", "choose_goal")


def worker_memory_mb() -> float:
    """Largest resident set among the Python processes that this one started."""
    largest = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"spawn_main" in command:
            resident = next((line for line in text.splitlines() if line.startswith("VmRSS")), "VmRSS: 0 kB")
            largest = max(largest, int(resident.split()[1]) / 1024)
    return largest


class MemoryWatch(threading.Thread):
    """Samples `worker_memory_mb` twice a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[float] = []
        self.running = True

    def run(self) -> None:
        while self.running:
            self.samples.append(worker_memory_mb())
            time.sleep(0.5)

    def stop(self) -> list[float]:
        self.running = False
        self.join()
        return [sample for sample in self.samples if sample > 0]


def evaluate(episodes: int, workers: int, policy: str = "ensemble") -> None:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        each = episodes // len(SCENARIOS)
        arguments = f"--episodes {each} --workers {workers} --first-seed 0 --instruction-set train --out {out}".split()
        command = [sys.executable, "-m", "vla_sim.eval", "--policy", policy, "--scenario", *SCENARIOS, *arguments]
        watch = MemoryWatch()
        watch.start()
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - begin
        memory = watch.stop()
        records = read_results(out / "episodes.jsonl")
        driving = json.loads((out / "summary.json").read_text("utf-8"))["provenance"]["wall_time_s"]
    simulated = sum(record.sim_time_s for record in records)
    steps = sum(record.steps for record in records)
    inference = sum((record.inference_ms or 0) * record.steps for record in records) / 1e3 / workers
    middle = memory[len(memory) // 2]
    print(f"  {policy}, {len(records)} episodes, {steps} steps, --workers {workers}: {wall:.1f} s in all")
    print(f"    {simulated / wall:.0f} x real time; driving {driving:.1f} s, inference {inference:.1f} s per worker")
    print(f"    worker memory: {middle:.0f} MB half way, {memory[-1]:.0f} MB at the end, {max(memory):.0f} MB at most")


def main() -> None:
    print("evaluation command, imports, report and all")
    evaluate(100, 2)
    evaluate(1000, 2)
    evaluate(1000, 1)


if __name__ == "__main__":
    main()
