"""Each layout drives as a straightforward forward pass of the original does."""

import numpy as np
import pytest
import torch
from user_files import CONFIGS

from vla_sim.policies.registry import load_policy

# What the networks read, written down once more: factor, mean, deviation of pixels 0..255.
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
IMAGES = {
    "unit": lambda x: x / 255,
    "imagenet": lambda x: (x / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225]),
    "clip": lambda x: (x / 255 - np.array(CLIP[0])) / np.array(CLIP[1]),
    "clip_twice": lambda x: (x / 255 / 255 - np.array(CLIP[0])) / np.array(CLIP[1]),
}
CASES = [
    ("MobileVla", {}),
    ("MobileVla", {"window": 4, "chunk": 1, "actions": 2}),
    ("NormalisedHybrid", {}),
    ("NormalisedHybrid", {"kind": "adaptive"}),
    ("NormalisedHybrid", {"actions": 3}),
    ("NormalisedHybrid", {"tokens": 64, "width": 20}),
    ("TokenHybrid", {}),
    ("TokenHybrid", {"tokens": 33}),
    ("ClipMlp", {}),
    ("RoboVlms", {}),
    ("RoboVlms", {"chunk": 1}),
]


@pytest.fixture
def plain(tokenizer):
    """An original network's own outputs for one env of observations, (steps, ...)."""

    @torch.no_grad()
    def outputs(name, network, observations, env_index=0):
        config = CONFIGS[name]
        results = []
        for observation in observations:
            image = observation["image"][env_index].astype(np.float64)
            pixels = {
                part: torch.from_numpy(IMAGES[kind](image)).permute(2, 0, 1)[None].float()
                for part, kind in config["pictures"].items()
            }
            text = config.get("prompt", "{instruction}").replace("{instruction}", observation["instruction"][env_index])
            ids = torch.from_numpy(tokenizer.encode([text])[0])
            kosmos_ids = ids if name == "RoboVlms" else ids[ids != 0]
            results.append(network(pixels, kosmos_ids, ids).reshape(-1, network_width(network)).numpy())
        return np.stack(results)

    return outputs


def network_width(network):
    head = getattr(network, "action_head", None)
    if head is not None:
        return head[-1].out_features
    head = network.act_head
    last = head.logits if hasattr(head, "logits") else head.velocities.mlp[-2]
    return last.out_features // network.chunk


def action_of(count):
    return {"outputs": ["vx", "vy", "wz"][:count], "scale": [1.0] * count, "limit": [100.0] * count}


@pytest.mark.parametrize(("name", "sizes"), CASES, ids=lambda value: str(value))
def test_outputs_are_those_of_the_original(name, sizes, original, written, plain, observe, drive):
    network = original(name, **sizes)
    folder = written(name, network, action=action_of(network_width(network)))
    observations = [observe(3, seed=step) for step in range(5)]
    ours = drive(load_policy(str(folder)), observations)
    for env_index in range(3):
        fresh = original(name, **sizes)
        wanted = plain(name, fresh, observations, env_index)[:, 0]
        np.testing.assert_allclose(ours[:, env_index], wanted, atol=1e-5)
    assert np.ptp(ours[0], axis=0).max() > 2e-4, "what is seen and said changes nothing: the comparison says nothing"


def test_the_selector_drops_tokens_in_these_tests(original, written, observe, drive, monkeypatch):
    """Else the comparison above would not see a wrong selection."""
    from vla_sim.policies.checkpoints.parts import SelectingResampler

    kept = []
    plain_kept = SelectingResampler._kept
    monkeypatch.setattr(SelectingResampler, "_kept", lambda self, t: kept.append(plain_kept(self, t)) or kept[-1])
    for name in ("NormalisedHybrid", "TokenHybrid"):
        drive(load_policy(str(written(name, original(name), folder=name))), [observe(2)])
    assert {len(tokens) for tokens in kept} != {40}


def test_the_benchmark_counts_what_is_in_the_file(original, written):
    from vla_sim.evaluation.benchmark.entries import LEARNED, benchmark_entry

    network = original("ClipMlp")
    path = written("ClipMlp", network)
    found = benchmark_entry(str(path))
    assert found.kind == LEARNED
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert found.size_bytes > 4 * found.parameters
