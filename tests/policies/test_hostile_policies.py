"""Policy folders that are damaged, lie or mean harm: each is refused in one sentence, or drives. Nothing runs."""

import json
import shutil
import struct

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty import NASTY, changed, places
from policy_fakes import TEXTS
from safetensors.torch import load_file, save_file

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.policies.folders import PolicyError
from vla_sim.policies.registry import load_policy, policy_hash, refuse_unusable

KINDS = ("clip_lstm", "clip_mlp", "ensemble", "gated", "state", "chunked", "tiny", "legacy")


def fits(name):
    refuse_unusable(name, load_embodiment("serbot"))


def deep(depth, lists=True):
    return ("[" if lists else '{"a":') * depth + "0" + ("]" if lists else "}") * depth


@pytest.fixture(scope="module")
def roots(tmp_path_factory, untrained_root, legacy_root, tokenizer):
    """A valid folder of each kind, with what it needs beside it."""
    root = shutil.copytree(untrained_root, tmp_path_factory.mktemp("hostile") / "policies")
    for name in ("clip_lstm", "clip_small"):
        shutil.copytree(legacy_root / name, tmp_path_factory.getbasetemp() / "hostile_legacy" / name)
    write(root / "gated", {"type": "ensemble", "members": ["clip_lstm", "clip_mlp"], "fusion": "gated"})
    sizes = {"first.weight": (3, 4), "first.bias": (3,), "out.weight": (2, 3), "out.bias": (2,)}
    save_file({name: torch.rand(size) for name, size in sizes.items()}, root / "gated" / "model.safetensors")
    write(root / "chunked", {"type": "chunked", "predictor": "clip_lstm", "method": "receding", "execute": 1})
    state_policy(root / "state")
    tiny(root / "tiny", tokenizer)
    return {kind: root / kind for kind in KINDS} | {
        "legacy": tmp_path_factory.getbasetemp() / "hostile_legacy/clip_lstm"
    }


def write(folder, config):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"format": 1, **config}))


def state_policy(folder):
    from vla_sim.core.privileged import PRIVILEGED_NAMES
    from vla_sim.policies.state_policy import StateHead

    count = len(PRIVILEGED_NAMES)
    observation = {"names": list(PRIVILEGED_NAMES), "mean": [0.0] * count, "variance": [1.0] * count, "clip": 10.0}
    action = {"names": ["vx", "vy"], "units": ["m/s", "m/s"], "scale": [0.5, 0.5]}
    config = {"type": "ppo_state", "observation": observation, "left_handed": True, "hidden": [4], "action": action}
    write(folder, config)
    save_file(StateHead(count, [4], 2).state_dict(), folder / "model.safetensors")


def tiny(folder, tokenizer):
    from vla_sim.policies.models.config import VlaConfig
    from vla_sim.policies.models.loading import save_policy
    from vla_sim.policies.models.model import VlaModel

    sizes = {"vocab_size": tokenizer.vocab_size, "image_px": 32, "channels": [8, 8, 8], "fused_channels": 8}
    small = {**sizes, "readout_channels": 4, "embed_dim": 8, "text_width": 8, "text_heads": 2, "feature_dim": 8}
    config = VlaConfig(
        backbone="conv_clip",
        conv_clip=small,
        context_length=tokenizer.context_length,
        head={"kind": "window_lstm", "hidden": 8, "window": 2, "codec": "laplace"},
        action={"names": ["vx", "vy"], "scale": [0.5, 0.5], "horizon": 2},
    )
    folder.mkdir()
    tokenizer.save(folder.parent / "tokenizer.json")
    save_policy(VlaModel(config), {"tokenizer.json": folder.parent / "tokenizer.json"}, folder)


def copied(folder, target):
    """The folder and all beside it, in a place of its own."""
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(folder.parent, target) / folder.name


