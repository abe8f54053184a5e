"""A complete set of untrained policy folders, tiny, made once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from policy_fakes import SIZES, TEXTS
from safetensors.torch import load_file, save_file

from vla_sim.policies.folders import PolicyFolder


@pytest.fixture(scope="session")
def tokenizer():
    from vla_sim.policies.tokenizer import InstructionTokenizer

    return InstructionTokenizer.trained(TEXTS, vocab_size=300)


@pytest.fixture(scope="session")
def beginning(tokenizer):
    """Untrained heads on the small convolutional CLIP."""
    import torch

    from vla_sim.training.warm_start import fresh

    begun = fresh(tokenizer, seed=3, **SIZES)
    with torch.no_grad():  # statistics that differ from those of a fresh norm, so that folding has something to fold
        for name, tensor in begun.members.state_dict().items():
            if "norm.running" in name:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return begun


@pytest.fixture(scope="session")
def untrained_root(tmp_path_factory, beginning) -> Path:
    """A folder with clip_small, clip_lstm, clip_mlp and ensemble."""
    from vla_sim.training.export import export_policies

    root = tmp_path_factory.mktemp("policies")
    export_policies(beginning.members.eval(), beginning, root, {"steps": 0})
    return root


@pytest.fixture(scope="session")
def legacy_root(tmp_path_factory, untrained_root) -> Path:
    """The same in the types "clip" and "clip_backbone" of version 0.1."""
    root = tmp_path_factory.mktemp("legacy")
    for path in untrained_root.iterdir():
        shutil.copytree(path, root / path.name)
    config = json.loads((root / "clip_small" / "config.json").read_text())
    model = {**config["conv_clip"], "context_length": config["context_length"]}
    _write(root / "clip_small", {"format": 1, "type": "clip_backbone", "model": model, "training": {}})
    sha256 = PolicyFolder.read(root / "clip_small").own_hash()
    for kind in ("lstm", "mlp"):
        folder = root / f"clip_{kind}"
        tensors = load_file(folder / "model.safetensors")
        heads = {k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")}
        save_file({k.replace("layers.0.0.", "hidden."): v for k, v in heads.items()}, folder / "model.safetensors")
        action = {"names": ["vx", "vy"], "units": "m/s", "scale": 0.5}
        config = {"format": 1, "type": "clip", "head": kind, "hidden": 256, "backbone": "clip_small", "action": action}
        _write(folder, {**config, "backbone_sha256": sha256, "image_px": [224, 224], "training": {}})
    return root


def _write(folder: Path, config: dict) -> None:
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def observe():
    """Observations of N envs from a seed."""

    def make(num_envs: int, seed: int = 0, texts: list[str] | None = None) -> dict:
        rng = np.random.default_rng(seed)
        return {
            "image": rng.integers(0, 256, (num_envs, 224, 224, 3), dtype=np.uint8),
            "instruction": list(texts or [TEXTS[env_index % len(TEXTS)] for env_index in range(num_envs)]),
            "state": np.zeros((num_envs, 4), dtype=np.float32),
        }

    return make


@pytest.fixture
def start():
    """Reset all envs of a policy."""

    def reset(policy, num_envs: int):
        policy.reset(np.ones(num_envs, dtype=bool), np.arange(num_envs, dtype=np.int64))
        return policy

    return reset
