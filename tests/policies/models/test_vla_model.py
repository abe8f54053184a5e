import pytest
import torch
from policy_fakes import TEXTS

from vla_sim.core.errors import UserError
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.hub import CLIPModel, Kosmos2Config, Kosmos2Model
from vla_sim.policies.models.loading import load_model, save_policy
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.presets import PRESETS, preset, with_pretrained
from vla_sim.policies.models.text_batch import picked

SMALL = [name for name in PRESETS if name.endswith("-small")]
RESAMPLER = {"queries": 5, "width": 24, "heads": 2, "head_width": 8, "depth": 2}
VARIANTS = [
    {"normalisation": "bottleneck"},
    {"normalisation": "l2", "resampler": {"kind": "perceiver", **RESAMPLER}},
    {"resampler": {"kind": "mobile", **RESAMPLER}, "normalisation": "bottleneck"},
    {"resampler": {"kind": "mobile", **RESAMPLER, "queries": 4, "placed": True}},
    {"fusion": {"kind": "pooled", "channels": 16, "feature_dim": 32}},
    {"head": {"kind": "gpt2", "hidden": 16, "window": 3}},
    {"head": {"kind": "discrete", "hidden": 16}},
    {"head": {"kind": "mlp", "codec": "bins", "hidden": 16, "bins": 5}},
    {"action": {"names": ["vx", "vy", "wz"], "scale": [0.5, 0.5, 1.0], "horizon": 4}},
]