def holds(folder):
    """It is refused in one sentence, or drives with numbers; and asking about it says the same."""
    made, said = None, []
    for ask in (fits, policy_hash, load_policy):
        try:
            made = ask(str(folder))
        except UserError as error:
            said.append(str(error))
            made = None
    assert all(len(text) < 3000 and "\n" not in text.strip() for text in said)
    if made is None:
        return
    made.reset(np.ones(1, dtype=bool), np.zeros(1, dtype=np.int64))
    if made.spec.requires_privileged_info:
        return
    seen = {"image": np.zeros((1, 224, 224, 3), np.uint8), "instruction": TEXTS[:1], "state": np.zeros((1, 6))}
    actions = made.act(seen)
    assert actions.shape == (1, len(made.spec.action_names) or 2)
    assert np.isfinite(actions).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_config_with_anything_in_it_is_refused_or_drives(kind, roots, tmp_path_factory, data):
    folder = copied(roots[kind], tmp_path_factory.getbasetemp() / "mutated")
    config = json.loads((folder / "config.json").read_text())
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([place for place in places(config) if place]))
        config = changed(config, path, data.draw(NASTY))
    (folder / "config.json").write_text(json.dumps(config))
    holds(folder)


@pytest.mark.parametrize("kind", ["clip_mlp", "gated", "state", "tiny", "legacy"])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_damaged_files_are_refused_or_drive(kind, roots, tmp_path_factory, data):
    folder = copied(roots[kind], tmp_path_factory.getbasetemp() / "mutated")
    file = data.draw(st.sampled_from(sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors"))))
    content = bytearray(file.read_bytes())
    how = data.draw(st.sampled_from(["cut", "flip", "junk", "head", "deep", "pickle"]))
    if how == "cut":
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    elif how == "flip":
        for _ in range(3):
            content[data.draw(st.integers(0, min(len(content) - 1, 400)))] = data.draw(st.integers(0, 255))
    elif how == "junk":
        content = bytearray(data.draw(st.binary(max_size=64)))
    elif how == "head":
        head = {"w": {"dtype": "F32", "shape": [10**10, 10**10], "data_offsets": [0, 4]}}
        told = json.dumps(head).encode()
        content = bytearray(struct.pack("<Q", data.draw(st.sampled_from([len(told), 10**10, 2**63]))) + told + b"1234")
    elif how == "deep":
        content = bytearray(deep(100_000, data.draw(st.booleans())).encode())
    else:
        content = bytearray(b"\x80\x04cos\nsystem\n(S'false'\ntR.")
    file.write_bytes(bytes(content))
    holds(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", ["clip_mlp", "gated", "state", "tiny", "legacy"])
def test_weights_that_are_no_numbers_are_refused(kind, value, roots, tmp_path):
    folder = copied(roots[kind], tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name, tensor in tensors.items() if tensor.is_floating_point()][:1]:
        tensors[name].view(-1)[0] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError):
        load_policy(str(folder))


@pytest.mark.parametrize(
    "name", ["../policies/clip_mlp", "..", ".", "", "/", "a/b", "x\x00", "\ud800", "a" * 300, "~", "~x"]
)
@pytest.mark.parametrize("kind", ["ensemble", "chunked", "clip_mlp", "legacy"])
def test_names_must_stay_beside_the_folder(kind, name, roots, tmp_path):
    folder = copied(roots[kind], tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    key, value = {
        "ensemble": ("members", [name, "clip_mlp"]),
        "chunked": ("predictor", name),
        "clip_mlp": ("backbone_folders", {"conv_clip": name}),
        "legacy": ("backbone", name),
    }[kind]
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    for ask in (load_policy, policy_hash):
        with pytest.raises(PolicyError, match=r"must be the name of a policy|unknown policy"):
            ask(str(folder))


def test_policies_that_contain_themselves_or_go_on_for_ever_are_refused(tmp_path):
    write(tmp_path / "self", {"type": "ensemble", "members": ["self", "hold"], "weights": [1, 1]})
    write(tmp_path / "one", {"type": "ensemble", "members": ["two", "hold"], "weights": [1, 1]})
    write(tmp_path / "two", {"type": "ensemble", "members": ["one", "hold"], "weights": [1, 1]})
    for number in range(40):
        below = [f"n{number + 1}"] * 2 if number < 39 else ["hold"] * 2
        write(tmp_path / f"n{number}", {"type": "ensemble", "members": below, "weights": [1, 1]})
    write(tmp_path / "many", {"type": "ensemble", "members": ["hold"] * 1000, "weights": [1] * 1000})
    for name, match in (("self", "circle"), ("one", "circle"), ("n0", "deep"), ("many", "at most")):
        for ask in (load_policy, policy_hash, fits):
            with pytest.raises(PolicyError, match=match):
                ask(str(tmp_path / name))
