"""Sensors of embodiment files: in the observations of every env, the same in each, refused where they are missing."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import vla_sim  # noqa: F401
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import PolicySpec, fit
from vla_sim.policies.baselines import HoldPolicy

ID = "VLASim/Navigate-v1"
SENSORS = """
[camera]
image_px = [48, 32]
[sensors.depth]
kind = "depth"
[sensors.lidar]
kind = "lidar"
rays = 36
fov_deg = 270
range_m = 4.0
noise_m = 0.02
[sensors.rear]
kind = "camera"
image_px = [40, 24]
mount_m = [-0.1, 0.0, 0.3]
yaw_deg = 180
pitch_deg = 0
[sensors.rear_depth]
kind = "depth"
camera = "rear"
"""
SHAPES = {"depth": (32, 48), "lidar": (36,), "rear": (24, 40, 3), "rear_depth": (24, 40)}


def embodiment(tmp_path, text, base="serbot"):
    path = tmp_path / "mine.toml"
    path.write_text(f'format = 1\nextends = "{base}"\nname = "mine"\n{text}', "utf-8")
    return path


@pytest.fixture
def robot(tmp_path):
    return embodiment(tmp_path, SENSORS)


def test_sensors_are_observations_by_their_names(robot):
    env = gymnasium.make(ID, embodiment=robot)
    observation, _ = env.reset(seed=3)
    assert list(observation) == ["image", "instruction", "state", *SHAPES]
    for name, shape in SHAPES.items():
        assert observation[name].shape == shape == env.observation_space[name].shape
        assert observation[name].dtype == (np.uint8 if name == "rear" else np.float32)
        assert env.observation_space[name].contains(observation[name])
    assert observation["image"].shape == (32, 48, 3)
    # It looks at the wall behind the start.
    x_min = env.unwrapped.simulation.scene.bounds_m[0]
    assert observation["rear_depth"][12, 20] == pytest.approx(-x_min - 0.1, abs=0.03)
    env.close()


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized.*")
def test_gymnasium_s_checker_accepts_them(robot):
    made = gymnasium.make(ID, embodiment=robot, disable_env_checker=True)
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_today_s_robots_observe_what_they_did():
    env = gymnasium.make(ID, embodiment="serbot")
    assert list(env.observation_space.spaces) == ["image", "instruction", "state"]
    env.close()


def driven(env, seeds, steps=6):
    """Observations of a vector env, by seed."""
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (steps, 1, 2)).astype(np.float32)
    seen = [env.reset(seed=seeds)[0]]
    seen += [env.step(np.repeat(action, len(seeds), axis=0))[0] for action in actions]
    env.close()
    return {seed: [{k: v[i] for k, v in o.items()} for o in seen] for i, seed in enumerate(seeds)}


def test_single_vector_and_other_slots_measure_the_same_bit_for_bit(robot):
    together = driven(NavigateVectorEnv(3, embodiment=robot, autoreset_mode=AutoresetMode.NEXT_STEP), [4, 5, 6])
    alone = driven(NavigateVectorEnv(1, embodiment=robot), [6])
    env = gymnasium.make(ID, embodiment=robot)
    actions = np.random.default_rng(1).uniform(-0.5, 0.5, (6, 1, 2)).astype(np.float32)
    single = [env.reset(seed=6)[0], *(env.step(action[0])[0] for action in actions)]
    env.close()
    for one, two, three in zip(together[6], alone[6], single, strict=True):
        for name in SHAPES:
            assert np.array_equal(one[name], two[name])
            assert np.array_equal(one[name], three[name])


def test_an_env_without_images_keeps_the_lidar(robot):
    drawn, plain = (NavigateVectorEnv(2, embodiment=robot, images=images) for images in (True, False))
    one, two = drawn.reset(seed=3)[0], plain.reset(seed=3)[0]
    assert list(two) == ["instruction", "state", "lidar"]
    assert set(plain.single_observation_space.spaces) == set(two)
    assert np.array_equal(one["lidar"], two["lidar"])
    drawn.close()
    plain.close()


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        ({"lidar": ()}, ""),
        ({"lidar": (36,), "depth": (32, 48)}, ""),
        ({"lidar": (180,)}, "reads 'lidar' of shape (180,), mine gives (36,)"),
        ({"sonar": ()}, "reads the sensor 'sonar'; those of mine are depth, lidar, rear, rear_depth"),
    ],
)
def test_a_policy_says_what_it_needs_and_is_refused_where_the_robot_lacks_it(robot, needs, words):
    spec = PolicySpec((), (), sensors=needs)
    misfit = spec.misfit(load_embodiment(robot))
    assert misfit.startswith(words) if words else misfit == ""
    assert "serbot has none" in spec.misfit(load_embodiment("serbot"))


def test_a_policy_without_its_sensor_is_refused_before_the_first_step():
    policy = HoldPolicy()
    policy.spec = PolicySpec((), (), sensors={"lidar": ()})
    with pytest.raises(UserError, match=r"reads the sensor 'lidar'; serbot has none"):
        fit(policy, load_embodiment("serbot"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sensors]\nlidar = 3", ["sensors.lidar", "table"]),
        ("[sensors.lidar]\nrays = 3", ["sensors.lidar.kind", "is missing", "depth"]),
        ("[sensors.lidar]\nkind = 'lidr'", ["sensors.lidar.kind", "'lidar'"]),
        ("[sensors.lidar]\nkind = 'lidar'\nray = 3", ["sensors.lidar.ray", "'rays'"]),
        ("[sensors.lidar]\nkind = 'lidar'\nrays = 1", ["sensors.lidar.rays", "between 2 and"]),
        ("[sensors.image]\nkind = 'lidar'", ["sensors.image", "another name"]),
        ("[sensors.'my lidar']\nkind = 'lidar'", ["my lidar", "another name"]),
        ("[sensors.depth]\nkind = 'depth'\ncamera = 'rear'", ["sensors.depth.camera", "'rear'", "camera"]),
        ("[sensors.lidar]\nkind = 'lidar'\nmount_m = [0, 0, 0]", ["above the floor"]),
    ],
)
def test_a_mistake_is_named_with_file_and_what_would_be_right(tmp_path, text, words):
    with pytest.raises(UserError) as error:
        load_embodiment(embodiment(tmp_path, text))
    for word in ["mine.toml", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("kind", ["[]", "3", '"radar"', "{}"])
def test_a_sensor_of_no_kind_is_refused_in_a_sentence(tmp_path, kind):
    path = tmp_path / "robot.toml"
    path.write_text(f'format = 1\nextends = "serbot"\n[sensors.front]\nkind = {kind}\n')
    with pytest.raises(UserError, match=r"sensors\.front\.kind"):
        load_embodiment(path)
