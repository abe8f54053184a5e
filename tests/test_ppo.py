"""`vla_sim.ppo`: what is learned drives in `vla_sim.eval`, goes on after a stop, and begins where it should."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
from vla_sim import ppo
from vla_sim.core.errors import UserError
from vla_sim.core.privileged import left_handed
from vla_sim.policies.registry import load_policy
from vla_sim.training.ppo import CURVE, Reinforcement, make_env
from vla_sim.training.ppo_heads import HeadStart
from vla_sim.training.ppo_plan import PpoPlan

SMALL = {"num_envs": 2, "rollout": 8, "batch": 16, "epochs": 2}


def plan_of(kind="state", scenarios=("reach_goal",), **changes):
    return PpoPlan.usual(kind, scenarios, **{**SMALL, **changes})


def trained(plan, out, steps=64):
    with Reinforcement(plan, out) as run:
        run.train(steps, math.inf)
        run.export()
        raw = run.env.unwrapped
        raw.seed(1)
        observation = seen = raw.reset()
        signs = np.ones(2)
        if plan.kind == "state":
            seen, signs = left_handed(observation, ("vx", "vy")) if plan.mirror else (observation, signs)
            seen = run.env.normalize_obs(seen)
        actions = run.model.predict(seen, deterministic=True)[0] * signs
        return observation, actions * raw.embodiment.max_mps, run.model.num_timesteps


@pytest.mark.parametrize("mirror", [True, False])
def test_the_exported_state_policy_acts_like_the_learned_model(tmp_path, mirror):
    observation, actions, _ = trained(plan_of(scenarios=("obstacle_left", "obstacle_right"), mirror=mirror), tmp_path)
    np.testing.assert_allclose(load_policy(str(tmp_path / "policy")).decide(observation), actions, atol=1e-5)
    assert np.ptp(actions) > 0


def features_of(observation):
    """What the small backbone has finished."""
    import torch

    from vla_sim.policies.models.backbones import Features

    nothing = torch.zeros(len(observation), 0, 1)
    return [Features(torch.zeros(len(observation), 36, 128), torch.from_numpy(observation), *[nothing] * 3)]


def test_the_exported_head_acts_like_the_learned_model(tmp_path):
    plan = plan_of("features", critic_first=0, learning_rate=0.01)
    observation, actions, _ = trained(plan, tmp_path, steps=32)
    policy, shipped = load_policy(str(tmp_path / "policy")), load_policy("clip_mlp")
    for one in (policy, shipped):
        one.reset(np.ones(2, bool), np.arange(2))
    np.testing.assert_allclose(policy.decide(features_of(observation), {}), actions, atol=1e-5)
    assert np.abs(shipped.decide(features_of(observation), {}) - actions).max() > 1e-4


def test_learning_begins_with_the_shipped_head(tmp_path):
    with Reinforcement(plan_of("features"), tmp_path) as run:
        raw = run.env.unwrapped
        observation = run.env.reset()
        actions = run.model.predict(observation, deterministic=True)[0] * 0.5
        said = [simulation.scene.instruction.text for simulation in raw.simulations]
        shipped = load_policy("clip_mlp")
        shipped.reset(np.ones(2, bool), np.arange(2))
        expected = shipped.act({"image": raw.env._sensing.images(), "instruction": said})
    np.testing.assert_allclose(actions, expected, atol=1e-5)


def test_only_the_critic_learns_at_first(tmp_path):
    from vla_sim.training.ppo import actor_layers

    with Reinforcement(plan_of(critic_first=32), tmp_path) as run:

        def weights():
            hidden, out = actor_layers(run.model)
            return [p.detach().clone() for p in (*hidden[0].parameters(), *out.parameters(), run.model.policy.log_std)]

        before, critic = weights(), run.model.policy.value_net.weight.detach().clone()
        run.train(32, math.inf)
        assert all(bool((one == two).all()) for one, two in zip(before, weights(), strict=True))
        assert not bool((critic == run.model.policy.value_net.weight).all())
        run.train(64, math.inf)
        assert not all(bool((one == two).all()) for one, two in zip(before, weights(), strict=True))


def test_same_seed_learns_the_same(tmp_path):
    first = trained(plan_of(seed=3), tmp_path / "a")[1]
    np.testing.assert_array_equal(first, trained(plan_of(seed=3), tmp_path / "b")[1])
    assert not np.array_equal(first, trained(plan_of(seed=4), tmp_path / "c")[1])


def test_a_run_goes_on_where_it_stopped(tmp_path):
    _, before, steps = trained(plan_of(), tmp_path, steps=32)
    _, same, still = trained(plan_of(), tmp_path, steps=32)
    assert (steps, still) == (32, 32)
    np.testing.assert_array_equal(before, same)
    _, after, more = trained(plan_of(), tmp_path, steps=64)
    assert more == 64
    assert not np.array_equal(before, after)
    assert [point["steps"] for point in json.loads((tmp_path / CURVE).read_text())] == [16, 32, 48, 64]
    assert len(list(tmp_path.glob("checkpoint_*"))) == 1


def test_the_clock_ends_a_run(tmp_path):
    with Reinforcement(plan_of(), tmp_path) as run:
        run.train(10**9, 1e-6)
        assert run.model.num_timesteps <= 3 * 16
        done = run.model.num_timesteps
        run.train(10**9, 1e-6)
        assert run.model.num_timesteps == done


def test_a_folder_keeps_to_its_plan(tmp_path):
    trained(plan_of(), tmp_path, steps=16)
    with pytest.raises(UserError, match=r"belongs to another plan: learning_rate was 0.0003, now 0.01"):
        Reinforcement(plan_of(learning_rate=0.01), tmp_path)


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="holds other files"):
        Reinforcement(plan_of(), tmp_path)


def test_a_damaged_checkpoint_is_said(tmp_path):
    trained(plan_of(), tmp_path, steps=16)
    (next(tmp_path.glob("checkpoint_*")) / "model.safetensors").write_bytes(b"PK")
    with pytest.raises(UserError, match="cannot be read"):
        Reinforcement(plan_of(), tmp_path)


class Bomb:
    def __reduce__(self):
        import os

        return os.mkdir, ("exploded",)


def test_going_on_in_a_stranger_s_folder_runs_nothing_of_it(tmp_path, monkeypatch):
    """Stable-Baselines3's own checkpoints are pickles: `ppo --out FOLDER` ran what a stranger had put there."""
    import pickle
    import zipfile

    monkeypatch.chdir(tmp_path)
    trained(plan_of(), tmp_path / "run", steps=16)
    (checkpoint,) = (tmp_path / "run").glob("checkpoint_*")
    (checkpoint / "model.safetensors").unlink()
    with zipfile.ZipFile(checkpoint / "model.zip", "w") as file:
        file.writestr("data", "{}")
        for name in ("policy.pth", "pytorch_variables.pth"):
            file.writestr(name, pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="cannot be read: an earlier version wrote it as a pickle"):
        Reinforcement(plan_of(), tmp_path / "run")
    (checkpoint / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match="cannot be read"):
        Reinforcement(plan_of(), tmp_path / "run")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("progress.json", {"steps": "many"}),
        ("progress.json", {"curve": 3}),
        ("statistics.json", {"ret_rms": {"mean": "x"}}),
        ("statistics.json", {"ret_rms": []}),
    ],
)
def test_a_checkpoint_that_lies_is_said(file, change, tmp_path):
    trained(plan_of(), tmp_path, steps=16)
    (checkpoint,) = tmp_path.glob("checkpoint_*")
    told = json.loads((checkpoint / file).read_text())
    (checkpoint / file).write_text(json.dumps({**told, **change}))
    with pytest.raises(UserError, match="cannot be read"):
        Reinforcement(plan_of(), tmp_path)


