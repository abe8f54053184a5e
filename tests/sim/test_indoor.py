"""Rooms: what they show, and what their images may depend on."""

import math
from dataclasses import replace

import numpy as np
import pytest
from camera_scenes import body, goal, scene_of, typical_scene, walls

from vla_sim.core import surfaces
from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Kind, Look, Pose2, Role
from vla_sim.sim import materials
from vla_sim.sim.camera import Shot
from vla_sim.sim.mesh_scene import FIRST_BODY_LABEL, MeshScene
from vla_sim.sim.movers import STRIDE_M
from vla_sim.sim.renderers import make_renderer

PX = (224, 224)
ROOM_M = 2.5
LOOK = Look(ceiling_m=ROOM_M, texture_seed=5)


def room(*bodies, look=LOOK):
    return scene_of(*walls(height=ROOM_M), *bodies, goal(), look=look, with_walls=False)


@pytest.fixture
def renderer():
    made = make_renderer(PX, 2)
    yield made
    made.close()


def image(renderer, scene, pose=None, moved=None, shot=Shot(), slot=0):  # noqa: B008 - frozen
    renderer.load(slot, scene, CameraSpec())
    renderer.place(slot, pose or scene.start, moved or {}, shot)
    return renderer.render()[slot].copy()


@pytest.mark.parametrize("yaw", [0.0, 1.2, -2.0, 3.1])
@pytest.mark.parametrize("seed", range(3))
def test_a_room_is_closed_all_around(renderer, yaw, seed):
    """Nothing shows the background: every pixel is floor, wall, object or ceiling."""
    scene = room(look=replace(LOOK, texture_seed=seed))
    renderer.load(0, scene, CameraSpec(pitch_rad=-0.4))
    renderer.place(0, Pose2(0.5, 0.2, yaw))
    # In a corner, depth may miss the edge of a wall by a pixel.
    assert (renderer.depth(0) >= 9.0).sum() <= 2


def test_ceiling_is_where_it_should_be_and_has_no_label(renderer):
    camera = CameraSpec(pitch_rad=-1.2)
    renderer.load(0, room(), camera)
    labels, depth = renderer.segmentation(0), renderer.depth(0)
    middle = PX[1] // 2
    assert labels[middle, middle] == 0
    assert depth[middle, middle] == pytest.approx((ROOM_M - camera.mount_m[2]) / math.sin(1.2), rel=0.01)


def test_image_is_the_same_in_any_slot_and_after_any_other(renderer):
    look = replace(LOOK, noise=3.0, vignette=0.2, haze=0.1)
    scene = room(body("box", Kind.BOX, (0.3, 0.3, 0.3), 1.2, 0.1, texture="cardboard"), look=look)
    first = image(renderer, scene, shot=Shot(4))
    image(renderer, typical_scene(), slot=1)
    assert np.array_equal(image(renderer, scene, shot=Shot(4), slot=1), first)
    assert np.array_equal(image(renderer, scene, shot=Shot(4)), first)


def test_noise_differs_by_step_and_seed_and_by_nothing_else(renderer):
    noisy = [room(look=replace(LOOK, noise=4.0, texture_seed=seed)) for seed in (1, 7)]
    clean = image(renderer, room(look=replace(LOOK, texture_seed=1))).astype(int)
    first, again, later = (image(renderer, noisy[0], shot=Shot(step)).astype(int) for step in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, later)
    inside = (clean > 30) & (clean < 225)
    assert (first - clean)[inside].std() == pytest.approx(4.0, rel=0.1)
    assert abs((first - clean)[inside].mean()) < 0.1
    assert not np.array_equal(first - clean, image(renderer, noisy[1], shot=Shot(1)).astype(int) - clean)


def test_vignette_darkens_corners_only_and_haze_lifts_what_is_dark(renderer):
    clean = image(renderer, room()).astype(int)
    dim = image(renderer, room(look=replace(LOOK, vignette=0.4))).astype(int)
    hazy = image(renderer, room(look=replace(LOOK, haze=0.2))).astype(int)
    assert abs(dim[112, 112] - clean[112, 112]).max() <= 1
    assert dim[-1, -1].sum() == pytest.approx(0.6 * clean[-1, -1].sum(), rel=0.05)
    assert abs(hazy - (0.8 * clean + 51)).max() <= 2


TURNING, SIDEWAYS, STILL = (0.0, 0.0, 1.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("twist", "blurred"), [(TURNING, True), (SIDEWAYS, True), (STILL, False)])
def test_an_open_shutter_blurs_what_moves_sideways(renderer, twist, blurred):
    scene = room(look=replace(LOOK, shutter_s=0.05))
    still, moving = image(renderer, scene), image(renderer, scene, shot=Shot(0, twist))
    edges = [np.abs(np.diff(picture.astype(int), axis=1)).mean() for picture in (still, moving)]
    assert (edges[1] < 0.9 * edges[0]) == blurred


