"""What a file says beside its weights is found wherever it stands, and contradictions are refused."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_files import contents

from vla_sim.policies.checkpoints.__main__ import main
from vla_sim.policies.checkpoints.hyper_parameters import DEEPEST, NAMES, HyperParameters, simple_values
from vla_sim.policies.folders import PolicyError
from vla_sim.policies.registry import load_policy

TABLES = st.sampled_from(["hyper_parameters", "configs", "config", "act_head", "model", "args", "a b", "0"])
PATHS = st.lists(TABLES, max_size=8)
# Inside their table where the name asks for one.
ENDS = st.sampled_from([(name, end.split(".")) for name, ends in NAMES.items() for end in ends])


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def said(*places):
    """The hyper-parameters of files in which each path has a value."""
    return HyperParameters({k: v for path, value in places for k, v in simple_values(nested(path, value)).items()})


@given(path=PATHS, end=ENDS, value=st.integers(1, 10**6))
def test_a_number_is_found_at_any_depth(path, end, value):
    name, last = end
    assert said((["hyper_parameters", *path, *last], value)).number(name) == value


@given(first=PATHS, second=PATHS, end=ENDS, values=st.lists(st.integers(1, 99), min_size=2, max_size=2, unique=True))
def test_two_places_that_contradict_each_other_are_refused(first, second, end, values):
    name, last = end
    paths = [["one", *first, *last], ["two", *second, *last]]
    facts = said(*zip(paths, values, strict=True))
    with pytest.raises(ValueError, match="the file contradicts itself") as error:
        facts.number(name)
    assert all(
        ".".join(path) in str(error.value) and str(value) in str(error.value)
        for path, value in zip(paths, values, strict=True)
    )
    assert said(*((path, values[0]) for path in paths)).number(name) == values[0]


@given(path=PATHS, end=ENDS, table=st.sampled_from(["vision_config", "text_config", "vlm"]), value=st.integers(1, 99))
def test_what_is_said_about_a_backbone_is_not_about_the_head(path, end, table, value):
    name, last = end
    assert said(([*path, table, *last], value)).number(name) == 0


@given(
    value=st.one_of(st.none(), st.booleans(), st.integers(max_value=0), st.text(), st.floats(0.1, 0.9), st.just([8]))
)
def test_what_is_no_positive_whole_number_says_nothing(value):
    assert said((["config", "window_size"], value)).number("window") == 0


def test_endless_nesting_ends():
    circle = {}
    circle["config"] = circle
    wide = [0]
    for _ in range(60):
        wide = [wide, wide]
    for entries in (circle, {"a": wide}, nested(["x"] * 10 * DEEPEST, 1)):
        assert len(simple_values(entries)) < 20_001


@pytest.fixture
def lightning(original, written):
    """A RoboVLMs file whose trainer kept these hyper-parameters; gives its folder."""

    def make(told, folder="mine", **changes):
        whole = {**contents("RoboVlms", original("RoboVlms", window=12)), "hyper_parameters": told}
        return written("RoboVlms", whole=whole, folder=folder, **{"window": None, **changes})

    return make


NESTED = {"configs": {"window_size": 12, "fwd_pred_next_n": 2, "act_head": {"window_size": 12, "hidden_size": 10}}}


def test_the_window_that_the_file_says_is_used(lightning, observe, drive):
    """From the ninth step on other actions came out: 8 was proposed where the file said 12."""
    folder = lightning(NESTED)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").unlink()
    path = next(p for p in folder.iterdir() if p.suffix == ".ckpt")
    assert main([str(path), "--write"]) == 0
    proposed = json.loads((folder / "config.json").read_text())
    assert proposed["window"] == 12
    small = {key: told[key] for key in ("backbones", "prompt_ids", "context_length")}
    seen = [observe(seed=s) for s in range(20)]
    actions = []
    for window in ({}, {"window": 0}, {"window": 12}):
        (folder / "config.json").write_text(json.dumps({**proposed, **small, **window}))
        actions.append(drive(load_policy(str(path)), seen))
    np.testing.assert_array_equal(actions[0], actions[1])
    np.testing.assert_array_equal(actions[0], actions[2])


@pytest.mark.parametrize(
    ("change", "more", "match"),
    [
        ({}, {"window": 8}, r"window is 8 by config.json, but the file says 12 \(hyper_parameters.configs.act_head"),
        ({"window_size": 8}, {}, "the file contradicts itself about window: .*act_head.window_size = 12"),
        ({"fwd_pred_next_n": 4}, {}, "chunk is 2 by its weights and config.json, but the file says 4"),
        ({"act_head": {"hidden_size": 11}}, {"window": 12}, "hidden is 10 by its weights, but the file says 11"),
        ({"act_head": {"action_dim": 7}}, {"window": 12}, "actions is 2 by its weights"),
        ({"act_head": {"num_layers": 4}}, {"lstm_layers": 3, "window": 12}, "lstm layers is 3 by config.json"),
        ({"tokenizer": {"max_text_len": 256}}, {}, "context length is 48 by config.json, but the file says 256"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_contradicts_the_file_is_refused(change, more, match, lightning):
    folder = lightning({"configs": {**NESTED["configs"], **change}}, **more)
    with pytest.raises(PolicyError, match=match):
        load_policy(str(folder))


def test_a_range_that_the_file_names_decides_the_scale(lightning):
    from vla_sim.policies.checkpoints.proposing import proposed_config

    def scale(told, folder):
        path = next(p for p in lightning({"configs": told}, folder).iterdir() if p.suffix == ".ckpt")
        return proposed_config(path)[1]["action"]["scale"][0]

    usual = scale({}, "usual")
    assert scale({"norm_action": True, "norm_min": -2.3, "norm_max": 2.3}, "twice") == pytest.approx(2 * usual)
    assert scale({"norm_action": False, "norm_min": -2.3, "norm_max": 2.3}, "off") == usual
    with pytest.raises(PolicyError, match="normalised from -1 to 2"):
        scale({"norm_min": -1.0, "norm_max": 2.0}, "uneven")
