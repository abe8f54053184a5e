"""The Gymnasium contract and determinism of `VLASim/Navigate-v1`."""

import hashlib
import multiprocessing
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import vla_sim  # noqa: F401
from vla_sim.core.content import embodiment_names
from vla_sim.core.errors import UserError
from vla_sim.core.types import Change, Instruction, SuccessRule, Task
from vla_sim.envs.simulation import ActionError

ID = "VLASim/Navigate-v1"


def actions_for(seed, count=12, size=2):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, size)).astype(np.float32)


def drive(env, seed, actions):
    """Hash of everything observed in one episode."""
    observation, info = env.reset(seed=seed)
    digest = hashlib.sha256(observation["image"].tobytes() + observation["instruction"].encode())
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        digest.update(observation["image"].tobytes() + observation["state"].tobytes())
        digest.update(np.float64(reward).tobytes() + info["pose"].tobytes() + info["outcome"].encode())
        if terminated or truncated:
            break
    return digest.hexdigest()


def drive_in_process(seed):
    env = gymnasium.make(ID, scenario="obstacle_left")
    try:
        return drive(env, seed, actions_for(seed))
    finally:
        env.close()


@pytest.fixture
def env():
    made = gymnasium.make(ID, scenario="obstacle_left", embodiment="serbot")
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:.*recommend using a symmetric and normalized.*")
@pytest.mark.parametrize("embodiment", embodiment_names())
def test_gymnasium_checker_accepts_every_embodiment(embodiment):
    made = gymnasium.make(ID, scenario="obstacle_left", embodiment=embodiment, disable_env_checker=True)
    try:
        check_env(made.unwrapped, skip_render_check=True)
    finally:
        made.close()


def test_observation_lies_in_its_space_and_truth_only_in_info(env):
    observation, info = env.reset(seed=5)
    assert env.observation_space.contains(observation)
    assert set(observation) == {"image", "instruction", "state"}
    assert observation["image"].shape == (224, 224, 3)
    assert {"pose", "scene", "goal_gap_m", "is_success"} <= set(info)


def test_same_seed_and_actions_give_the_same_episode_after_any_other_episode(env):
    first = drive(env, 7, actions_for(7))
    drive(env, 8, actions_for(8))
    assert drive(env, 7, actions_for(7)) == first
    assert drive(env, 8, actions_for(8)) != first


def test_an_episode_in_a_worker_process_is_the_same(env):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(drive_in_process, (7,)) == drive(env, 7, actions_for(7))


@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_env_of_the_vector_env_is_the_single_env(env, num_envs):
    vector = gymnasium.make_vec(ID, num_envs=num_envs, scenario="obstacle_left")
    seeds = [11 + env_index for env_index in range(num_envs)]
    actions = [actions_for(seed, count=4) for seed in seeds]
    try:
        many, _ = vector.reset(seed=seeds)
        seen = [many]
        for step in range(4):
            many, *_ = vector.step(np.stack([a[step] for a in actions]))
            seen.append(many)
        for env_index, seed in enumerate(seeds):
            one, _ = env.reset(seed=seed)
            for step in range(5):
                assert np.array_equal(seen[step]["image"][env_index], one["image"])
                assert np.array_equal(seen[step]["state"][env_index], one["state"])
                assert seen[step]["instruction"][env_index] == one["instruction"]
                if step < 4:
                    one, _, terminated, truncated, _ = env.step(actions[env_index][step])
                    assert not terminated
                    assert not truncated
    finally:
        vector.close()


def test_next_step_autoreset_starts_a_new_world_and_ignores_the_action():
    vector = gymnasium.make_vec(ID, num_envs=2, scenario="obstacle_left")
    forward = np.tile(np.float32([0.5, 0.0]), (2, 1))
    try:
        first, infos = vector.reset(seed=3)
        for _ in range(60):
            _, _, terminated, truncated, infos = vector.step(forward)
            if (terminated | truncated).any():
                break
        ended = terminated | truncated
        assert ended.any()
        observation, rewards, terminated, truncated, infos = vector.step(forward)
        env_index = int(np.flatnonzero(ended)[0])
        assert rewards[env_index] == 0.0
        assert infos["sim_time_s"][env_index] == 0.0
        assert not np.array_equal(observation["image"][env_index], first["image"][env_index])
    finally:
        vector.close()


