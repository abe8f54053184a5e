"""Images: what they may depend on, what they show, and what is refused."""

import gc
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from camera_scenes import body, goal, random_scene, scene_of, typical_scene

from vla_sim.core.errors import UserError
from vla_sim.core.specs import CameraSpec
from vla_sim.core.types import NAMED_KINDS, Kind, Look, Pose2, Role
from vla_sim.sim.camera import FIRST_BODY_LABEL, place_in_image
from vla_sim.sim.renderers import RENDERERS, make_renderer

PX = (224, 224)
SMALL = CameraSpec(image_px=(64, 48))


@pytest.fixture
def renderer():
    made = make_renderer(PX)
    yield made
    made.close()


@pytest.fixture
def small():
    made = make_renderer((64, 48))
    yield made
    made.close()


def picture(renderer, scene, camera=None, pose=None, moved=None):
    renderer.load(0, scene, camera or CameraSpec())
    renderer.place(0, pose or scene.start, moved or {})
    return renderer.render()[0].copy()


def test_pictures_are_contiguous_rgb_of_the_camera_size():
    renderer = make_renderer((64, 48), 3)
    for slot in range(3):
        renderer.load(slot, typical_scene(), SMALL)
    pictures = renderer.render()
    assert pictures.shape == (3, 48, 64, 3)
    assert pictures.dtype == np.uint8
    assert pictures.flags.c_contiguous
    renderer.close()


def test_picture_is_the_same_alone_in_any_slot_and_beside_any_other_scene(renderer):
    scenes = [random_scene(seed) for seed in range(8)]
    poses = [Pose2(0.1 * i, 0.05 * i, 0.07 * i) for i in range(8)]
    alone = [picture(renderer, scene, pose=pose) for scene, pose in zip(scenes, poses, strict=True)]
    tiled = make_renderer(PX, 8)
    for slot in range(8):
        tiled.load(slot, scenes[slot], CameraSpec())
        tiled.place(slot, poses[slot])
    together = tiled.render().copy()
    for slot in range(8):
        tiled.load(slot, scenes[7 - slot], CameraSpec())
        tiled.place(slot, poses[7 - slot])
    backwards = tiled.render()[::-1]
    tiled.close()
    assert np.array_equal(together, alone)
    assert np.array_equal(backwards, alone)


def test_picture_does_not_depend_on_what_was_drawn_before(renderer):
    first = picture(renderer, typical_scene())
    renderer.segmentation(0)
    renderer.depth(0)
    renderer.overview(0, 160, 120)
    renderer.place(0, Pose2(1.0, 0.5, 0.4), {"goal": ((3.0, 0.0, 0.2), (0.0, 0.0, 0.0, 1.0))})
    renderer.render()
    picture(renderer, random_scene(1), CameraSpec(distortion=-0.02))
    assert np.array_equal(picture(renderer, typical_scene()), first)


def test_picture_is_the_same_in_another_process(renderer):
    code = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from camera_scenes import random_scene\n"
        "from vla_sim.sim.renderers import make_renderer\n"
        "from vla_sim.core.specs import CameraSpec\n"
        "r = make_renderer((224, 224), 2)\n"
        "for slot in (0, 1): r.load(slot, random_scene(slot + 3), CameraSpec())\n"
        "print(hashlib.sha256(r.render()[1].tobytes()).hexdigest())\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    import hashlib

    here = hashlib.sha256(picture(renderer, random_scene(4)).tobytes()).hexdigest()
    assert done.stdout.split() == [here]
    assert done.stderr == ""


def test_two_renderers_do_not_disturb_each_other(renderer, small):
    first = picture(renderer, typical_scene())
    picture(small, random_scene(2), SMALL)
    assert np.array_equal(renderer.render()[0], first)
    small.close()
    assert np.array_equal(renderer.render()[0], first)


def test_driving_toward_an_object_makes_it_larger(small):
    scene = scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3), 2.0, 0.0))
    small.load(0, scene, SMALL)
    areas = []
    for x in (0.0, 0.5, 1.0):
        small.place(0, Pose2(x, 0.0))
        areas.append(int((small.segmentation(0) == 2 + 4).sum()))
    assert areas[0] < areas[1] < areas[2]


