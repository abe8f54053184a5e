"""Rank policies by driving: closed-loop success beside the offline error against the expert, in the same worlds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.bounds import PositiveInt, Seed, Workers
from vla_sim.core.cli import INTERRUPTED, command_line, fresh_folder, run_command
from vla_sim.core.errors import UserError
from vla_sim.core.options import Name, Names, OptionalFolder

if TYPE_CHECKING:
    from vla_sim.rollout.plan import Plan

EPILOG = """examples:
  python -m vla_sim.benchmark --episodes 50 --workers 2 --out runs/benchmark
  python -m vla_sim.benchmark --policy ensemble clip_lstm my_module:MyPolicy --scenario obstacle_left obstacle_right
  python -m vla_sim.benchmark --resume runs/benchmark       # goes on after Ctrl-C, or makes the tables again

offline: the scripted expert drives the evaluation's worlds and every policy is asked at every step what it would do
closed loop: every policy drives the same worlds itself
results: OUT/benchmark.md, .csv, .json, .png; OUT/offline.jsonl; OUT/closed_loop/ (a folder as of vla_sim.eval)
exit code: 0 done, 2 bad input, 130 interrupted (go on with --resume)"""

SUITE = "core"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.benchmark` is told."""

    policy: Names = ("all",)
    """Name, folder or module:Class; several are compared. all: every folder in policies/ that can drive this robot."""
    suite: Names = ()
    """Whole suites (default: core, unless scenarios are named)."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    episodes: PositiveInt = 50
    """How many; of each policy in each scenario, in the same worlds."""
    first_seed: Seed = 100_000
    """Seed of the first world; trainings use less than the default."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    workers: Workers = 2
    """Processes; results do not depend on it."""
    floors: bool = True
    """Leave out hold, random and straight, which do not look and stand below the policies in every table."""
    out: OptionalFolder = None
    """Output folder (default: runs/benchmark-TIME)."""
    resume: OptionalFolder = None
    """Go on with what was begun in this folder; if it is complete, its tables are made again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG)


def run(options: Options) -> int:
    """Drive, ask, write the tables; returns the exit code."""
    from vla_sim.evaluation.benchmark.running import run_benchmark

    plan, left_out = _plan(options)
    out = options.resume or options.out or fresh_folder("benchmark")
    head = [*(f"{name} is left out: {reason}" for name, reason in left_out.items()), _headline(plan, out)]
    document = run_benchmark(
        *(plan, out),
        workers=options.workers,
        left_out=left_out,
        floors=options.floors,
        on_begin=lambda: print(*head, sep="\n", flush=True),
    )
    if document is None:
        print(f"interrupted, what ran is kept; go on with: {command_line('benchmark', '--resume', out)}")
        return INTERRUPTED
    return 0


def _plan(options: Options) -> tuple[Plan, dict[str, str]]:
    """The plan that is asked for, or that of a begun benchmark; and why policies of "all" cannot take part."""
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
    from vla_sim.evaluation.benchmark.entries import chosen_policies
    from vla_sim.evaluation.benchmark.running import CLOSED_LOOP
    from vla_sim.evaluation.planning import make_plan
    from vla_sim.evaluation.runner import read_plan

    if options.resume:
        if options != Options(resume=options.resume, workers=options.workers, floors=options.floors):
            may = "--workers, --no-floors"
            raise UserError(f"--resume takes everything from its folder but {may}: leave the other options away")
        return read_plan(options.resume / CLOSED_LOOP), {}
    if options.first_seed < FIRST_EVALUATION_SEED:
        raise UserError(
            f"--first-seed must be at least {FIRST_EVALUATION_SEED}, got {options.first_seed}: "
            "training uses the seeds below"
        )
    load_embodiment(options.embodiment)
    policies, left_out = chosen_policies(options.policy, options.embodiment)
    plan = make_plan(
        policies,
        scenarios=options.scenario,
        suites=options.suite or (() if options.scenario else (SUITE,)),
        episodes=options.episodes,
        first_seed=options.first_seed,
        embodiment=options.embodiment,
    )
    return plan, left_out


def _headline(plan: Plan, out: Path) -> str:
    return (
        f"{len(plan.policies)} policies x {len(plan.scenarios)} scenarios x {plan.episodes} episodes "
        f"(seeds {plan.seed}..{plan.seed + plan.episodes - 1}, {plan.embodiment}) -> {out}"
    )


if __name__ == "__main__":
    sys.exit(main())
