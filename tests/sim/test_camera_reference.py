"""Panda3D's images against two references: PyBullet's TinyRenderer, and rays cut with every triangle.

TinyRenderer draws the collision shapes (cuboids, full cylinders), half a pixel off; the models taper inside them. So
outlines are compared twice: how much of both they share, and that no model reaches out of its collision shape.
"""

import numpy as np
import pytest
from camera_scenes import goal, random_scene, scene_of

from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Kind, Look, Pose2
from vla_sim.sim.camera import camera_pose
from vla_sim.sim.lens import lens_of
from vla_sim.sim.mesh_scene import MeshScene
from vla_sim.sim.renderers import make_renderer

CAMERA = CameraSpec()
# Least intersection over union of an object's outline with the outline of its collision shape, objects over 400 pixels.
LEAST_SHARED = {Kind.BOX: 0.88, Kind.WALL: 0.9, Kind.BASKET: 0.72, Kind.POT: 0.66, Kind.CUP: 0.66, Kind.BOTTLE: 0.62}
# What is solid to physics and has gaps to the eye: chairs, tables, plants, people.
LEAST_SHARED |= {Kind.TABLE: 0.22, Kind.CHAIR: 0.45, Kind.PLANT: 0.25, Kind.PERSON: 0.55, Kind.CART: 0.5}
LEAST_SHARED |= {Kind.SHELF: 0.9, Kind.CABINET: 0.9, Kind.SOFA: 0.8, Kind.ROBOT: 0.7, Kind.DOOR: 0.8}
SIZES = {
    Kind.BOX: (0.3, 0.4, 0.35),
    Kind.CUP: (0.25, 0.25, 0.3),
    Kind.BOTTLE: (0.2, 0.2, 0.45),
    Kind.POT: (0.3, 0.3, 0.3),
    Kind.BASKET: (0.4, 0.35, 0.3),
    Kind.WALL: (0.2, 1.0, 0.5),
    # Furniture at half its size, to be seen whole.
    Kind.TABLE: (0.35, 0.65, 0.37),
    Kind.CHAIR: (0.24, 0.23, 0.42),
    Kind.SHELF: (0.16, 0.45, 0.9),
    Kind.CABINET: (0.22, 0.45, 0.5),
    Kind.SOFA: (0.42, 0.85, 0.4),
    Kind.PLANT: (0.25, 0.25, 0.55),
    Kind.PERSON: (0.25, 0.25, 0.86),
    Kind.CART: (0.45, 0.27, 0.47),
    Kind.ROBOT: (0.2, 0.2, 0.45),
    Kind.DOOR: (0.45, 0.05, 0.9),
}
TILTS = [(0.0, 0.0, 0.0), (0.05, -0.04, 0.06), (-0.06, 0.05, -0.03)]


@pytest.fixture(scope="module")
def renderers():
    pair = make_renderer(CAMERA.image_px), make_renderer(CAMERA.image_px, name="tiny")
    yield pair
    for renderer in pair:
        renderer.close()


def grown(mask, pixels):
    for _ in range(pixels):
        wide = np.pad(mask, 1)
        mask = wide[1:-1, 1:-1] | wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
    return mask


def show(renderers, scene, pose):
    for renderer in renderers:
        renderer.load(0, scene, CAMERA)
        renderer.place(0, pose)
    return [renderer.segmentation(0) for renderer in renderers]


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("kind", Kind)
def test_outline_of_every_kind_matches_its_collision_shape(renderers, kind, tilt):
    scene = scene_of(goal(kind, SIZES[kind], 1.4, 0.2, 0.5), look=Look(camera_tilt_rad=tilt), with_walls=False)
    ours, reference = (labels == 2 for labels in show(renderers, scene, Pose2(0.1, -0.1, 0.1)))
    assert reference.sum() > 400
    assert (ours & reference).sum() / (ours | reference).sum() > LEAST_SHARED[kind]
    # Skirting lies 12 mm before its wall.
    assert not (ours & ~grown(reference, 3 if kind is Kind.WALL else 2)).any()


