"""Closed-loop test bench for language-conditioned mobile robots.

Importing it registers the Gymnasium ids and loads neither torch nor pybullet.

    >>> import gymnasium, vla_sim
    >>> env = gymnasium.make("VLASim/Navigate-v1", scenario="obstacle_left")
    >>> env.reset(seed=1)[0]["image"].shape
    (224, 224, 3)
    >>> env.close()
    >>> vla_sim.load_scenario("obstacle_left").name
    'obstacle_left'
    >>> vla_sim.evaluate("expert", scenario="obstacle_left", episodes=2).success_rate()
    1.0
"""

import importlib
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from vla_sim.core.episode import Episode
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.dataset import open_dataset
    from vla_sim.evaluation.api import Evaluation, evaluate
    from vla_sim.policies.base import Policy, PolicySpec
    from vla_sim.policies.registry import load_policy
    from vla_sim.scenarios.library import load_scenario

__version__ = "0.1.0"

__all__ = [
    "Episode",
    "Evaluation",
    "Policy",
    "PolicySpec",
    "UserError",
    "evaluate",
    "load_policy",
    "load_scenario",
    "open_dataset",
]

# Where each public name lives; loaded when it is first used.
_HOMES = {
    "Episode": "core.episode",
    "Evaluation": "evaluation.api",
    "Policy": "policies.base",
    "PolicySpec": "policies.base",
    "UserError": "core.errors",
    "evaluate": "evaluation.api",
    "load_policy": "policies.registry",
    "load_scenario": "scenarios.library",
    "open_dataset": "datasets.dataset",
}

gymnasium.register(
    id="VLASim/Navigate-v1",
    entry_point="vla_sim.envs.navigate:NavigateEnv",
    vector_entry_point="vla_sim.envs.vector:NavigateVectorEnv",
)
gymnasium.register(
    id="VLASim/Navigate-v0",
    entry_point="vla_sim.envs.gone:navigate_v0",
    vector_entry_point="vla_sim.envs.gone:navigate_v0",
)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
