"""Vector envs for Stable-Baselines3: its conventions, and the same worlds as all other envs have."""

import subprocess
import sys

import numpy as np
import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.privileged import PRIVILEGED_NAMES, mirrored_privileged, privileged_vector
from vla_sim.envs.vector import NavigateVectorEnv

pytest.importorskip("stable_baselines3")
from vla_sim.envs.sb3 import FeatureVecEnv, LeftHandedVecEnv, PrivilegedVecEnv

GAP = PRIVILEGED_NAMES.index("goal_gap_m")


@pytest.fixture
def env():
    made = PrivilegedVecEnv(["reach_goal", "obstacle_left"], num_envs=3)
    yield made
    made.close()


def driven(env, steps=60, seed=5):
    """Observations, rewards, ends and their infos of random driving."""
    rng = np.random.default_rng(9)
    env.seed(seed)
    rows = [(env.reset(), np.zeros(env.num_envs), np.zeros(env.num_envs, bool), [{}] * env.num_envs)]
    for _ in range(steps):
        rows.append(env.step(np.clip(rng.normal(0.6, 0.6, (env.num_envs, 2)), -1, 1)))
    return rows


def straight_at_goal(observation):
    """Full speed until the goal is near, and then a stop."""
    to_goal = observation[:, :2]
    near = observation[:, [GAP]] < 0.25
    return np.where(near, 0.0, to_goal / np.linalg.norm(to_goal, axis=1, keepdims=True))


def test_importing_the_envs_needs_no_learning_library():
    code = "import vla_sim.envs, sys; print([m for m in ('torch', 'stable_baselines3') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_shapes_and_kinds_are_those_of_the_spaces(env):
    for observations, rewards, dones, infos in driven(env, steps=5)[1:]:
        assert observations.shape == (3, len(PRIVILEGED_NAMES))
        assert all(env.observation_space.contains(row) for row in observations)
        assert (rewards.dtype, rewards.shape, dones.dtype, dones.shape) == (np.float32, (3,), np.bool_, (3,))
        assert len(infos) == 3


def test_same_seeds_give_same_rollouts_and_others_do_not(env):
    first, again, other = driven(env), driven(env), driven(env, seed=50)
    for one, two in zip(first, again, strict=True):
        for left, right in zip(one[:3], two[:3], strict=True):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(first[0][0], other[0][0])


def test_an_ended_env_starts_anew_and_tells_how_it_ended(env):
    ends = [
        (row[0][env_index], row[3][env_index])
        for row in driven(env, steps=120)[1:]
        for env_index in np.flatnonzero(row[2]).tolist()
    ]
    assert len(ends) > 5
    for observation, info in ends:
        assert not np.array_equal(observation, info["terminal_observation"])
        # At rest: the first observation of the next episode, not the last of the old one.
        assert observation[[PRIVILEGED_NAMES.index(name) for name in ("vx_mps", "vy_mps")]].tolist() == [0, 0]
        assert info["is_success"] == (info["outcome"] == "success")
        assert info["TimeLimit.truncated"] == (info["outcome"] == "timeout")


@pytest.mark.parametrize(("share", "outcome"), [(0.0, "stopped_short"), (0.5, "timeout")])
def test_only_the_time_limit_truncates(env, share, outcome):
    env.seed(1)
    env.reset()
    for step in range(60):
        _, _, dones, infos = env.step(np.tile([0.0, share * (-1) ** step], (3, 1)))
        if dones.any():
            break
    ended = [infos[env_index] for env_index in np.flatnonzero(dones)]
    assert {info["outcome"] for info in ended} == {outcome}
    assert {info["TimeLimit.truncated"] for info in ended} == {outcome == "timeout"}


def test_running_envs_have_no_ending(env):
    for _, _, dones, infos in driven(env, steps=60):
        assert [bool(info) for info in infos] == dones.tolist()


def test_worlds_are_those_of_training_seeds_and_all_scenarios_come_up(env):
    env.seed(0)
    env.reset()
    stories = list(env.reset_infos)
    for _, _, dones, _ in driven(env, steps=200):
        stories += [env.reset_infos[env_index] for env_index in np.flatnonzero(dones)]
    assert {story["scenario"] for story in stories} == {"reach_goal", "obstacle_left"}
    assert max(story["seed"] for story in stories) < 100_000


def test_seeds_can_be_narrowed():
    env = PrivilegedVecEnv("reach_goal", num_envs=4, seeds=range(7, 9))
    env.reset()
    assert {story["seed"] for story in env.reset_infos} <= {7, 8}
    env.close()


