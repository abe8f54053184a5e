"""Meshes by file: read strictly, drawn as they are, solid as the cuboid around them, part of a scenario's hash."""

import itertools
import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.geometry import surface_distance
from vla_sim.core.obj_mesh import MAX_TRIANGLES, read_obj
from vla_sim.core.planner import Planner
from vla_sim.core.types import Kind, Role
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.scenarios import load_scenario
from vla_sim.sim.camera import FIRST_BODY_LABEL
from vla_sim.sim.obj_model import model_of
from vla_sim.sim.renderers import make_renderer

SIDES = [(1, 2, 3, 4), (5, 8, 7, 6), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 8, 4), (5, 1, 4, 8)]


def block(*, size=(0.4, 0.6, 1.0), material=""):
    """An .obj of a cuboid that stands at some place of its own."""
    corners = [(x, y, z) for z in (0, 1) for x, y in ((0, 0), (0, 1), (1, 1), (1, 0))]
    lines = [f"v {5 + x * size[0]} {y * size[1]} {z * size[2]}" for x, y, z in corners]
    return "\n".join(["# a block", "o block", *([material] if material else []), *lines, *faces()]) + "\n"


def faces():
    return [f"f {' '.join(f'{corner}//1' for corner in side)}" for side in SIDES]


OBSTACLE = """format = 1
[objects.goal]
role = "goal"
kind = "cup"
ahead_m = 3.0
[objects.thing]
role = "obstacle"
kind = "box"
ahead_m = 1.5
mesh = "thing.obj"
"""


@pytest.fixture
def scenario(tmp_path):
    """Writes a scenario and a mesh and says what was written."""

    def write(text=OBSTACLE, mesh=None, **files):
        (tmp_path / "thing.obj").write_text(block() if mesh is None else mesh, encoding="utf-8")
        for name, content in files.items():
            (tmp_path / name.replace("_", ".")).write_text(content, encoding="utf-8")
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def thing(path, seed=0):
    return next(body for body in load_scenario(path).sample(seed).bodies if body.name == "thing")


def test_a_mesh_has_its_own_size_and_stands_where_the_file_says(scenario):
    body = thing(scenario())
    assert body.size_m == pytest.approx((0.4, 0.6, 1.0))
    assert (body.x_m, body.y_m) == (1.5, 0.0)
    assert surface_distance(body, 1.5 - 0.5, 0.0) == pytest.approx(0.3)


def test_sizes_that_are_said_stretch_it(scenario):
    body = thing(scenario(OBSTACLE + "width_m = 0.5\nheight_m = 0.25\n"))
    assert body.size_m == pytest.approx((0.4, 0.5, 0.25))
    assert thing(scenario(OBSTACLE + "size_m = 0.3\n")).size_m == (0.3, 0.3, 0.3)


@pytest.mark.parametrize("kind", ["cup", "bottle", "pot", "box", "basket"])
def test_what_a_sentence_calls_round_is_as_rectangular_as_its_mesh(scenario, kind):
    text = 'format = 1\n[objects.thing]\nrole = "goal"\nahead_m = 2.5\nmesh = "thing.obj"\nkind = "' + kind + '"\n'
    scene = load_scenario(scenario(text)).sample(0, language="en")
    assert not scene.goal.round
    assert scene.goal.kind is Kind(kind)
    assert scene.goal.size_m == pytest.approx((0.4, 0.6, 1.0))
    assert math.isfinite(Planner(scene, 0.15).distance(0.0, 0.0))


@pytest.mark.parametrize("role", ["distractor", "furniture"])
def test_a_mesh_plays_any_role(scenario, role):
    kind = "chair" if role == "furniture" else "pot"
    text = OBSTACLE.replace('role = "obstacle"\nkind = "box"', f'role = "{role}"\nkind = "{kind}"\naside_m = 1.2')
    assert thing(scenario(text)).role is Role(role)


def test_a_candidate_can_be_a_mesh(scenario):
    text = """format = 1
differ = ["kind"]
[objects.thing]
role = "candidate"
kind = "box"
ahead_m = 2.5
aside_m = 0.8
mesh = "thing.obj"
[objects.other]
role = "candidate"
kind = "cup"
ahead_m = 2.5
aside_m = -0.8
color = "red"
"""
    material = scenario(text, block(material="mtllib m.mtl\nusemtl red"), m_mtl="newmtl red\nKd 0.9 0.1 0.1\n")
    said = set(load_scenario(material).instructions("train", "en"))
    for seed in range(30):
        scene = load_scenario(material).sample(seed, language="en")
        if scene.goal.name == "thing":
            assert scene.instruction.text in said
            assert "red" not in scene.instruction.text, "what its materials are called is not known"


def seen(scene, name="software"):
    embodiment = load_embodiment("serbot")
    renderer = make_renderer((224, 224), name=name)
    renderer.load(0, scene, embodiment.camera)
    label = FIRST_BODY_LABEL + [body.name for body in scene.bodies].index("thing")
    image, mask = renderer.render()[0], renderer.segmentation(0) == label
    renderer.close()
    return image, mask


