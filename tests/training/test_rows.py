"""From demonstrations to shared backbones, rows, ensembles and cards, at a scale where nothing is learned."""

import importlib.util
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

if importlib.util.find_spec("transformers") is None:
    pytest.skip("rows need the extra `vla`", allow_module_level=True)

from recipes import pretrain as backbones
from recipes import train_zoo as train_rows
from recipes import zoo_training as row_training
from recipes.ensembles import fitted_gate, fitted_weights, predictions, write_ensemble
from recipes.frozen_features import cached, content_key
from recipes.zoo import ROWS, row
from recipes.zoo_training import RowTraining
from vla_sim.core.errors import UserError
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.folders import PolicyError, PolicyFolder
from vla_sim.policies.registry import load_policy
from vla_sim.policies.weighing import Gate
from vla_sim.training.cards import read_benchmark, write_card
from vla_sim.training.config import TrainConfig
from vla_sim.training.losses import action_target
from vla_sim.training.recorded import read_round, read_rounds, save_round

SIDE_PX = 96
TEXTS = [
    ["Pass the box on the left.", "상자를 왼쪽으로 지나가세요"],
    ["Pass the box on the right.", "Go right of the box"],
]


def toy_drives(episodes=8, steps=3, seed=0):
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(episodes) % 2, -1.0, 1.0)
    actions = np.zeros((episodes, steps, 2), dtype=np.float32)
    actions[..., 0], actions[..., 1] = 0.3, 0.25 * signs[:, None]
    return Demonstrations(
        images=rng.integers(0, 256, (episodes, steps, SIDE_PX, SIDE_PX, 3), dtype=np.uint8),
        actions=actions,
        goals=rng.random((episodes, steps, 2), dtype=np.float32),
        mask=np.arange(steps) < rng.integers(2, steps + 1, episodes)[:, None],
        texts=[TEXTS[int(sign < 0)] for sign in signs],
        scenarios=["obstacle_left" if sign > 0 else "obstacle_right" for sign in signs],
        outcomes=["reached"] * episodes,
        action_names=("vx", "vy"),
        step_s=0.4,
    )


