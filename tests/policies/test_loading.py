import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.policies.folders import PolicyError
from vla_sim.policies.registry import load_policy, policy_hash, policy_names, refuse_unusable

SOURCE = """
from vla_sim.policies.baselines import HoldPolicy
class Mine(HoldPolicy):
    pass
class NoPolicy:
    pass
"""


@pytest.fixture
def folders(legacy_root, tmp_path):
    """A copy that a test may break."""
    return shutil.copytree(legacy_root, tmp_path / "policies")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.parametrize("name", policy_names())
def test_every_shipped_policy_has_a_stable_hash(name):
    assert policy_hash(name) == policy_hash(name)
    assert len(policy_hash(name)) == 64


def test_hashing_and_baselines_load_no_torch():
    code = "import sys; from vla_sim.policies.registry import *; policy_hash('hold'); load_policy('random')"
    assert python(f"{code}; print('torch' in sys.modules)") == ["False"]


def test_driving_the_small_backbone_needs_neither_open_clip_nor_transformers(untrained_root):
    code = f"""
import sys, numpy as np
from vla_sim.policies.registry import load_policy
policy = load_policy({str(untrained_root / "ensemble")!r})
policy.reset(np.ones(1, bool), np.zeros(1, int))
policy.act({{"image": np.zeros((1, 224, 224, 3), np.uint8), "instruction": ["go"]}})
print([name for name in ("open_clip", "torchvision", "timm", "transformers") if name in sys.modules])
"""
    assert python(code) == ["[]"]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="unknown policy 'randon'; did you mean 'random'"):
        load_policy("randon")


