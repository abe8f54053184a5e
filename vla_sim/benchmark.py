"""`python -m vla_sim.benchmark`: policies side by side, offline error against the expert and closed-loop success."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import INTERRUPTED, run_command

if TYPE_CHECKING:
    from vla_sim.evaluation.open_loop import ExpertDrive
    from vla_sim.evaluation.runner import Result
    from vla_sim.rollout.plan import Plan

EPILOG = """examples:
  python -m vla_sim.benchmark --episodes 50 --workers 2 --out runs/benchmark
  python -m vla_sim.benchmark --policies ensemble clip_lstm my_module:MyPolicy --scenario obstacle_left obstacle_right
  python -m vla_sim.benchmark --out runs/benchmark          # goes on after Ctrl-C, or makes the tables again

offline: the scripted expert drives the evaluation's worlds and every policy is asked at every step what it would do
closed loop: every policy drives the same worlds itself
results: OUT/benchmark.md, .csv, .json, .png; OUT/offline.jsonl; OUT/closed_loop/ (a folder as of vla_sim.eval)
exit code: 0 done, 2 bad input, 130 interrupted (go on with --out)"""

CLOSED_LOOP = "closed_loop"
POLICIES, SUITE, EPISODES, SEED, EMBODIMENT = "all", "core", 50, 100_000, "serbot"


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.benchmark`; what decides the result has no default here, see `_plan`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.benchmark",
        description=__doc__.split(": ", 1)[1],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--policies",
        "--policy",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="names, folders or module:Class; all: every folder in policies/ that can drive this robot (default all)",
    )
    worlds = made.add_mutually_exclusive_group()
    worlds.add_argument("--suite", nargs="+", metavar="NAME", help=f"whole suites (default {SUITE})")
    worlds.add_argument("--scenario", nargs="+", metavar="NAME", help="scenario names or TOML files instead")
    made.add_argument("--episodes", type=int, help=f"worlds per scenario, the same for all (default {EPISODES})")
    made.add_argument("--seed", type=int, help=f"first seed, from {SEED} on (default {SEED}; training uses less)")
    made.add_argument("--embodiment", metavar="NAME", help=f"robot: a name or TOML file (default {EMBODIMENT})")
    made.add_argument("--workers", type=int, default=2, help="processes; results do not depend on it (default 2)")
    made.add_argument("--out", type=Path, metavar="DIR", help="output folder (default runs/TIME-benchmark)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.errors import UserError

    if options.workers < 1:
        raise UserError(f"--workers must be at least 1, got {options.workers}")
    out = options.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-benchmark"
    plan, left_out = _plan_of(options, out)
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}")
    print(_headline(plan, out), flush=True)
    try:
        result = _drive(plan, out / CLOSED_LOOP, options.workers)
        drives = _ask(plan, result, out, options.workers) if result.complete else None
    except KeyboardInterrupt:
        drives = None
    if drives is None:
        print(f"interrupted, what ran is kept; go on with: python -m vla_sim.benchmark --out {out}")
        return INTERRUPTED
    _finish(plan, result, drives, left_out, out)
    return 0


def _plan_of(options: argparse.Namespace, out: Path) -> tuple[Plan, dict[str, str]]:
    """The plan that is asked for, or that of a started benchmark; and which policies of "all" cannot take part."""
    from vla_sim.core.errors import UserError
    from vla_sim.evaluation.runner import PLAN_FILE, read_plan

    started = (out / CLOSED_LOOP / PLAN_FILE).exists()
    given = ("policies", "suite", "scenario", "episodes", "seed", "embodiment")
    if started and all(getattr(options, name) is None for name in given):
        return read_plan(out / CLOSED_LOOP), {}
    plan, left_out = _plan(options)
    if started and read_plan(out / CLOSED_LOOP) != plan:
        raise UserError(
            f"{out} holds another benchmark: choose an empty folder, or give --out {out} alone to go on with it"
        )
    return plan, left_out


def _plan(options: argparse.Namespace) -> tuple[Plan, dict[str, str]]:
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.core.errors import UserError
    from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
    from vla_sim.evaluation.benchmark.entries import chosen_policies
    from vla_sim.rollout.plan import Plan

    seed = SEED if options.seed is None else options.seed
    if seed < FIRST_EVALUATION_SEED:
        raise UserError(f"--seed must be at least {FIRST_EVALUATION_SEED}, got {seed}: training uses the seeds below")
    embodiment = options.embodiment or EMBODIMENT
    load_embodiment(embodiment)
    scenarios = _scenarios(options)
    policies, left_out = chosen_policies(options.policies or [POLICIES], embodiment)
    plan = Plan(
        policies=tuple(policies),
        scenarios=tuple(scenarios),
        suites=tuple(scenarios.values()),
        episodes=EPISODES if options.episodes is None else options.episodes,
        seed=seed,
        embodiment=embodiment,
    )
    return plan, left_out


def _scenarios(options: argparse.Namespace) -> dict[str, str]:
    """Scenario names, each with the suite it was asked for in."""
    from vla_sim.scenarios import chosen_scenarios

    return chosen_scenarios(options.scenario or [], [] if options.scenario else options.suite or [SUITE])


def _headline(plan: Plan, out: Path) -> str:
    return (
        f"{len(plan.policies)} policies x {len(plan.scenarios)} scenarios x {plan.episodes} episodes "
        f"(seeds {plan.seed}..{plan.seed + plan.episodes - 1}, {plan.embodiment}) -> {out}"
    )


def _drive(plan: Plan, folder: Path, workers: int) -> Result:
    """The closed loop, with the report that every evaluation gets."""
    from vla_sim.evaluation.reporting.report import write_report
    from vla_sim.evaluation.runner import REPORT_FILE, evaluate

    bar = _bar("driving", len(plan.jobs()))
    try:
        result = evaluate(
            plan, folder, workers=workers, on_progress=lambda done, total, successes: bar.update(done - bar.n)
        )
    finally:
        bar.close()
    write_report(result.summary, result.records, [], folder / REPORT_FILE)
    return result


def _ask(plan: Plan, result: Result, out: Path, workers: int) -> list[ExpertDrive]:
    """The offline part; a policy that broke down while driving is not asked."""
    from vla_sim.evaluation.benchmark.table import misbehaving
    from vla_sim.evaluation.open_loop import OFFLINE_FILE, drive_offline

    broken = misbehaving(result.records)
    asked = [name for name in plan.policies if name not in broken]
    bar = _bar("asking", len(plan.scenarios) * plan.episodes)
    try:
        return drive_offline(
            plan, asked, out / OFFLINE_FILE, workers=workers, on_progress=lambda done, total: bar.update(done - bar.n)
        )
    finally:
        bar.close()


def _finish(plan: Plan, result: Result, drives: Sequence[ExpertDrive], left_out: dict[str, str], out: Path) -> None:
    """Tables, plot and what is printed."""
    from vla_sim.evaluation.benchmark.entries import contender
    from vla_sim.evaluation.benchmark.files import agreement_line, console, write_benchmark
    from vla_sim.evaluation.benchmark.table import benchmark_document, benchmark_rows

    rows = benchmark_rows([contender(name) for name in plan.policies], result.records, drives)
    document = benchmark_document(rows, drives, result.summary["provenance"], left_out=left_out)
    written = write_benchmark(document, out)
    print(console(document["rows"]))
    for name, found in document["agreement"].items():
        print(agreement_line(name, found))
    print("written: " + ", ".join(map(str, written)))


def _bar(what: str, total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=what, mininterval=0.2 if sys.stderr.isatty() else 10, leave=False)


if __name__ == "__main__":
    sys.exit(main())