def test_the_robot_sees_its_own_shadow_when_the_light_is_behind_it(renderer):
    low = replace(LOOK, sun_elevation_rad=0.5, sun=0.65, floor_texture="plain")
    behind, ahead = (image(renderer, room(look=replace(low, sun_azimuth_rad=at))) for at in (math.pi, 0.0))
    middle = (slice(216, 224), slice(100, 124))
    assert behind[middle].mean() < ahead[middle].mean() - 8


@pytest.mark.parametrize("texture", ["plain", "wood"])
def test_shadows_darken_the_floor_and_end_in_its_own_colour(renderer, texture):
    look = replace(LOOK, floor_texture=texture)
    empty = image(renderer, room(look=look)).astype(int)
    box = room(body("box", Kind.BOX, (0.3, 0.3, 0.3), 1.2, 0.0), look=look)
    change = image(renderer, box).astype(int) - empty
    floor = renderer.segmentation(0) == 1
    assert change[floor].min() < -30
    # Far from the box nothing changed, and nowhere is the floor lighter than without it.
    assert (change[floor] == 0).mean() > 0.7
    # One pixel in a hundred may show another spot of the same texture.
    assert np.percentile(change[floor], 99) <= (0 if texture == "plain" else 3)


def test_people_walk_as_far_as_they_have_come(renderer):
    person = body("ann", Kind.PERSON, (0.5, 0.5, 1.7), 2.0, 0.0)
    scene = room(person)
    stands = image(renderer, scene)

    def at(x):
        layer = MeshScene(scene).move({"ann": ((x, 0.0, 0.85), (0.0, 0.0, 0.0, 1.0))})[0]
        return layer.vertices["position"][layer.labels == FIRST_BODY_LABEL + scene.bodies.index(person)]

    step = STRIDE_M * 1.7 / 1.72
    legs = at(2.0 + step / 4) - [step / 4, 0, 0], at(2.0 + step) - [step, 0, 0]
    assert abs(legs[0] - at(2.0)).max() > 0.1
    assert np.allclose(legs[1], at(2.0), atol=1e-4)
    renderer.place(0, scene.start, {"ann": ((1.0, 0.4, 0.85), (0.0, 0.0, 1.0, 0.0))})
    assert not np.array_equal(renderer.render()[0], stands)
    renderer.place(0, scene.start)
    assert np.array_equal(renderer.render()[0], stands)


def test_what_hangs_on_a_wall_belongs_to_the_wall_and_stays_within_it():
    for seed in range(20):
        scene = room(look=replace(LOOK, texture_seed=seed))
        layer = MeshScene(scene).fittings
        for label in np.unique(layer.labels):
            wall = scene.bodies[label - FIRST_BODY_LABEL]
            assert wall.role is Role.WALL
            points = layer.vertices["position"][layer.labels == label]
            for axis, middle in enumerate((wall.x_m, wall.y_m)):
                assert abs(points[:, axis] - middle).max() < wall.size_m[axis] / 2 + 0.15
            assert points[:, 2].max() < ROOM_M


@pytest.mark.parametrize("name", materials.REPEAT_M)
def test_texels_are_no_larger_than_a_pixel_that_looks_at_the_floor_near_by(name):
    camera, rows = CameraSpec(), PX[1]
    down = camera.pitch_rad + camera.vfov_rad / 2
    nearest = camera.mount_m[2] / math.tan(down)
    second = camera.mount_m[2] / math.tan(down - camera.vfov_rad / rows)
    assert materials.REPEAT_M[name] / materials.SIZE_PX < 2.5 * (second - nearest)


@pytest.mark.parametrize("name", sorted({*surfaces.TEXTURES, "ceiling"} - {"plain"}))
def test_every_surface_has_an_image(name):
    pixels = materials.material_pixels(name)
    assert pixels.dtype == np.uint8
    assert pixels.std() > 0.5
    assert materials.material_pixels(name) is pixels


def test_the_furnished_rooms_of_the_contact_sheet_can_be_sampled_and_drawn(renderer):
    from recipes.contact_sheet import COLUMNS, FURNISHED, ROWS, sheet

    image = sheet([f"{FURNISHED}#furnished_left"], 0, "serbot")
    assert image.shape == (ROWS * 224, COLUMNS * 224, 3)
    blocks = image.reshape(ROWS, 224, COLUMNS, 224, 3).mean(axis=(1, 3, 4))
    assert (abs(np.diff(blocks.ravel())) > 0).all()


def test_noise_and_blur_are_the_same_in_single_and_vector_envs():
    from recipes.contact_sheet import FURNISHED
    from vla_sim.envs.navigate import NavigateEnv
    from vla_sim.envs.vector import NavigateVectorEnv

    scenario = f"{FURNISHED}#furnished_left"
    single, vector = NavigateEnv(scenario), NavigateVectorEnv(2, scenario)
    seen, _ = single.reset(seed=5)
    seen_by_all, _ = vector.reset(seed=[4, 5])
    for _ in range(3):
        assert np.array_equal(seen["image"], seen_by_all["image"][1])
        action = np.array([0.4, 0.3], np.float32)
        seen, *_ = single.step(action)
        seen_by_all, *_ = vector.step(np.stack([0 * action, action]))
    single.close()
    vector.close()
