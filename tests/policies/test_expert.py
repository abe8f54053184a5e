"""The scripted expert solves every scenario, never by one memorised sequence."""

import numpy as np
import pytest

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.types import Outcome
from vla_sim.envs.simulation import Simulation
from vla_sim.policies.expert import ExpertPolicy
from vla_sim.scenarios import load_scenario, scenario_names


def drive(scenario, seed, embodiment="serbot"):
    """Outcome and actions of one expert episode, without images."""
    spec = load_embodiment(embodiment)
    simulation, expert = Simulation(spec), ExpertPolicy()
    actions = []
    try:
        simulation.start(load_scenario(scenario).sample(seed, robot_radius_m=spec.body.radius_m))
        expert.reset(np.array([True]), np.array([seed]))
        while simulation.outcome is None:
            (action,) = expert.act({}, [{**simulation.info(), "embodiment": spec}])
            actions.append(tuple(action.tolist()))
            simulation.advance(action.astype(np.float64))
    finally:
        simulation.close()
    return simulation.outcome, tuple(actions)


@pytest.mark.parametrize("scenario", scenario_names())
def test_expert_solves_every_scenario(scenario):
    outcomes = [drive(scenario, seed)[0] for seed in range(4)]
    assert outcomes == [Outcome.SUCCESS] * 4


@pytest.mark.parametrize("embodiment", ["lekiwi", "diffbot"])
def test_expert_drives_other_embodiments(embodiment):
    outcomes = [drive("obstacle_left", seed, embodiment)[0] for seed in range(4)]
    assert outcomes.count(Outcome.SUCCESS) >= 3


def test_no_two_drives_are_the_same_sequence():
    assert len({drive("basket_core", seed)[1] for seed in range(6)}) == 6


def test_without_ground_truth_it_refuses():
    with pytest.raises(ValueError, match="privileged state"):
        ExpertPolicy().act({})


def test_expert_stops_at_the_goal_where_stopping_is_asked_for(tmp_path):
    path = tmp_path / "stop.toml"
    path.write_text('format = 1\nextends = "core/reach_goal"\n[task]\nsuccess = "stopped"\n', "utf-8")
    for seed in range(3):
        outcome, actions = drive(str(path), seed)
        assert outcome is Outcome.SUCCESS
        assert actions[-1] == (0.0, 0.0)
