"""Scenarios: what may stand in a world, what is asked there and in which words. Data in, plain `Scene` values out."""

from vla_sim.scenarios.language import opposite
from vla_sim.scenarios.library import chosen_scenarios, load_scenario, load_suite, scenario_names, suite_names
from vla_sim.scenarios.reading import ScenarioError
from vla_sim.scenarios.scenario import InfeasibleScenarioError, Scenario

__all__ = [
    "InfeasibleScenarioError",
    "Scenario",
    "ScenarioError",
    "chosen_scenarios",
    "load_scenario",
    "load_suite",
    "opposite",
    "scenario_names",
    "suite_names",
]
