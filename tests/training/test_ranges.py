"""LiDARs from the demonstrations to a policy that drives with them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_behaviour_cloning import CONFIG, SIDE_PX, SIZES, TOKENIZER

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.sensors import LidarSpec
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.demonstrations import Demonstrations, Ranges
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import fit
from vla_sim.policies.ensemble import EnsemblePolicy
from vla_sim.policies.registry import load_policy
from vla_sim.sim.lidar import ray_angles
from vla_sim.training.batches import Sampler
from vla_sim.training.behaviour_cloning import Trainer
from vla_sim.training.export import export_policies
from vla_sim.training.new_policies import NewHead, NewPolicies
from vla_sim.training.recorded import read_round, save_round
from vla_sim.training.sources import Shape, as_demonstrations, fitted_episode
from vla_sim.training.warm_start import begin_as, begin_with, fresh

LIDAR = LidarSpec(rays=8, range_m=4.0)
CONFIGURED = {"lidar": {"rays": 8, "fov_deg": 360.0, "range_m": 4.0, "width": 16}}
ROOMS = NewPolicies("clip_rooms", {"rooms_lstm": NewHead("lstm", "for rooms")}, sensors=("lidar",))


def walls(episodes=48, steps=3, seed=0, lidar=LIDAR) -> Demonstrations:
    """Nothing to see; a wall is on one side, which only the ranges tell, and the expert moves away from it."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], episodes)
    beside = np.sin(ray_angles(lidar))[None] * side[:, None]
    values = np.where(beside > 0.5, 0.4, lidar.range_m)[:, None].repeat(steps, axis=1).astype(np.float32)
    actions = np.zeros((episodes, steps, 2), dtype=np.float32)
    actions[..., 1] = -0.4 * side[:, None]
    return Demonstrations(
        np.full((episodes, steps, SIDE_PX, SIDE_PX, 3), 90, dtype=np.uint8),
        [["go"]] * episodes,
        actions,
        np.ones((episodes, steps), dtype=bool),
        sensors={"lidar": Ranges(values, lidar)},
    )


def begun(**changes):
    return fresh(TOKENIZER, seed=1, **{**SIZES, "sensors": CONFIGURED, **changes})


def robot(lidar=LIDAR):
    return replace(load_embodiment("serbot_lidar"), sensors={"lidar": lidar})


@given(st.integers(2, 40), st.floats(0.1, 6.2831853071))
def test_a_ray_and_its_mirror_image_point_to_opposite_sides(rays, fov_rad):
    for fov in (fov_rad, 2 * np.pi):
        lidar = LidarSpec(rays=rays, fov_rad=max(fov, np.radians(1)))
        angles = ray_angles(lidar)
        difference = lidar.mirrored(angles) + angles
        assert np.allclose(np.sin(difference), 0, atol=1e-9)
        assert np.allclose(np.cos(difference), 1)


def test_demonstrations_of_a_robot_with_a_lidar_keep_what_it_measured_where_it_was():
    from vla_sim.rollout.demonstrations import Collection, Task, collect

    found = collect([Task("reach_goal", 5), Task("doorway_left", 6)], Collection("serbot_lidar", 16), workers=1)
    assert found.sensors["lidar"].lidar == load_embodiment("serbot_lidar").sensors["lidar"]
    for episode, (scenario, seed) in enumerate([("reach_goal", 5), ("doorway_left", 6)]):
        env = NavigateVectorEnv(1, scenario, "serbot_lidar")
        first = env.reset(seed=[seed])[0]["lidar"][0]
        env.close()
        assert np.array_equal(found.sensors["lidar"].values[episode, 0], first)
    assert not found.sensors["lidar"].values[~found.mask].any()


def test_rounds_keep_ranges_byte_for_byte_and_parts_of_them_too(tmp_path):
    data = walls(episodes=5)
    save_round(tmp_path, data)
    again = read_round(tmp_path)
    assert again.sensors["lidar"].lidar == LIDAR
    values = data.sensors["lidar"].values
    assert np.array_equal(again.sensors["lidar"].values, values)
    assert np.array_equal(again.some([3, 1]).sensors["lidar"].values, values[[3, 1]])
    assert np.array_equal(open_dataset(tmp_path)[2].sensors["lidar"], values[2])
    longer = Demonstrations.joined([data, walls(episodes=2, steps=5)])
    assert longer.sensors["lidar"].values.shape == (7, 5, 8)
    assert np.array_equal(longer.sensors["lidar"].values[:5, :3], values)


