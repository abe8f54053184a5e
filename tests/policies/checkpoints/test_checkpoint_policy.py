"""A checkpoint is a policy like any other: paths, hashes, memory, envs, and what its outputs mean."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from user_files import CONFIGS, TEXTS, contents

from vla_sim.core.errors import UserError
from vla_sim.policies.checkpoints.__main__ import main
from vla_sim.policies.registry import load_policy, policy_hash

NAMES = tuple(CONFIGS)
READS = [name for name in NAMES if name != "MobileVla"]


def file_in(folder):
    return folder / json.loads((folder / "config.json").read_text())["file"]


def test_a_file_drives_as_its_folder_does(original, written, observe, drive):
    folder = written("MobileVla", original("MobileVla"))
    by_folder, by_file = load_policy(str(folder)), load_policy(str(file_in(folder)))
    np.testing.assert_array_equal(drive(by_folder, [observe(2)]), drive(by_file, [observe(2)]))
    assert policy_hash(str(folder)) == policy_hash(str(file_in(folder)))


def test_epochs_share_one_config_and_differ_in_hash(original, written, observe, drive):
    network = original("MobileVla")
    folder = written("MobileVla", network)
    network.action_head[-1].bias.data += 0.1
    first = folder / "mobile_vla_epoch_1.pt"
    torch.save(contents("MobileVla", network), first)
    later, earlier = (drive(load_policy(str(path)), [observe()]) for path in (folder, first))
    assert np.abs(later - earlier).max() > 1e-3
    assert policy_hash(str(first)) != policy_hash(str(folder))


@pytest.mark.parametrize("part", ["file", "config.json", "backbone"])
def test_the_hash_covers_all_that_decides(part, original, written, sources, tmp_path):
    shutil.copytree(sources / "clip", tmp_path / "clip")
    folder = written("ClipMlp", original("ClipMlp"), backbones={"clip": "../clip"})
    before = policy_hash(str(folder))
    place = {"file": file_in(folder), "backbone": tmp_path / "clip" / "tokenizer.json"}.get(part, folder / part)
    place.write_bytes(place.read_bytes() + b" ")
    assert policy_hash(str(folder)) != before


@pytest.mark.parametrize("name", NAMES)
def test_envs_do_not_touch_each_other_and_reset_forgets(name, original, written, observe, drive):
    policy = load_policy(str(written(name, original(name))))
    observations = [observe(3, seed=step) for step in range(5)]
    together = drive(policy, observations)
    alone = drive(policy, [{key: value[1:2] for key, value in o.items()} for o in observations])
    np.testing.assert_allclose(together[:, 1], alone[:, 0], atol=1e-5)
    np.testing.assert_allclose(drive(policy, observations), together, atol=1e-6)
    policy.reset(np.array([False, True, False]), np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(policy.act(observations[0])[1], together[0, 1], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_report_says_truly_whether_the_instruction_counts(name, original, written, observe, drive):
    policy = load_policy(str(written(name, original(name))))
    left, right = (drive(policy, [observe(texts=[text])]) for text in TEXTS[:2])
    assert (np.abs(left - right).max() > 1e-4) == policy.report.reads_language == (name in READS)


def test_a_report_says_what_became_of_each_weight(original, written):
    report = load_policy(str(written("MobileVla", original("MobileVla")))).report
    assert report.layout == "mobile_vla"
    assert {"kosmos.vision_model.model.post_layernorm.weight", "action_lstm.weight_hh_l1"} <= set(report.matched)
    assert "kosmos.text_model.model.embed_tokens.weight" in report.unused
    assert report.rebuilt == ("image_projection",)
    assert {"optimizer_state_dict", "scaler_state_dict", "config"} <= set(report.entries)
    for words in ("weights matched", "not read by this layout: kosmos.", "does not read the instruction"):
        assert words in report.text


@pytest.mark.parametrize("prefix", ["module.", "model.", "model.module.", "_orig_mod."])
@pytest.mark.parametrize("place", ["model_state_dict", "state_dict", ""])
def test_wrappers_and_places_of_the_weights_do_not_matter(prefix, place, original, written, observe, drive):
    network = original("ClipMlp")
    plain = drive(load_policy(str(written("ClipMlp", network))), [observe()])
    state = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    whole = {place: state, "epoch": 1} if place else state
    np.testing.assert_array_equal(
        drive(load_policy(str(written("ClipMlp", whole=whole, folder="wrapped"))), [observe()]), plain
    )


def test_names_of_older_transformers_and_half_precision_load(original, written, observe, drive):
    network = original("ClipMlp")
    plain = drive(load_policy(str(written("ClipMlp", network))), [observe()])
    old = {
        key.replace("clip_vision.", "clip_vision.vision_model.").replace("clip_text.", "clip_text.text_model."): value
        for key, value in network.half().state_dict().items()
    }
    old["clip_vision.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    policy = load_policy(str(written("ClipMlp", whole={"model_state_dict": old}, folder="old")))
    np.testing.assert_allclose(drive(policy, [observe()]), plain, atol=0.02)


def test_files_of_before_zip_load(original, written, observe, drive):
    network = original("ClipMlp")
    folder = written("ClipMlp", network)
    plain = drive(load_policy(str(folder)), [observe()])
    torch.save(contents("ClipMlp", network), file_in(folder), _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(drive(load_policy(str(folder)), [observe()]), plain)


BACKBONES = ("kosmos.", "kosmos2_model.", "clip_model.", "clip_vision.", "clip_text.", "backbone.")


def whole_backbone(network, part):
    """The pretrained model that an original network holds, as transformers saves it."""
    from vla_sim.policies.models.hub import CLIPModel, Kosmos2Model

    if part == "kosmos2":
        kosmos = next(getattr(network, n) for n in ("kosmos", "kosmos2_model", "backbone") if hasattr(network, n))
        model = Kosmos2Model(kosmos.config)
        model.load_state_dict({k: v for k, v in kosmos.state_dict().items() if "lm_head" not in k})
        return model
    if hasattr(network, "clip_model"):
        return network.clip_model
    vision, text = network.clip_vision, network.clip_text
    config = CLIPModel.config_class(
        vision_config=vision.config.to_dict(), text_config=text.config.to_dict(), projection_dim=16
    )
    model = CLIPModel(config)
    model.vision_model.load_state_dict(vision.state_dict())
    model.text_model.load_state_dict(text.state_dict())
    return model


@pytest.mark.parametrize("name", ["MobileVla", "NormalisedHybrid", "ClipMlp", "RoboVlms"])
def test_backbones_not_in_the_file_come_from_a_folder(name, original, written, sources, tmp_path, observe, drive):
    """Of a frozen backbone many files hold nothing. Without a folder that has it, nothing drives."""
    network, parts = original(name), CONFIGS[name]["pictures"]
    for part in parts:
        shutil.copytree(sources / part, tmp_path / part)
    whole = contents(name, network)
    key = "state_dict" if name == "RoboVlms" else "model_state_dict"
    own = {k: v for k, v in whole[key].items() if not k.removeprefix("model.").startswith(BACKBONES)}
    folder = written(name, whole={**whole, key: own}, backbones={part: f"../{part}" for part in parts})
    with pytest.raises(UserError, match=r"holds no weights of .*must come from elsewhere"):
        load_policy(str(folder))
    for part in parts:
        whole_backbone(network, part).save_pretrained(tmp_path / part)
    policy = load_policy(str(folder))
    assert {part for part, _ in policy.report.from_source} == set(parts)
    plain = load_policy(str(written(name, network, folder="whole")))
    np.testing.assert_allclose(drive(policy, [observe()]), drive(plain, [observe()]), atol=1e-6)


@pytest.mark.parametrize("name", ["RoboVlms", "ClipMlp"])
def test_a_text_is_never_cut_in_silence(name, original, written, observe, drive, sources, tmp_path):
    from vla_sim.policies.tokenizer import InstructionTokenizer

    shutil.copytree(sources, tmp_path / "short")
    for part in CONFIGS[name]["pictures"]:
        few = InstructionTokenizer.trained(TEXTS, vocab_size=300, context_length=9)
        few.save(tmp_path / "short" / part / "tokenizer.json")
    folders = {part: f"../short/{part}" for part in CONFIGS[name]["pictures"]}
    policy = load_policy(str(written(name, original(name), backbones=folders, context_length=9)))
    with pytest.raises(UserError, match="may have lost its end: raise context_length"):
        drive(policy, [observe(texts=[" ".join(TEXTS)])])


def test_units_order_sign_and_limits_are_as_config_says(original, written, observe, drive):
    network = original("MobileVla")
    plain = {"outputs": ["vx", "vy", "wz"], "scale": [1.0] * 3, "limit": [9.0] * 3}
    raw = drive(load_policy(str(written("MobileVla", network, action=plain))), [observe(2)])[0]
    action = {
        "outputs": ["vy", "vx", "wz"],
        "scale": [-0.5, 0.4, 1.0],
        "limit": [9.0, 0.05, 9.0],
        "driven": ["vx", "vy"],
    }
    policy = load_policy(str(written("MobileVla", network, action=action, folder="other")))
    assert policy.spec.action_names == ("vx", "vy")
    wanted = np.stack([np.clip(raw[:, 1], -0.05, 0.05) * 0.4, raw[:, 0] * -0.5], axis=1)
    np.testing.assert_allclose(drive(policy, [observe(2)])[0], wanted, atol=1e-6)


def test_the_chosen_action_of_a_chunk_is_driven(original, written, observe, drive):
    network = original("RoboVlms")
    actions = [
        drive(
            load_policy(str(written("RoboVlms", network, action={**CONFIGS["RoboVlms"]["action"], "chunk_index": k}))),
            [observe()],
        )
        for k in (0, 1)
    ]
    assert np.abs(actions[0] - actions[1]).max() > 1e-4


def test_classes_are_driven_as_config_says(original, written, observe, drive):
    network = original("RoboVlms", classes=9, chunk=1)
    table = [[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [1, -1], [-1, 1], [-1, -1]]
    action = {"outputs": ["vx", "vy"], "scale": [0.5, 0.5], "limit": [1, 1], "classes": table}
    for wanted, row in enumerate(table):
        network.act_head.logits.bias.data = 100.0 * (torch.arange(9) == wanted)
        folder = written("RoboVlms", network, action=action, folder=f"class_{wanted}")
        np.testing.assert_allclose(drive(load_policy(str(folder)), [observe()])[0, 0], np.array(row) * 0.5)


def test_the_first_step_stands_still_where_config_says_so(original, written, observe, drive):
    observations = [observe(2, seed=step) for step in range(3)]
    plain = drive(load_policy(str(written("RoboVlms", original("RoboVlms")))), observations)
    policy = load_policy(str(written("RoboVlms", original("RoboVlms"), first_step_zero=True)))
    zeroed = drive(policy, observations)
    assert not zeroed[0].any()
    # The history is kept all the same, as on the users' server.
    np.testing.assert_array_equal(zeroed[1:], plain[1:])


def test_colours_are_swapped_where_config_says_so(original, written, observe, drive):
    seen = observe()
    swapped = {**seen, "image": seen["image"][..., ::-1]}
    plain = drive(load_policy(str(written("ClipMlp", original("ClipMlp")))), [seen])
    bgr = drive(load_policy(str(written("ClipMlp", original("ClipMlp"), channels="bgr"))), [swapped])
    np.testing.assert_array_equal(bgr, plain)


def test_checkpoints_are_members_of_ensembles(original, written, observe, drive, tmp_path):
    for number, name in enumerate(("ClipMlp", "TokenHybrid")):
        written(name, original(name), folder=f"m{number}")
    (tmp_path / "both").mkdir()
    config = {"format": 1, "type": "ensemble", "members": ["m0", "m1"], "weights": [0.6, 0.4]}
    (tmp_path / "both" / "config.json").write_text(json.dumps(config))
    whole, *parts = (drive(load_policy(str(tmp_path / n)), [observe()]) for n in ("both", "m0", "m1"))
    np.testing.assert_allclose(whole, 0.6 * parts[0] + 0.4 * parts[1], atol=1e-6)
    before = policy_hash(str(tmp_path / "both"))
    file_in(tmp_path / "m1").write_bytes(b"another")
    assert policy_hash(str(tmp_path / "both")) != before


@pytest.mark.parametrize("name", NAMES)
def test_the_command_writes_a_config_that_drives(name, original, written, sources, observe, drive, capsys):
    folder = written(name, original(name))
    path = file_in(folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    assert main([str(path), "--write"]) == 0
    assert f"layout {json.loads((folder / 'config.json').read_text())['layout']}" in capsys.readouterr().out
    assert main([str(path), "--write"]) == 2
    config = json.loads((folder / "config.json").read_text())
    small = {
        key: told[key]
        for key in ("backbones", "prompt_ids", "context_length", "window", "attention_heads")
        if key in told
    }
    (folder / "config.json").write_text(json.dumps({**config, **small}))
    actions = drive(load_policy(str(path)), [observe()])
    assert actions.shape == (1, 1, 2)
    assert main([str(path)]) == 0
    assert "weights matched" in capsys.readouterr().out


def test_the_command_reports_errors_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "no.pt")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_hashing_a_checkpoint_loads_no_torch(original, written):
    folder = written("ClipMlp", original("ClipMlp"))
    code = "import sys; from vla_sim.policies.registry import policy_hash; policy_hash(sys.argv[1]); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=60)
