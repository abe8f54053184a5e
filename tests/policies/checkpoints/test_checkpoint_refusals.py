"""What cannot drive is refused in one sentence, and nothing in a file is ever executed."""

import argparse
import json
import pickle
import zipfile

import originals
import pytest
import torch
from user_files import CONFIGS, contents

from vla_sim.core.errors import UserError
from vla_sim.policies.registry import load_policy

NAMES = tuple(CONFIGS)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


class OwnConfig:
    """A class of the users' code, as in hyper_parameters."""


def refused(folder, match):
    with pytest.raises(UserError, match=match) as caught:
        load_policy(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def file_in(folder):
    return folder / json.loads((folder / "config.json").read_text())["file"]


@pytest.mark.parametrize("key", ["args", "hyper_parameters", "config", "model_state_dict"])
def test_a_hostile_pickle_is_refused_and_nothing_in_it_runs(key, original, written, tmp_path):
    trace = tmp_path / "exploded"
    whole = {**contents("MobileVla", original("MobileVla")), key: Bomb(trace)}
    message = refused(written("MobileVla", whole=whole), "refused, nothing was executed")
    assert "open" in message
    assert not trace.exists()


def test_a_hostile_pickle_outside_a_zip_is_refused_and_nothing_in_it_runs(original, written, tmp_path):
    trace = tmp_path / "exploded"
    folder = written("MobileVla", original("MobileVla"))
    file_in(folder).write_bytes(pickle.dumps({"model_state_dict": Bomb(trace)}))
    refused(folder, "refused, nothing was executed|cannot be read")
    assert not trace.exists()


@pytest.mark.parametrize("value", [argparse.Namespace(lr=1e-4), OwnConfig()], ids=["argparse", "custom"])
def test_pickled_arguments_are_refused_with_the_way_to_convert(value, original, written):
    whole = {**contents("ClipMlp", original("ClipMlp")), "args": value}
    message = refused(written("ClipMlp", whole=whole), type(value).__name__)
    assert "torch.save({'model_state_dict'" in message


def test_the_advice_on_converting_gives_a_file_that_drives(original, written):
    whole = {**contents("ClipMlp", original("ClipMlp")), "args": argparse.Namespace(lr=1e-4)}
    folder = written("ClipMlp", whole=whole)
    code = refused(folder, "nothing was executed").partition('python -c "')[2].rpartition('"')[0]
    path = file_in(folder)
    code = code.replace(repr(path.name), repr(str(path))).replace("'weights.pt'", repr(str(folder / "weights.pt")))
    exec(code)
    assert load_policy(str(folder / "weights.pt")).report.layout == "clip_mlp"


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_truncated_file_is_refused(share, original, written):
    folder = written("ClipMlp", original("ClipMlp"))
    whole = file_in(folder).read_bytes()
    file_in(folder).write_bytes(whole[: int(len(whole) * share)])
    refused(folder, "cannot be read|refused")


def test_an_empty_file_is_refused(original, written):
    folder = written("ClipMlp", original("ClipMlp"))
    file_in(folder).write_bytes(b"")
    refused(folder, "is empty")


def test_another_zip_is_refused(original, written):
    folder = written("ClipMlp", original("ClipMlp"))
    with zipfile.ZipFile(file_in(folder), "w") as archive:
        archive.writestr("hello.txt", "no checkpoint")
    refused(folder, "cannot be read")


@pytest.mark.parametrize("noise", [b"hello", b"\x80\x02.", b"PK\x03\x04", b"\x00" * 400])
def test_noise_is_refused(noise, original, written):
    folder = written("ClipMlp", original("ClipMlp"))
    file_in(folder).write_bytes(noise)
    refused(folder, "cannot be read|refused|holds")


@pytest.mark.parametrize(
    ("whole", "match"),
    [
        ({"model_state_dict": {}, "epoch": 1}, "holds no weights"),
        ({"epoch": 1}, "holds no weights"),
        ({}, "holds no weights"),
        ([1, 2], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"model_state_dict": {"encoder.weight": torch.zeros(2)}}, "no known layout: it has encoder"),
        ({"model_state_dict": {"vision_encoder.0.weight": torch.zeros(2, 2)}}, "features that another program"),
        ({"model_state_dict": {"ensemble_weights": torch.zeros(2)}}, "members are random networks"),
    ],
)
def test_what_holds_no_weights_of_a_known_layout_is_refused(whole, match, written):
    refused(written("ClipMlp", whole=whole), match)