@pytest.mark.parametrize("act", [load_policy, policy_hash])
def test_missing_folder_and_plain_file_are_refused(act, tmp_path):
    with pytest.raises(PolicyError, match="does not exist"):
        act(str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(PolicyError, match="is a file"):
        act(str(tmp_path / "notes.txt"))


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("suffix", [".pt", ".pkl", ".bin", ".pth", ".ckpt"])
def test_a_pickle_is_refused_and_nothing_in_it_runs(suffix, folders, tmp_path):
    trace = tmp_path / "exploded"
    path = tmp_path / f"model{suffix}"
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(PolicyError, match=r"pickle.*refused, nothing was executed"):
        load_policy(str(path))
    (folders / "clip_mlp" / "model.safetensors").unlink()
    shutil.copy(path, folders / "clip_mlp" / f"pytorch_model{suffix}")
    with pytest.raises(PolicyError, match=f"weights are missing.*pytorch_model{suffix} is a pickle and was not opened"):
        load_policy(str(folders / "clip_mlp"))
    assert not trace.exists()


def test_a_pickle_named_as_safetensors_is_refused(folders, tmp_path):
    trace = tmp_path / "exploded"
    (folders / "clip_mlp" / "model.safetensors").write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(PolicyError, match="weights cannot be read"):
        load_policy(str(folders / "clip_mlp"))
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_refused(share, folders):
    path = folders / "clip_mlp" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(PolicyError, match=r"weights cannot be read.*model\.safetensors"):
        load_policy(str(folders / "clip_mlp"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("out.bias"), "misses out.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "holds unknown extra"),
        (lambda t: t.update({"out.bias": torch.zeros(7)}), r"out.bias has shape \(7,\), the config asks for \(2,\)"),
        (lambda t: t.update({"out.bias": torch.zeros(2, dtype=torch.float64)}), "must be torch.float32"),
        (lambda t: t.update({"out.bias": torch.tensor([0.0, float("nan")])}), "not finite"),
    ],
)
def test_weights_that_do_not_fit_the_network_are_refused(change, message, folders):
    change_weights(folders / "clip_mlp", change)
    with pytest.raises(PolicyError, match=message):
        load_policy(str(folders / "clip_mlp"))


def test_a_head_refuses_another_backbone_than_its_own(folders):
    change_weights(folders / "clip_small", lambda t: t["squeeze.bias"].add_(1))
    with pytest.raises(PolicyError, match="trained on another clip_small"):
        load_policy(str(folders / "clip_lstm"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format must be 1, got 2"),
        ({"type": "clop"}, "unknown type 'clop'; did you mean 'clip'"),
        ({"head": "gru"}, "head must be one of lstm, mlp, got 'gru'"),
        ({"hidden": "wide"}, "hidden must be a whole number, got 'wide'"),
        ({"hidden": True}, "hidden must be a whole number"),
        ({"action": {"names": ["vx", "vy"], "scale": -1}}, "action.scale must be a positive number, got -1"),
        ({"action": {"names": "vx", "scale": 1}}, "action.names must be a list"),
        ({"action": {"names": ["vy", "vx"], "scale": 1}}, "action.names must be some of"),
        ({"image_px": [224]}, "image_px must be"),
        ({"backbone": "hold"}, "must be of type clip_backbone, got 'hold'"),
        ({"backbone": "clip_smal"}, "unknown policy 'clip_smal'"),
        ({"hiden": 3}, "hiden is not a known key; did you mean 'hidden'"),
    ],
)
def test_configs_that_cannot_be_are_refused(changes, message, folders):
    change_config(folders / "clip_mlp", **changes)
    with pytest.raises(PolicyError, match=message):
        load_policy(str(folders / "clip_mlp"))


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_config_that_is_no_object_is_refused_with_its_file(text, folders):
    (folders / "clip_mlp" / "config.json").write_text(text)
    with pytest.raises(PolicyError, match=r"config\.json"):
        load_policy(str(folders / "clip_mlp"))


def test_a_backbone_is_no_policy(folders):
    with pytest.raises(PolicyError, match="part of other policies"):
        load_policy(str(folders / "clip_small"))


def test_a_tokenizer_of_another_size_is_refused(folders):
    from vla_sim.policies.tokenizer import InstructionTokenizer

    InstructionTokenizer.trained(["hello"], vocab_size=260).save(folders / "clip_small" / "tokenizer.json")
    change_config(folders / "clip_mlp", backbone_sha256=_own_hash(folders / "clip_small"))
    with pytest.raises(PolicyError, match=r"tokenizer\.json has"):
        load_policy(str(folders / "clip_mlp"))


def _own_hash(path):
    from vla_sim.policies.folders import PolicyFolder

    return PolicyFolder.read(path).own_hash()


def test_the_hash_of_an_ensemble_follows_every_file_it_rests_on_but_no_readme(folders):
    before = policy_hash(str(folders / "ensemble"))
    (folders / "clip_small" / "README.md").write_text("another card")
    assert policy_hash(str(folders / "ensemble")) == before
    seen = {before}
    for file in (
        "clip_small/tokenizer.json",
        "clip_small/config.json",
        "clip_lstm/model.safetensors",
        "ensemble/config.json",
    ):
        with (folders / file).open("ab") as handle:
            handle.write(b"\n" if file.endswith("json") else b"\0")
        seen.add(policy_hash(str(folders / "ensemble")))
    assert len(seen) == 5


def test_a_class_is_loaded_by_module_and_name_and_hashed_by_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_policies_a.py").write_text(SOURCE)
    policy = load_policy("my_policies_a:Mine")
    policy.reset(np.ones(1, dtype=bool), np.zeros(1, dtype=np.int64))
    assert not policy.act({"instruction": ["go"]}).any()
    before = policy_hash("my_policies_a:Mine")
    (tmp_path / "my_policies_a.py").write_text(SOURCE + "\n# changed")
    assert policy_hash("my_policies_a:Mine") != before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_policies_b:Mein", "has no class 'Mein'; did you mean 'Mine'"),
        ("my_policies_b:NoPolicy", "is no policy: it lacks reset, act, spec"),
        ("no_such_module_here:Policy", "module 'no_such_module_here' cannot be found"),
        ("no.such.module:Policy", "cannot be found"),
    ],
)
def test_classes_that_are_not_there_are_refused(name, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_policies_b.py").write_text(SOURCE)
    with pytest.raises(PolicyError, match=message):
        load_policy(name)


def test_without_the_extra_a_policy_that_needs_it_says_so(monkeypatch):
    def missing(module):
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr("vla_sim.policies.registry.importlib.import_module", missing)
    with pytest.raises(PolicyError, match=r"needs transformers: pip install 'vla-sim\[vla\]'"):
        load_policy("mobile_vla")


def test_a_learned_policy_without_a_control_rate_is_told_of_and_others_are_not(folders, caplog):
    caplog.set_level("INFO", "vla_sim")
    robot = load_embodiment("serbot")
    config = folders / "clip_lstm" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps({key: value for key, value in values.items() if key != "control_s"}))
    refuse_unusable(str(folders / "clip_lstm"), robot)
    assert [m for m in caplog.messages if "does not say its control rate" in m and "every 0.4 s" in m]
    caplog.clear()
    config.write_text(json.dumps({**values, "control_s": robot.control_s}))
    for name in (str(folders / "clip_lstm"), *policy_names()):
        refuse_unusable(name, robot)
    assert not caplog.messages
