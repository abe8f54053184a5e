"""Single images in which every object is the goal in turn: they teach which words belong to which object.

An episode shows one goal in a dozen images that look alike, and a network does fairly well on drives without reading
what the goal looks like. Here the same image comes with other words and another way to go, so only reading helps.
Used by `recipes.train_shipped`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.pool import run_units
from vla_sim.core.threads import torch_threads
from vla_sim.core.types import Pose2
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.images import shrink
from vla_sim.rollout.demonstrations import goal_in_image
from vla_sim.rollout.recording import LABEL_MARGIN_M
from vla_sim.scenarios import load_scenario
from vla_sim.sim.renderers import make_renderer
from vla_sim.training.recorded import LOOK

# Stream of a world's seed from which the robot's place is drawn.
PLACE_STREAM = 7
# Where the robot stands, relative to its start, in metres.
AHEAD_M, ASIDE_M = (0.0, 0.8), (-0.25, 0.25)
SHARD_WORLDS = 500
# Sentences kept for each goal of each image.
KEPT_SENTENCES = 24


def collect_looks(
    scenario: str, seeds: Sequence[int], embodiment: str, *, image_px: int, workers: int = 2
) -> Demonstrations:
    """One image a world, as many one-step episodes as it has objects; the same for any number of workers.

    Args:
        scenario: one with several objects to choose from.
        seeds: training seeds.
        embodiment: name of the robot.
        image_px: side of the square images to keep.
        workers: processes.
    """
    shards = [seeds[i : i + SHARD_WORLDS] for i in range(0, len(seeds), SHARD_WORLDS)]
    factory = functools.partial(_Looker, scenario, embodiment, image_px)
    return Demonstrations.joined(list(run_units(shards, factory, workers=workers, ordered=True)))


class _Looker:
    """What a worker does with a shard."""

    def __init__(self, scenario: str, embodiment: str, image_px: int) -> None:
        self._scenario, self._embodiment, self._image_px = scenario, embodiment, image_px

    def __call__(self, seeds: Sequence[int]) -> Iterator[Demonstrations]:
        with torch_threads(1):
            yield _shard(self._scenario, seeds, self._embodiment, self._image_px)


def _shard(scenario: str, seeds: Sequence[int], embodiment: str, image_px: int) -> Demonstrations:
    from vla_sim.policies.expert import heading_twist

    spec, worlds = load_embodiment(embodiment), load_scenario(scenario)
    renderer = make_renderer(spec.camera.image_px)
    images, actions, goals, texts = [], [], [], []
    try:
        for seed in seeds:
            rng = np.random.default_rng([seed, PLACE_STREAM])
            pose = Pose2(float(rng.uniform(*AHEAD_M)), float(rng.uniform(*ASIDE_M)))
            alternatives = worlds.alternatives(seed, robot_radius_m=spec.body.radius_m)
            renderer.load(0, alternatives[0][0], spec.camera)
            renderer.place(0, pose)
            small = shrink(renderer.render(), image_px)[0]
            for scene, sentences in alternatives:
                images.append([small])
                actions.append([heading_twist(scene, spec, pose, margin_m=LABEL_MARGIN_M[0])])
                goals.append([goal_in_image(scene, spec, pose)])
                chosen = rng.choice(len(sentences), min(KEPT_SENTENCES, len(sentences)), replace=False)
                texts.append([sentences[i] for i in chosen])
    finally:
        renderer.close()
    return Demonstrations.padded(
        images=images,
        actions=actions,
        goals=goals,
        texts=texts,
        scenarios=[LOOK] * len(images),
        outcomes=["success"] * len(images),
    )
