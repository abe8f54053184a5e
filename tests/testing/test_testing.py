"""`vla_sim.testing`: the doubles do what they stand for, and the check of policies finds each broken promise."""

import doctest

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import vla_sim.testing
from vla_sim import Policy, PolicySpec, UserError
from vla_sim.core.content import embodiment_names
from vla_sim.policies.registry import policy_names
from vla_sim.testing import EchoPolicy, StubEnv, check_policy, make_episode, make_result


def test_the_examples_are_true():
    assert doctest.testmod(vla_sim.testing).failed == 0
    assert doctest.testmod(vla_sim.testing).attempted > 5


@pytest.mark.parametrize("embodiment", embodiment_names())
def test_the_stub_has_the_spaces_of_the_real_env(embodiment):
    stub = StubEnv(embodiment=embodiment)
    real = gymnasium.make("VLASim/Navigate-v1", scenario="reach_goal", embodiment=embodiment)
    assert stub.action_space == real.action_space
    assert stub.observation_space.keys() == real.observation_space.keys()
    assert stub.observation_space["image"] == real.observation_space["image"]
    real.close()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_stub_is_an_env_as_gymnasium_wants_it():
    check_env(StubEnv(), skip_render_check=True)


def test_the_stub_ends_after_its_steps_and_keeps_the_actions():
    env = StubEnv(steps=2)
    env.reset(seed=0)
    action = np.float32([0.5, 0.25])
    assert env.step(action)[2] is False
    observation, reward, ended, _, info = env.step(action)
    assert (ended, reward, info["outcome"]) == (True, 1.0, "success")
    np.testing.assert_allclose(observation["state"][:2], 2 * 0.4 * action, atol=1e-6)
    np.testing.assert_array_equal(env.actions, [action, action])
    with pytest.raises(ValueError, match="is not in Box"):
        env.step(np.float32([9, 9]))


def test_the_echo_keeps_what_it_is_shown():
    policy = EchoPolicy((0.1, 0.2))
    policy.reset(np.array([True, True]), np.array([3, 4]))
    np.testing.assert_array_equal(policy.act({"instruction": ["go", "stop"]}), np.float32([[0.1, 0.2]] * 2))
    assert policy.observations == [{"instruction": ["go", "stop"]}]
    assert policy.seeds[0][1].tolist() == [3, 4]


def test_made_up_data_are_valid_and_change_as_asked():
    episode = make_episode(steps=3, action_names=("vx", "vy", "wz"), instruction="Go")
    assert (episode.actions.shape, episode.images.shape, episode.instruction) == ((3, 3), (4, 24, 32, 3), "Go")
    assert make_result(outcome="error").error
    assert make_result(seed=5).key == ("ensemble", "obstacle_left", 5)


# --- the check of policies -------------------------------------------------------------------------------------------


class Good(Policy):
    """Remembers how long each env's episode is, and looks at the image."""

    spec = PolicySpec()

    def reset(self, num_envs, seeds):
        if not hasattr(self, "age"):
            self.age = np.zeros(len(num_envs))
        self.age[num_envs] = 0

    def act(self, observation, infos=None):
        self.age += 1
        light = observation["image"].mean(axis=(1, 2, 3)) / 255
        return np.stack([light, 0.1 * self.age], axis=1).astype(np.float32)


class Shapeless(Good):
    def act(self, observation, infos=None):
        return super().act(observation)[0]


class Whole(Good):
    def act(self, observation, infos=None):
        return np.zeros((len(self.age), 2), int)


class Infinite(Good):
    def act(self, observation, infos=None):
        return np.full_like(super().act(observation), np.inf)


class Dicing(Good):
    def act(self, observation, infos=None):
        return np.random.default_rng().normal(size=(len(self.age), 2)).astype(np.float32)


class Forgetful(Good):
    def reset(self, num_envs, seeds):
        self.age = getattr(self, "age", np.zeros(len(num_envs)))


class Sociable(Good):
    def act(self, observation, infos=None):
        return np.full_like(super().act(observation), observation["image"].mean() / 255)


class Hasty(Good):
    def reset(self, num_envs, seeds):
        self.age = np.zeros(len(num_envs))


class Clinging(Good):
    """Starts anew only together with all others."""

    def reset(self, num_envs, seeds):
        if num_envs.all():
            self.age = np.zeros(len(num_envs))


class Scribbling(Good):
    def act(self, observation, infos=None):
        observation["image"][:] = 0
        return super().act(observation)


class Turning(Good):
    spec = PolicySpec(("vx", "vy", "wz"))


class NoPolicy:
    pass


@pytest.mark.parametrize(
    ("cls", "complaint"),
    [
        (Shapeless, r"shape \(3, 2\), got \(2,\)"),
        (Whole, "floating-point numbers, got int"),
        (Infinite, "not finite"),
        (Dicing, "the same episode again"),
        (Forgetful, "the same episode again"),
        (Sociable, "what one env shows changes the actions of another"),
        (Hasty, "a reset of one env changes the actions of another"),
        (Clinging, "remembers its last episode"),
        (Scribbling, "changes the observation"),
        (Turning, "gives actions"),
        (NoPolicy, "lacks reset, act, spec"),
    ],
)
def test_each_broken_promise_is_one_sentence(cls, complaint):
    with pytest.raises(UserError, match=complaint) as raised:
        check_policy(cls)
    assert "\n" not in str(raised.value)


def test_a_policy_that_keeps_its_promises_passes():
    check_policy(Good)
    check_policy(Good())
    check_policy(EchoPolicy())


@pytest.mark.parametrize("name", ["clip_lstm", "ensemble", "expert", "hold", "random", "straight"])
def test_shipped_policies_keep_their_promises(name):
    check_policy(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", policy_names())
def test_all_shipped_policies_keep_their_promises(name):
    check_policy(name)
