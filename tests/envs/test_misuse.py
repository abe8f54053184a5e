"""Envs that are used wrongly answer in one sentence, and nothing has moved when they do."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vla_sim  # noqa: F401
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError
from vla_sim.envs.checks import ClosedError, EnvError, NotStartedError
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.envs.simulation import ActionError
from vla_sim.envs.vector import NavigateVectorEnv


@pytest.mark.parametrize("make", [gymnasium.make, gymnasium.make_vec])
@pytest.mark.filterwarnings("ignore:.*is out of date:DeprecationWarning")
def test_the_first_version_says_that_it_is_gone_and_why(make):
    with pytest.raises(UserError, match=r"v0 is gone: success now means reached and stopped.*use VLASim/Navigate-v1"):
        make("VLASim/Navigate-v0", scenario="obstacle_left")


ZERO = np.zeros((3, 2), np.float32)


@pytest.fixture(scope="module")
def single():
    made = NavigateEnv("obstacle_left", render_mode="rgb_array")
    made.reset(seed=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def vector():
    made = NavigateVectorEnv(3, "obstacle_left", autoreset_mode="Disabled", images=False)
    made.reset(seed=1)
    yield made
    made.close()


@pytest.fixture
def fresh():
    made = [NavigateEnv("reach_goal"), NavigateVectorEnv(2, "reach_goal", images=False)]
    yield made
    for env in made:
        env.close()


def situation(env):
    """All that a step or a reset would change, and what the next drawn scenes are."""
    return [
        (s.scene, s.outcome, s.pose, s.steps, rng.bit_generator.state)
        for s, rng in zip(env.simulations, env._rngs, strict=True)
    ]


WRONG_RESETS = [
    ({"options": {"scen": 1}}, "options holds 'scen', which is no option of reset.*did you mean 'scenes'"),
    ({"options": {"reset_masks": np.ones(3, bool)}}, "did you mean 'reset_mask'"),
    ({"options": [1]}, "options must be a dict"),
    ({"options": {"reset_mask": [True, False, True]}}, r"must be a bool array of shape \(3,\), got \[True"),
    ({"options": {"reset_mask": np.ones(3)}}, r"must be a bool array of shape \(3,\), got float64 \(3,\)"),
    ({"options": {"reset_mask": np.ones(2, bool)}}, r"got bool \(2,\)"),
    ({"options": {"reset_mask": np.zeros(3, bool)}}, "at least one env"),
    ({"options": {"scenes": [None]}}, "one scene or None for each of 3 envs, got 1"),
    ({"options": {"scenes": ["a", None, None]}}, r"options\['scenes'\]\[0\] must be a .*Scene, got str"),
    ({"seed": [1, 2]}, "3 envs need 3 seeds, got 2"),
    ({"seed": [1, 2, -3]}, r"seed\[2\] must not be negative, got -3"),
    ({"seed": -1}, "seed must not be negative, got -1"),
    ({"seed": 2**63}, r"seed must be less than 2\^63"),
    ({"seed": 2**63 - 2}, r"the seed of the last env must be less than 2\^63"),
    ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
    ({"seed": "one"}, "seed must be a whole number"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG_RESETS)
def test_a_wrong_reset_is_refused_and_no_env_starts(vector, arguments, said):
    """A misspelt option once restarted all envs."""
    before = situation(vector)
    with pytest.raises(UserError, match=said) as caught:
        vector.reset(**arguments)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert situation(vector) == before


def test_a_scene_for_an_env_that_the_mask_leaves_out_is_refused(vector):
    before = situation(vector)
    scenes = [vector.simulations[0].scene, None, None]
    with pytest.raises(EnvError, match=r"a scene for env 0, which options.'reset_mask'. leaves out"):
        vector.reset(options={"scenes": scenes, "reset_mask": np.array([False, True, False])})
    assert situation(vector) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"options": {"sceen": 1}}, "did you mean 'scene'"),
        ({"options": {"scene": "obstacle_left"}}, "must be a vla_sim.core.types.Scene, got str"),
        ({"seed": -1}, "must not be negative"),
        ({"seed": 2**63}, r"less than 2\^63"),
        ({"seed": True}, "whole number"),
    ],
)
def test_a_wrong_reset_of_the_single_env_leaves_its_episode(single, arguments, said):
    before = (single.simulation.scene, single.simulation.pose, single.np_random.bit_generator.state)
    with pytest.raises(UserError, match=said):
        single.reset(**arguments)
    assert (single.simulation.scene, single.simulation.pose, single.np_random.bit_generator.state) == before


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ([[0.5, 0.0], [0.5, 0.0], [np.nan, 0.0]], r"must be finite, got \[nan, 0.0\] for env 2"),
        (np.zeros((2, 2)), r"have shape \(3, 2\) \['vx', 'vy'\], got \(2, 2\)"),
        (np.zeros((4, 2)), r"got \(4, 2\)"),
        (np.zeros((3, 3)), r"got \(3, 3\)"),
        (np.zeros(2), r"got \(2,\)"),
        ("left", "must be 3 times 2 numbers"),
        ([[0.5, 0.0], [0.5], [0.5, 0.0]], "must be 3 times 2 numbers"),
        (None, "shape|numbers"),
    ],
)
def test_a_refused_vector_step_moves_no_env(vector, actions, said):
    """Once the envs before the wrong row had moved."""
    before = situation(vector)
    with pytest.raises(ActionError, match=said):
        vector.step(actions)
    assert situation(vector) == before


def test_steps_and_images_need_a_reset_first(fresh):
    for env, action in zip(fresh, (ZERO[0], ZERO[:2]), strict=True):
        with pytest.raises(NotStartedError, match="reset") as caught:
            env.step(action)
        assert isinstance(caught.value, gymnasium.error.ResetNeeded)


def test_an_image_needs_a_reset_first():
    env = NavigateEnv("reach_goal", render_mode="rgb_array")
    with pytest.raises(NotStartedError, match="first render"):
        env.render()
    env.close()


def test_nothing_works_after_close_but_closing_again(fresh):
    for env, action in zip(fresh, (ZERO[0], ZERO[:2]), strict=True):
        env.reset(seed=1)
        env.close()
        env.close()
        for use in (env.reset, lambda env=env, action=action: env.step(action), env.render):
            with pytest.raises(ClosedError, match="after close"):
                use()


def test_a_finished_episode_takes_no_further_step(single):
    single.reset(seed=4)
    while single.simulation.outcome is None:
        single.step(np.float32([-0.5, 0.0]))
    pose = single.simulation.pose
    with pytest.raises(NotStartedError, match="the episode is over: reset"):
        single.step(np.float32([0.5, 0.0]))
    assert single.simulation.pose == pose
    single.reset(seed=1)


def test_finished_envs_must_be_reset_where_autoreset_is_off(vector):
    vector.reset(seed=1)
    back = np.tile(np.float32([-0.5, 0.0]), (3, 1))
    back[1] = 0
    while vector.simulations[0].outcome is None:
        vector.step(back)
    before = situation(vector)
    with pytest.raises(NotStartedError, match=r"the episode of env.* 0.* is over"):
        vector.step(back)
    assert situation(vector) == before
    _, rewards, *_ = vector.step_running(back)
    assert rewards[0] == 0.0
    vector.reset(seed=1)
    vector.step(back)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"num_envs": 10**9}, "at most 1024"),
        ({"num_envs": 1.5}, "whole number, got 1.5"),
        ({"num_envs": True}, "whole number, got True"),
        ({"autoreset_mode": "SameStep"}, "autoreset_mode 'SameStep' is not offered"),
        ({"autoreset_mode": "Disable"}, "did you mean 'Disabled'"),
        ({"scenario": 3}, "scenario must be a name, a path or loaded already, got 3"),
        ({"embodiment": None}, "embodiment must be a name, a path or loaded already, got None"),
        ({"language": "kr"}, "unknown language 'kr'; did you mean 'ko'"),
        ({"instruction_set": ["eval"]}, "unknown instruction set"),
        ({"render_mode": "ansi"}, "unknown render_mode 'ansi'"),
        ({"renderer": "softwar"}, "did you mean 'software'"),
    ],
)
def test_what_no_env_can_be_made_of_is_said(arguments, said):
    with pytest.raises(UserError, match=said):
        NavigateVectorEnv(**arguments)
    if not {"num_envs", "autoreset_mode"} & set(arguments):
        with pytest.raises(UserError, match=said):
            NavigateEnv(**arguments)


def test_paths_may_be_path_objects():
    paths = Path(content_folder("scenarios") / "core" / "reach_goal.toml"), content_folder("envs") / "lekiwi.toml"
    for env in (NavigateEnv(*paths), NavigateVectorEnv(1, *paths, images=False)):
        env.reset(seed=0)
        assert env.embodiment.name == "lekiwi"
        env.close()


def test_writing_into_what_was_returned_changes_nothing(single):
    """Once it blackened the next render()."""
    seen, info = single.reset(seed=2)
    image, gap = seen["image"].copy(), info["goal_gap_m"]
    seen["image"][:] = 0
    seen["state"][:] = 9
    info["pose"][:] = 9
    assert np.array_equal(single.render(), image)
    single.render()[:] = 0
    assert np.array_equal(single.render(), image)
    _, reward, *_ = single.step(np.zeros(2, np.float32))
    assert reward == pytest.approx(-0.02)
    assert single.simulation.goal_gap_m == pytest.approx(gap)


def test_writing_into_the_images_of_a_vector_env_changes_nothing():
    env, untouched = (NavigateVectorEnv(2, "reach_goal", render_mode="rgb_array") for _ in range(2))
    seen, _ = env.reset(seed=2)
    image = seen["image"].copy()
    seen["image"][:] = 0
    assert np.array_equal(np.stack(env.render()), image)
    env.render()[0][:] = 0
    untouched.reset(seed=2)
    again, expected = (one.step(np.zeros((2, 2), np.float32))[0] for one in (env, untouched))
    assert np.array_equal(again["image"], expected["image"])
    env.close()
    untouched.close()


def test_options_of_the_learners_env_are_refused():
    pytest.importorskip("stable_baselines3")
    from vla_sim.envs.sb3 import PrivilegedVecEnv

    env = PrivilegedVecEnv("reach_goal", num_envs=2)
    env.set_options({"scene": 1})
    with pytest.raises(UserError, match=r"options holds 'scene', which is no option of reset.*there are none"):
        env.reset()
    env.close()


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.lists(st.integers(-2, 2**64), max_size=4), st.just(np.ones(3, bool)), st.just(np.zeros((3, 2)))
)  # fmt: skip
numbers = st.sampled_from([0.0, 0.5, -9.0, float("nan"), float("inf"), 1e400, -1e308])
rows = st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=2, max_size=4)
resets = st.fixed_dictionaries(
    {},
    optional={
        "seed": anything,
        "options": st.dictionaries(st.sampled_from(["reset_mask", "scenes", "scene", "x"]), anything, max_size=2)
        | anything,
    },
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.just("step"), rows | anything) | st.tuples(st.just("reset"), resets), max_size=6))
def test_any_misuse_is_one_sentence_and_moves_nothing(vector, uses):
    vector.reset(seed=0)
    for what, given_ in uses:
        before, error = situation(vector), None
        try:
            vector.step(given_) if what == "step" else vector.reset(**given_)
        except UserError as raised:
            error = str(raised)
        if error is not None:
            assert error.isprintable()
            assert len(error) < 500
            assert situation(vector) == before
