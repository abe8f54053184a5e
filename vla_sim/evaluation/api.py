"""Evaluating from Python: `vla_sim.evaluate(...)`, with names, classes or objects for policies.

>>> import vla_sim
>>> found = vla_sim.evaluate(["expert", "hold"], scenario="reach_goal", episodes=2)
>>> found.success_rate("expert"), found.success_rate("hold")
(1.0, 0.0)
>>> found.results[0].outcome.value
'success'
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_sim.core.errors import UserError, shown
from vla_sim.core.threads import torch_threads
from vla_sim.evaluation.floors import drive_floors
from vla_sim.evaluation.planning import EMBODIMENT, EPISODES, FIRST_SEED, make_plan, named_plan
from vla_sim.evaluation.reporting.finish import finish_run
from vla_sim.evaluation.runner import Result
from vla_sim.evaluation.runner import evaluate as evaluate_plan
from vla_sim.evaluation.summary import summarise
from vla_sim.evaluation.tables import console_table
from vla_sim.policies.base import Policy
from vla_sim.rollout.plan import NUM_ENVS, Plan
from vla_sim.rollout.result import EpisodeResult

Driver = str | type[Policy] | Policy


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        results: of all episodes, in order of policy, scenario and seed.
        summary: the content of summary.json.
        complete: whether all episodes ran.
        folder: with all files, or None if none was asked for.
    """

    results: tuple[EpisodeResult, ...]
    summary: dict[str, Any]
    complete: bool = True
    folder: Path | None = None

    def success_rate(self, policy: str | None = None, scenario: str | None = None) -> float:
        """Successes of all episodes, or of those of a policy, a scenario.

        Raises:
            ValueError: there are none.
        """
        chosen = [
            result.success
            for result in self.results
            if policy in (None, result.policy) and scenario in (None, result.scenario)
        ]
        if not chosen:
            raise ValueError(f"no episode of policy {policy!r} in scenario {scenario!r}")
        return sum(chosen) / len(chosen)

    def __str__(self) -> str:
        return console_table(self.summary)


def evaluate(
    policy: Driver | Sequence[Driver],
    *,
    scenario: str | Sequence[str] = (),
    suite: str | Sequence[str] = (),
    episodes: int = EPISODES,
    first_seed: int = FIRST_SEED,
    embodiment: str = EMBODIMENT,
    instruction_set: Literal["eval", "train"] = "eval",
    language: str | None = None,
    instruction: str | None = None,
    renderer: Literal["software", "gpu", "tiny"] = "software",
    delay: int = 0,
    workers: int = 1,
    hang_timeout_s: float = 60.0,
    floors: bool = True,
    video: str = "none",
    out: str | Path | None = None,
) -> Evaluation:
    """Drive policies through scenarios in closed loop.

    Names and classes that other processes can import run in processes of their own, as the command `eval` does it.
    Objects (and classes of a script or notebook) drive in this process: nothing supervises them, and an exception that
    they raise comes through.

    Args:
        policy: a name, folder or "module:Class", a class or an object; or several of them.
        scenario: names or TOML files.
        suite: whole suites.
        episodes: of each policy in each scenario.
        first_seed: worlds have this seed and the following.
        embodiment: a robot's name or TOML file.
        instruction_set: held-out ("eval") or training phrasings.
        language: only this one; None for each scenario's mix.
        instruction: told in every episode in place of the scenarios' own sentences, which still say how it is judged.
        renderer: what draws.
        delay: control steps by which actions arrive late, as slow networks and slow models make them.
        workers: processes; results do not depend on it.
        hang_timeout_s: seconds that a step may take.
        floors: show in the table what hold, random and straight, which do not look, reach in the same worlds; `results`
            and `success_rate` are of `policy` alone.
        video: episodes to film, "none", "failures", "all" or a number; needs `out`.
        out: folder for all files, which a later call with the same arguments goes on with; None: nothing is kept.

    Raises:
        UserError: unknown names (with the nearest), numbers that cannot be used, or the folder is another run's.
    """
    chosen = [policy] if isinstance(policy, (str, type, Policy)) or not isinstance(policy, Sequence) else list(policy)
    _check_arguments(chosen, scenario, suite, embodiment, workers, hang_timeout_s, out)
    names = [_name_of(one) for one in chosen]
    settings: dict[str, Any] = {
        "scenarios": [scenario] if isinstance(scenario, str) else list(scenario),
        "suites": [suite] if isinstance(suite, str) else list(suite),
        "episodes": episodes,
        "first_seed": first_seed,
        "embodiment": embodiment,
        "instruction_set": instruction_set,
        "language": language,
        "renderer": renderer,
        "delay": delay,
        "instruction": instruction,
    }
    if not (settings["scenarios"] or settings["suites"]):
        raise UserError("name a scenario or a suite, e.g. scenario='obstacle_left' or suite='core'")
    if all(isinstance(name, str) for name in names):
        plan = make_plan([str(name) for name in names], **settings)
        return _with_files(plan, out, workers, hang_timeout_s, video, floors)
    if out is not None or video != "none":
        raise UserError("policies that are objects leave no files: name them as module:Class to use out and video")
    objects = {_label(one, number): one for number, one in enumerate(chosen)}
    return _in_this_process(named_plan(list(objects), **settings), objects, floors)


