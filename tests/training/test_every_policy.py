"""Every learned policy that is shipped can be cloned on, DAgger'd and fine-tuned by PPO, by the same trainer."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from loop_fakes import successes

from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.registry import load_policy, policy_names
from vla_sim.policies.types import policy_types
from vla_sim.training.behaviour_cloning import Trainer
from vla_sim.training.closed_loop import ValidationSuite
from vla_sim.training.config import TrainConfig
from vla_sim.training.dagger import Rounds, RoundsPlan
from vla_sim.training.warm_start import begin_with

if importlib.util.find_spec("transformers") is None:
    pytest.skip("most learned policies need the extra `vla`", allow_module_level=True)


def kind(name):
    return PolicyFolder.read(content_folder("policies") / name).kind


LEARNED = [name for name in policy_names() if policy_types()[kind(name)].learned]
# One of each kind of head and backbone; the others are for the slow part.
FAST = ("clip_lstm", "ensemble", "mobile_vla", "kosmos2_clip_gpt2", "kosmos2_clip_headings")
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in LEARNED]
CONFIG = TrainConfig(batch_episodes=2, learning_rate=1e-3, warmup_steps=1)


def toy(side_px, actions=2, episodes=4, steps=3):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (episodes, steps, side_px, side_px, 3), dtype=np.uint8)
    texts = [["Pass the box on the left."], ["Pass the box on the right."]] * (episodes // 2)
    twists = rng.uniform(-0.5, 0.5, (episodes, steps, actions)).astype(np.float32)
    return Demonstrations(images, texts, twists, np.ones((episodes, steps), dtype=bool), ["demo"] * episodes)


def observation(num_envs=2):
    image = np.random.default_rng(5).integers(0, 256, (num_envs, 224, 224, 3), dtype=np.uint8)
    return {"image": image, "instruction": ["Pass the box on the left.", "Pass the box on the right."][:num_envs]}


def acted(policy, num_envs=2):
    policy.reset(np.ones(num_envs, dtype=bool), np.arange(num_envs))
    return np.stack([policy.act(observation(num_envs)) for _ in range(3)])


def trainer(begun, folder):
    config = TrainConfig(**{**vars(CONFIG), "action_names": begun.action_names, "action_scale": begun.action_scale})
    made = Trainer(begun, config, folder)
    made.add(toy(begun.image_px, len(begun.action_names)))
    return made


@pytest.mark.parametrize("name", EVERY)
def test_it_can_be_cloned_on(name, tmp_path):
    made = trainer(begin_with(name), tmp_path)
    made.export(tmp_path / "before")
    np.testing.assert_allclose(acted(load_policy(str(tmp_path / "before" / name))), acted(load_policy(name)), atol=1e-6)
    made.run("clone", steps=2)
    made.export(tmp_path / "after")
    outputs = [head_outputs(tmp_path / when / name) for when in ("before", "after")]
    assert all(not torch.equal(*pair) for pair in zip(*outputs, strict=True)), "a member has learned nothing"
    assert all(math.isfinite(loss) for loss in made.validate(toy(begin_with(name).image_px)).values())


def head_outputs(folder):
    """Last layers of a policy, or of an ensemble's members."""
    policy = load_policy(str(folder))
    return [member.model.head.out.weight for member in getattr(policy, "members", (policy,))]


@pytest.fixture
def pretend(monkeypatch):
    """Exams without driving: the newest round wins."""

    def drive(self, policy, out, *, workers=1):
        load_policy(str(policy))
        return successes(20 if "round_01" in str(out) else 5, self)

    monkeypatch.setattr(ValidationSuite, "drive", drive)


@pytest.mark.parametrize("name", EVERY)
def test_it_can_be_improved_by_dagger(name, tmp_path, pretend):
    plan = RoundsPlan(
        policy=name, rounds=1, scenarios=("reach_goal",), episodes=1, steps=1, check_every=1, choosing=1, comparing=20
    )
    rounds = Rounds(plan, tmp_path, [toy(begin_with(name).image_px)], {"demo": 1.0}, CONFIG)
    (entry,) = rounds.run()
    assert entry["accepted"]
    assert acted(load_policy(str(rounds.policy_of("round_01") / name))).shape == (3, 2, 2)


