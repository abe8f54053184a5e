import json
from dataclasses import replace

import numpy as np
import pytest

from vla_sim.policies.baselines import HoldPolicy, ReplayPolicy
from vla_sim.policies.ensemble import EnsemblePolicy
from vla_sim.policies.folders import PolicyError
from vla_sim.policies.registry import load_policy


def test_actions_are_the_weighted_mean_and_disagreement_is_the_largest_distance_from_it(observe, start):
    members = [ReplayPolicy([[0.5, 0.0]]), ReplayPolicy([[0.0, 0.5]])]
    ensemble = start(EnsemblePolicy(members, [0.6, 0.4]), 2)
    np.testing.assert_allclose(ensemble.act(observe(2)), [[0.3, 0.2]] * 2, atol=1e-7)
    np.testing.assert_allclose(ensemble.diagnostics()["disagreement_mps"], [0.18**0.5] * 2, rtol=1e-6)


def test_members_on_one_backbone_share_it_and_see_each_picture_once(untrained_root, observe, start, monkeypatch):
    ensemble = start(load_policy(str(untrained_root / "ensemble")), 2)
    (one,), (other,) = (member.encoders for member in ensemble.members)
    assert one.key == other.key
    seen = []
    for encoder in (one, other):
        original = encoder.features
        monkeypatch.setattr(encoder, "features", lambda o, original=original: seen.append(1) or original(o))
    ensemble.act(observe(2))
    assert seen == [1]


def test_the_exported_ensemble_is_sixty_to_forty_of_its_members(untrained_root, observe, start):
    names = ("clip_lstm", "clip_mlp", "ensemble")
    lstm, mlp, ensemble = (start(load_policy(str(untrained_root / name)), 2) for name in names)
    for seed in range(3):
        expected = 0.6 * lstm.act(observe(2, seed)) + 0.4 * mlp.act(observe(2, seed))
        np.testing.assert_allclose(ensemble.act(observe(2, seed)), expected, atol=1e-6)


@pytest.mark.parametrize("weights", [[1.0], [0.6, -0.4], [0.5, float("nan")], [0.5, 0.5, 0.5]])
def test_weights_that_do_not_fit_the_members_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be"):
        EnsemblePolicy([HoldPolicy(), HoldPolicy()], weights)


def test_members_with_different_actions_are_refused():
    with pytest.raises(ValueError, match="same actions"):
        EnsemblePolicy([HoldPolicy(("vx", "vy")), HoldPolicy(("vx", "wz"))], [0.5, 0.5])


@pytest.mark.parametrize(("rates", "wanted"), [((0.4, 0.4), 0.4), ((0.4, None), 0.4), ((None, None), None)])
def test_an_ensemble_has_the_control_rate_of_its_members(rates, wanted):
    members = [HoldPolicy(), HoldPolicy()]
    for member, rate in zip(members, rates, strict=True):
        member.spec = replace(member.spec, control_s=rate)
    assert EnsemblePolicy(members, [0.5, 0.5]).spec.control_s == wanted


def test_members_with_different_control_rates_are_refused():
    members = [HoldPolicy(), HoldPolicy()]
    for member, rate in zip(members, (0.4, 0.1), strict=True):
        member.spec = replace(member.spec, control_s=rate)
    with pytest.raises(ValueError, match="control rate"):
        EnsemblePolicy(members, [0.5, 0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "median"}, "fusion must be one of weighted"),
        ({"members": ["clip_lstm", 3]}, "members must be names"),
        ({"members": []}, "weights must be one for each"),
        ({"weights": ["a", "b"]}, "weights must be positive"),
        ({"members": ["hold", "ensemble"]}, "circle"),
        ({"members": ["hold", "hodl"]}, "did you mean 'hold'"),
        ({"extra": 1}, "extra is not a known key"),
    ],
)
def test_configs_that_cannot_be_are_refused_with_their_file(tmp_path, change, message):
    folder = tmp_path / "ensemble"
    folder.mkdir()
    config = {"format": 1, "type": "ensemble", "members": ["hold", "hold"], "weights": [0.5, 0.5], **change}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(PolicyError, match=message):
        load_policy(str(folder))
