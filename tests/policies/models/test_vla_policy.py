import json
import socket

import numpy as np
import pytest
import torch
from policy_fakes import TEXTS
from safetensors.torch import load_file, save_file

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.policies.base import fit
from vla_sim.policies.chunking import ChunkedPolicy, TemporalEnsemble
from vla_sim.policies.folders import PolicyError, PolicyFolder
from vla_sim.policies.models.loading import save_policy
from vla_sim.policies.models.policy import VlaPolicy
from vla_sim.policies.registry import load_policy, policy_hash

HEADS = [{"kind": kind, "hidden": 16, "window": 3} for kind in ("lstm", "mlp", "gpt2", "discrete")]


@pytest.fixture
def folder(build, vla_tokenizer, tmp_path):
    """A policy folder on disk; a test may break it."""

    def make(name="clip-small", **changes):
        vla_tokenizer.save(tmp_path / "tokenizer.json")
        path = tmp_path / "policy"
        save_policy(build(name, **changes), {"tokenizer.json": tmp_path / "tokenizer.json"}, path)
        return path

    return make


def load(path):
    return VlaPolicy.from_folder(PolicyFolder.read(path))


def change_config(path, **changes):
    config = path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))


@pytest.mark.parametrize("name", ["clip-small", "kosmos2-small", "both-small"])
def test_a_saved_folder_drives_as_the_model_without_any_network(name, folder, build, read, observe, start, monkeypatch):
    path = folder(name, description="mine")

    def refuse(*args, **kwargs):
        raise AssertionError("loading a folder asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    policy, model, seen = start(load(path), 2), build(name), observe(2)
    with torch.inference_mode():
        features = model.features(torch.from_numpy(seen["image"]), model.encode_text(read(model, TEXTS[:2])))
        expected = model.head.step(features, model.head.initial_state(2))[0][:, 0] * 0.5
    np.testing.assert_allclose(policy.act(seen), expected, atol=1e-6)
    assert policy.spec.description == "mine"
    assert policy.spec.image_px == (224, 224)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head["kind"])
def test_reset_forgets_the_marked_envs_and_no_others(head, folder, observe, start):
    path = folder(head=head)
    used, fresh, untouched = (start(load(path), 3) for _ in range(3))
    for seed in range(4):
        used.act(observe(3, seed))
        untouched.act(observe(3, seed))
    used.reset(np.array([True, False, True]), np.zeros(3, dtype=np.int64))
    now = observe(3, 9)
    actions, new, old = used.act(now), fresh.act(now), untouched.act(now)
    assert np.array_equal(actions[[0, 2]], new[[0, 2]])
    assert np.array_equal(actions[1], old[1])


def test_a_env_that_once_held_nan_is_clean_after_reset(folder, observe, start):
    path = folder()
    policy, fresh = start(load(path), 1), start(load(path), 1)
    policy._state = tuple(torch.full_like(part, float("nan")) for part in policy._state)
    policy.reset(np.array([True]), np.array([0]))
    assert np.array_equal(policy.act(observe(1)), fresh.act(observe(1)))


@pytest.mark.parametrize("name", ["clip-small", "kosmos2-small"])
def test_envs_do_not_depend_on_each_other(name, folder, observe, start):
    path = folder(name)
    first, second, alone = start(load(path), 8), start(load(path), 8), start(load(path), 1)
    for seed in range(3):
        one, other = observe(8, seed), observe(8, seed + 100)
        other["image"][5], other["instruction"] = one["image"][5], ["something else entirely"] * 8
        other["instruction"][5] = one["instruction"][5]
        mine = first.act(one)[5]
        assert np.array_equal(mine, second.act(other)[5])
        single = {"image": one["image"][5:6], "instruction": one["instruction"][5:6], "state": one["state"][5:6]}
        np.testing.assert_allclose(alone.act(single)[0], mine, atol=1e-4)


def test_each_text_is_encoded_once(folder, observe, start, monkeypatch):
    policy = start(load(folder()), 4)
    encoded = []
    reader = policy.encoders[0].reader
    original = reader.read
    monkeypatch.setattr(reader, "read", lambda texts: encoded.extend(texts) or original(texts))
    for seed in range(3):
        policy.act(observe(4, seed, [TEXTS[0], TEXTS[1], TEXTS[0], TEXTS[0]]))
    assert encoded == TEXTS[:2]


@pytest.mark.parametrize("names", [["vx", "vy"], ["vx", "vy", "wz"]])
def test_actions_are_float32_within_each_component_s_scale(names, folder, observe, start):
    scale = [0.5, 0.25, 2.0][: len(names)]
    path = folder(action={"names": names, "scale": scale, "horizon": 3}, head={"kind": "mlp", "hidden": 16})
    policy = start(load(path), 2)
    with torch.no_grad():
        policy.model.head.out.bias.fill_(50.0)
    chunk = policy.chunk(observe(2))
    assert chunk.dtype == np.float32
    np.testing.assert_allclose(chunk, np.broadcast_to(scale, (2, 3, len(names))))
    assert policy.spec.action_names == tuple(names)


@pytest.mark.parametrize("wrap", [lambda p: ChunkedPolicy(p, execute=2), TemporalEnsemble])
def test_chunks_can_be_driven(wrap, folder, observe, start):
    path = folder(action={"horizon": 3})
    bare, wrapped = start(load(path), 2), start(wrap(load(path)), 2)
    first = bare.chunk(observe(2))
    np.testing.assert_allclose(wrapped.act(observe(2)), first[:, 0])
    assert wrapped.act(observe(2, 1)).shape == (2, 2)


def test_act_for_other_envs_than_reset_is_refused(folder, observe, start):
    with pytest.raises(ValueError, match="reset was called for 2 envs, act for 3"):
        start(load(folder()), 2).act(observe(3))


