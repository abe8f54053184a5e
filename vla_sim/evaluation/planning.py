"""What is asked for, as a plan: names are looked up and checked before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vla_sim.core.embodiments import load_embodiment
from vla_sim.policies.registry import refuse_unusable
from vla_sim.rollout.plan import Plan
from vla_sim.scenarios import chosen_scenarios

EPISODES, FIRST_SEED, EMBODIMENT = 50, 100_000, "serbot"


def make_plan(
    policies: Sequence[str],
    *,
    scenarios: Sequence[str] = (),
    suites: Sequence[str] = (),
    episodes: int = EPISODES,
    first_seed: int = FIRST_SEED,
    embodiment: str = EMBODIMENT,
    instruction_set: str = "eval",
    language: str | None = None,
    renderer: str = "software",
    delay: int = 0,
    instruction: str | None = None,
) -> Plan:
    """The plan of an evaluation.

    Args:
        policies: names, folders or module:Class.
        scenarios: names, or TOML files, which stand for all scenarios that they define.
        suites: names; all scenarios of each.
        episodes: of each policy in each scenario.
        first_seed: worlds have this seed and the following; trainings use less than the default.
        embodiment: a robot's name or TOML file.
        instruction_set: "eval" (held-out phrasings) or "train".
        language: e.g. "ko"; None for each scenario's mix.
        renderer: "software", "gpu" or "tiny".
        delay: control steps by which actions arrive late.
        instruction: told in place of the scenarios' sentences; None for those.

    Raises:
        UserError: an unknown name (with the nearest), or a number that cannot be used.
    """
    robot = load_embodiment(embodiment)
    for name in policies:
        refuse_unusable(name, robot)
    return named_plan(
        policies,
        scenarios=scenarios,
        suites=suites,
        episodes=episodes,
        first_seed=first_seed,
        embodiment=embodiment,
        instruction_set=instruction_set,
        language=language,
        renderer=renderer,
        delay=delay,
        instruction=instruction,
    )


def named_plan(
    policies: Sequence[str],
    *,
    scenarios: Sequence[str] = (),
    suites: Sequence[str] = (),
    first_seed: int = FIRST_SEED,
    **settings: Any,
) -> Plan:
    """As `make_plan`, for policies that are not looked up: their names are mere labels."""
    load_embodiment(settings["embodiment"])
    chosen = chosen_scenarios(scenarios, suites)
    return Plan(
        policies=tuple(policies),
        scenarios=tuple(chosen),
        suites=tuple(chosen.values()),
        seed=first_seed,
        **settings,
    )