@pytest.mark.parametrize(("yaw", "side"), [(0.3, "right"), (-0.3, "left")])
def test_turning_left_moves_what_is_ahead_to_the_right(small, yaw, side):
    small.load(0, scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3), 2.0, 0.0)), SMALL)
    small.place(0, Pose2(0.0, 0.0, yaw))
    columns = np.nonzero(small.segmentation(0) == 6)[1]
    assert (columns.mean() > 32) == (side == "right")


def test_left_is_left_and_up_is_up(small):
    scene = scene_of(goal(Kind.BOX, (0.2, 0.2, 0.2), 1.5, 0.5))
    small.load(0, scene, SMALL)
    rows, columns = np.nonzero(small.segmentation(0) == 6)
    assert columns.mean() < 32
    assert small.segmentation(0)[0, 32] in (0, 2)
    assert small.segmentation(0)[-1, 32] == 1
    assert rows.mean() > 20


@pytest.mark.parametrize(("tilt", "axis", "sign"), [((0.0, 0.1, 0.0), 0, -1), ((0.0, 0.0, 0.1), 1, 1)])
def test_camera_tilt_moves_the_picture(small, tilt, axis, sign):
    def middle(look):
        small.load(0, scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3), 2.0, 0.0), look=look), SMALL)
        return np.nonzero(small.segmentation(0) == 6)[axis].mean()

    assert sign * (middle(Look(camera_tilt_rad=tilt)) - middle(Look())) > 2


def test_camera_roll_lowers_the_left_end_of_the_horizon_when_the_camera_rolls_left(small):
    """Roll is about the forward axis: positive turns left toward up, so the world turns the other way."""
    scene = scene_of(goal(), look=Look(camera_tilt_rad=(0.15, 0.0, 0.0)), with_walls=False)
    small.load(0, scene, SMALL)
    floor = small.segmentation(0) == 1
    assert floor[:, 2].sum() < floor[:, -3].sum()


def test_pushed_body_is_drawn_where_it_is_and_returns_when_it_is_not_named(small):
    scene = typical_scene()
    small.load(0, scene, SMALL)
    before = small.render()[0].copy()
    labels = small.segmentation(0)
    small.place(0, scene.start, {"box_0": ((1.3, -0.4, 0.175), (0.0, 0.0, 0.0, 1.0))})
    pushed = small.segmentation(0)
    assert np.nonzero(pushed == 6)[1].mean() > np.nonzero(labels == 6)[1].mean() + 10
    assert not np.array_equal(small.render()[0], before)
    small.place(0, scene.start, {})
    assert np.array_equal(small.render()[0], before)


def test_body_put_where_it_stands_changes_nothing(small):
    scene = typical_scene()
    small.load(0, scene, SMALL)
    before = small.render()[0].copy()
    box = scene.bodies[4]
    quat = (0.0, 0.0, math.sin(box.yaw_rad / 2), math.cos(box.yaw_rad / 2))
    small.place(0, scene.start, {"box_0": ((box.x_m, box.y_m, box.size_m[2] / 2), quat)})
    assert np.array_equal(small.render()[0], before)


def test_depth_of_floor_wall_and_ceiling_is_exact(renderer):
    camera = CameraSpec(pitch_rad=0.0)
    renderer.load(0, scene_of(goal(y=1.5)), camera)
    depth, labels = renderer.depth(0), renderer.segmentation(0)
    assert depth.dtype == np.float32
    wall = labels == 2
    assert wall.sum() > 500
    # What hangs on the wall has its label.
    assert (abs(depth[wall] - (5.0 - 0.1)) < 1e-4).mean() > 0.4
    assert (depth[wall] > 5.0 - 0.1 - 0.15).all()
    for label, height in ((1, -0.3), (0, Look().ceiling_m - 0.3)):
        rows = np.nonzero(labels == label)[0]
        up = (1 - 2 * (rows + 0.5) / 224) * math.tan(camera.vfov_rad / 2)
        assert len(rows) > 500
        assert np.allclose(depth[labels == label], height / up, rtol=1e-5)


