import json

import numpy as np
import pytest
import torch
from policy_fakes import SIZES, TEXTS

from vla_sim.policies.folders import PolicyError, PolicyFolder
from vla_sim.policies.images import shrink
from vla_sim.policies.models import legacy
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.conv_clip import SmallClip
from vla_sim.policies.models.specs import ConvClipSpec
from vla_sim.policies.models.text_batch import picked
from vla_sim.policies.registry import load_policy
from vla_sim.training.warm_start import fresh

LEARNED = ["clip_lstm", "clip_mlp", "ensemble"]


@pytest.fixture
def load(untrained_root):
    return lambda name: load_policy(str(untrained_root / name))


@pytest.fixture
def begun(tokenizer):
    made = fresh(tokenizer, seed=1, **SIZES)
    made.members.eval()
    return made


def open_clip_of(spec, context_length):
    """open_clip's own model of these sizes; its image tower is replaced by ours, which it cannot have."""
    from vla_sim.policies.torchvision_shim import make_torchvision_importable

    make_torchvision_importable()
    from open_clip.model import CLIP

    vision = {"layers": 1, "width": 8, "head_width": 8, "image_size": 8, "patch_size": 8}
    text = {"context_length": context_length, "vocab_size": spec.vocab_size, "width": spec.text_width}
    clip = CLIP(spec.embed_dim, vision, {**text, "heads": spec.text_heads, "layers": spec.text_layers})
    clip.visual = SmallClip(spec, context_length).visual
    return clip.eval()


def test_the_small_clip_computes_what_open_clip_does_from_the_same_weights(tokenizer):
    spec = ConvClipSpec(vocab_size=tokenizer.vocab_size, **SIZES)
    theirs = open_clip_of(spec, tokenizer.context_length)
    ours = SmallClip(spec, tokenizer.context_length).eval()
    ours.load_state_dict(theirs.state_dict())
    ids, pixels = torch.from_numpy(tokenizer.encode([*TEXTS, ""])), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode_text(ids), theirs.encode_text(ids), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(ours.visual(pixels), theirs.encode_image(pixels))


def test_its_first_weights_are_spread_as_open_clip_s(tokenizer):
    spec = ConvClipSpec(vocab_size=tokenizer.vocab_size, text_layers=2, **SIZES)
    theirs = open_clip_of(spec, tokenizer.context_length).state_dict()
    for name, tensor in SmallClip(spec, tokenizer.context_length).state_dict().items():
        if tensor.numel() > 1000 and not name.startswith("visual."):
            torch.testing.assert_close(tensor.std(), theirs[name].std(), rtol=0.1, atol=0, msg=name)


def test_folding_batch_norms_changes_nothing(beginning):
    import copy

    plain = copy.deepcopy(beginning.members.parts[0]).eval()
    folded = copy.deepcopy(plain)
    folded.ready()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    tokens = beginning.members.facts[0].reader.read(TEXTS)
    with torch.no_grad():
        (expected,), (found,) = (part(images, part.encode_text(tokens)) for part in (plain, folded))
        torch.testing.assert_close(found.image, expected.image, atol=1e-5, rtol=1e-4)
        assert expected.image.abs().max() > 0.1