def _check_arguments(
    policies: Sequence[Any], scenario: Any, suite: Any, embodiment: Any, workers: Any, hang_timeout_s: Any, out: Any
) -> None:
    """Refuse values of the wrong type; those of the plan are refused there."""
    for policy in policies:
        drives = all(hasattr(policy, name) for name in ("reset", "act", "spec"))
        if not (drives or isinstance(policy, str)):
            raise UserError(
                f"policy must be a name, a subclass of vla_sim.Policy or an object of one, got {shown(policy)}"
            )
    for name, value in (("scenario", scenario), ("suite", suite)):
        if not isinstance(value, str) and not (isinstance(value, Sequence) and all(isinstance(v, str) for v in value)):
            raise UserError(f"{name} must be a name or a list of names, got {shown(value)}")
    if not isinstance(embodiment, str):
        raise UserError(f"embodiment must be the name of a robot or its TOML file, got {shown(embodiment)}")
    if isinstance(workers, bool) or not isinstance(workers, int):
        raise UserError(f"workers must be a whole number, got {shown(workers)}")
    if isinstance(hang_timeout_s, bool) or not isinstance(hang_timeout_s, (int, float)):
        raise UserError(f"hang_timeout_s must be a number of seconds, got {shown(hang_timeout_s)}")
    if out is not None and not isinstance(out, (str, Path)):
        raise UserError(f"out must be a folder, got {shown(out)}")


def _name_of(policy: Driver) -> str | None:
    """How another process can load a policy; None where it cannot."""
    if isinstance(policy, str):
        return policy
    if isinstance(policy, type) and policy.__module__ != "__main__" and "." not in policy.__qualname__:
        return f"{policy.__module__}:{policy.__qualname__}"
    return None


def _label(policy: Driver, number: int) -> str:
    """The name of an object in tables."""
    if isinstance(policy, str):
        return policy
    cls = policy if isinstance(policy, type) else type(policy)
    return f"{cls.__name__}-{number + 1}" if number else cls.__name__


def _with_files(
    plan: Plan, out: str | Path | None, workers: int, hang_timeout_s: float, video: str, floors: bool
) -> Evaluation:
    settings: dict[str, Any] = {"workers": workers, "hang_timeout_s": hang_timeout_s, "floors": floors}
    if out is None:
        if video != "none":
            raise UserError("video needs a folder: say out=...")
        with tempfile.TemporaryDirectory(prefix="vla_sim-") as place:
            result = evaluate_plan(plan, Path(place) / "run", **settings)
        return _evaluation(result, None)
    folder = Path(out)
    result = evaluate_plan(plan, folder, **settings)
    finish_run(result, plan, folder, video=video)
    return _evaluation(result, folder)


def _evaluation(result: Result, folder: Path | None) -> Evaluation:
    return Evaluation(tuple(result.records), result.summary, result.complete, folder)


def _in_this_process(plan: Plan, policies: dict[str, Driver], floors: bool) -> Evaluation:
    from vla_sim.policies.registry import load_policy
    from vla_sim.rollout.evaluating import EvaluationRollout

    results: list[EpisodeResult] = []
    with torch_threads(1):
        for name, given in policies.items():
            policy = load_policy(given) if isinstance(given, str) else given() if isinstance(given, type) else given
            rollout = EvaluationRollout(plan, policy, "", num_envs=NUM_ENVS)
            try:
                for unit in plan.units():
                    if unit.policy == name:
                        rollout.run(unit.jobs, results.append)
            finally:
                rollout.close()
    rank = {job.key: number for number, job in enumerate(plan.jobs())}
    results.sort(key=lambda result: rank[result.key])
    facts = {"complete": True, "python": sys.version.split()[0]}
    summary = summarise(results, facts, floors=drive_floors(plan) if floors else ())
    return Evaluation(tuple(results), summary)