def test_every_pixel_of_a_body_has_a_depth_near_that_body(renderer):
    for seed in range(4):
        scene = random_scene(seed)
        renderer.load(0, scene, CameraSpec())
        depth, labels = renderer.depth(0), renderer.segmentation(0)
        for index, thing in enumerate(scene.bodies):
            if thing.role is not Role.WALL:
                reach = math.hypot(*thing.size_m)
                far = abs(depth[labels == 2 + index] - math.hypot(thing.x_m, thing.y_m))
                assert (far < reach + 0.8).all()


def test_no_distortion_is_a_pinhole_and_barrel_pulls_the_rim_inward(renderer):
    scene = scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3), 1.5, 1.0))
    plain = picture(renderer, scene)
    straight = np.nonzero(renderer.segmentation(0) == 6)[1].mean()
    assert np.array_equal(picture(renderer, scene, CameraSpec(distortion=0.0)), plain)
    bent = picture(renderer, scene, CameraSpec(distortion=-0.1))
    assert bent.shape == plain.shape
    curved = np.nonzero(renderer.segmentation(0) == 6)[1].mean()
    right, tangent = 112 * (1 - straight / 112), 112
    expected = straight + 0.1 * (right / tangent) ** 2 * right
    assert curved == pytest.approx(expected, abs=1.5)
    assert renderer.depth(0).shape == (224, 224)
    assert np.isfinite(renderer.depth(0)).all()


def test_dark_object_under_dim_light_stands_out(renderer):
    dim = Look(sun=0.1, ambient=0.15, floor_color=(0.35, 0.35, 0.35), floor_texture="carpet")
    scene = scene_of(goal(Kind.BOX, (0.3, 0.3, 0.3), 1.2, 0.0, color=(0.03, 0.03, 0.04)), look=dim)
    shown = picture(renderer, scene).astype(float).mean(axis=2)
    labels = renderer.segmentation(0)
    assert shown[labels == 6].mean() > 8
    assert shown[labels == 1].mean() - shown[labels == 6].mean() > 25


@pytest.mark.parametrize("kind", [*NAMED_KINDS, Kind.CHAIR, Kind.SHELF, Kind.CABINET, Kind.SOFA, Kind.DOOR])
def test_color_of_a_body_shows(small, kind):
    def mean_color(color):
        shown = picture(small, scene_of(goal(kind, (0.4, 0.4, 0.5), 0.9, 0.0, color=color)), SMALL)
        return shown[small.segmentation(0) == 6].astype(float).mean(axis=0)

    red, blue = mean_color((0.9, 0.1, 0.1)), mean_color((0.1, 0.1, 0.9))
    assert red[0] - blue[0] > 40
    assert blue[2] - red[2] > 40


def test_light_and_texture_change_the_picture_but_not_the_labels(small):
    looks = [Look(), Look(sun_azimuth_rad=2.5), Look(floor_texture="wood"), Look(tint=(1.0, 0.8, 0.7))]
    shown = [picture(small, typical_scene(look), SMALL) for look in looks]
    labels = []
    for look in looks:
        small.load(0, typical_scene(look), SMALL)
        labels.append(small.segmentation(0))
    assert all(not np.array_equal(shown[0], other) for other in shown[1:])
    assert all(np.array_equal(labels[0], other) for other in labels[1:])


def test_shadow_darkens_the_floor_beside_an_object(renderer):
    look = Look(sun_azimuth_rad=math.pi / 2, sun_elevation_rad=0.8, floor_texture="plain")
    shown = picture(renderer, scene_of(goal(Kind.BOX, (0.3, 0.3, 0.4), 1.3, 0.0), look=look)).astype(float)
    labels = renderer.segmentation(0)
    rows, columns = np.nonzero(labels == 6)
    foot, right, left = rows.max() - 4, columns.max() + 6, columns.min() - 30
    assert labels[foot, right] == labels[foot, left] == 1
    assert shown[foot, right].mean() < 0.8 * shown[foot, left].mean()