@pytest.mark.parametrize("kind", [Kind.BOX, Kind.POT])
def test_outline_of_a_pushed_and_tipped_body_matches(renderers, kind):
    scene = scene_of(goal(kind, SIZES[kind], 1.4, 0.2), with_walls=False)
    moved = {"goal": ((1.5, -0.1, 0.4), (0.3, 0.5, 0.1, 0.806225774829855))}
    show(renderers, scene, scene.start)
    for renderer in renderers:
        renderer.place(0, scene.start, moved)
    ours, reference = (renderer.segmentation(0) == 2 for renderer in renderers)
    assert (ours & reference).sum() / (ours | reference).sum() > LEAST_SHARED[kind]
    assert not (ours & ~grown(reference, 2)).any()


@pytest.mark.parametrize("seed", range(5))
def test_depth_matches_where_both_show_the_same_thing(renderers, seed):
    """Median relative error below 1 %, 95th percentile below 6 % (round models taper inside their cylinders)."""
    pose = Pose2(0.2, 0.1 * (seed - 2), 0.05 * (2 - seed))
    ours, reference = show(renderers, random_scene(seed), pose)
    same = (ours == reference) & (ours > 0)
    assert same.mean() > 0.7
    depth, truth = (renderer.depth(0)[same] for renderer in renderers)
    error = abs(depth - truth) / truth
    assert np.median(error) < 0.01
    assert np.percentile(error, 95) < 0.06


def cast(scene, pose):
    """Labels, depth and whether a fitting is shown, from one ray a pixel against all triangles."""
    lens = lens_of(CAMERA)
    position, turn = camera_pose(CAMERA, scene.look, pose)
    down = (lens.rays @ turn.T)[..., 2]
    with np.errstate(divide="ignore"):
        depth = np.where(down < 0, -position[2] / down, np.inf)
    labels = np.isfinite(depth).astype(int)
    fitting, shown = np.zeros(labels.shape, bool), MeshScene(scene)
    for layer in (*shown.solids, shown.fittings):
        corners = (layer.vertices["position"].astype(float) - position) @ turn
        for triangle in layer.triangles:
            a, b, c = corners[triangle]
            normal = np.cross(b - a, c - a)
            if normal @ a >= 0:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = normal @ a / (lens.rays @ normal)
                points = lens.rays * distance[..., None]
                hit = (distance > CAMERA.near_m) & (distance < depth)
                for start, end in ((a, b), (b, c), (c, a)):
                    hit &= (points - start) @ np.cross(normal, end - start) >= 0
            depth = np.where(hit, distance, depth)
            labels = np.where(hit, layer.labels[triangle[0]], labels)
            fitting = np.where(hit, layer is shown.fittings, fitting)
    return labels, depth, fitting


def outlines(areas):
    """Pixels that differ from the one to their left or above."""
    found = np.zeros(areas.shape, bool)
    found[:, 1:] |= areas[:, 1:] != areas[:, :-1]
    found[1:] |= areas[1:] != areas[:-1]
    return found


@pytest.mark.parametrize("seed", [0, 3])
def test_labels_and_depth_match_rays(renderers, seed):
    """Labels differ only within one pixel of an outline; depth agrees to 1e-4 wherever the labels do.

    Outlines of what lies on a wall, which has the wall's label, count as outlines too.
    """
    software = renderers[0]
    scene, pose = random_scene(seed), Pose2(0.2, 0.0, 0.1)
    software.load(0, scene, CAMERA)
    software.place(0, pose)
    labels, depth = software.segmentation(0), software.depth(0)
    expected, truth, fitting = cast(scene, pose)
    wrong = labels != expected
    assert wrong.mean() < 0.01
    assert not (wrong & ~grown(outlines(expected), 2)).any()
    shown = ~wrong & (labels > 0) & ~grown(outlines(fitting), 1)
    assert shown.mean() > 0.8
    close = abs(depth - truth)[shown] < 1e-4 * truth[shown]
    assert close.mean() > 0.999
