"""Single pictures in which every object is the goal in turn: they teach which words belong to which object.

A drive shows one goal in a dozen pictures that look alike, and a network does fairly well on drives without reading
what the goal looks like. Here the same picture comes with other words and another way to go, so only reading helps.
Used by `recipes.train_shipped`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence

import numpy as np

from vla_sim.core.types import Pose2
from vla_sim.rollout.collecting import LABEL_MARGIN_M, Drives, goal_in_picture

# Stands for the scenario of such a one-step episode.
LOOK = "look"
# Stream of a world's seed from which the robot's place is drawn.
PLACE_STREAM = 7
# Where the robot stands, relative to its start, in metres.
AHEAD_M, ASIDE_M = (0.0, 0.8), (-0.25, 0.25)
SHARD_WORLDS = 500
# Sentences kept for each goal of each picture.
KEPT_SENTENCES = 24


def collect_looks(scenario: str, seeds: Sequence[int], embodiment: str, *, image_px: int, workers: int = 2) -> Drives:
    """One picture a world, as many one-step episodes as it has objects; the same for any number of workers.

    Args:
        scenario: one with several objects to choose from.
        seeds: training seeds.
        embodiment: name of the robot.
        image_px: side of the square pictures to keep.
        workers: processes.
    """
    calls = [(scenario, seeds[i : i + SHARD_WORLDS], embodiment, image_px) for i in range(0, len(seeds), SHARD_WORLDS)]
    if workers == 1 or len(calls) == 1:
        return Drives.joined([_look_shard(*call) for call in calls])
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return Drives.joined(pool.starmap(_look_shard, calls, chunksize=1))


def _look_shard(scenario: str, seeds: Sequence[int], embodiment: str, image_px: int) -> Drives:
    import torch

    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.policies.expert import heading_twist
    from vla_sim.policies.images import shrink
    from vla_sim.scenarios import load_scenario
    from vla_sim.sim.camera import make_renderer

    torch.set_num_threads(1)
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
                images.append(small)
                actions.append(heading_twist(scene, spec, pose, margin_m=LABEL_MARGIN_M[0]))
                goals.append(goal_in_picture(scene, spec, pose))
                chosen = rng.choice(len(sentences), min(KEPT_SENTENCES, len(sentences)), replace=False)
                texts.append([sentences[i] for i in chosen])
    finally:
        renderer.close()
    count = len(images)
    return Drives(
        np.stack(images)[:, None],
        np.array(actions, dtype=np.float32)[:, None],
        np.array(goals, dtype=np.float32)[:, None],
        np.ones((count, 1), dtype=bool),
        texts,
        [LOOK] * count,
        ["success"] * count,
    )