def test_overview_shows_the_robot_and_keeps_the_camera_picture(renderer):
    before = picture(renderer, typical_scene(), pose=Pose2(-0.7, 0.0))
    seen = renderer.overview(0, 320, 240)
    assert seen.shape == (240, 320, 3)
    orange = (seen[..., 0] > 150) & (seen[..., 2] < 90) & (seen[..., 1] < 150)
    assert orange[100:220, 100:220].sum() > 30
    assert np.array_equal(renderer.render()[0], before)


@pytest.mark.slow
def test_loading_scenes_again_and_again_does_not_grow_memory(small):
    def resident_kb():
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4

    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    scenes = [random_scene(seed) for seed in range(20)]

    def run(rounds):
        for _ in range(rounds):
            for scene in scenes:
                small.load(0, scene, SMALL)
                small.place(0, Pose2(0.1, 0.0), {"thing_0": ((1.5, 0.0, 0.2), (0.0, 0.0, 0.0, 1.0))})
                small.render()
        gc.collect()

    run(10)
    before = resident_kb()
    run(50)
    assert resident_kb() - before < 2000  # 1000 scenes


def test_poses_that_were_drawn_are_forgotten(small):
    """Panda3D kept 2.6 KB of every control step: 560 MB after 12,000 episodes."""
    from panda3d.core import TransformState

    small.load(0, typical_scene(), SMALL)
    counts = []
    for step in range(60):
        small.place(0, Pose2(0.001 * step, 0.0, 0.01 * step))
        small.render()
        counts.append(TransformState.getNumStates())
    assert max(counts[30:]) <= max(counts[:30])


def test_eight_small_views_are_drawn_fast():
    """Far above the figures of the benchmark: fails only when drawing became slower by a factor."""
    renderer = make_renderer(PX, 8)
    for slot in range(8):
        renderer.load(slot, typical_scene(), CameraSpec())
    best = math.inf
    for _ in range(20):
        begin = time.perf_counter()
        renderer.render()
        best = min(best, time.perf_counter() - begin)
    renderer.close()
    assert best / 8 < 3e-3


def test_more_bodies_than_one_channel_of_labels_keep_their_own(renderer):
    many = [body(f"box_{i}", Kind.BOX, (0.1, 0.1, 0.3), 2 + i // 12 * 0.25, (i % 12 - 6) * 0.2) for i in range(60)]
    renderer.load(0, scene_of(*many, goal(y=1.5)), CameraSpec(mount_m=(0.1, 0.0, 1.5), pitch_rad=0.6))
    found = set(np.unique(renderer.segmentation(0)).tolist())
    assert found <= set(range(2 + 65))
    assert len(found & set(range(6, 66))) > 55


def test_nothing_can_be_placed_before_a_scene_is_loaded(small):
    with pytest.raises(RuntimeError, match="load a scene"):
        small.place(0, Pose2(0.0, 0.0))


def test_camera_of_another_size_is_refused(small):
    with pytest.raises(ValueError, match=r"\(64, 48\).*\(224, 224\)"):
        small.load(0, typical_scene(), CameraSpec())


def test_unknown_renderer_names_the_nearest():
    with pytest.raises(UserError, match="unknown renderer 'softwear'; did you mean 'software'"):
        make_renderer(PX, name="softwear")
    with pytest.raises(ValueError, match="at least one slot, got 0"):
        make_renderer(PX, 0)


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (Look(floor_texture="tile"), "unknown texture 'tile' for a floor; did you mean 'tiles'"),
        (Look(wall_texture="bricks"), "unknown texture 'bricks' for a wall; did you mean 'brick'"),
    ],
)
def test_unknown_surface_names_the_nearest(small, look, message):
    with pytest.raises(ValueError, match=message):
        small.load(0, typical_scene(look), SMALL)


def test_unknown_texture_of_a_body_names_the_nearest(small):
    with pytest.raises(ValueError, match="unknown texture 'cardbord' for a box; did you mean 'cardboard'"):
        small.load(0, scene_of(goal(Kind.BOX, texture="cardbord")), SMALL)


def test_refused_scene_leaves_the_slot_as_it_was(small):
    before = picture(small, typical_scene(), SMALL)
    with pytest.raises(ValueError, match="unknown texture"):
        small.load(0, scene_of(goal(texture="gold")), SMALL)
    assert np.array_equal(small.render()[0], before)


