"""Small untrained models of every preset, made once."""

import importlib.util

import pytest
from policy_fakes import TEXTS

# They need the extra `vla`, which is tried on CPython 3.11 and newer.
if importlib.util.find_spec("transformers") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def vla_tokenizer():
    from vla_sim.policies.models.texts import kosmos2_prompt
    from vla_sim.policies.tokenizer import InstructionTokenizer

    return InstructionTokenizer.trained([*TEXTS, *map(kosmos2_prompt, TEXTS)], vocab_size=300)


@pytest.fixture(scope="session")
def build(vla_tokenizer):
    """A model of a small preset with changes, the same weights for the same arguments."""
    import torch

    from vla_sim.policies.models.model import VlaModel
    from vla_sim.policies.models.presets import preset

    def make(name: str = "clip-small", **changes):
        torch.manual_seed(7)
        small = {"fusion": {"channels": 16, "readout": 4, "feature_dim": 32}, "head": {"hidden": 16}}
        return VlaModel(preset(name, vocab_size=vla_tokenizer.vocab_size, **{**small, **changes})).eval()

    return make


@pytest.fixture(scope="session")
def read(vla_tokenizer):
    """Token rows of texts for a model."""
    from vla_sim.policies.models.texts import TextReader

    def rows(model, texts):
        return TextReader.small(vla_tokenizer, [w.name for w in model.backbone.widths]).read(texts)

    return rows