def pictures(number, seed=0):
    return torch.randint(0, 256, (number, 96, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def actions(model, images, tokens):
    features = model.features(images, model.encode_text(tokens))
    return model.head.step(features, model.head.initial_state(len(images)))[0]


@pytest.mark.parametrize(("name", "changes"), [*((n, {}) for n in SMALL), *(("clip-small", v) for v in VARIANTS)])
def test_saving_and_loading_gives_equal_outputs(name, changes, build, read, tmp_path):
    model = build(name, **changes)
    save_policy(model, {}, tmp_path)
    again = load_model(PolicyFolder.read(tmp_path)).eval()
    images, tokens = pictures(2), read(model, TEXTS[:2])
    assert torch.equal(actions(again, images, tokens), actions(model, images, tokens))
    for part in ("action_spec", "head_spec", "fusion_spec", "resampler_spec", "ids_around_pictures", "normalisation"):
        assert getattr(again.config, part) == getattr(model.config, part)


@pytest.mark.parametrize("name", SMALL)
def test_half_precision_is_kept_and_drives_alike(name, build, read, tmp_path):
    model = build(name)
    save_policy(build(name).to(torch.bfloat16), {}, tmp_path)
    half = load_model(PolicyFolder.read(tmp_path)).eval()
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    images, tokens = pictures(2), read(model, TEXTS[:2])
    torch.testing.assert_close(
        actions(half, images, tokens).float(), actions(model, images, tokens), atol=0.05, rtol=0.1
    )


@pytest.mark.parametrize("name", SMALL)
def test_one_picture_alone_gives_what_it_gives_among_eight(name, build, read):
    model = build(name)
    images, tokens = pictures(8), read(model, [TEXTS[n % len(TEXTS)] for n in range(8)])
    one = torch.tensor([5])
    torch.testing.assert_close(
        actions(model, images[one], picked(tokens, one)), actions(model, images, tokens)[one], atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("kind", ["spatial", "pooled"])
def test_swapping_the_instruction_changes_the_action(name, kind, build, read):
    model = build(name, fusion={"kind": kind, "channels": 16, "feature_dim": 32})
    image = pictures(1).expand(2, -1, -1, -1)
    left, right = actions(model, image, read(model, TEXTS[:2]))
    assert (left - right).abs().max() > 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_small_models_have_one_to_three_million_parameters(name):
    model = VlaModel(preset(name, vocab_size=800))
    assert 1e6 < sum(weight.numel() for weight in model.parameters()) < 3e6


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_of_training_teach_it_to_obey_the_instruction(name, build, read):
    torch.manual_seed(0)
    model = build(name).train()
    images, tokens = pictures(4), read(model, TEXTS[:2])
    mask = torch.ones(2, 2, dtype=torch.bool)
    target = torch.tensor([[0.5, 0.8], [0.5, -0.8]])[:, None, None].expand(2, 2, 1, 2)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3)
    for _ in range(60):
        output = model(images[[0, 1, 0, 1]], tokens, mask)
        loss = model.loss(output.outputs, target, mask[..., None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1
    assert output.where.shape == (4, 36)
    assert not [n for n, w in model.head.named_parameters() if w.grad is None]


def test_a_frozen_backbone_gets_no_gradient(build, read):
    model = build("clip-small").train()
    model.backbone.requires_grad_(False)
    output = model(pictures(2), read(model, TEXTS[:1]), torch.ones(1, 2, dtype=torch.bool))
    output.outputs.sum().backward()
    with_gradient = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert with_gradient == {"fusion", "head"}


@pytest.mark.parametrize("name", SMALL)
def test_gradient_checkpointing_gives_the_same_gradients(name, build, read):
    gradients = []
    for checkpointing in (False, True):
        model = build(name).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(pictures(2), read(model, TEXTS[:1]), torch.ones(1, 2, dtype=torch.bool)).outputs.sum().backward()
        gradients.append([w.grad for w in model.backbone.parameters() if w.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_kosmos2_features_are_those_of_transformers_own_forward(build, read):
    from vla_sim.policies.models.stem import prepared

    model = build("kosmos2-small")
    backbone, images, tokens = model.backbone, pictures(2), read(model, ["go", TEXTS[0]])
    ids, mask = tokens["kosmos2.ids"], tokens["kosmos2.mask"]
    with torch.inference_mode():
        ours = backbone(images, backbone.encode_text(tokens))[0]
        theirs = backbone.kosmos2(pixel_values=prepared(images, 96), **backbone.inputs(ids, mask))
    torch.testing.assert_close(ours.tokens, theirs.last_hidden_state[:, -48:])
    said = ours.tokens[0][mask[0]]
    torch.testing.assert_close(ours.text[0], torch.cat([said.mean(dim=0), said[-1]]))
    assert ours.patches.shape == (2, 36, 128)


@pytest.mark.parametrize("name", SMALL)
def test_padding_never_reaches_what_is_read(name, build, read):
    model = build(name)
    tokens = read(model, ["go"])
    other = dict(tokens)
    for part in [part for part in tokens if part.endswith(".ids")]:
        other[part] = torch.where(tokens[part.replace(".ids", ".mask")], tokens[part], 5)
    torch.testing.assert_close(actions(model, pictures(1), tokens), actions(model, pictures(1), other))


@pytest.mark.parametrize(("name", "kind"), [("kosmos2", Kosmos2Model), ("clip", CLIPModel)])
def test_full_sizes_have_transformers_own_names_and_shapes(name, kind):
    config = preset(name)
    with torch.device("meta"):
        ours, theirs = VlaModel(config), kind(getattr(config, name))
    inside = {key.removeprefix(f"backbone.{name}."): t for key, t in ours.state_dict().items() if name in key}
    assert {key: t.shape for key, t in inside.items()} == {key: t.shape for key, t in theirs.state_dict().items()}


def test_full_kosmos2_has_exactly_the_published_parameters_and_names():
    from transformers import Kosmos2ForConditionalGeneration

    with torch.device("meta"):
        backbone = VlaModel(preset("kosmos2")).backbone
        published = Kosmos2ForConditionalGeneration(Kosmos2Config())
    assert sum(weight.numel() for weight in backbone.parameters()) == 1_664_485_376
    # The language head is tied to the embedding, so the published file has nothing that we lack.
    names = {name for name, _ in published.named_parameters()}
    assert {f"kosmos2.{name}" for name in names} == {name for name, _ in backbone.named_parameters()}


@pytest.mark.parametrize("name", ["kosmos2", "clip"])
def test_missing_pretrained_weights_are_answered_with_what_to_do(name, build, tmp_path):
    config = build(f"{name}-small", stem_channels=()).config
    with pytest.raises(UserError, match=r"cannot be used.*local folder with config.json and model.safetensors"):
        with_pretrained(config, {name: tmp_path / "nowhere"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="small models need none"):
        with_pretrained(config, {name: tmp_path / "empty"})
    with pytest.raises(UserError, match="allow the download"):
        with_pretrained(config)


@pytest.mark.parametrize("name", ["kosmos2", "clip", "both"])
def test_pretrained_weights_from_a_local_folder_arrive_unchanged(name, build, read, tmp_path):
    other = build(f"{name}-small", stem_channels=())
    for part, kind in (("kosmos2", Kosmos2Model), ("clip", CLIPModel)):
        for module in other.modules():
            if isinstance(getattr(module, part, None), kind):
                getattr(module, part).save_pretrained(tmp_path / part)
    sources = {part.name: tmp_path / part.name for part in other.backbone.widths}
    torch.manual_seed(1)
    model = with_pretrained(other.config, sources).eval()
    tokens = read(model, TEXTS[:2])
    with torch.inference_mode():
        one, two = (m.backbone(pictures(2), m.encode_text(tokens)) for m in (model, other))
    for mine, theirs in zip(one, two, strict=True):
        assert torch.equal(mine.patches, theirs.patches)
        assert torch.equal(mine.text, theirs.text)
    assert not torch.equal(model.head.out.weight, other.head.out.weight)


def test_unknown_names_are_answered_with_the_nearest(build):
    with pytest.raises(UserError, match="did you mean 'kosmos2-small'"):
        preset("kosmos-small")
    with pytest.raises(UserError, match="did you mean 'kosmos2'"):
        with_pretrained(build().config, {"kosmos": "x"})
    with pytest.raises(UserError, match="leave out stem_channels"):
        with_pretrained(build().config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "klip"}, "backbone must be one of"),
        ({"normalisation": "l3"}, "normalisation must be empty or one of"),
        ({"backbone": "kosmos2", "normalisation": "l2"}, "is for CLIP"),
        ({"backbone": "kosmos2", "clip": {}}, "clip must be left out"),
        ({"head": {"kind": "lstn"}}, "head.kind must be one of"),
        ({"head": {"hiden": 3}}, "head.hiden is not a known key; did you mean 'hidden'"),
        ({"head": {"hidden": 0}}, "head.hidden must be a positive"),
        ({"head": {"kind": "discrete"}, "action": {"names": ["vx", "vy", "wz"], "scale": [1, 1, 1]}}, "take 'bins'"),
        ({"action": {"names": ["vy", "vx"]}}, "action.names"),
        ({"action": {"scale": [0.5]}}, "action.scale must be one positive number for each"),
        ({"fusion": {"kind": "sum"}}, "fusion.kind"),
        ({"resampler": {"width": 10}}, "resampler.heads must divide width 10"),
        ({"stem_channels": [0]}, "stem_channels"),
        ({"context_length": 0}, "context_length"),
        ({"context_length": 78}, "context_length must be at most 77"),
        ({"backbone": "kosmos2", "prompt_ids": {"bos": 65037}}, "prompt_ids.bos must lie between 0 and 65036"),
        ({"prompt_ids": {"bos": 1, "boi": 2}}, "prompt_ids.boi is not a known key"),
    ],
)
def test_configs_that_make_no_model_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        VlaConfig(**changes)


def test_a_stem_that_does_not_fit_the_patches_is_refused(build):
    with pytest.raises(ValueError, match="make patches of 8 pixels; patch_size is 16"):
        build(stem_channels=(8, 8))
