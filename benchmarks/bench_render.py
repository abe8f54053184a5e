"""Milliseconds of processor time per image, per scene loaded and per pose, for every renderer that works here.

Each figure is the fastest of many runs, so that other work on the machine does not enter it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.types import Pose2
from vla_sim.scenarios import load_scenario
from vla_sim.sim.camera import Renderer
from vla_sim.sim.renderers import RENDERERS, make_renderer

HERE = Path(__file__).parent
SCENARIO = "two_obstacles_left"  # two boxes and a goal
SCENARIOS = {"core": SCENARIO, "furnished": f"{HERE.parent}/recipes/furnished.toml#furnished_left"}
SEEDS = list(range(12))  # their cost differs by surfaces and by how much floor lies in shadow


def fastest_ms(run: Callable[[], object], *, repeats: int, runs: int = 60) -> float:
    """Milliseconds of one call: the fastest mean of `repeats` calls among `runs`."""
    best = float("inf")
    run()
    for _ in range(runs):
        begin = time.process_time()
        for _ in range(repeats):
            run()
        best = min(best, (time.process_time() - begin) / repeats)
    return best * 1e3


def loaded(name: str, scenario: str, seeds: list[int]) -> Renderer:
    """A renderer with one scene in each slot."""
    camera = load_embodiment("serbot").camera
    renderer = make_renderer(camera.image_px, len(seeds), name=name)
    for slot, seed in enumerate(seeds):
        renderer.load(slot, load_scenario(scenario).sample(seed), camera)
    return renderer


def image_ms(renderer: Renderer, runs: int) -> float:
    """Milliseconds to draw an image of every slot together and copy them out, each: after a move, as in an episode."""

    def step() -> None:
        for slot in range(renderer.slots):
            renderer.place(slot, Pose2(0.0, 0.0))
        renderer.render()

    return fastest_ms(step, repeats=1, runs=runs) / renderer.slots


def bench_alone(name: str, runs: int) -> None:
    """One view a scene."""
    for label, scenario in SCENARIOS.items():
        alone = []
        for seed in SEEDS:
            renderer = loaded(name, scenario, [seed])
            alone.append(image_ms(renderer, runs))
            renderer.close()
        mean = sum(alone) / len(alone)
        print(f"{name:10} {label:10} {min(alone):.3f} to {max(alone):.3f}, mean {mean:.3f} ms")


def bench(name: str) -> None:
    runs = 3 if name == "tiny" else 150
    bench_alone(name, runs)
    renderer = loaded(name, SCENARIO, SEEDS[:8])
    print(f"{name:10} eight views {image_ms(renderer, runs):.3f} ms each", flush=True)
    renderer.close()
    camera = load_embodiment("serbot").camera
    for label, scenario in SCENARIOS.items():
        scenes = [load_scenario(scenario).sample(seed) for seed in range(10)]
        renderer = loaded(name, scenario, [0])
        load_ms = fastest_ms(lambda r=renderer, s=scenes: [r.load(0, scene, camera) for scene in s], repeats=1, runs=10)
        place_ms = fastest_ms(lambda r=renderer: r.place(0, Pose2(0.3, 0.1, 0.1)), repeats=50)
        depth_ms = fastest_ms(lambda r=renderer: r.depth(0), repeats=1, runs=5)
        labels_ms = fastest_ms(lambda r=renderer: r.segmentation(0), repeats=1, runs=5)
        print(
            f"{name:10} {label:10} load {load_ms / len(scenes):.3f}  place {place_ms:.4f}  depth {depth_ms:.1f}  "
            f"segmentation {labels_ms:.2f} ms",
            flush=True,
        )
        renderer.close()


def main(names: list[str]) -> None:
    for name in names or RENDERERS:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                bench(name)
            except RuntimeWarning as missing:
                print(f"{name:10} {missing}")


if __name__ == "__main__":
    main(sys.argv[1:])
