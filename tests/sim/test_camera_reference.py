"""Panda3D's pictures against PyBullet's TinyRenderer: same silhouettes, same depth, within stated tolerances."""

import numpy as np
import pytest

from vla_sim.embodiments import load_embodiment
from vla_sim.scenarios import load_scenario
from vla_sim.sim.camera import make_renderer
from vla_sim.types import Kind, Pose2

# Tapered models lie inside the primitive shapes of the reference, so their silhouettes are smaller.
LEAST_OVERLAP = {Kind.BOX: 0.85, Kind.WALL: 0.85, Kind.BASKET: 0.7, Kind.BOTTLE: 0.6, Kind.CUP: 0.55, Kind.POT: 0.65}
LEAST_PIXELS = 250
MEDIAN_DEPTH_ERROR, P95_DEPTH_ERROR = 0.015, 0.05
WORLDS = [("obstacle_left", 0), ("choose_goal", 1), ("two_obstacles_left", 2), ("basket_core", 3), ("choose_goal", 4)]


@pytest.fixture(scope="module")
def renderers():
    pair = make_renderer((224, 224)), make_renderer((224, 224), name="tiny")
    yield pair
    for renderer in pair:
        renderer.close()


@pytest.mark.parametrize(("name", "seed"), WORLDS)
@pytest.mark.parametrize("pose", [Pose2(0.0, 0.0), Pose2(0.3, 0.2, 0.3)], ids=["start", "turned"])
def test_silhouettes_and_depth_agree_with_the_reference(renderers, name, seed, pose):
    scene, camera = load_scenario(name).sample(seed), load_embodiment("serbot").camera
    for renderer in renderers:
        renderer.load(0, scene, camera)
        renderer.place(0, pose)
        renderer.render()
    ours, reference = (renderer.segmentation(0) for renderer in renderers)
    compared = 0
    for label, body in enumerate(scene.bodies, start=2):
        mine, theirs = ours == label, reference == label
        if theirs.sum() >= LEAST_PIXELS:
            overlap = (mine & theirs).sum() / (mine | theirs).sum()
            assert overlap >= LEAST_OVERLAP[body.kind], (body.name, overlap)
            compared += 1
    assert compared >= 3
    same = (ours == reference) & (ours > 0)
    depths = [renderer.depth(0)[same] for renderer in renderers]
    error = np.abs(depths[0] - depths[1]) / depths[1]
    assert np.median(error) < MEDIAN_DEPTH_ERROR
    assert np.percentile(error, 95) < P95_DEPTH_ERROR