def test_an_episode_is_that_of_the_gymnasium_env():
    mine, theirs = PrivilegedVecEnv("obstacle_left", num_envs=1), NavigateVectorEnv(1, "obstacle_left")
    mine.seed(3)
    observation = mine.reset()
    theirs.reset(options={"scenes": [mine.simulations[0].scene]})
    for _ in range(50):
        action = straight_at_goal(observation)
        observation, rewards, dones, infos = mine.step(action)
        _, reward, terminated, truncated, info = theirs.step(action * theirs.embodiment.max_mps)
        assert (rewards[0], dones[0]) == (np.float32(reward[0]), terminated[0] or truncated[0])
        if dones[0]:
            break
        assert observation[0, GAP] == np.float32(info["goal_gap_m"][0])
    assert infos[0]["outcome"] == info["outcome"][0]
    assert infos[0]["terminal_observation"][GAP] == np.float32(info["goal_gap_m"][0])
    mine.close()
    theirs.close()


def test_driving_straight_at_the_goal_reaches_it_where_nothing_is_in_the_way():
    env = PrivilegedVecEnv("reach_goal", num_envs=4)
    env.seed(2)
    observation, outcomes = env.reset(), []
    while len(outcomes) < 8:
        observation, _, dones, infos = env.step(straight_at_goal(observation))
        outcomes += [infos[env_index]["outcome"] for env_index in np.flatnonzero(dones)]
    assert set(outcomes) == {"success"}
    env.close()


def test_the_truth_is_that_of_the_lane(env):
    env.seed(4)
    observation = env.reset()
    for env_index, simulation in enumerate(env.simulations):
        expected = privileged_vector(simulation.scene, simulation.pose, (0, 0, 0), env.embodiment.body.radius_m)
        np.testing.assert_array_equal(observation[env_index], expected)


def test_left_handed_worlds_are_driven_as_they_are_seen():
    plain, turned = PrivilegedVecEnv("obstacle_right", 2), LeftHandedVecEnv(PrivilegedVecEnv("obstacle_right", 2))
    for one in (plain, turned):
        one.seed(8)
    as_it_is, observation = plain.reset(), turned.reset()
    for _ in range(60):
        np.testing.assert_array_equal(observation, mirrored_privileged(as_it_is))
        action = straight_at_goal(observation)
        observation, _, dones, infos = turned.step(action)
        as_it_is, _, expected, endings = plain.step(action * [1, -1])
        assert dones.tolist() == expected.tolist()
        for info, ending in zip(infos, endings, strict=True):
            if info:
                seen = mirrored_privileged(ending["terminal_observation"])
                np.testing.assert_array_equal(info["terminal_observation"], seen)
    plain.close()
    turned.close()


def test_features_are_those_of_the_pictures_and_sentences_of_each_lane():
    def encode(observation):
        lengths = [len(text) for text in observation["instruction"]]
        return np.stack([observation["image"].mean(axis=(1, 2, 3)), lengths], axis=1)

    env, other = FeatureVecEnv(encode, 2, "obstacle_left", 2), NavigateVectorEnv(2, "obstacle_left")
    env.seed(6)
    observation = env.reset()
    for _ in range(40):
        seen, _ = other.reset(options={"scenes": [env_index.scene for env_index in env.simulations]})
        if env.simulations[0].steps == env.simulations[1].steps == 0:
            np.testing.assert_allclose(observation, encode(seen), rtol=1e-6)
        observation, _, dones, infos = env.step(np.tile([[1.0, 0.0]], (2, 1)))
        if dones.any():
            break
    env_index = int(np.flatnonzero(dones)[0])
    # The new world's first image is observed, the old one's last is told.
    seen, _ = other.reset(options={"scenes": [env_index.scene for env_index in env.simulations]})
    np.testing.assert_allclose(observation[env_index], encode(seen)[env_index], rtol=1e-6)
    assert not np.allclose(infos[env_index]["terminal_observation"], observation[env_index])
    env.close()
    other.close()


def test_stable_baselines_learns_with_its_normal_api():
    from stable_baselines3 import PPO

    env = PrivilegedVecEnv("reach_goal", num_envs=2)
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=16, n_epochs=1, device="cpu", seed=0)
    model.learn(16)
    assert model.predict(env.reset(), deterministic=True)[0].shape == (2, 2)
    env.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenarios": "obstacle_lef"}, "did you mean 'obstacle_left'"),
        ({"embodiment": "serbott"}, "did you mean 'serbot'"),
        ({"scenarios": []}, "at least one scenario"),
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"seeds": range(99_999, 100_001)}, "for evaluation"),
        ({"seeds": range(0)}, "seeds must lie in"),
    ],
)
def test_bad_arguments_are_said(arguments, message):
    with pytest.raises(UserError, match=message):
        PrivilegedVecEnv(**arguments)


def test_bad_actions_are_said(env):
    env.reset()
    with pytest.raises(UserError, match=r"shape \(3, 2\), got \(3, 3\)"):
        env.step(np.zeros((3, 3)))
    with pytest.raises(UserError, match="finite"):
        env.step(np.full((3, 2), np.nan))