def missing_sets(read):
    """Each kind of weight alone, and each layer as a whole."""
    alone, layers = {}, {}
    for weight in read:
        parts = weight.removeprefix("model.").split(".")
        alone.setdefault((*parts[:2], parts[-1]) if "backbone" in weight or "kosmos" in weight else weight, [weight])
        layers.setdefault(weight.rpartition(".")[0], []).append(weight)
    own = [layer for name, layer in layers.items() if not name.removeprefix("model.").startswith(("kosmos", "clip_m"))]
    return [*alone.values(), *own[:40:2]]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_weight_may_be_missing(name, original, written):
    """One after another, and layer by layer: nothing may ever be random, or left out of the network in silence."""
    whole = contents(name, original(name))
    key = "state_dict" if name == "RoboVlms" else "model_state_dict"
    read = [w for w in load_policy(str(written(name, original(name)))).report.matched if "lm_head" not in w]
    for number, gone in enumerate(missing_sets(read)):
        rest = {k: v for k, v in whole[key].items() if k not in gone}
        refused(written(name, whole={**whole, key: rest}, folder=f"{number}"), r"lacks|known layout|no place|is no ")


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        ("MobileVla", "kosmos.vision_model.model.encoder.layers.1.mlp.fc1.bias"),
        ("MobileVla", "action_head.3.bias"),
        ("NormalisedHybrid", "vision_resampler.query_tokens"),
        ("NormalisedHybrid", "clip_normalization.feature_enhancement.2.bias"),
        ("TokenHybrid", "lstm.weight_ih_l1"),
        ("ClipMlp", "clip_text.final_layer_norm.weight"),
        ("RoboVlms", "model.act_head.rnn.bias_hh_l3"),
    ],
)
def test_what_is_missing_is_named_as_the_file_would_name_it(name, weight, original, written):
    whole = contents(name, original(name))
    key = "state_dict" if name == "RoboVlms" else "model_state_dict"
    state = {k: v for k, v in whole[key].items() if k != weight}
    message = refused(written(name, whole={**whole, key: state}), "lacks .*would be random")
    assert weight in message


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("MobileVla", "image_projection"),
        ("NormalisedHybrid", "lstm_projection"),
        ("NormalisedHybrid", "kosmos2_projection"),
    ],
)
def test_a_layer_that_is_made_at_the_first_step_must_be_in_the_file(name, layer, original, written):
    whole = contents(name, original(name))
    state = {k: v for k, v in whole["model_state_dict"].items() if not k.startswith(layer)}
    message = refused(written(name, whole={**whole, "model_state_dict": state}), f"lacks {layer}.weight")
    assert "creates this layer at its first step" in message


def test_a_hybrid_without_normalisation_must_say_so(original, written):
    network = original("NormalisedHybrid", kind="")
    refused(written("NormalisedHybrid", network), '"normalisation": "none"')
    policy = load_policy(str(written("NormalisedHybrid", network, normalisation="none", folder="told")))
    assert not policy.report.unexpected


