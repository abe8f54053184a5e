"""Any model of open_clip_torch as a backbone. Models here are small and random: no hub is asked."""

import json
import pickle
import socket

import numpy as np
import pytest
import torch
from policy_fakes import TEXTS
from safetensors.torch import save_file

from vla_sim.core.errors import UserError
from vla_sim.policies.folders import PolicyError
from vla_sim.policies.models.config import VlaConfig
from vla_sim.policies.models.loading import save_policy
from vla_sim.policies.models.model import VlaModel
from vla_sim.policies.models.open_clip import OpenClipTokenizer, open_clip_sizes, read_open_clip_file
from vla_sim.policies.models.presets import open_clip_policy, with_pretrained
from vla_sim.policies.models.specs import OpenClipSpec
from vla_sim.policies.registry import load_policy

TEXT = {"context_length": 48, "vocab_size": 300, "width": 32, "heads": 2, "layers": 1}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": TEXT,
}
RESNET = {"embed_dim": 24, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT}
CUSTOM = {**VIT, "custom_text": True}
KINDS = {"vit": VIT, "resnet": RESNET, "custom_text": CUSTOM}
FUSION = {"channels": 16, "readout": 4, "feature_dim": 32}


def model_of(sizes, **changes):
    torch.manual_seed(3)
    fields = {"fusion": FUSION, "head": {"hidden": 16}, **changes}
    return VlaModel(VlaConfig(backbone="open_clip", open_clip={"sizes": sizes}, context_length=48, **fields)).eval()


@pytest.fixture
def saved(tmp_path, vla_tokenizer):
    """The folder of a policy on such a model."""

    def make(sizes=VIT, **changes):
        vla_tokenizer.save(tmp_path / "tokenizer.json")
        save_policy(model_of(sizes, **changes), {"tokenizer.json": tmp_path / "tokenizer.json"}, tmp_path / "mine")
        return tmp_path / "mine"

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_out_what_open_clip_itself_computes(kind, read):
    model = model_of(KINDS[kind])
    side = model.backbone.image_px
    images = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    tokens = read(model, TEXTS[:2])
    inner, spec = model.backbone.open_clip, model.config.open_clip
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    pixels = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    with torch.inference_mode():
        (seen,) = model.backbone(images, model.encode_text(tokens))
        torch.testing.assert_close(seen.image, inner.encode_image(pixels))
        torch.testing.assert_close(seen.text, inner.encode_text(tokens["open_clip.ids"]))
    (widths,) = model.backbone.widths
    assert seen.patches.shape == (2, widths.patches, widths.vision)
    assert seen.image.shape[1] == widths.image


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_drives_alike_without_any_network(kind, saved, observe, start, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("loading a folder asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    first, again = (start(load_policy(str(saved(KINDS[kind]))), 2) for _ in range(2))
    actions = first.act(observe(2))
    np.testing.assert_array_equal(actions, again.act(observe(2)))
    other = first.act({**observe(2), "instruction": TEXTS[:2][::-1]})
    assert np.abs(actions - other).max() > 1e-6


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_its_checkpoint_files_arrive_unchanged(kind, suffix, tmp_path):
    state = {k: v.contiguous() for k, v in model_of(KINDS[kind]).backbone.open_clip.state_dict().items()}
    path = tmp_path / f"open_clip_model{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    elif suffix == ".pt":  # as its own training saves it
        torch.save({"epoch": 3, "name": "x", "state_dict": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        torch.save(state, path)
    torch.manual_seed(9)
    config = VlaConfig(backbone="open_clip", open_clip={"sizes": KINDS[kind]}, fusion=FUSION)
    found = with_pretrained(config, {"open_clip": path}).backbone.open_clip.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["pickle", "objects", "empty", "other", "nan", "cut"])
def test_hostile_and_wrong_files_are_refused_in_words(content, tmp_path):
    model = model_of(VIT).backbone.open_clip
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    path, trace = tmp_path / "weights.pt", tmp_path / "exploded"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Bomb(trace)))
    elif content == "objects":
        torch.save({"state_dict": state, "args": Bomb(trace)}, path)
    elif content == "empty":
        path.write_bytes(b"")
    elif content == "other":
        torch.save(model_of({**VIT, "embed_dim": 8}).backbone.open_clip.state_dict(), path)
    elif content == "nan":
        torch.save({**state, "text_projection": state["text_projection"] * float("nan")}, path)
    else:
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError):
        read_open_clip_file(path, model)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": "ViT-B-23"}, "unknown open_clip.model 'ViT-B-23'; did you mean 'ViT-B-32"),
        ({"model": "xlm-roberta-base-ViT-B-32"}, "needs files of a hub"),
        ({"model": "coca_ViT-B-32"}, "needs files of a hub"),
        ({"sizes": {"embed_dim": 3}}, "must have embed_dim, vision_cfg and text_cfg"),
        ({"sizes": {**VIT, "embed_dim": 10**10}}, "embed_dim must be at most"),
        ({"sizes": {**VIT, "text_cfg": {**TEXT, "layers": 10**6}}}, "layers must be at most 1000"),
        ({"sizes": {**VIT, "text_cfg": {**TEXT, "colour": 3}}}, "no network can be built"),
        ({"sizes": {**VIT, "vision_cfg": {**VIT["vision_cfg"], "patch_size": 0}}}, "no network can be built"),
        ({"modell": "x"}, "open_clip.modell is not a known key; did you mean 'model'"),
        ({}, "open_clip.model must be a name"),
    ],
)
def test_configs_that_make_no_tower_are_refused(table, message, saved):
    folder = saved()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "open_clip": table}))
    with pytest.raises(PolicyError, match=message):
        load_policy(str(folder))


