from dataclasses import replace

import numpy as np
import pytest
from augmentation_episodes import driven, invented, plain, same
from hypothesis import given
from hypothesis import strategies as st
from mirrored_scenes import mirrored_pose, mirrored_scene

from vla_sim.augmentation.images import Light
from vla_sim.augmentation.mirroring import Mirror, is_mirrored
from vla_sim.augmentation.redriving import Studio, origin_of
from vla_sim.augmentation.words import mirror_name, mirror_text
from vla_sim.core.errors import UserError
from vla_sim.core.types import Pose2, Role
from vla_sim.rollout.steering import ByActions
from vla_sim.scenarios import load_scenario, scenario_names
from vla_sim.scenarios.language import opposite
from vla_sim.sim.camera import FIRST_BODY_LABEL, SKY_LABEL
from vla_sim.sim.renderers import make_renderer

WORLDS = [("obstacle_left", "serbot"), ("choose_goal", "serbot"), ("two_obstacles_right", "lekiwi")]


@pytest.mark.parametrize("last_image", [True, False])
@pytest.mark.parametrize("names", [("vx", "vy", "wz"), ("vx", "vy"), ("vx", "wz")])
def test_mirroring_twice_gives_every_byte_again(names, last_image):
    episode = invented(names=names, last_image=last_image)
    assert not same(Mirror()(episode), episode)
    assert same(Mirror()(Mirror()(episode)), episode)


def test_mirroring_twice_gives_a_driven_episode_again():
    episode = driven(noise=0.5)
    assert same(Mirror()(Mirror()(episode)), episode)


def test_everything_with_a_side_is_mirrored_and_nothing_else():
    episode = invented()
    mirrored = Mirror()(episode)
    assert np.array_equal(mirrored.images[2, :, 0], episode.images[2, :, -1])
    assert np.array_equal(mirrored.actions, episode.actions * np.float32([1, -1, -1]))
    assert np.array_equal(mirrored.labels, episode.labels * np.float32([1, -1, -1]))
    assert np.array_equal(mirrored.states, episode.states * np.float32([1, -1, -1, 1, -1, -1]))
    assert mirrored.name == "episode_20240102_030405_1box_vert_right_core_close"
    assert mirrored.instruction == "Pass the rightmost box on its Left, 오른쪽으로"
    assert mirrored.events == episode.events
    assert dict(mirrored.provenance) == {
        "scenario": "1box_vert_right",
        "side": "right",
        "simulated": False,
        "source": "a_left/b.h5",
        "augmentation": "mirror",
    }


def test_the_trace_says_whether_an_episode_is_mirrored():
    mirrored = Mirror()(invented())
    lit = Light()(mirrored, np.random.default_rng(0))
    assert [is_mirrored(episode) for episode in (invented(), mirrored, lit, Mirror()(lit))] == [
        False,
        True,
        True,
        False,
    ]


def test_states_that_nobody_knows_are_not_mirrored():
    episode = invented(state_names=("x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps", "battery_v"))
    with pytest.raises(UserError, match="battery_v"):
        Mirror()(episode)


@pytest.mark.parametrize("name", scenario_names())
def test_mirrored_names_and_sentences_of_every_scenario_are_those_of_its_twin(name):
    twin = mirror_name(name)
    assert twin in scenario_names()
    if load_scenario(name).side is not None and twin == name:
        pytest.skip("a name without the side that it stands for has no twin")
    ours = {mirror_text(text) for text in load_scenario(name).instructions("all")}
    assert ours == set(load_scenario(twin).instructions("all"))


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("seed", range(4))
def test_mirrored_words_are_those_of_the_opposite_task(seed, language):
    scene = load_scenario("obstacle_left").sample(seed, language=language)
    assert mirror_text(scene.instruction.text) == opposite(scene).instruction.text


@given(st.lists(st.sampled_from(["left", "right", "Left", "RIGHT", "bright", "_", ".", " ", "lefty"])))
def test_mirroring_a_name_twice_gives_it_again(parts):
    assert mirror_name(mirror_name("".join(parts))) == "".join(parts)


def test_a_world_mirrored_twice_is_the_world():
    scene = load_scenario("choose_goal").sample(5)
    assert mirrored_scene(mirrored_scene(scene)) == scene
    assert mirrored_scene(scene) != scene


@pytest.mark.parametrize(("scenario", "embodiment"), WORLDS)
def test_the_mirrored_actions_drive_the_mirrored_path_in_the_mirrored_world(scenario, embodiment):
    episode = driven(scenario, embodiment=embodiment)
    origin, mirrored = origin_of(episode), Mirror()(episode)
    world = mirrored_scene(origin.scene)
    with Studio(origin) as studio:
        ended = studio.run(ByActions(mirrored.actions, origin.robot), world)
    assert ended.outcome is mirrored.outcome
    np.testing.assert_allclose(np.stack(ended.observer.seen.states), mirrored.states, atol=1e-6)
    assert world.instruction.text == mirrored.instruction


@pytest.mark.parametrize(("scenario", "embodiment"), WORLDS)
def test_the_simulators_mirrored_world_gives_the_mirrored_pictures(scenario, embodiment):
    """Where the image shows no wall, and without grain and noise, which are not mirrored: nor is what hangs on walls.

    3 of 255 levels apart in the mean, 10 in one image: labels and prints of objects keep their place.
    """
    episode = driven(scenario, embodiment=embodiment)
    origin = origin_of(episode)
    world = plain(origin.scene)
    here, there = make_renderer((96, 96)), make_renderer((96, 96))
    here.load(0, world, origin.robot.camera)
    there.load(0, mirrored_scene(world), origin.robot.camera)
    walls = {FIRST_BODY_LABEL + i for i, body in enumerate(world.bodies) if body.role is Role.WALL}
    images, twins, apart, unmirrored = [], [], [], []
    for x, y, yaw in episode.states[:, :3].tolist():
        pose = Pose2(x, y, yaw)
        here.place(0, pose)
        there.place(0, mirrored_pose(pose))
        images.append(here.render()[0].copy())
        twins.append(there.render()[0].copy())
        labels = there.segmentation(0)
        assert _outlines_agree(here.segmentation(0)[:, ::-1], labels)
        inside = ~np.isin(labels, [*walls, SKY_LABEL])
        difference = np.abs(np.stack([images[-1][:, ::-1], images[-1]]).astype(int) - twins[-1]).mean(axis=3)
        apart.append(difference[0][inside].mean())
        unmirrored.append(difference[1][inside].mean())
    assert np.array_equal(Mirror()(replace(episode, images=np.stack(images))).images, np.stack(images)[:, :, ::-1])
    assert np.mean(apart) < 3
    assert np.max(apart) < 10
    assert np.mean(unmirrored) > 3 * np.mean(apart)
    here.close()
    there.close()


def _outlines_agree(labels, others):
    """Whether each pixel shows what one of the nine around it shows in the other image."""
    around = np.pad(labels, 1, mode="edge")
    height, width = labels.shape
    nine = [around[down : down + height, right : right + width] for down in range(3) for right in range(3)]
    return bool(np.any([near == others for near in nine], axis=0).mean() > 0.999)