def test_a_pickle_instead_of_weights_is_refused(folder):
    path = folder()
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(PolicyError, match=r"weights are missing.*pytorch_model.bin is a pickle and was not opened"):
        load(path)


def test_truncated_weights_are_refused(folder):
    weights = folder() / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(PolicyError, match="truncated"):
        load(weights.parent)


def test_weights_that_do_not_fit_are_refused(folder):
    path = folder()
    tensors = load_file(path / "model.safetensors")
    for change, message in (
        (lambda t: t.pop("head.out.bias"), "misses head.out.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "holds unknown extra"),
        (lambda t: t.update({"head.out.bias": torch.zeros(9)}), "has shape"),
        (lambda t: t["head.out.bias"].fill_(float("nan")), "not finite"),
    ):
        broken = {name: tensor.clone() for name, tensor in tensors.items()}
        change(broken)
        save_file(broken, path / "model.safetensors")
        with pytest.raises(PolicyError, match=message):
            load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hed": {}}, "hed is not a known key; did you mean 'head'"),
        ({"model_type": "bert"}, "model_type must be 'vla_sim'"),
        ({"head": {"kind": "lstm", "hidden": -1}}, r"head.hidden must be .*config.json"),
        ({"head": 3}, r"head must be a table, got 3 .*config.json"),
        (
            {"head": {"kind": "discrete", "class_weights": [1, 2]}},
            "class_weights must be 9 numbers, got 2 .*config.json",
        ),
        ({"clip": {"text_config": {"hidden_size": "x"}}}, r"hidden_size.*config.json"),
        ({"clip": {"text_config": {"num_attention_heads": 5}}}, r"config.json"),
        ({"stem_channels": [8, 8]}, "make patches of 8 pixels"),
        ({"context_length": 20}, "48 places, the model 20"),
    ],
)
def test_configs_that_make_no_policy_are_refused(changes, message, folder):
    from vla_sim.core.errors import UserError

    path = folder()
    change_config(path, **changes)
    with pytest.raises(UserError, match=f"(?s){message}"):
        load(path)


def test_a_clip_tokenizer_of_its_own_is_used_and_checked(build, vla_tokenizer, tmp_path, observe, start):
    files = {name: tmp_path / name for name in ("tokenizer.json", "tokenizer_clip.json")}
    for file in files.values():
        vla_tokenizer.save(file)
    path = tmp_path / "policy"
    save_policy(build("both-small"), files, path)
    start(load(path), 1).act(observe(1))
    (path / "tokenizer_clip.json").write_text("{}")
    with pytest.raises(PolicyError, match="tokenizer_clip_sha256"):
        load(path)


def test_half_precision_folders_drive(build, vla_tokenizer, tmp_path, observe, start):
    vla_tokenizer.save(tmp_path / "tokenizer.json")
    path = tmp_path / "policy"
    save_policy(build("kosmos2-small").to(torch.bfloat16), {"tokenizer.json": tmp_path / "tokenizer.json"}, path)
    policy = start(load(path), 2)
    assert policy.model.dtype == torch.bfloat16
    assert np.isfinite(policy.act(observe(2))).all()


def chunked(tmp_path, folder, **config):
    folder(action={"horizon": 3})
    target = tmp_path / "chunked"
    target.mkdir()
    (target / "config.json").write_text(json.dumps({"format": 1, "type": "chunked", "predictor": "policy", **config}))
    return target


@pytest.mark.parametrize(
    ("config", "wrap"),
    [
        ({"execute": 2}, lambda bare: ChunkedPolicy(bare, execute=2)),
        ({"method": "temporal_ensemble", "decay": 0.5}, lambda bare: TemporalEnsemble(bare, decay=0.5)),
    ],
)
def test_a_folder_says_how_chunks_of_another_are_driven(config, wrap, tmp_path, folder, observe, start):
    found = start(load_policy(str(chunked(tmp_path, folder, **config))), 2)
    wanted = start(wrap(load(tmp_path / "policy")), 2)
    for step in range(4):
        np.testing.assert_array_equal(found.act(observe(2, seed=step)), wanted.act(observe(2, seed=step)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"method": "reseding"}, "method must be one of"),
        ({"execute": 4}, "execute must lie between 1 and the horizon 3"),
        ({"predictor": "hold"}, "gives no chunks"),
        ({"predictor": "polisy"}, "unknown policy 'polisy'"),
        ({"excute": 1}, "excute is not a known key"),
    ],
)
def test_chunked_folders_that_cannot_be_are_refused(config, message, tmp_path, folder):
    with pytest.raises(PolicyError, match=message):
        load_policy(str(chunked(tmp_path, folder, **config)))


def test_the_hash_of_a_chunked_folder_follows_its_predictor(tmp_path, folder):
    target = chunked(tmp_path, folder)
    before = policy_hash(str(target))
    change_config(tmp_path / "policy", description="another")
    assert policy_hash(str(target)) != before


def test_one_policy_drives_robots_that_can_and_cannot_move_sideways(folder, observe, start):
    action = {"names": ["vx", "wz"], "scale": [0.5, 1.0], "still": ["vy"]}
    path, seen = folder(action=action), observe(2)
    told = {}
    for name in ("diffbot", "lekiwi"):
        policy = load(path)
        fit(policy, load_embodiment(name))
        told[name] = start(policy, 2).act(seen)
    assert told["diffbot"].shape == (2, 2)
    assert np.abs(told["diffbot"]).min() > 0
    np.testing.assert_array_equal(told["lekiwi"], np.insert(told["diffbot"], 1, 0, axis=1))
    with pytest.raises(UserError, match="serbot takes"):
        fit(load(path), load_embodiment("serbot"))