@pytest.fixture(scope="module", autouse=True)
def small(request):
    """Few and small batches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.CONFIG_OF_TRAINING, "batch_episodes", 4)
        patch.setitem(row_training.CONFIG_OF_TRAINING, "batch_episodes", 4)
        patch.setattr(row_training, "VARIANTS", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    save_round(folder / "clone", toy_drives())
    save_round(folder / "dagger_1", toy_drives(4, seed=1))
    save_round(folder / "look" / "part_000", toy_drives(4, seed=2))
    return folder


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """A working folder in which both backbones and three rows were trained, one step each."""
    folder = tmp_path_factory.mktemp("rows")
    parts = read_rounds(data)
    for name in ("clip", "kosmos2"):
        backbones.train_backbone(name, parts, folder, scale=1e-4)
    rows = RowTraining(parts, folder, scale=2e-3)
    for name in ("simple_clip", "mobile_vla", "kosmos2_clip_lstm_norm"):
        rows.train(name)
    return folder


@pytest.fixture
def policies(out, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(out / "policies", tmp_path / "policies")


def observation(num_envs=3, seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (num_envs, 224, 224, 3), dtype=np.uint8)
    return {"image": image, "instruction": [TEXTS[env_index % 2][0] for env_index in range(num_envs)]}


def acted(policy, num_envs=3, seed=0):
    policy.reset(np.ones(num_envs, dtype=bool), np.arange(num_envs))
    return policy.act(observation(num_envs, seed))


def test_demonstrations_are_read_as_they_were_written(data):
    drives, read = toy_drives(), read_round(data / "clone")
    for name in ("images", "actions", "goals", "mask"):
        np.testing.assert_array_equal(getattr(read, name), getattr(drives, name))
    assert read.texts == drives.texts


def test_a_folder_without_demonstrations_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no demonstrations"):
        read_rounds(tmp_path)


def test_rows_hold_their_heads_alone_and_share_backbones(policies):
    names = {path.name for path in policies.iterdir()}
    assert names == {
        *("backbone_clip", "backbone_kosmos2", "simple_clip", "kosmos2_clip_lstm_norm"),
        *("mobile_vla", "mobile_vla_epoch_1", "mobile_vla_epoch_2"),
    }
    for name in ("simple_clip", "mobile_vla", "kosmos2_clip_lstm_norm"):
        from safetensors import safe_open

        with safe_open(policies / name / "model.safetensors", "pt") as tensors:
            assert not [key for key in tensors.keys() if key.startswith("backbone.")]  # noqa: SIM118
        assert acted(load_policy(str(policies / name))).shape == (3, 2)


def test_policies_state_the_control_rate_of_their_demonstrations(policies):
    rates = {folder.name: PolicyFolder.read(folder).control_s() for folder in policies.iterdir()}
    assert {name: rate for name, rate in rates.items() if not name.startswith("backbone")} == dict.fromkeys(
        ("kosmos2_clip_lstm_norm", "mobile_vla", "mobile_vla_epoch_1", "mobile_vla_epoch_2", "simple_clip"), 0.4
    )


def test_epochs_are_three_different_policies(policies):
    actions = [acted(load_policy(str(policies / f"mobile_vla{end}"))) for end in ("_epoch_1", "_epoch_2", "")]
    assert not np.array_equal(actions[0], actions[1])
    assert not np.array_equal(actions[1], actions[2])


def test_learning_on_leaves_earlier_epochs_as_they_were(data, out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    rows = RowTraining(read_rounds(data), tmp_path / "out", scale=2e-3)

    def weights():
        names = ("mobile_vla_epoch_1", "mobile_vla_epoch_2", "mobile_vla")
        return [(rows.policy(name) / "model.safetensors").read_bytes() for name in names]

    before = weights()
    rows.train("mobile_vla", more=0.5)
    after = weights()
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_a_head_refuses_another_backbone_than_its_own(policies):
    config = policies / "backbone_clip" / "config.json"
    config.write_text(config.read_text().replace('"steps": 1', '"steps": 2'))
    with pytest.raises(PolicyError, match="trained on another backbone_clip"):
        load_policy(str(policies / "simple_clip"))


def test_a_missing_backbone_is_named(policies):
    shutil.rmtree(policies / "backbone_kosmos2")
    with pytest.raises(PolicyError, match="backbone_kosmos2"):
        load_policy(str(policies / "mobile_vla"))


def test_training_leaves_the_frozen_backbone_as_it_was(data, out):
    rows = RowTraining(read_rounds(data), out, scale=2e-3)
    trainer = rows._trainer("simple_clip")
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.run("learn", steps=trainer.step + 2)
    changed = {n for n, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, before[n])}
    assert changed
    assert not [name for name in changed if name.startswith("parts.") or ".backbone." in name]
    assert trainer.checkpoint.stat().st_size < 4e6, "frozen weights belong into no checkpoint"


def test_heads_with_a_horizon_learn_the_next_actions(data, out, monkeypatch):
    from recipes import zoo as rows

    spec = rows.Row("chunks", "clip", {"head": rows.MLP, "action": {"horizon": 3}})
    monkeypatch.setitem(rows.ROWS, "chunks", spec)
    trainer = RowTraining(read_rounds(data), out, scale=2e-3)._trainer("chunks")
    batch = trainer.source.draw(np.random.default_rng(0))
    spec = trainer.model.models[0].config.action_spec
    target, exists = action_target(batch.actions, batch.mask, spec, ("vx", "vy"), (0.5, 0.5))
    episodes, steps = batch.mask.shape
    assert target.shape == (episodes, steps, 3, 2)
    first = batch.mask.sum(axis=1)[0]
    np.testing.assert_array_equal(target[0, 0, :first], batch.actions[:3][:first])
    assert exists[0, :, 0].tolist() == batch.mask[0].tolist()
    assert exists[0, 0].tolist() == [step < first for step in range(3)]
    before = trainer.step
    trainer.run("learn", steps=1)
    assert trainer.step == before + 1


def test_cached_features_are_those_that_the_policy_sees(out, data):
    policy = load_policy(str(out / "policies" / "simple_clip"))
    part = read_round(data / "clone")
    drives = part.images[:, 0]
    seen = policy.encoders[0].features({"image": drives, "instruction": [texts[0] for texts in part.texts]})
    folder = out / "features" / "variant_0" / content_key(part)
    starts = np.load(folder / "starts.npy")[:-1]
    patches = np.load(folder / "clip.patches.npy")[starts]
    np.testing.assert_allclose(patches, seen.patches.numpy(), atol=5e-3, rtol=5e-3)


def test_the_plain_variant_is_as_recorded_and_others_are_augmented(out, data):
    folder, part = out / "features", read_round(data / "clone")
    plain, augmented = (np.load(folder / f"variant_{v}" / content_key(part) / "actions.npy") for v in (0, 1))
    np.testing.assert_allclose(plain, part.actions[part.mask] / 0.5, atol=1e-6)  # at full speed 1
    # Mirrored episodes drive to the other side.
    assert not np.array_equal(np.sign(plain[:, 1]), np.sign(augmented[:, 1]))


def test_features_of_other_episodes_or_of_another_backbone_are_never_taken_for_these(out, data, tmp_path):
    """A round that came between two others once shifted the numbers by which features were found again."""
    part = read_round(data / "clone")
    changed = replace(part, actions=np.where(part.mask[..., None], -part.actions, part.actions))
    assert len({content_key(one) for one in (part, changed, read_round(data / "dagger_1"))}) == 3
    encoder = load_policy(str(out / "policies" / "simple_clip")).encoders[0]
    config = TrainConfig(batch_episodes=4)
    first = np.array(cached(part, {"clip": (encoder, "one")}, config, tmp_path, variant=0).features["clip"]["image"])
    np.save(tmp_path / "clip.image.npy", np.zeros_like(first))
    again = cached(part, {"clip": (encoder, "one")}, config, tmp_path, variant=0)
    assert not again.features["clip"]["image"].any()
    other = cached(part, {"clip": (encoder, "two")}, config, tmp_path, variant=0)
    np.testing.assert_array_equal(other.features["clip"]["image"], first)


def test_weights_are_fitted_to_the_better_member():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(400, 2))
    good, bad = target + 0.1 * rng.normal(size=target.shape), target + 0.3 * rng.normal(size=target.shape)
    weights = fitted_weights(np.stack([good, bad]), target)
    # Independent errors are best weighed by the inverse of their variance: 9 to 1.
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == pytest.approx(0.9, abs=0.05)


def test_a_gate_trusts_each_member_where_it_is_right():
    rng = np.random.default_rng(1)
    target = rng.uniform(-0.5, 0.5, size=(3000, 2)).astype(np.float32)
    left = target[:, 1] > 0
    wrong = rng.uniform(-0.5, 0.5, size=target.shape).astype(np.float32)
    wrong[:, 1] = np.where(left, -1, 1) * np.abs(wrong[:, 1])
    # The first member knows the left, the second the right; where they know nothing they go backwards.
    first, second = (np.where(side[:, None], target, [-0.5, 0.0]) for side in (left, ~left))
    actions = np.stack([first, second]).astype(np.float32)
    gate = Gate(fitted_gate(actions, target, seed=0))
    shares = gate(actions, ())
    chosen = np.einsum("mn,mna->na", shares, actions)
    fixed = np.einsum("m,mna->na", fitted_weights(actions, target), actions)
    assert np.abs(chosen - target).mean() < 0.5 * np.abs(fixed - target).mean()
    assert shares[0, left].mean() > 0.75 > 0.25 > shares[0, ~left].mean()


def test_predictions_remember_the_drive_and_skip_steps_that_do_not_exist(out, data):
    members = [load_policy(str(out / "policies" / name)) for name in ("kosmos2_clip_lstm_norm", "mobile_vla")]
    drives = read_round(data / "dagger_1")
    actions, target = predictions(members, drives)
    assert actions.shape == (2, drives.mask.sum(), 2)
    assert target.shape == (drives.mask.sum(), 2)
    # The second step of the first episode, by hand.
    member = members[0]
    member.reset(np.ones(1, dtype=bool), np.zeros(1))
    for step in range(2):
        by_hand = member.act({"image": drives.images[:1, step], "instruction": drives.texts[0][:1]})
    np.testing.assert_allclose(actions[0, len(drives.mask)], by_hand[0], atol=1e-5)


@pytest.mark.parametrize("fusion", ["weighted", "gated", "dynamic"])
def test_written_ensembles_drive_and_share_what_their_members_see(fusion, policies, monkeypatch):
    members = ("kosmos2_clip_lstm_norm", "mobile_vla", "simple_clip")
    rng = np.random.default_rng(0)
    actions, target = rng.normal(size=(3, 50, 2)).astype(np.float32), rng.normal(size=(50, 2)).astype(np.float32)
    given = {"gate": fitted_gate(actions, target, seed=0)} if fusion == "gated" else {"weights": [0.5, 0.2, 0.3]}
    write_ensemble(policies / "mine", members, fusion, "three of them", **given)
    policy = load_policy(str(policies / "mine"))
    from vla_sim.policies.models.encoder import VlaEncoder

    seen, features = [], VlaEncoder.features
    monkeypatch.setattr(VlaEncoder, "features", lambda self, given: seen.append(self.key) or features(self, given))
    fused = acted(policy)
    assert len(seen) == len(set(seen)) == 2
    apart = np.stack([acted(load_policy(str(policies / member))) for member in members])
    assert (fused <= apart.max(axis=0) + 1e-6).all()
    assert (fused >= apart.min(axis=0) - 1e-6).all()
    disagreement = np.linalg.norm(apart - fused, axis=2).max(axis=0)
    np.testing.assert_allclose(policy.diagnostics()["disagreement_mps"], disagreement, atol=1e-5)


def test_the_command_trains_gates_publishes_and_goes_on(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train_rows, "GATE_WORLDS", 1)
    monkeypatch.setattr(train_rows, "GATE_ROUNDS", 1)
    asked = []
    monkeypatch.setattr(train_rows, "_both_instructions", lambda folder, workers: asked.append(folder.name) or 0)
    arguments = ["--data", str(data), "--out", str(tmp_path / "out"), "--rows", "simple_clip", "--scale", "1e-4"]
    assert train_rows.main([*arguments, "--publish", str(tmp_path / "shipped"), "--threads", "1"]) == 0
    assert asked == ["simple_clip", "simple_clip"]
    gate = json.loads((tmp_path / "out" / "rows" / "simple_clip" / "gate.json").read_text())
    assert gate == {"worlds": 1, "both_instructions": 0, "passed": False, "extra_rounds": 1}
    shipped = load_policy(str(tmp_path / "shipped" / "simple_clip"))
    assert acted(shipped).shape == (3, 2)
    capsys.readouterr()
    assert train_rows.main([*arguments, "--threads", "1"]) == 0
    assert len(asked) == 2
    assert capsys.readouterr().out == ""


def test_cards_say_what_was_measured_and_which_gate_failed(policies, tmp_path):
    figures = {
        "model": "simple_clip",
        "success_rate": 0.5,
        "success_rate_low": 0.4,
        "success_rate_high": 0.6,
        "spl": 0.45,
        "collision_rate": 0.25,
        "wrong_side_rate": 0.05,
        "mae_mps": 0.0321,
        "mae_mps_without_first": 0.0333,
    }
    plan = {"suites": ["core", ""], "scenarios": ["a", "b"], "episodes": 50, "seed": 100_000}
    path = tmp_path / "benchmark.json"
    path.write_text(json.dumps({"provenance": {"plan": plan}, "rows": [figures]}))
    rows, suite = read_benchmark(path)
    gate = {"worlds": 48, "both_instructions": 30, "passed": False, "extra_rounds": 2}
    write_card(policies / "simple_clip", gate, rows["simple_clip"], suite)
    card = (policies / "simple_clip" / "README.md").read_text()
    for part in (
        "Suite core, 100 episodes, seeds 100000..100049",
        "50.0%, 95 % interval 40.0% to 60.0%",
        "solves 30 of 48 worlds",
        "NOT passed",
        "`backbone_clip`",
        "0.0321 m/s",
        "does not turn",
    ):
        assert part in card, part


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}', '{"provenance": {"plan": {}}, "rows": []}'])
def test_cards_refuse_what_is_no_benchmark(text, tmp_path):
    path = tmp_path / "benchmark.json"
    path.write_text(text)
    with pytest.raises(UserError, match="is no benchmark's JSON"):
        read_benchmark(path)


def test_an_unknown_row_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="simple_clip"):
        row("simple_clop")
    assert set(ROWS) >= {"kosmos2_clip_lstm_norm", "mobile_vla", "kosmos2_clip_gpt2", "kosmos2_clip_discrete"}