@pytest.mark.parametrize("name", EVERY)
def test_its_head_can_be_fine_tuned_by_ppo(name, tmp_path):
    pytest.importorskip("stable_baselines3")
    from vla_sim.training.ppo import Reinforcement
    from vla_sim.training.ppo_plan import PpoPlan

    small = {"num_envs": 2, "rollout": 4, "batch": 8, "epochs": 1, "critic_first": 0, "learning_rate": 0.01}
    plan = PpoPlan.usual("features", ("reach_goal",), policy=name, **small)
    if kind(name) == "ensemble":
        with pytest.raises(UserError, match=r"PPO fine-tunes the head of one network.*name one of its members"):
            Reinforcement(plan, tmp_path)
        return
    with Reinforcement(plan, tmp_path) as run:
        before = run.export()
        np.testing.assert_allclose(acted(load_policy(str(before))), acted(load_policy(name)), atol=1e-6)
        run.train(8, math.inf)
        run.export()
        observed = run.env.reset()
        predicted = run.env.venv.venv.shares(run.model.predict(observed, deterministic=True)[0])
        assert predicted.shape == (2, 2)
    after = head_outputs(tmp_path / "policy")
    changed = (after[0] != head_outputs(content_folder("policies") / name)[0]).any(dim=1)
    spec = load_policy(name).model.config.action_spec
    assert changed.any()
    if load_policy(name).model.head.codec.tells_spread and spec.names != spec.driven_names:
        assert not changed.all(), "what is not driven must stay as it was"


@pytest.fixture
def tiny(tmp_path):
    """Folders of tiny networks with other actions than the shipped ones have."""
    from vla_sim.policies.models.loading import save_policy
    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.models.presets import preset
    from vla_sim.policies.tokenizer import InstructionTokenizer

    tokenizer = InstructionTokenizer.trained(observation()["instruction"], vocab_size=300)
    tokenizer.save(tmp_path / "tokenizer.json")

    def make(**changes):
        small = {"fusion": {"channels": 16, "readout": 4, "feature_dim": 32}, **changes}
        torch.manual_seed(0)
        model = VlaModel(preset("clip-small", vocab_size=tokenizer.vocab_size, **small))
        save_policy(model, {"tokenizer.json": tmp_path / "tokenizer.json"}, tmp_path / "tiny")
        return str(tmp_path / "tiny")

    return make


THREE = {"names": ["vx", "vy", "wz"], "scale": [0.5, 0.5, 1.8]}


@pytest.mark.parametrize(
    "head", [{"kind": "lstm"}, {"kind": "mlp", "layers": 2}, {"kind": "gpt2", "window": 3}], ids=str
)
@pytest.mark.parametrize(
    "action", [{"horizon": 3}, THREE, {**THREE, "horizon": 2}, {**THREE, "driven": ["vx", "wz"]}], ids=str
)
def test_any_action_and_chunk_can_be_trained(head, action, tiny, tmp_path):
    begun = begin_with(tiny(head={"hidden": 16, **head}, action=action))
    made, same = trainer(begun, tmp_path), toy(96, len(begun.action_names))
    same.actions[:] = 0.4
    made.source.add(same)
    first = made.validate(same)["loss_tiny"]
    made.run("clone", steps=20)
    assert made.validate(same)["loss_tiny"] < first
    made.export(tmp_path / "out")
    policy = load_policy(str(tmp_path / "out" / "tiny"))
    assert policy.spec.action_names == begun.action_names
    assert policy.horizon == action.get("horizon", 1)
    acted(policy)


@pytest.mark.parametrize("codec", ["continuous", "laplace", "bins"])
@pytest.mark.parametrize("kind_of_head", ["lstm", "mlp", "window_lstm"])
def test_the_actor_of_ppo_gives_what_the_policy_drives(codec, kind_of_head, tiny, tmp_path):
    """Whatever the head, remembers or not, in a robot of three components."""
    pytest.importorskip("stable_baselines3")
    from vla_sim.training.ppo import Reinforcement
    from vla_sim.training.ppo_plan import PpoPlan

    head = {"kind": kind_of_head, "codec": codec, "hidden": 16, "window": 3, "bins": 5}
    name = tiny(head=head, action={**THREE, "horizon": 2})
    plan = PpoPlan.usual("features", ("reach_goal",), policy=name, embodiment="lekiwi", num_envs=2, rollout=4, batch=8)
    with Reinforcement(plan, tmp_path / "run") as run:
        raw, policy = run.env.unwrapped, load_policy(name)
        policy.reset(np.ones(2, dtype=bool), np.arange(2))
        observed = run.env.reset()
        for _ in range(4):
            actions = run.model.predict(observed, deterministic=True)[0]
            driven = run.env.venv.venv.shares(actions) * raw._scale
            image = raw.env._sensing.images()
            texts = [simulation.scene.instruction.text for simulation in raw.simulations]
            np.testing.assert_allclose(driven, policy.act({"image": image, "instruction": texts}), atol=1e-5)
            observed, _, dones, _ = run.env.step(actions)
            policy.reset(dones, np.arange(2))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hold", "cannot be trained on: it is of type 'hold'"),
        ("expert", "cannot be trained on"),
        ("backbone_clip", "cannot be trained on: it is of type 'vla_backbone'"),
        ("mobile_vl", "did you mean 'mobile_vla'"),
    ],
)
def test_what_holds_no_network_is_refused_in_words(name, message):
    with pytest.raises(UserError, match=message):
        begin_with(name)
