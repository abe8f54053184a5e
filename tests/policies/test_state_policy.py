"""Policy type "ppo_state": a small network on privileged state, in a folder."""

import dataclasses
import json

import numpy as np
import pytest

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.privileged import PRIVILEGED_NAMES, privileged_vector
from vla_sim.policies.folders import CONFIG, WEIGHTS, PolicyError
from vla_sim.policies.registry import load_policy, policy_hash
from vla_sim.scenarios import load_scenario

ROBOT = load_embodiment("serbot")


@pytest.fixture
def folder(tmp_path):
    """An untrained policy."""
    import torch
    from safetensors.torch import save_file

    from vla_sim.policies.state_policy import StateHead

    torch.manual_seed(0)
    config = {
        "format": 1,
        "type": "ppo_state",
        "observation": {
            "names": list(PRIVILEGED_NAMES),
            "mean": [0.1] * len(PRIVILEGED_NAMES),
            "variance": [4.0] * len(PRIVILEGED_NAMES),
            "clip": 10.0,
        },
        "left_handed": True,
        "hidden": [8, 8],
        "action": {"names": ["vx", "vy"], "units": ["m/s", "m/s"], "scale": [0.5, 0.5]},
    }
    (tmp_path / CONFIG).write_text(json.dumps(config))
    save_file(StateHead(len(PRIVILEGED_NAMES), [8, 8], 2).state_dict(), tmp_path / WEIGHTS)
    return tmp_path


def change(folder, table, key, value):
    config = json.loads((folder / CONFIG).read_text())
    (config[table] if table else config)[key] = value
    (folder / CONFIG).write_text(json.dumps(config))


def world(seed=0, scenario="obstacle_left"):
    scene = load_scenario(scenario).sample(seed)
    pose = np.array([scene.start.x_m, scene.start.y_m, scene.start.yaw_rad])
    return {"scene": scene, "pose": pose, "embodiment": ROBOT}


def act(folder, infos, state=None):
    policy = load_policy(str(folder))
    policy.reset(np.ones(len(infos), bool), np.arange(len(infos)))
    return policy.act({"state": np.zeros((len(infos), 6)) if state is None else state}, infos)


def test_it_says_that_it_is_privileged_and_what_it_gives(folder):
    spec = load_policy(str(folder)).spec
    assert (spec.requires_privileged_info, spec.action_names, spec.image_px) == (True, ("vx", "vy"), ())


def test_actions_are_those_of_the_formula(folder):
    weights = load_policy(str(folder))._head.state_dict()
    info = world()
    x = privileged_vector(info["scene"], info["scene"].start, (0.1, 0.2, 0.3), ROBOT.body.radius_m)
    x = (x - 0.1) / 2
    for i in range(2):
        x = np.tanh(weights[f"hidden.{i}.weight"].numpy() @ x + weights[f"hidden.{i}.bias"].numpy())
    expected = 0.5 * np.clip(weights["out.weight"].numpy() @ x + weights["out.bias"].numpy(), -1, 1)
    found = act(folder, [info], np.array([[9, 9, 9, 0.1, 0.2, 0.3]], np.float32))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert found.dtype == np.float32


def mirrored_twin(info):
    """The same world with left and right exchanged."""
    scene = info["scene"]
    x_min, x_max, y_min, y_max = scene.bounds_m
    bodies = tuple(dataclasses.replace(b, y_m=-b.y_m, yaw_rad=-b.yaw_rad) for b in scene.bodies)
    task = dataclasses.replace(scene.task, side=scene.task.side.opposite)
    twin = dataclasses.replace(scene, bodies=bodies, task=task, bounds_m=(x_min, x_max, -y_max, -y_min))
    return {**info, "scene": twin, "pose": info["pose"] * [1, -1, -1]}


def test_a_mirrored_world_is_driven_in_mirror_image_unless_the_folder_says_otherwise(folder):
    actions = act(folder, [world(), mirrored_twin(world())])
    np.testing.assert_allclose(actions[1], actions[0] * [1, -1], atol=1e-6)
    change(folder, "", "left_handed", False)
    actions = act(folder, [world(), mirrored_twin(world())])
    assert np.abs(actions[1] - actions[0] * [1, -1]).max() > 1e-3


def test_a_env_without_a_world_stands_and_changes_nothing(folder):
    alone = act(folder, [world()])
    together = act(folder, [{"embodiment": ROBOT}, world()])
    assert together[0].tolist() == [0, 0]
    np.testing.assert_allclose(together[1], alone[0], atol=1e-6)


def test_actions_stay_within_the_scale(folder):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / WEIGHTS)
    weights["out.bias"] = torch.tensor([100.0, -100.0])
    save_file(weights, folder / WEIGHTS)
    np.testing.assert_array_equal(act(folder, [world()]), [[0.5, -0.5]])


def test_without_ground_truth_it_says_so(folder):
    with pytest.raises(ValueError, match="pass infos"):
        load_policy(str(folder)).act({"state": np.zeros((1, 6))}, None)


def test_the_hash_covers_the_normalisation(folder):
    before = policy_hash(str(folder))
    change(folder, "observation", "clip", 9.0)
    assert policy_hash(str(folder)) != before


@pytest.mark.parametrize(
    ("table", "key", "value", "message"),
    [
        ("observation", "names", ["goal_x_m"], "observation.names differ"),
        ("observation", "mean", [0.0], f"observation.mean must be {len(PRIVILEGED_NAMES)} numbers"),
        ("observation", "mean", "much", "observation.mean must be"),
        ("observation", "variance", [0.0] * len(PRIVILEGED_NAMES), "observation.variance must be .* positive"),
        ("observation", "clip", None, "observation.clip must be a positive number, got None"),
        ("action", "names", ["vz"], "action.names must be some of vx, vy, wz"),
        ("action", "names", ["vy", "vx"], "in this order"),
        ("action", "names", [["vx"], "vy"], "action.names must be some of"),
        ("action", "scale", [0.5], "action.scale must be 2 positive numbers"),
        ("", "left_handed", 1, "left_handed must be"),
        ("", "hidden", [8, 0], "hidden must be positive whole numbers"),
        ("", "hidden", [8], "holds unknown hidden.1"),
        ("", "hiden", [8], "did you mean 'hidden'"),
    ],
)
def test_a_bad_config_is_said(folder, table, key, value, message):
    change(folder, table, key, value)
    with pytest.raises(PolicyError, match=message):
        load_policy(str(folder))