def test_the_camera_sees_its_triangles_and_not_the_cuboid_around_them(scenario):
    """A pyramid covers about half of what the cuboid around it does, in both renderers."""
    top = [
        "v 0 0 0",
        "v 1 0 0",
        "v 1 1 0",
        "v 0 1 0",
        "v 0.5 0.5 1",
        "f 1 4 3 2",
        "f 1 2 5",
        "f 2 3 5",
        "f 3 4 5",
        "f 4 1 5",
    ]
    sized = OBSTACLE + "size_m = 0.5\n"
    for renderer in ("software", "tiny"):
        _, full = seen(load_scenario(scenario(sized)).sample(3), renderer)
        _, pyramid = seen(load_scenario(scenario(sized, "\n".join(top))).sample(3), renderer)
        assert 0.3 < pyramid.sum() / full.sum() < 0.75, renderer


def test_either_winding_is_seen(scenario):
    turned = [f"f {' '.join(map(str, side[::-1]))}" for side in SIDES]
    meshes = block(), "\n".join([*block().split("\n")[:10], *turned])
    shapes = [seen(load_scenario(scenario(OBSTACLE, mesh)).sample(1)) for mesh in meshes]
    assert np.array_equal(shapes[0][1], shapes[1][1])
    assert shapes[0][1].sum() > 500


@pytest.mark.parametrize("renderer", ["software", "tiny"])
def test_materials_give_it_its_colour(scenario, renderer):
    mesh = block(material="mtllib m.mtl\nusemtl a b")
    image, mask = seen(
        load_scenario(scenario(OBSTACLE, mesh, m_mtl="newmtl a b\nKa 1 1 1\nKd 0.05 0.05 0.9\n")).sample(0), renderer
    )
    red, green, blue = image[mask].mean(axis=0)
    assert blue > 1.5 * max(red, green)


def test_its_hash_is_that_of_its_bytes_and_of_its_materials(scenario):
    def hashed(*args, **files):
        return load_scenario(scenario(*args, **files)).hash

    first = hashed()
    assert hashed() == first
    assert hashed(OBSTACLE, block() + "# more\n") != first
    colored = block(material="mtllib m.mtl")
    assert hashed(OBSTACLE, colored, m_mtl="newmtl a\nKd 1 0 0\n") != hashed(OBSTACLE, colored, m_mtl="newmtl a\n")


