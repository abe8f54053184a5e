"""Milliseconds per image, per scene loaded and per pose, for every renderer that works here.

Each figure is the fastest of many short runs, so that other work on the machine does not enter it.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.types import Pose2
from vla_sim.scenarios import load_scenario
from vla_sim.sim.camera import Renderer
from vla_sim.sim.renderers import RENDERERS, make_renderer

SCENARIO = "two_obstacles_left"  # floor, four walls, two boxes and a goal
SEEDS = list(range(8))  # their cost differs by surfaces and by how much floor lies in shadow


def fastest_ms(run: Callable[[], object], *, repeats: int, runs: int = 60) -> float:
    """Milliseconds of one call: the fastest mean of `repeats` calls among `runs`."""
    best = float("inf")
    run()
    for _ in range(runs):
        begin = time.perf_counter()
        for _ in range(repeats):
            run()
        best = min(best, (time.perf_counter() - begin) / repeats)
    return best * 1e3


def loaded(name: str, seeds: list[int]) -> Renderer:
    """A renderer with one scene in each slot."""
    camera = load_embodiment("serbot").camera
    renderer = make_renderer(camera.image_px, len(seeds), name=name)
    scenario = load_scenario(SCENARIO)
    for slot, seed in enumerate(seeds):
        renderer.load(slot, scenario.sample(seed), camera)
    return renderer


def picture_ms(name: str, seeds: list[int], runs: int) -> float:
    """Milliseconds to draw these scenes together and copy their images out."""
    renderer = loaded(name, seeds)
    figure = fastest_ms(renderer.render, repeats=1, runs=runs)
    renderer.close()
    return figure


def bench(name: str) -> None:
    runs = 3 if name == "tiny" else 300
    alone = [picture_ms(name, [seed], runs) for seed in SEEDS]
    print(f"{name:10} one view    {min(alone):.3f} to {max(alone):.3f}, mean {sum(alone) / len(alone):.3f} ms")
    print(f"{name:10} eight views {picture_ms(name, SEEDS, runs) / len(SEEDS):.3f} ms each", flush=True)
    camera = load_embodiment("serbot").camera
    scenes = [load_scenario(SCENARIO).sample(seed) for seed in range(10)]
    renderer = loaded(name, [0])
    load_ms = fastest_ms(lambda: [renderer.load(0, scene, camera) for scene in scenes], repeats=1, runs=20) / len(
        scenes
    )
    place_ms = fastest_ms(lambda: renderer.place(0, Pose2(0.3, 0.1, 0.1)), repeats=50)
    depth_ms = fastest_ms(lambda: renderer.depth(0), repeats=1, runs=5)
    labels_ms = fastest_ms(lambda: renderer.segmentation(0), repeats=1, runs=5)
    print(f"{name:10} load {load_ms:.3f}  place {place_ms:.4f}  depth {depth_ms:.1f}  segmentation {labels_ms:.2f} ms")
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