def test_a_name_stands_for_open_clip_s_own_sizes_and_tokenizer():
    sizes = open_clip_sizes(OpenClipSpec("ViT-B-32"))
    assert sizes["vision_cfg"]["patch_size"] == 32
    with torch.device("meta"):
        model = VlaModel(VlaConfig(backbone="open_clip", open_clip={"model": "ViT-B-32"}))
    assert model.backbone.widths[0].patches == 49
    ids, mask = OpenClipTokenizer(77).read(["Pass the box on the left.", "go"])
    assert ids.shape == (2, 77)
    assert (ids.argmax(dim=1) + 1 == mask.sum(dim=1)).all()


def test_a_head_on_it_is_trained_like_any_other(saved, tmp_path):
    from vla_sim.datasets.demonstrations import Demonstrations
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.warm_start import begin_with

    begun = begin_with(str(saved()))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 2, 32, 32, 3), dtype=np.uint8)
    actions = np.full((4, 2, 2), 0.3, dtype=np.float32)
    part = Demonstrations(images, [[text] for text in TEXTS], actions, np.ones((4, 2), dtype=bool))
    trainer = Trainer(begun, TrainConfig(batch_episodes=4, warmup_steps=1), tmp_path / "run")
    trainer.add(part)
    before = {name: tensor.clone() for name, tensor in begun.members.parts[0].state_dict().items()}
    first = trainer.validate(part)["loss_mine"]
    trainer.run("clone", steps=15)
    assert trainer.validate(part)["loss_mine"] < first
    assert all(torch.equal(before[name], tensor) for name, tensor in begun.members.parts[0].state_dict().items())
    trainer.export(tmp_path / "out")
    load_policy(str(tmp_path / "out" / "mine"))


def test_a_policy_on_a_tower_and_its_file_drives_with_open_clip_s_own_tokenizer(tmp_path, observe, start):
    sizes = {**VIT, "text_cfg": {**TEXT, "vocab_size": 49408, "context_length": 24}}
    torch.save(model_of(sizes).backbone.open_clip.state_dict(), tmp_path / "tower.pt")
    changes = {"open_clip": {"model": "mine", "sizes": sizes}, "fusion": FUSION}
    folder = open_clip_policy("mine", tmp_path / "tower.pt", tmp_path / "policy", **changes)
    policy = start(load_policy(str(folder)), 2)
    first = policy.act(observe(2))
    assert np.abs(first - policy.act({**observe(2), "instruction": TEXTS[:2][::-1]})).max() > 1e-6
    with pytest.raises(UserError, match="did you mean 'ViT-B-32'"):
        open_clip_policy("ViT-B-33", tmp_path / "tower.pt", tmp_path / "other")
    with pytest.raises(UserError, match="is missing"):
        open_clip_policy("mine", tmp_path / "none.pt", tmp_path / "other", **changes)