@pytest.mark.slow
def test_the_command_makes_a_policy_that_eval_drives_without_the_learning_library(tmp_path, capsys):
    import subprocess
    import sys

    code = ppo.main(
        f"--kind state --scenario reach_goal --control-steps 16 --num-envs 2 --rollout 8 --out {tmp_path / 'run'} "
        f"--publish {tmp_path / 'published'}".split()
    )
    assert code == 0
    assert "the policy is" in capsys.readouterr().out
    probe = (
        "import sys; sys.modules['stable_baselines3'] = None\nfrom vla_sim import eval as e\n"
        f"code = e.main({['--policy', str(tmp_path / 'published' / 'ppo_state'), '--scenario', 'reach_goal']!r} + "
        f"{['--episodes', '2', '--out', str(tmp_path / 'eval')]!r})\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(privileged)" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--kind stat --scenario reach_goal", "--kind: unknown choice 'stat'; did you mean 'state'"),
        ("--kind state --scenario reach_gaol", "did you mean 'reach_goal'"),
        ("--kind state --suite cor", "did you mean 'core'"),
        ("--kind state", "--suite or --scenario"),
        ("--kind state --scenario reach_goal --control-steps 0", "--control-steps must be at least 1, got 0"),
        ("--kind state --scenario reach_goal --minutes -1", "--minutes must be positive, got -1"),
        ("--kind state --scenario reach_goal --minutes nan", "--minutes must be a finite number, got nan"),
        ("--kind state --scenario reach_goal --init clip_mlp", "is for --kind features"),
        ("--kind state --scenario reach_goal --steps 5", "--steps is now --control-steps"),
        ("--kind state --scenario reach_goal --policy clip_mlp", "--policy is now --init"),
        ("--kind state --scenario reach_goal --num-envs 0", "num-envs must be at least 1, got 0"),
        ("--kind state --scenario reach_goal --learning-rate nan", "--learning-rate must be a finite number, got nan"),
        ("--kind state --scenario reach_goal --discount 2", "--discount must lie between 0 and 1 and not be 0, got 2"),
        ("--kind state --scenario reach_goal --embodiment serbott", "did you mean 'serbot'"),
        ("--kind features --scenario reach_goal --init clip_mpl", "did you mean 'clip_mlp'"),
        ("--kind features --scenario reach_goal --init ensemble", "name one of its members: clip_lstm, clip_mlp"),
        ("--kind features --scenario reach_goal --init expert", "of type 'expert': PPO fine-tunes"),
        ("--kind features --scenario reach_goal --embodiment lekiwi", "lekiwi takes ['vx', 'vy', 'wz']"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, arguments, message):
    assert ppo.main([*arguments.split(), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_the_encoder_of_a_policy_of_ones_own_comes_along(tmp_path):
    import shutil

    from vla_sim.policies.registry import find_folder

    root = tmp_path / "mine"
    for name in ("clip_small", "clip_mlp"):
        shutil.copytree(find_folder(name), root / name)
    config = json.loads((root / "clip_small" / "config.json").read_text())
    (root / "clip_small" / "config.json").write_text(json.dumps({**config, "description": "mine"}))
    head = json.loads((root / "clip_mlp" / "config.json").read_text())
    from vla_sim.policies.folders import PolicyFolder

    head["backbone_sha256"]["conv_clip"] = PolicyFolder.read(root / "clip_small").own_hash()
    (root / "clip_mlp" / "config.json").write_text(json.dumps(head))
    with Reinforcement(plan_of("features", policy=str(root / "clip_mlp")), tmp_path / "run") as run:
        load_policy(str(run.export()))
    assert (tmp_path / "run" / "clip_small" / "config.json").is_file()


def test_the_worlds_have_the_envs_of_the_plan():
    env = make_env(plan_of("features", num_envs=3), HeadStart("clip_mlp"))
    assert (env.num_envs, env.observation_space.shape) == (3, (256,))
    env.close()


@pytest.mark.slow
def test_learning_raises_the_return_where_nothing_is_in_the_way(tmp_path):
    with Reinforcement(PpoPlan.usual("state", ("reach_goal",)), tmp_path) as run:
        run.train(16_000, math.inf)
        assert run.curve[0]["return"] < 2
        assert run.curve[-1]["return"] > 5
        assert run.curve[-1]["success"] > 0.8
