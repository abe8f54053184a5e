"""Configs of checkpoints with anything in them: refused in one sentence, or they drive. See `test_hostile_policies`."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nasty import NASTY, changed, places

from vla_sim.core.errors import UserError
from vla_sim.policies.registry import load_policy, policy_hash


@pytest.mark.parametrize("name", ["ClipMlp", "RoboVlms"])
def test_a_config_with_anything_in_it_is_refused_or_drives(name, original, written, observe):
    folder = written(name, original(name))
    valid = json.loads((folder / "config.json").read_text())

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(data=st.data())
    def try_one(data):
        path = data.draw(st.sampled_from([place for place in places(valid) if place]))
        (folder / "config.json").write_text(json.dumps(changed(valid, path, data.draw(NASTY))))
        said = []
        policy = None
        try:
            policy_hash(str(folder))
            policy = load_policy(str(folder))
            policy.reset(np.ones(1, dtype=bool), np.zeros(1, dtype=np.int64))
            assert np.isfinite(policy.act(observe())).all()
        except UserError as error:
            said.append(str(error))
        assert all(len(text) < 3000 for text in said)

    try_one()