def test_driving_step_by_step_gives_what_training_computes_for_the_whole_episode(begun, tmp_path, observe):
    from vla_sim.training.export import export_policies

    export_policies(begun.members, begun, tmp_path, {})
    steps = [observe(2, seed) for seed in range(4)]
    small = np.stack([shrink(step["image"], 32) for step in steps], axis=1)
    mask = torch.ones(2, 4, dtype=torch.bool)
    tokens = begun.members.facts[0].reader.read(TEXTS[:2])
    backbone = begun.members.parts[0]
    with torch.no_grad():
        language = picked(backbone.encode_text(tokens), mask.nonzero()[:, 0])
        heads = begun.members(backbone(torch.from_numpy(small.reshape(8, 32, 32, 3)), language), mask)
    for name, expected in zip(("clip_lstm", "clip_mlp"), heads, strict=True):
        policy = load_policy(str(tmp_path / name))
        policy.reset(np.ones(2, dtype=bool), np.arange(2))
        driven = np.stack([policy.act(step) for step in steps], axis=1)
        np.testing.assert_allclose(driven, expected.outputs[:, :, 0].clamp(-1, 1) * 0.5, atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_folders_of_version_0_1_drive_bit_for_bit(name, untrained_root, legacy_root, observe, start):
    new, old = (start(load_policy(str(root / name)), 3) for root in (untrained_root, legacy_root))
    for seed in range(4):
        assert np.array_equal(new.act(observe(3, seed)), old.act(observe(3, seed)))


@pytest.mark.parametrize("name", LEARNED)
def test_a_env_does_not_depend_on_what_other_envs_hold(name, load, observe, start):
    first, second = start(load(name), 8), start(load(name), 8)
    for seed in range(3):
        one, other = observe(8, seed), observe(8, seed + 100)
        other["image"][5], other["instruction"] = one["image"][5], ["something else entirely"] * 8
        other["instruction"][5] = one["instruction"][5]
        assert np.array_equal(first.act(one)[5], second.act(other)[5])


@pytest.mark.parametrize("name", LEARNED)
def test_same_observations_give_the_same_actions_again(name, load, observe, start):
    runs = []
    for policy in (load(name), load(name)):
        start(policy, 4)
        runs.append(np.stack([policy.act(observe(4, seed)) for seed in range(3)]))
    assert np.array_equal(*runs)


@pytest.mark.parametrize("name", LEARNED)
def test_one_env_alone_drives_nearly_as_among_eight(name, load, observe, start):
    alone, among = start(load(name), 1), start(load(name), 8)
    for seed in range(3):
        many = observe(8, seed)
        one = {key: value[2:3] for key, value in many.items()}
        np.testing.assert_allclose(alone.act(one)[0], among.act(many)[2], atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_reset_forgets_its_env_and_no_other(name, load, observe, start):
    used, fresh, untouched = (start(load(name), 2) for _ in range(3))
    for seed in range(3):
        used.act(observe(2, seed))
        untouched.act(observe(2, seed))
    used.reset(np.array([True, False]), np.zeros(2, dtype=np.int64))
    now = observe(2, 9)
    actions = used.act(now)
    assert np.array_equal(actions[0], fresh.act(now)[0])
    assert np.array_equal(actions[1], untouched.act(now)[1])


def test_the_lstm_remembers_and_the_mlp_does_not(load, observe, start):
    for name, remembers in (("clip_lstm", True), ("clip_mlp", False)):
        policy = start(load(name), 1)
        before = policy.act(observe(1, 0))
        policy.act(observe(1, 1))
        assert np.array_equal(policy.act(observe(1, 0)), before) is not remembers


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize(("one", "other"), [("on the left", "on the right"), ("왼쪽", "오른쪽"), ("", "zebra")])
def test_language_reaches_the_action(name, one, other, load, observe, start):
    picture = observe(1)
    actions = [start(load(name), 1).act({**picture, "instruction": [text]}) for text in (one, other)]
    assert np.abs(actions[0] - actions[1]).max() > 1e-5


@pytest.mark.parametrize("name", LEARNED)
def test_actions_are_float32_of_the_spec_s_shape_within_the_scale(name, load, observe, start):
    policy = start(load(name), 3)
    actions = policy.act(observe(3))
    assert actions.dtype == np.float32
    assert actions.shape == (3, len(policy.spec.action_names))
    assert np.abs(actions).max() <= 0.5
    assert policy.spec.image_px == (224, 224)
    assert not policy.spec.requires_privileged_info


def test_a_env_that_once_held_nan_is_clean_after_reset(load, observe, start):
    policy, fresh = start(load("clip_lstm"), 1), start(load("clip_lstm"), 1)
    policy._state = tuple(torch.full_like(part, float("nan")) for part in policy._state)
    policy.reset(np.array([True]), np.array([0]))
    assert np.array_equal(policy.act(observe(1)), fresh.act(observe(1)))


def test_act_for_other_envs_than_reset_is_refused(load, observe, start):
    with pytest.raises(ValueError, match="reset was called for 2 envs, act for 3"):
        start(load("clip_mlp"), 2).act(observe(3))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"vocab_size": 300, "width": 3}, "conv_clip.width is not a known key"),
        ({}, "vocab_size is missing"),
        ({"vocab_size": 300, "image_px": 100}, "multiple of 16"),
        ({"vocab_size": 300, "channels": [8, 8]}, "three numbers"),
        ({"vocab_size": 300, "text_heads": 3}, "text_heads"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"vocab_size": 300, "text_layers": 10**10}, "text_layers must be at most 1000"),
        ({"vocab_size": 300, "feature_dim": 10**10}, "feature_dim must be at most"),
    ],
)
def test_sizes_that_make_no_network_are_refused(table, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        VlaConfig(backbone="conv_clip", conv_clip=table)
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "type": "clip_backbone", "model": table}))
    with pytest.raises(PolicyError, match=message.replace("conv_clip", "model")):
        legacy.backbone_config(PolicyFolder.read(tmp_path))


@pytest.mark.parametrize("key", ["fusion", "resampler"])
def test_what_it_does_by_itself_cannot_be_asked_for(key):
    with pytest.raises(ValueError, match="it fuses itself"):
        VlaConfig(backbone="conv_clip", conv_clip={"vocab_size": 300}, **{key: {}})


def test_shrinking_keeps_flat_colours_and_is_the_same_for_each_picture():
    flat = np.full((2, 224, 224, 3), (10, 100, 250), dtype=np.uint8)
    assert (shrink(flat, 96) == (10, 100, 250)).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    small = shrink(images, 96)
    assert small.shape == (3, 96, 96, 3)
    assert np.array_equal(shrink(images[1:2], 96)[0], small[1])
    assert shrink(small, 96) is small