@pytest.mark.parametrize("name", NAMES)
def test_wrong_shapes_are_refused(name, original, written):
    whole = contents(name, original(name))
    key = "state_dict" if name == "RoboVlms" else "model_state_dict"
    read = load_policy(str(written(name, original(name)))).report.matched
    for number, weight in enumerate([w for w in read if "bias" in w][:: max(1, len(read) // 12)]):
        state = {**whole[key], weight: torch.zeros(whole[key][weight].shape[0] + 1)}
        folder = written(name, whole={**whole, key: state}, folder=f"wrong_{number}")
        refused(folder, r"has shape|takes|must have|is no")


def test_values_that_are_not_finite_are_refused(original, written):
    network = original("ClipMlp")
    network.fusion[0].weight.data[0, 0] = float("nan")
    refused(written("ClipMlp", network), "fusion.0.weight holds values that are not finite")


def test_unexpected_weights_are_refused_unless_the_user_leaves_them_out(original, written):
    whole = contents("ClipMlp", original("ClipMlp"))
    whole["model_state_dict"]["gate.weight"] = torch.zeros(2, 2)
    refused(written("ClipMlp", whole=whole), r"no place in it: gate.weight.*ignore")
    report = load_policy(str(written("ClipMlp", whole=whole, ignore=["gate."], folder="told"))).report
    assert report.left_out == ("gate.weight",)
    assert "left out as config.json says: gate.weight" in report.text


def test_adapters_must_be_merged(original, written):
    whole = contents("RoboVlms", original("RoboVlms"))
    whole["state_dict"]["model.backbone.q_proj.lora_A.default.weight"] = torch.zeros(2, 2)
    refused(written("RoboVlms", whole=whole), "LoRA")


def test_two_weights_for_one_place_are_refused(original, written):
    whole = contents("ClipMlp", original("ClipMlp"))
    whole["model_state_dict"]["module.fusion.0.bias"] = whole["model_state_dict"]["fusion.0.bias"]
    refused(written("ClipMlp", whole=whole), "twice")


def test_a_random_projection_of_the_token_hybrid_is_refused(original, written):
    """The original draws it anew at every step, so no file can hold it."""
    width = 24
    resampler = originals.Resampler(24, width, 40, 4).state_dict()
    state = original("TokenHybrid").state_dict()
    state |= {f"vision_resampler.{key}": value for key, value in resampler.items()}
    state = {key: value for key, value in state.items() if not key.startswith("vision_resampler.input_proj")}
    refused(written("TokenHybrid", whole={"model_state_dict": state}), "draws at random at every step")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"action": None}, "action is missing"),
        (
            {"action": {"outputs": ["vx"], "scale": [1], "limit": [1]}},
            "action.outputs has 1 entries, the network gives 2",
        ),
        ({"action": {"outputs": ["vx", "up"], "scale": [1, 1], "limit": [1, 1]}}, "action.outputs must be some of"),
        ({"action": {"outputs": ["vx", "vy"], "scale": [1], "limit": [1, 1]}}, "action.scale must be one number for"),
        ({"action": {"outputs": ["vx", "vy"], "scale": [1, 0], "limit": [1, 1]}}, "action.scale"),
        ({"action": {"outputs": ["vx", "vy"], "scale": [1, 1], "limit": [1, -1]}}, "action.limit"),
        ({"action": {"outputs": ["vx", "vy"], "scale": [1, 1], "limit": [1, 1], "chunk_index": 1}}, "chunk_index"),
        ({"action": {"outputs": ["vx", "vy"], "scale": [1, 1], "limit": [1, 1], "driven": ["vy", "vx"]}}, "driven"),
        (
            {"action": {"outputs": ["vx", "vy"], "scale": [1, 1], "limit": [1, 1], "unit": "m/s"}},
            "action.unit is not a known key",
        ),
        ({"pictures": None}, "pictures.clip is missing"),
        ({"pictures": {"clip": "unti"}}, "did you mean 'unit'"),
        ({"pictures": {"clip": "unit", "kosmos2": "clip"}}, "unknown pictures.kosmos2"),
        ({"backbones": None}, "backbones.clip is missing"),
        ({"backbones": {"clip": "nowhere/at-all"}}, "backbones.clip 'nowhere/at-all' cannot be used"),
        ({"channels": "rbg"}, "unknown channels 'rbg'; did you mean"),
        ({"layout": "clip_mpl"}, "unknown layout 'clip_mpl'; did you mean 'clip_mlp'"),
        ({"layout": "robovlms"}, "is no robovlms"),
        ({"file": "other.pth"}, "file 'other.pth' is not there; the folder has clipmlp_epoch_3.pth"),
        ({"file": "../x.pth"}, "in the same folder"),
        ({"file": None}, "file is missing"),
        ({"colour": "rgb"}, "colour is not a known key"),
        ({"window": -1}, "window must be"),
        ({"ignore": [""]}, "ignore must be"),
        ({"download": "yes"}, "download must be true or false"),
        ({"image_px": [224]}, "image_px must be"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_that_makes_no_sense_is_refused(changes, match, original, written):
    message = refused(written("ClipMlp", original("ClipMlp"), **changes), match)
    assert "config.json" in message or "clipmlp" in message


def test_window_must_agree_with_the_file(original, written):
    refused(written("MobileVla", original("MobileVla"), window=5), "window is 5 by config.json, but the file says 8")


def test_window_must_be_said_where_the_file_does_not(original, written):
    refused(written("RoboVlms", original("RoboVlms"), window=None), "window is missing in config.json")


def test_a_backbone_of_another_kind_or_size_is_refused(original, written, sources, tmp_path):
    refused(written("ClipMlp", original("ClipMlp"), backbones={"clip": str(sources / "kosmos2")}), "kosmos|clip")
    config = json.loads((sources / "clip" / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 64
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps(config))
    refused(written("ClipMlp", original("ClipMlp"), backbones={"clip": str(other)}, folder="b"), "has shape")


def test_a_checkpoint_without_config_says_how_to_make_one(tmp_path):
    path = tmp_path / "epoch_3.pt"
    torch.save({"model_state_dict": {}}, path)
    refused(path, r"python -m vla_sim.policies.checkpoints .*epoch_3.pt --write")