def test_disabled_autoreset_waits_for_the_mask():
    vector = gymnasium.make_vec(
        ID, num_envs=2, scenario="obstacle_left", vectorization_mode="vector_entry_point", autoreset_mode="Disabled"
    )
    try:
        assert vector.unwrapped.autoreset_mode is AutoresetMode.DISABLED
        before, _ = vector.reset(seed=[1, 2])
        after, infos = vector.reset(seed=[9, 9], options={"reset_mask": np.array([False, True])})
        assert np.array_equal(after["image"][0], before["image"][0])
        assert infos["scene"][1].seed == 9
    finally:
        vector.close()


@pytest.mark.parametrize(
    ("action", "word"), [([np.nan, 0.0], "finite"), ([0.1], "shape"), ("left", "numbers"), ([[0.1, 0.1]], "shape")]
)
def test_an_action_that_cannot_be_executed_is_refused_in_words(env, action, word):
    env.reset(seed=1)
    with pytest.raises(ActionError, match=word):
        env.unwrapped.step(action)


def test_without_a_seed_only_training_seeds_are_drawn(env):
    env.reset(seed=0)
    seeds = []
    for _ in range(5):
        _, info = env.reset()
        seeds.append(info["scene"].seed)
    assert max(seeds) < 100_000
    assert len(set(seeds)) > 1


def test_driving_straight_into_a_wall_is_a_collision_with_its_name():
    env = gymnasium.make(ID, scenario="reach_goal")
    try:
        env.reset(seed=4)
        for _ in range(60):
            *_, terminated, truncated, info = env.step(np.float32([-0.5, 0.0]))
            if terminated or truncated:
                break
        assert info["outcome"] in ("collision", "out_of_bounds")
        assert info["is_success"] is False
    finally:
        env.close()


@pytest.mark.parametrize(("speed", "ending"), [(0.0, (True, False, "stopped_short")), (0.3, (False, True, "timeout"))])
def test_standing_still_ends_and_swinging_to_and_fro_is_a_timeout_that_truncates(env, speed, ending):
    env.reset(seed=4)
    for step in range(200):
        *_, terminated, truncated, info = env.step(np.array([0.0, speed * (-1) ** step], np.float32))
        if terminated or truncated:
            break
    assert (terminated, truncated, info["outcome"]) == ending


@pytest.mark.parametrize(
    "options", [{"scenario": "obstacle_lef"}, {"embodiment": "serbott"}, {"instruction_set": "evall"}]
)
def test_unknown_names_are_answered_with_the_nearest(options):
    nearest = {"scenario": "obstacle_left", "embodiment": "serbot", "instruction_set": "eval"}
    (key,) = options
    with pytest.raises(UserError, match=nearest[key]):
        gymnasium.make(ID, **options)


def test_envs_that_were_never_started_wait():
    vector = gymnasium.make_vec(
        ID, num_envs=2, scenario="obstacle_left", vectorization_mode="vector_entry_point", autoreset_mode="Disabled"
    )
    try:
        vector.reset(seed=[1, 2], options={"reset_mask": np.array([True, False])})
        observation, _, terminated, truncated, _ = vector.unwrapped.step_running(np.zeros((2, 2), np.float32))
        assert not (terminated | truncated).any()
        assert observation["instruction"][1] == ""
    finally:
        vector.close()


def test_another_sentence_within_an_episode_is_seen_at_once_and_judged():
    env = gymnasium.make(ID, scenario="reach_goal")
    env.reset(seed=3)
    scene = env.unwrapped.simulation.scene
    stop = Change(0.8, Instruction("stop"), Task(success=SuccessRule.STOPPED, refuse=True))
    observation, _ = env.reset(options={"scene": replace(scene, changes=(stop,))})
    ahead, still = np.array([0.5, 0.0]), np.zeros(2)
    told = [observation["instruction"], *(env.step(ahead)[0]["instruction"] for _ in range(2))]
    assert told == [scene.instruction.text] * 2 + ["stop"]
    for _ in range(10):
        *_, info = env.step(still)
    assert info["outcome"] == "refused"
    assert info["is_success"]
    with pytest.raises(UserError, match="nobody to talk to"):
        env.unwrapped.say("go on")


def test_say_changes_the_sentence_and_by_itself_not_the_task():
    env = gymnasium.make(ID, scenario="reach_goal")
    env.reset(seed=3)
    env.unwrapped.say("stop", refuse=True)
    for _ in range(10):
        observation, *_, info = env.step(np.zeros(2))
    assert (observation["instruction"], info["outcome"]) == ("stop", "refused")
    env.reset(seed=3)
    env.unwrapped.say("go there, please")
    observation, *_, info = env.step(np.zeros(2))
    assert (env.unwrapped.task_description, info["outcome"]) == ("go there, please", "")
    with pytest.raises(UserError, match="text"):
        env.unwrapped.say(3)
