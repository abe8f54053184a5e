"""The one list of policy types, and types that other packages add."""

import json

import numpy as np
import pytest

from vla_sim.core.content import content_folder
from vla_sim.policies import types
from vla_sim.policies.folders import PolicyError, PolicyFolder
from vla_sim.policies.registry import load_policy, policy_hash

SOURCE = """
from vla_sim.policies.baselines import HoldPolicy
class Mine(HoldPolicy):
    @classmethod
    def from_folder(cls, folder):
        folder.know(("speed",))
        made = cls()
        made.speed = folder.get("speed", float)
        return made
"""


class Point:
    def __init__(self, name, value):
        self.name, self.value = name, value


@pytest.fixture
def plugged(monkeypatch, tmp_path):
    """A package beside ours whose entry point adds a type; gives a folder of it."""
    (tmp_path / "plugged_policies.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [Point("mine", "plugged_policies:Mine"), Point("hold", "plugged_policies:Mine")]
    monkeypatch.setattr(types, "entry_points", lambda group: points if group == "vla_sim.policy_types" else [])
    types.policy_types.cache_clear()
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"format": 1, "type": "mine", "speed": 0.25}))
    yield folder
    types.policy_types.cache_clear()


def test_a_type_of_another_package_is_loaded_and_its_code_is_part_of_the_hash(plugged, tmp_path):
    policy = load_policy(str(plugged))
    policy.reset(np.ones(1, bool), np.zeros(1, int))
    assert policy.speed == 0.25
    before = policy_hash(str(plugged))
    (tmp_path / "plugged_policies.py").write_text(SOURCE + "\n# another\n")
    assert policy_hash(str(plugged)) != before


def test_a_plug_in_does_not_replace_a_type_of_ours(plugged):
    assert type(load_policy("hold")).__module__ == "vla_sim.policies.baselines"


def test_an_unknown_type_is_answered_with_the_nearest_of_all(plugged):
    (plugged / "config.json").write_text(json.dumps({"format": 1, "type": "mien"}))
    with pytest.raises(PolicyError, match="did you mean 'mine'"):
        load_policy(str(plugged))


def test_every_shipped_folder_is_of_a_known_type():
    kinds = {PolicyFolder.read(path.parent).kind for path in content_folder("policies").glob("*/config.json")}
    assert kinds <= set(types.policy_types())
