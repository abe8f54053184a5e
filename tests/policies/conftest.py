"""A complete set of untrained policy folders, tiny, made once."""

from pathlib import Path

import numpy as np
import pytest
from policy_fakes import SIZES, TEXTS


@pytest.fixture(scope="session")
def tokenizer():
    from vla_sim.policies.tokenizer import InstructionTokenizer

    return InstructionTokenizer.trained(TEXTS, vocab_size=300)


@pytest.fixture(scope="session")
def untrained_root(tmp_path_factory, tokenizer) -> Path:
    """A folder with clip_small, clip_lstm, clip_mlp and ensemble."""
    import torch

    from vla_sim.training.behaviour_cloning import fresh_model
    from vla_sim.training.export import export_policies

    model = fresh_model(tokenizer, seed=3, **SIZES)
    with torch.no_grad():  # statistics that differ from those of a fresh norm, so that folding has something to fold
        for name, tensor in model.state_dict().items():
            if "norm.running" in name:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    root = tmp_path_factory.mktemp("policies")
    export_policies(model.eval(), tokenizer, root, action_names=("vx", "vy"), action_scale=0.5, facts={"steps": 0})
    return root


@pytest.fixture
def observe():
    """Observations of N lanes from a seed."""

    def make(lanes: int, seed: int = 0, texts: list[str] | None = None) -> dict:
        rng = np.random.default_rng(seed)
        return {
            "image": rng.integers(0, 256, (lanes, 224, 224, 3), dtype=np.uint8),
            "instruction": list(texts or [TEXTS[lane % len(TEXTS)] for lane in range(lanes)]),
            "state": np.zeros((lanes, 4), dtype=np.float32),
        }

    return make


@pytest.fixture
def start():
    """Reset all lanes of a policy."""

    def reset(policy, lanes: int):
        policy.reset(np.ones(lanes, dtype=bool), np.arange(lanes, dtype=np.int64))
        return policy

    return reset
