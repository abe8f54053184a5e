"""Single images in which every object is the goal in turn: they teach which words belong to which object.

An episode shows one goal in a dozen images that look alike, and a network does fairly well on drives without reading
what the goal looks like. Here the same image comes with other words and another way to go, so only reading helps.
Used by `recipes.rounds`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from vla_sim.core.pool import run_units
from vla_sim.core.threads import torch_threads
from vla_sim.core.types import Pose2, Scene
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.images import shrink
from vla_sim.rollout.demonstrations import Collection, goal_in_image
from vla_sim.rollout.recording import LABEL_MARGIN_M
from vla_sim.scenarios import load_scenario
from vla_sim.scenarios.scenario import Scenario
from vla_sim.sim.lidar import Lidar
from vla_sim.sim.renderers import make_renderer
from vla_sim.training.recorded import LOOK

# Stream of a world's seed from which the robot's place is drawn.
PLACE_STREAM = 7
# Where the robot stands, relative to its start, in metres.
AHEAD_M, ASIDE_M = (0.0, 0.8), (-0.25, 0.25)
SHARD_WORLDS = 500
# Sentences kept for each goal of each image.
KEPT_SENTENCES = 24


def collect_looks(worlds: Sequence[tuple[str, int]], collection: Collection, *, workers: int = 2) -> Demonstrations:
    """One image a world, as many one-step episodes as it has objects; the same for any number of workers.

    Args:
        worlds: scenario and training seed of each; where the right answer is to stand still, one episode says so.
        collection: robot, images and components of the actions.
        workers: processes.
    """
    shards = [worlds[i : i + SHARD_WORLDS] for i in range(0, len(worlds), SHARD_WORLDS)]
    factory = functools.partial(_Looker, collection)
    return Demonstrations.joined(list(run_units(shards, factory, workers=workers, ordered=True)))


class _Looker:
    """What a worker does with a shard."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __call__(self, worlds: Sequence[tuple[str, int]]) -> Iterator[Demonstrations]:
        with torch_threads(1):
            yield _shard(worlds, self._collection)


def _shard(worlds: Sequence[tuple[str, int]], collection: Collection) -> Demonstrations:
    from vla_sim.policies.expert import heading_twist

    spec = collection.robot()
    columns = [spec.action_names.index(name) for name in collection.kept(spec)]
    margin_m, sideways = LABEL_MARGIN_M[0], collection.sideways(spec)
    renderer = make_renderer(spec.camera.image_px)
    images, actions, goals, texts, ranges = [], [], [], [], []
    lidars = {name: Lidar(sensor) for name, sensor in spec.lidars.items()}
    try:
        for scenario, seed in worlds:
            rng = np.random.default_rng([seed, PLACE_STREAM])
            pose = Pose2(float(rng.uniform(*AHEAD_M)), float(rng.uniform(*ASIDE_M)))
            alternatives = _alternatives(load_scenario(scenario), seed, spec.body.radius_m)
            renderer.load(0, alternatives[0][0], spec.camera)
            renderer.place(0, pose)
            small = shrink(renderer.render(), collection.image_px)[0]
            for lidar in lidars.values():
                lidar.load(alternatives[0][0].bodies, rng)
            measured = {name: [lidar.measure(pose, {})] for name, lidar in lidars.items()}
            for scene, sentences in alternatives:
                images.append([small])
                ranges.append(measured)
                actions.append([heading_twist(scene, spec, pose, margin_m=margin_m, sideways=sideways)[columns]])
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
        sensors=ranges,
        lidars=spec.lidars,
        scenarios=[LOOK] * len(images),
        outcomes=["success"] * len(images),
        action_names=collection.kept(spec),
        step_s=spec.control_s,
    )


def _alternatives(scenario: Scenario, seed: int, radius_m: float) -> list[tuple[Scene, list[str]]]:
    """The world of a seed with each object as the goal; as it is, where the right answer is to stand still."""
    found = scenario.alternatives(seed, robot_radius_m=radius_m)
    if found:
        return found
    sentences = scenario.equivalents(seed, robot_radius_m=radius_m)
    return [(scenario.sample(seed, robot_radius_m=radius_m), sentences)]