def test_its_hash_does_not_depend_on_where_it_lies(scenario, tmp_path):
    first = load_scenario(scenario()).hash
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("mine.toml", "thing.obj"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    assert load_scenario(folder / "mine.toml").hash == first


def test_a_file_that_extends_another_finds_the_mesh_beside_that_one(scenario, tmp_path):
    scenario()
    (tmp_path / "more.toml").write_text('format = 1\nextends = "mine"\n[objects.thing]\nheight_m = 0.3\n', "utf-8")
    assert thing(tmp_path / "more.toml").size_m == pytest.approx((0.4, 0.6, 0.3))


def test_choices_of_the_matrix_can_have_meshes_of_their_own(scenario):
    text = OBSTACLE.replace('mesh = "thing.obj"\n', "") + '[matrix.shape.a.objects.thing]\nmesh = "thing.obj"\n'
    assert thing(scenario(text)).mesh is not None


def test_scenes_with_a_mesh_travel_to_other_processes(scenario):
    scene = load_scenario(scenario()).sample(0)
    copy = pickle.loads(pickle.dumps(scene))
    assert copy == scene
    assert np.array_equal(copy.bodies[1].mesh.triangles, scene.bodies[1].mesh.triangles)


def test_touching_the_cuboid_around_it_is_a_collision(scenario):
    env = NavigateEnv(str(scenario()), renderer="tiny")
    env.reset(seed=0)
    info = {}
    for _ in range(8):
        _, _, terminated, _, info = env.step(np.array([0.5, 0.0], np.float32))
        if terminated:
            break
    env.close()
    assert info["outcome"] == "collision"
    assert info["pose"][0] == pytest.approx(1.5 - 0.2 - 0.15, abs=0.03)


def test_a_model_fills_the_unit_cube_and_faces_both_ways(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text(block(), encoding="utf-8")
    model = model_of(read_obj(path))
    assert np.allclose(model.positions.min(axis=0), -0.5)
    assert np.allclose(model.positions.max(axis=0), 0.5)
    corners = model.positions[model.triangles]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", outward, model.normals[model.triangles[:, 0]]) > 0).all()
    assert len(model.triangles) == 2 * 12


def test_polygons_and_negative_numbers_are_read(tmp_path):
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 2 0 0\nv 2 1 0\nv 1 2 1\nv 0 1 0\nf -5 -4/1 -3/1/2 -2//3 -1\n", encoding="utf-8")
    mesh = read_obj(path)
    assert len(mesh.triangles) == 3
    assert mesh.size_m == (2.0, 2.0, 1.0)
    assert not mesh.colored


@pytest.mark.parametrize(
    ("text", "mesh", "said"),
    [
        (OBSTACLE.replace("thing.obj", "thin.obj"), None, "objects.thing.mesh cannot be used"),
        (OBSTACLE.replace("thing.obj", "thin.obj"), None, "there is no such file"),
        (OBSTACLE.replace("thing.obj", "../thing.obj"), None, "which does not lie in this folder"),
        (OBSTACLE.replace("thing.obj", "/etc/thing.obj"), None, "which does not lie in this folder"),
        (OBSTACLE.replace("thing.obj", "thing.stl"), None, "must be the name of an .obj file, got"),
        (OBSTACLE.replace('"thing.obj"', "3"), None, "must be the name of an .obj file, got 3"),
        (OBSTACLE + 'texture = "plain"\n', None, "objects.thing.texture goes with no mesh"),
        (OBSTACLE, block(size=(40, 60, 100)), "is 40 x 60 x 100 m large; between 0.02 and 3 m work: say depth_m"),
        (OBSTACLE, "", "it holds no faces"),
        (OBSTACLE, "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "it is flat"),
        (OBSTACLE, "v 0 0 0\nv 1 0 0\nv 0 0 0\nf 1 2 1\n", "it is flat"),
        (OBSTACLE, "v 0 0 0\nv 1 nan 0\n", "thing.obj, line 2: v needs 3 finite numbers, got '1 nan 0'"),
        (OBSTACLE, "v 0 0\n", "thing.obj, line 1: v needs 3 finite numbers"),
        (OBSTACLE, "v 0 0 1e999\n", "thing.obj, line 1: v needs 3 finite numbers"),
        (OBSTACLE, "v 0 0 0\nf 1 2 3\n", "thing.obj, line 2: a face names corner '2', but there are 1 so far"),
        (OBSTACLE, "v 0 0 0\nf 0 1 1\n", "a face names corner '0'"),
        (OBSTACLE, "v 0 0 0\nf 1 1\n", "a face needs three corners or more"),
        (OBSTACLE, "\n\x00\x01PNG\n", "thing.obj, line 2:"),
        (OBSTACLE, block() + "f 1 2 3\n" * MAX_TRIANGLES, f"more than {MAX_TRIANGLES} triangles"),
        (OBSTACLE, block(material="mtllib m.mtl"), "m.mtl: there is no such file"),
        (OBSTACLE, block(material="mtllib ../m.mtl"), "which does not lie in this folder"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_words(scenario, text, mesh, said):
    with pytest.raises(UserError, match=re.escape(said)) as raised:
        load_scenario(scenario(text, mesh))
    assert "mine.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("material", "said"),
    [("newmtl a\nKd 1 2 0\n", "m.mtl, line 2: a colour's parts lie between 0 and 1"), ("Kd x\n", "m.mtl, line 1: Kd")],
)
def test_wrong_materials_are_refused_in_words(scenario, material, said):
    with pytest.raises(UserError, match=re.escape(said)):
        load_scenario(scenario(OBSTACLE, block(material="mtllib m.mtl"), m_mtl=material))


def test_a_colour_is_said_once(scenario):
    mesh, material = block(material="mtllib m.mtl\nusemtl a"), "newmtl a\nKd 1 0 0\n"
    with pytest.raises(UserError, match=r"color is said, and by the materials of thing\.obj too"):
        load_scenario(scenario(OBSTACLE + 'color = "red"\n', mesh, m_mtl=material))


def test_links_lead_nowhere_else(scenario, tmp_path):
    outside = tmp_path / "outside.obj"
    outside.write_text(block(), encoding="utf-8")
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "thing.obj").symlink_to(outside)
    (folder / "mine.toml").write_text(OBSTACLE, encoding="utf-8")
    with pytest.raises(UserError, match="which does not lie in this folder"):
        load_scenario(folder / "mine.toml")


def test_too_large_a_file_is_not_read(scenario, monkeypatch):
    monkeypatch.setattr("vla_sim.core.obj_mesh.MAX_BYTES", 100)
    with pytest.raises(UserError, match=r"thing\.obj is larger than"):
        load_scenario(scenario())


WORDS = ["v", "f", "usemtl", "mtllib", "0", "1", "-1", "2", "3/1", "1e308", "nan", "x", "#", "\\", "vn", "\x00"]


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=6), max_size=12))
def test_whatever_a_file_says_it_is_a_mesh_or_refused_in_words(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "any.obj"
    path.write_text("\n".join(itertools.chain(map(" ".join, lines))), encoding="utf-8")
    try:
        mesh = read_obj(path)
    except UserError:
        return
    assert min(mesh.size_m) > 0
    assert np.isfinite(model_of(mesh).normals).all()
