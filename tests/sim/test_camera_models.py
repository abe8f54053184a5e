"""Models, surfaces and lenses, without any renderer."""

import math

import numpy as np
import pytest
from camera_scenes import goal, scene_of, typical_scene

from vla_sim.core import surfaces
from vla_sim.core.errors import UserError
from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import Kind, Look, Pose2
from vla_sim.sim.interior import wall_model
from vla_sim.sim.lens import lens_of, undistort
from vla_sim.sim.materials import VARIANTS, material_pixels
from vla_sim.sim.mesh_scene import MeshScene, worn_texture
from vla_sim.sim.meshes import block, mesh_of
from vla_sim.sim.movers import GAIT_PHASES, PEOPLE, person
from vla_sim.sim.robot_model import robot_layers

MODELS = {kind.value: lambda kind=kind: mesh_of(kind) for kind in Kind if kind is not Kind.WALL}
MODELS |= {f"carton {variant}": lambda variant=variant: mesh_of(Kind.BOX, variant) for variant in range(3)}
MODELS |= {
    f"person in phase {phase}": lambda phase=phase: person(phase % PEOPLE, phase) for phase in range(GAIT_PHASES)
}
MODELS |= {
    "block": block,
    "wall": lambda: wall_model((3.0, 0.1, 2.5)),
    "wall along y": lambda: wall_model((0.1, 3, 2.5)),
}
ROUND = ("cup", "bottle", "pot", "plant", "person", "robot")


@pytest.mark.parametrize("name", MODELS)
def test_model_fills_its_collision_shape_and_stays_inside(name):
    points = MODELS[name]().positions
    assert abs(points).max() <= 0.5 + 1e-6
    assert points[:, 2].min() == pytest.approx(-0.5, abs=1e-3)
    assert points[:, 2].max() == pytest.approx(0.5, abs=0.015)
    if name.split()[0] in ROUND:
        assert np.hypot(points[:, 0], points[:, 1]).max() <= 0.5 + 1e-6
    assert np.hypot(points[:, 0], points[:, 1]).max() >= 0.4


@pytest.mark.parametrize("name", MODELS)
def test_triangles_face_the_way_their_normals_point(name):
    mesh = MODELS[name]()
    a, b, c = (mesh.positions[mesh.triangles[:, i]].astype(float) for i in range(3))
    facing = np.cross(b - a, c - a)
    assert (np.linalg.norm(facing, axis=1) > 1e-9).all()
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    for corner in range(3):
        assert ((facing * mesh.normals[mesh.triangles[:, corner]]).sum(axis=1) > 0).all()


@pytest.mark.parametrize("name", MODELS)
def test_models_are_low_poly(name):
    assert len(MODELS[name]().triangles) <= 400


def test_robot_model_stands_on_the_floor_and_has_the_size_of_a_robot():
    shadow, solid = (layer for layer, _ in robot_layers(Pose2(1.0, 2.0, 0.5), MeshScene(typical_scene())))
    points = solid.vertices["position"] - np.array([1.0, 2.0, 0.0])
    assert points[:, 2].min() == pytest.approx(0.0, abs=2e-3)
    assert 0.25 < points[:, 2].max() < 0.35
    assert 0.14 < np.hypot(points[:, 0], points[:, 1]).max() < 0.19
    assert (shadow.vertices["position"][:, 2] == 0).all()


@pytest.mark.parametrize("name", surfaces.TEXTURES)
@pytest.mark.parametrize("kind", Kind)
def test_every_surface_can_be_worn_by_every_kind(kind, name):
    worn = worn_texture(goal(kind, texture=name), Look(wall_texture="plain"))
    assert worn in ("", *surfaces.TEXTURES)
    if worn:
        height, width, channels = material_pixels(worn).shape
        assert (height == width >= 256, channels) == (True, 3)


@pytest.mark.parametrize("name", sorted({*surfaces.TEXTURES} - {"plain"}))
def test_surfaces_are_bright_enough_to_take_a_color(name):
    for variant in range(VARIANTS):
        assert material_pixels(name, variant).mean() > 150


@pytest.mark.parametrize("name", surfaces.FLOOR_TEXTURES)
def test_every_floor_can_be_drawn(name):
    mesh_scene = MeshScene(scene_of(goal(), look=Look(floor_texture=name)))
    assert mesh_scene.backdrop[0].texture == ("" if name == "plain" else name)


def test_wall_wears_the_look_unless_it_has_a_texture_of_its_own():
    def wall_layer(texture):
        wall = goal(Kind.WALL, (0.1, 1.0, 1.0), texture=texture, color=(0.0, 0.0, 1.0))
        look = Look(wall_texture="brick", wall_color=(1.0, 0.0, 0.0))
        return MeshScene(scene_of(wall, look=look, with_walls=False)).solids[0]

    assert wall_layer("plain").texture == "brick"
    assert wall_layer("panel").texture == "panel"
    assert wall_layer("plain").vertices["color"][:, 0].min() > wall_layer("plain").vertices["color"][:, 2].max()
    assert wall_layer("panel").vertices["color"][:, 2].min() > wall_layer("panel").vertices["color"][:, 0].max()


def test_faces_toward_the_sun_are_brighter():
    scene = scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3)), look=Look(sun_azimuth_rad=0.0), with_walls=False)
    layer = MeshScene(scene).solids[0]
    front = layer.vertices["position"][:, 0] > 3.34
    faces = layer.vertices["color"][:, 0].reshape(-1, 4)
    toward, away = faces[0].mean(), faces[1].mean()
    assert front[:4].all()
    assert toward > 1.3 * away


def test_lens_without_distortion_has_no_table():
    lens = lens_of(CameraSpec())
    assert lens.table is None
    assert lens.draw_px == (224, 224)
    corner = lens.rays[0, 0]
    assert corner[1] == pytest.approx(1 - 1 / 224)
    assert corner[2] == pytest.approx((1 - 1 / 224) * 9 / 16)


@pytest.mark.parametrize("k1", [-0.1, -0.02, 0.05])
def test_undistorting_inverts_the_brown_model(k1):
    radius = np.linspace(0, 1.147, 50)
    true = undistort(radius, k1)
    assert np.allclose(true * (1 + k1 * true**2), radius, atol=1e-9)
    assert (np.diff(true) > 0).all()


@pytest.mark.parametrize("k1", [-0.1, 0.1])
def test_each_pixel_of_a_distorted_lens_looks_where_the_model_says(k1):
    camera = CameraSpec(distortion=k1)
    lens = lens_of(camera)
    rays = lens.apply(lens.rays, camera.image_px)
    x, y = -rays[..., 1], -rays[..., 2]
    factor = 1 + k1 * (x**2 + y**2)
    plain = lens_of(CameraSpec()).rays
    pixel = 2 / 224
    assert abs(x * factor + plain[..., 1]).max() < pixel
    assert abs(y * factor + plain[..., 2]).max() < pixel


def test_distortion_that_folds_the_picture_names_the_strongest_possible():
    with pytest.raises(UserError, match=r"distortion -0.5 folds .* greater than -0\.1\d+"):
        lens_of(CameraSpec(distortion=-0.5))
    limit = -4 / 27 / (1 + (9 / 16) ** 2)
    assert math.isfinite(lens_of(CameraSpec(distortion=0.98 * limit)).half_tan[0])
