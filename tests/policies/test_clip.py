import numpy as np
import pytest
import torch
from policy_fakes import SIZES, TEXTS

from vla_sim.policies.clip import Backbone, ClipConfig, PlainClip, open_clip_model
from vla_sim.policies.images import shrink
from vla_sim.policies.registry import load_policy
from vla_sim.training.behaviour_cloning import fresh_model

LEARNED = ["clip_lstm", "clip_mlp", "ensemble"]


@pytest.fixture
def load(untrained_root):
    return lambda name: load_policy(str(untrained_root / name))


@pytest.fixture
def model(tokenizer):
    return fresh_model(tokenizer, seed=1, **SIZES).eval()


def test_plain_clip_computes_what_open_clip_does_from_the_same_weights(model, tokenizer):
    plain = PlainClip(model.config).eval()
    plain.load_state_dict(model.backbone.clip.state_dict())
    ids, pixels = torch.from_numpy(tokenizer.encode([*TEXTS, ""])), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(plain.encode_text(ids), model.backbone.clip.encode_text(ids), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(plain.visual(pixels), model.backbone.clip.encode_image(pixels))


def test_the_trained_network_is_an_open_clip_clip(model):
    from open_clip.model import CLIP

    assert isinstance(model.backbone.clip, CLIP)


def test_folding_batch_norms_changes_nothing(model, tokenizer):
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "norm.running" in name:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    folded = Backbone(model.config, PlainClip(model.config))
    folded.load_state_dict(model.backbone.state_dict())
    folded.fold()
    pixels, ids = torch.randn(4, 3, 32, 32), torch.from_numpy(tokenizer.encode(TEXTS))
    with torch.no_grad():
        expected = model.backbone.features(pixels, *model.backbone.language(ids))
        torch.testing.assert_close(folded.features(pixels, *folded.language(ids)), expected, atol=1e-5, rtol=1e-4)
        assert expected.abs().max() > 0.1


def test_driving_step_by_step_gives_what_training_computes_for_the_whole_episode(model, tokenizer, tmp_path, observe):
    from vla_sim.training.export import export_policies

    export_policies(model, tokenizer, tmp_path, action_names=("vx", "vy"), action_scale=0.5, facts={})
    steps = [observe(2, seed) for seed in range(4)]
    small = np.stack([shrink(step["image"], 32) for step in steps], axis=1)
    mask = torch.ones(2, 4, dtype=torch.bool)
    pixels = model.backbone.normalised(torch.from_numpy(small.reshape(8, 32, 32, 3)))
    with torch.no_grad():
        heads = model(pixels, torch.from_numpy(tokenizer.encode(TEXTS[:2])), mask)[:2]
    for name, expected in zip(("clip_lstm", "clip_mlp"), heads, strict=True):
        policy = load_policy(str(tmp_path / name))
        policy.reset(np.ones(2, dtype=bool), np.arange(2))
        driven = np.stack([policy.act(step) for step in steps], axis=1)
        np.testing.assert_allclose(driven, expected.view(2, 4, 2).clamp(-1, 1) * 0.5, atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_a_lane_does_not_depend_on_what_other_lanes_hold(name, load, observe, start):
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
def test_one_lane_alone_drives_nearly_as_among_eight(name, load, observe, start):
    alone, among = start(load(name), 1), start(load(name), 8)
    for seed in range(3):
        many = observe(8, seed)
        one = {key: value[2:3] for key, value in many.items()}
        np.testing.assert_allclose(alone.act(one)[0], among.act(many)[2], atol=1e-5)


@pytest.mark.parametrize("name", LEARNED)
def test_reset_forgets_its_lane_and_no_other(name, load, observe, start):
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


def test_a_lane_that_once_held_nan_is_clean_after_reset(load, observe, start):
    policy, fresh = start(load("clip_lstm"), 1), start(load("clip_lstm"), 1)
    policy.decide([torch.full((1, 32), float("nan"))])
    policy.reset(np.array([True]), np.array([0]))
    assert np.array_equal(policy.act(observe(1)), fresh.act(observe(1)))


def test_act_for_other_lanes_than_reset_is_refused(load, observe, start):
    with pytest.raises(ValueError, match="reset was called for 2 lanes, act for 3"):
        start(load("clip_mlp"), 2).act(observe(3))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"vocab_size": 300, "width": 3}, "unknown key model.width"),
        ({}, "vocab_size is missing"),
        ({"vocab_size": 300, "image_px": 100}, "multiple of 16"),
        ({"vocab_size": 300, "channels": [8, 8]}, "three numbers"),
        ({"vocab_size": 300, "text_heads": 3}, "text_heads"),
        ({"vocab_size": "many"}, "vocab_size"),
    ],
)
def test_sizes_that_make_no_network_are_refused(table, message):
    with pytest.raises(ValueError, match=message):
        ClipConfig.from_table(table)


def test_shrinking_keeps_flat_colours_and_is_the_same_for_each_picture():
    flat = np.full((2, 224, 224, 3), (10, 100, 250), dtype=np.uint8)
    assert (shrink(flat, 96) == (10, 100, 250)).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    small = shrink(images, 96)
    assert small.shape == (3, 96, 96, 3)
    assert np.array_equal(shrink(images[1:2], 96)[0], small[1])
    assert shrink(small, 96) is small


def test_open_clip_model_has_no_image_tower_but_ours():
    clip = open_clip_model(ClipConfig(vocab_size=300, **SIZES))
    assert type(clip.visual).__name__ == "ConvTower"