def test_slot_without_scene_is_an_empty_picture(small):
    assert len(np.unique(small.render()[0].reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize("name", RENDERERS)
def test_every_renderer_offers_the_same_shapes_and_labels(name, monkeypatch):
    if name == "gpu":
        from vla_sim.sim.gpu_probe import probe_gpu

        if not probe_gpu().works:
            pytest.skip("no GPU pipe here")
    renderer = make_renderer((64, 48), 2, name=name)
    scene = typical_scene()
    for slot in range(2):
        renderer.load(slot, scene, replace(SMALL, pitch_rad=0.0))
        renderer.place(slot, replace(scene.start, x_m=0.1))
    assert renderer.render().shape == (2, 48, 64, 3)
    assert renderer.depth(1).shape == renderer.segmentation(1).shape == (48, 64)
    assert renderer.depth(1).dtype == np.float32
    assert renderer.segmentation(1).dtype == np.int32
    assert set(np.unique(renderer.segmentation(1))) >= {0, 1, 2, 6, 7}
    renderer.close()
    renderer.close()


def test_missing_gpu_falls_back_to_software_with_a_warning(monkeypatch):
    from vla_sim.sim import gpu_probe

    monkeypatch.setattr(gpu_probe, "probe_gpu", lambda: gpu_probe.GpuProbe(False, "no EGL"))
    with pytest.warns(RuntimeWarning, match="no EGL"):
        renderer = make_renderer((64, 48), name="gpu")
    renderer.load(0, typical_scene(), SMALL)
    assert renderer.name == "software"
    assert renderer.render().any()
    renderer.close()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "ended with status"),
        ("print('failed: no display')", "no display"),
        ("import time; time.sleep(60)", "did not finish"),
    ],
)
def test_a_driver_that_aborts_fails_or_hangs_is_no_gpu(monkeypatch, code, message):
    from vla_sim.sim import gpu_probe

    monkeypatch.setattr(gpu_probe, "PROBE_COMMAND", ("-c", code))
    monkeypatch.setattr(gpu_probe, "PROBE_LIMIT_S", 2)
    found = gpu_probe.probe_gpu.__wrapped__()
    assert not found.works
    assert message in found.message


@pytest.mark.parametrize(("distortion", "lens"), [(0.0, 0.0), (-0.1, 0.0), (-0.02, -0.08)])
def test_a_point_appears_where_the_thing_at_that_point_is_drawn(renderer, distortion, lens):
    camera = replace(CameraSpec(), distortion=distortion)
    scene = replace(typical_scene(), look=Look(camera_tilt_rad=(0.03, -0.02, 0.05), distortion=lens))
    pose = Pose2(0.1, -0.05, 0.1)
    picture(renderer, scene, camera, pose)
    labels = renderer.segmentation(0)
    checked = 0
    for index, thing in enumerate(scene.bodies):
        rows, columns = np.nonzero(labels == FIRST_BODY_LABEL + index)
        place = place_in_image(camera, scene.look, pose, (thing.x_m, thing.y_m, thing.size_m[2] / 2))
        whole = len(rows) > 40 and columns.min() > 0 and columns.max() < PX[0] - 1 and rows.max() < PX[1] - 1
        if thing.role is Role.WALL or not whole:
            continue
        assert place == pytest.approx(((columns.mean() + 0.5) / PX[0], (rows.mean() + 0.5) / PX[1]), abs=0.04)
        checked += 1
    assert checked


def test_the_lens_of_a_look_is_added_to_that_of_the_camera(renderer):
    scene = typical_scene()
    bent = picture(renderer, scene, CameraSpec(distortion=-0.1)).copy()
    parts = picture(renderer, replace(scene, look=replace(scene.look, distortion=-0.06)), CameraSpec(distortion=-0.04))
    assert np.array_equal(bent, parts)


def test_a_point_outside_the_picture_appears_nowhere():
    camera, look = CameraSpec(), Look()
    assert place_in_image(camera, look, Pose2(0.0, 0.0), (-1.0, 0.0, 0.2)) is None
    assert place_in_image(camera, look, Pose2(0.0, 0.0), (1.0, 5.0, 0.2)) is None
