"""Small backbones, and checkpoint files in the users' layouts with policy folders around them."""

import importlib.util
import json

import numpy as np
import pytest
from user_files import CONFIGS, PLACES, SIDE_PX, SUFFIX, TEXTS, contents

if importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def tokenizer():
    from vla_sim.policies.tokenizer import InstructionTokenizer

    return InstructionTokenizer.trained(TEXTS, vocab_size=300, context_length=PLACES)


@pytest.fixture(scope="session")
def configs():
    from vla_sim.policies.models.hub import CLIPConfig, Kosmos2Config

    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE_PX,
        "patch_size": 8,
    }
    kosmos_text = {
        "vocab_size": 303,
        "embed_dim": 32,
        "layers": 2,
        "ffn_dim": 48,
        "attention_heads": 4,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "bos_token_id": 300,
        "eos_token_id": 299,
        **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.1),
    }
    clip_text = {
        "hidden_size": 20,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 300,
        "max_position_embeddings": PLACES,
        "projection_dim": 16,
        "pad_token_id": 0,
        "bos_token_id": 299,
        "eos_token_id": 299,
    }
    return {
        "kosmos2": Kosmos2Config(text_config=kosmos_text, vision_config=vision, latent_query_num=4),
        "clip": CLIPConfig(
            text_config=clip_text, vision_config={**vision, "hidden_size": 24, "projection_dim": 16}, projection_dim=16
        ),
    }


@pytest.fixture(scope="session")
def sources(tmp_path_factory, configs, tokenizer):
    """Folders with sizes and tokenizer of each backbone, without weights."""
    root = tmp_path_factory.mktemp("sources")
    for name, config in configs.items():
        config.save_pretrained(root / name)
        tokenizer.save(root / name / "tokenizer.json")
    return root


@pytest.fixture
def original(configs):
    """An original network with weights that are far from zero, the same for the same arguments."""
    import originals
    import torch

    def make(name, **sizes):
        torch.manual_seed(11)
        network = getattr(originals, name)(configs["kosmos2"], configs["clip"], **sizes).eval()
        with torch.no_grad():
            for weight, parameter in network.named_parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
                # Else four layers of an LSTM give almost the same for all images and texts.
                if any(part in weight for part in ("lstm.", "rnn.", "act_head.")):
                    parameter.mul_(4)
        return network

    return make


@pytest.fixture
def written(tmp_path, sources):
    """Write a checkpoint and its config.json; gives the folder."""
    import torch

    def write(name, network=None, whole=None, folder="mine", **changes):
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        file = f"{name.lower()}_epoch_3.{SUFFIX.get(name, 'pth')}"
        torch.save(contents(name, network) if whole is None else whole, path / file)
        parts = CONFIGS[name]["pictures"]
        config = {
            "format": 1,
            "type": "checkpoint",
            "file": file,
            "context_length": PLACES,
            "backbones": {part: str(sources / part) for part in parts},
            "prompt_ids": {"bos": 300, "image": 301, "image_end": 302},
            **CONFIGS[name],
        }
        config = {key: value for key, value in {**config, **changes}.items() if value is not None}
        (path / "config.json").write_text(json.dumps(config))
        return path

    return write


@pytest.fixture
def observe():
    """Observations of envs from a seed, at the resolution of the small backbones."""

    def make(num_envs=1, seed=0, texts=None):
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, (num_envs, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        return {
            "image": images,
            "instruction": list(texts or [TEXTS[env_index % len(TEXTS)] for env_index in range(num_envs)]),
        }

    return make


@pytest.fixture
def drive():
    """Actions (steps, envs, A) of a policy folder over observations."""

    def run(policy, observations):
        num_envs = len(observations[0]["image"])
        policy.reset(np.ones(num_envs, dtype=bool), np.arange(num_envs))
        return np.stack([policy.act(observation) for observation in observations])

    return run