@pytest.mark.parametrize("embodiment", ["serbot_lidar", "", "nobody"])
def test_recordings_give_the_ranges_of_the_steps_that_are_learned_from(embodiment):
    """They hold one image, and one range of each ray, more than actions; once, that ended in a traceback."""
    ranges = np.arange(6 * 72, dtype=np.float32).reshape(6, 72)
    actions = np.zeros((5, 2), dtype=np.float32)
    actions[1:, 0] = 0.5
    episode = Episode(
        "one",
        np.zeros((6, 32, 32, 3), dtype=np.uint8),
        actions,
        ("vx", "vy"),
        "go",
        0.4,
        sensors={"lidar": ranges},
        provenance={"embodiment": embodiment} if embodiment else {},
    )
    fitted, still = fitted_episode(episode, Shape(32, ("vx", "vy"), 0.4))
    assert still
    found = as_demonstrations([fitted])
    if embodiment == "serbot_lidar":
        assert np.array_equal(found.sensors["lidar"].values[0], ranges[1:5])
        assert found.sensors["lidar"].lidar == load_embodiment("serbot_lidar").lidars["lidar"]
    else:
        assert not found.sensors


@pytest.mark.parametrize("damage", ["missing", "short", "nan", "path"])
def test_ranges_that_are_damaged_on_disk_are_refused_in_words(tmp_path, damage):
    data = walls(episodes=3)
    save_round(tmp_path, data)
    file, facts = tmp_path / "sensor_lidar.npy", tmp_path / "facts.json"
    values = data.sensors["lidar"].values.copy()
    if damage == "missing":
        file.unlink()
    elif damage == "short":
        np.save(file, values[:2])
    elif damage == "nan":
        values[1, 1, 1] = np.nan
        np.save(file, values)
    else:
        facts.write_text(facts.read_text().replace('"lidar"', '"../lidar"'))
    with pytest.raises(UserError, match="lidar"):
        read_round(tmp_path)


def test_demonstrations_with_other_lidars_are_not_joined():
    with pytest.raises(ValueError, match="same LiDARs"):
        Demonstrations.joined([walls(), walls(lidar=LidarSpec(rays=8, range_m=5.0))])


def test_ranges_are_mirrored_together_with_the_way_to_go():
    sampler = Sampler(replace(CONFIG, mirror=0.5))
    sampler.add(walls())
    batch = sampler.draw(np.random.default_rng(3))
    away = batch.sensors["lidar"] @ np.sin(ray_angles(LIDAR)).astype(np.float32)
    assert {-1.0, 1.0} == set(np.sign(batch.actions[:, 1]))
    assert np.array_equal(np.sign(away), np.sign(batch.actions[:, 1]))


def test_a_policy_learns_what_only_its_lidar_tells_and_drives_so(tmp_path):
    made = Trainer(begun(), CONFIG, tmp_path)
    made.add(walls())
    made.run("clone", steps=60, decay=True)
    assert made.validate(walls(seed=7))["loss_clip_lstm"] < 0.02
    made.export(tmp_path / "policies")
    policy = load_policy(str(tmp_path / "policies" / "clip_lstm"))
    both = load_policy(str(tmp_path / "policies" / "ensemble"))
    assert isinstance(both, EnsemblePolicy)
    seen = walls(episodes=6, seed=8)
    observation = {
        "image": np.full((6, 224, 224, 3), 90, dtype=np.uint8),
        "instruction": ["go"] * 6,
        "lidar": seen.sensors["lidar"].values[:, 0],
    }
    for driver in (policy, both):
        assert driver.spec.sensors == {"lidar": (8,)}
        fit(driver, robot())
        driver.reset(np.ones(6, dtype=bool), np.arange(6))
        assert np.array_equal(np.sign(driver.act(observation)[:, 1]), np.sign(seen.actions[:, 0, 1]))


