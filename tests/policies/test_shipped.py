"""Properties of every policy folder that is shipped, whatever it holds."""

import functools
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest

from vla_sim.core.content import content_folder
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.registry import load_policy, policy_names
from vla_sim.policies.types import policy_types

STEPS = 5
# Members of one ensemble are tested with it: an ensemble of three rows needs all of them.
NEED_VLA = importlib.util.find_spec("transformers") is None
TEXTS = ("Go to the box, pass it on the left side.", "Go to the box, pass it on the right side.")


def kind(name):
    return PolicyFolder.read(content_folder("policies") / name).kind


def needs_vla(name):
    folder = PolicyFolder.read(content_folder("policies") / name)
    return folder.kind == "vla" or any(needs_vla(other) for other in folder.needs())


def learns(name):
    return policy_types()[kind(name)].learned


NAMES = [name for name in policy_names() if not (NEED_VLA and needs_vla(name))]
LEARNED = [name for name in NAMES if learns(name)]
SEEING = [name for name in NAMES if kind(name) not in ("expert",)]


@functools.cache
def shots():
    """Images (STEPS, 8, 224, 224, 3): eight worlds with a box ahead, five steps of driving straight ahead."""
    from vla_sim.envs.vector import NavigateVectorEnv

    env = NavigateVectorEnv(8, scenario="two_obstacles_left", embodiment="serbot")
    seen = [env.reset(seed=50_000)[0]["image"].copy()]
    for _ in range(STEPS - 1):
        seen.append(env.step(np.tile(np.float32([[0.2, 0.0]]), (8, 1)))[0]["image"].copy())
    env.close()
    return np.stack(seen)


def driven(policy, num_envs=slice(None), texts=TEXTS, seeds=None):
    """Actions (STEPS, N, A) over the shots of some envs; envs alternate between the texts."""
    pictures = shots()[:, num_envs]
    count = pictures.shape[1]
    numbers = np.arange(8)[num_envs]
    policy.reset(np.ones(count, dtype=bool), numbers if seeds is None else seeds)
    said = [texts[number % len(texts)] for number in numbers]
    rest = {"state": np.zeros((count, 4), dtype=np.float32), "instruction": said, **measured(policy, count)}
    return np.stack([policy.act({"image": p, **rest}) for p in pictures])


def measured(policy, count):
    """What the policy's LiDARs tell in the middle of an empty room."""
    return {name: np.full((count, *shape), 2, np.float32) for name, shape in policy.spec.sensors.items()}


@functools.cache
def loaded(name):
    return load_policy(name)


@pytest.mark.parametrize("name", SEEING)
def test_actions_fit_the_spec(name):
    policy = loaded(name)
    actions = driven(policy)
    assert actions.dtype == np.float32
    # Without names of its own it follows the robot, and gives vx, vy until it knows one.
    assert actions.shape == (STEPS, 8, len(policy.spec.action_names) or 2)
    assert np.isfinite(actions).all()
    assert set(policy.spec.action_names) <= {"vx", "vy", "wz"}
    assert not policy.spec.image_px or tuple(policy.spec.image_px) == (224, 224)
    assert policy.spec.description


@pytest.mark.parametrize("name", SEEING)
def test_the_same_again_after_reset(name):
    policy = loaded(name)
    np.testing.assert_array_equal(driven(policy), driven(policy))


@pytest.mark.parametrize("name", SEEING)
def test_another_load_gives_the_same(name):
    np.testing.assert_array_equal(driven(load_policy(name)), driven(loaded(name)))


@pytest.mark.parametrize("name", SEEING)
def test_one_env_is_as_in_a_batch_of_eight(name):
    policy = loaded(name)
    together = driven(policy)
    for env_index in (0, 5):
        alone = driven(policy, slice(env_index, env_index + 1))
        np.testing.assert_allclose(alone[:, 0], together[:, env_index], atol=2e-5)


@pytest.mark.parametrize("name", SEEING)
def test_reset_of_some_envs_leaves_the_others(name):
    policy = loaded(name)
    whole = driven(policy)
    pictures = shots()
    said = [TEXTS[env_index % 2] for env_index in range(8)]
    rest = {"state": np.zeros((8, 4), dtype=np.float32), "instruction": said, **measured(policy, 8)}
    policy.reset(np.ones(8, dtype=bool), np.arange(8))
    for step in range(2):
        policy.act({"image": pictures[step], **rest})
    again = np.arange(8) < 4
    policy.reset(again, np.arange(8))
    # The first four begin anew with the first image, the others go on with their third.
    mixed = np.where(again[:, None, None, None], pictures[0], pictures[2])
    actions = policy.act({"image": mixed, **rest})
    np.testing.assert_allclose(actions[:4], whole[0, :4], atol=2e-5)
    np.testing.assert_allclose(actions[4:], whole[2, 4:], atol=2e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_swapped_instructions_change_the_side(name):
    policy = loaded(name)
    left, right = (driven(policy, texts=(text,)) for text in TEXTS)
    vy = policy.spec.action_names.index("vy")
    assert (left[..., vy] - right[..., vy]).mean() > 0.02, "m/s more to the left when told to pass on the left"


def test_all_load_where_there_is_no_network():
    code = (
        "import socket\n"
        "def refuse(*_, **__): raise OSError('no network here')\n"
        "socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse\n"
        "from vla_sim.policies.registry import load_policy\n"
        f"print([load_policy(name).spec.description != '' for name in {NAMES!r}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.lower()) == [True] * len(NAMES)


def test_loading_does_not_load_the_compiler_of_torch():
    """800 modules, about 1 s of each start: first weights of networks without numbers were drawn through it."""
    code = (
        "import sys\n"
        "from vla_sim.policies.registry import load_policy\n"
        "load_policy('ensemble')\n"
        "print('torch' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_all_shipped_policies_together_stay_below_sixty_megabytes():
    size = sum(path.stat().st_size for path in content_folder("policies").rglob("*") if path.is_file())
    assert size < 60e6


@pytest.mark.parametrize("name", LEARNED)
def test_learned_policies_have_a_card_with_data_command_figures_and_limits(name):
    card = (content_folder("policies") / name / "README.md").read_text("utf-8").lower()
    for part in ("python -m recipes.", "seed", "success", "limits"):
        assert part in card, part
    json.loads((content_folder("policies") / name / "config.json").read_text("utf-8"))