def test_a_robot_without_the_lidar_or_with_another_one_is_refused_before_it_moves(tmp_path):
    start = fresh(TOKENIZER, seed=1, sensors={"lidar": {"rays": 72, "fov_deg": 360.0, "range_m": 6.0}}, **SIZES)
    export_policies(start.members.eval(), start, tmp_path, {})
    policy = load_policy(str(tmp_path / "clip_lstm"))
    fit(policy, load_embodiment("serbot_lidar"))
    with pytest.raises(UserError, match=r"reads the sensor 'lidar'; serbot has none .*--embodiment serbot_lidar"):
        fit(policy, load_embodiment("serbot"))
    with pytest.raises(UserError, match=r"72 rays over 180 degrees, 6 m far; 72 rays over 360 degrees"):
        fit(policy, robot(LidarSpec(rays=72, fov_rad=np.pi)))
    policy.reset(np.ones(1, dtype=bool), np.zeros(1))
    with pytest.raises(UserError, match="reads the LiDAR 'lidar'"):
        policy.act({"image": np.zeros((1, 224, 224, 3), dtype=np.uint8), "instruction": ["go"]})


@pytest.mark.parametrize("data", ["without", "other"])
def test_episodes_without_the_lidar_that_a_network_reads_are_refused_before_the_first_step(tmp_path, data):
    made = Trainer(begun(), CONFIG, tmp_path)
    made.add(walls(lidar=LidarSpec(rays=8, range_m=5.0)) if data == "other" else replace(walls(), sensors={}))
    with pytest.raises(UserError, match="clip_lstm reads the sensor 'lidar'"):
        made.run("clone", steps=1)
    assert made.step == 0


def test_a_policy_that_begins_as_another_does_the_same_until_it_learns(tmp_path):
    start = fresh(TOKENIZER, seed=1, **SIZES)
    export_policies(start.members.eval(), start, tmp_path / "old", {})
    old = str(tmp_path / "old" / "clip_lstm")
    grown = begin_as(old, ROOMS, robot(), seed=4)
    export_policies(grown.members.eval(), grown, tmp_path / "new", {})
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["clip_rooms", "rooms_lstm"]
    rng = np.random.default_rng(0)
    observation = {
        "image": rng.integers(0, 256, (3, 224, 224, 3), dtype=np.uint8),
        "instruction": ["go left of the red box"] * 3,
        "lidar": rng.uniform(0, 4, (3, 8)).astype(np.float32),
    }
    answers = []
    for name in (old, str(tmp_path / "new" / "rooms_lstm")):
        policy = load_policy(name)
        policy.reset(np.ones(3, dtype=bool), np.arange(3))
        answers.append([policy.act(observation) for _ in range(3)])
    assert np.array_equal(*answers)
    before = begin_with(old).members.state_dict()
    assert all(
        torch.equal(before[name], tensor) for name, tensor in grown.members.state_dict().items() if name in before
    )


@pytest.mark.parametrize(("changes", "words"), [({"policy": "ensemble"}, "one lstm head"), ({"rays": ()}, "no LiDAR")])
def test_what_cannot_begin_so_is_refused_in_words(tmp_path, changes, words):
    start = fresh(TOKENIZER, seed=1, **SIZES)
    export_policies(start.members.eval(), start, tmp_path, {})
    driver = robot() if "policy" in changes else load_embodiment("serbot")
    with pytest.raises(UserError, match=words):
        begin_as(str(tmp_path / changes.get("policy", "clip_lstm")), ROOMS, driver)


@pytest.mark.parametrize(
    ("sensors", "words"),
    [
        ("lidar", "sensors must be an object"),
        ({"lidar": {}}, "sensors.lidar.rays is missing"),
        ({"lidar": {"rays": 0}}, "sensors.rays must be a positive whole number"),
        ({"lidar": {"rays": 8, "width": 10**9}}, "sensors.width must be at most"),
        ({"lidar": {"rays": 8, "range": 3}}, "range"),
        ({"lidar": {"rays": 8, "range_m": -1.0}}, "must have a field of view and a range"),
    ],
)
def test_a_config_with_senseless_sensors_is_refused_by_its_key(sensors, words):
    from vla_sim.policies.models.config import VlaConfig

    with pytest.raises(ValueError, match=words):
        VlaConfig(backbone="conv_clip", conv_clip={"vocab_size": 300}, sensors=sensors)
