"""`python -m vla_sim.eval`: drive policies through scenarios in closed loop, write results, report and videos."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import counted, run_command

if TYPE_CHECKING:
    from vla_sim.evaluation.runner import Result
    from vla_sim.rollout.plan import Plan
    from vla_sim.rollout.result import EpisodeResult

EPILOG = """A TOML file stands for all scenarios that it defines; my.toml#one for one of them. --list prints all names.

examples:
  python -m vla_sim.eval --policy ensemble --scenario obstacle_left
  python -m vla_sim.eval --policy clip_lstm clip_mlp --suite core --episodes 50 --workers 2 --video failures
  python -m vla_sim.eval --policy my_module:MyPolicy --scenario ./my_scenario.toml
  python -m vla_sim.eval --resume runs/core

results: OUT/episodes.jsonl (one line per episode), OUT/summary.json, OUT/report.html, OUT/videos/
exit code: 0 all episodes ran, 1 outcomes differ from --baseline or every episode of a policy raised an error,
2 bad input, 130 interrupted (go on with --resume; episodes that raised are driven again)"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.eval`."""
    from vla_sim.core.content import content_folder

    suites = sorted(path.name for path in content_folder("scenarios").iterdir() if path.is_dir())
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.eval",
        description="Drive policies through scenarios in closed loop; write results, report and videos.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--policy",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="name, folder or module:Class; several are compared",
    )
    made.add_argument(
        "--scenario",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="names or TOML files",
    )
    made.add_argument(
        "--suite", nargs="+", action="extend", default=[], metavar="NAME", help=f"whole suites: {', '.join(suites)}"
    )
    made.add_argument("--episodes", type=int, default=50, help="per policy and scenario (default %(default)s)")
    made.add_argument("--seed", type=int, default=100_000, help="first seed (default %(default)s; training uses less)")
    made.add_argument("--embodiment", default="serbot", help="robot: a name or TOML file (default %(default)s)")
    made.add_argument(
        "--instruction-set", choices=("eval", "train"), default="eval", help="held-out or training phrasings"
    )
    made.add_argument("--language", choices=("en", "ko"), help="only this language (default: the scenario's mix)")
    made.add_argument(
        "--workers", type=int, default=1, help="processes (default %(default)s); results do not depend on it"
    )
    made.add_argument(
        "--video", default="none", metavar="{none,failures,all,N}", help="episodes to film (default %(default)s)"
    )
    made.add_argument(
        "--renderer", choices=("software", "gpu", "tiny"), default="software", help="what draws (default %(default)s)"
    )
    made.add_argument(
        "--hang-timeout", type=float, default=60.0, metavar="S", help="seconds a step may take (default 60)"
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="output folder (default runs/TIME-POLICY)")
    made.add_argument("--resume", type=Path, metavar="DIR", help="go on with an interrupted evaluation")
    made.add_argument("--list", action="store_true", help="print policies, scenarios by suite, and robots; then stop")
    made.add_argument("--update-baseline", type=Path, metavar="FILE", help="record the outcomes as regression baseline")
    made.add_argument(
        "--baseline", type=Path, metavar="FILE", help="compare with a recorded baseline; exit 1 on change"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.evaluation.reporting.films import wanted_films
    from vla_sim.evaluation.reporting.finish import finish_run
    from vla_sim.evaluation.runner import evaluate

    if options.list:
        return _print_list()
    wanted_films([], options.video)  # a bad --video must fail before the run, not after
    plan, out = _plan_and_folder(options)
    _check_numbers(options)
    _check_baseline(options)
    print(_headline(plan, out), flush=True)
    progress = _Bar(len(plan.jobs()))
    try:
        result = evaluate(
            plan, out, workers=options.workers, hang_timeout_s=options.hang_timeout, on_progress=progress.show
        )
    finally:
        progress.close()
    finish_run(result, plan, out, video=options.video, watch=_counted)
    if not result.complete:
        print(f"interrupted after {len(result.records)} of {len(plan.jobs())} episodes; go on with: {_again(out)}")
        return 130
    return _gate(result, out, options)


def _print_list() -> int:
    """What names there are."""
    from vla_sim.core.content import content_folder, embodiment_names
    from vla_sim.policies.registry import policy_names
    from vla_sim.scenarios import load_suite, suite_names

    print("policies:  " + " ".join(policy_names()))
    print("robots:    " + " ".join(embodiment_names()))
    for suite in suite_names():
        print(f"suite {suite}: " + " ".join(scenario.name for scenario in load_suite(suite)))
    print(f"files: {content_folder('policies').parent}")
    return 0


def _check_numbers(options: argparse.Namespace) -> None:
    from vla_sim.core.errors import UserError

    if options.workers < 1:
        raise UserError(f"--workers must be at least 1, got {options.workers}")
    if options.hang_timeout <= 0:
        raise UserError(f"--hang-timeout must be positive, got {options.hang_timeout:g}")


def _check_baseline(options: argparse.Namespace) -> None:
    """A missing baseline must be said before the run, not after."""
    from vla_sim.core.errors import UserError

    if options.baseline and not options.baseline.is_file():
        raise UserError(f"--baseline {options.baseline} does not exist; record one with --update-baseline")


def _plan_and_folder(options: argparse.Namespace) -> tuple[Plan, Path]:
    from vla_sim.core.errors import UserError
    from vla_sim.evaluation.runner import read_plan

    if options.resume:
        if options.policy or options.scenario or options.suite or options.out:
            raise UserError(
                "--resume takes everything from its folder: leave --policy, --scenario, --suite, --out away"
            )
        return read_plan(options.resume), options.resume
    plan = _plan(options)
    name = "-".join(Path(p.split(":")[-1]).name for p in plan.policies[:3])
    return plan, options.out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


def _plan(options: argparse.Namespace) -> Plan:
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.core.errors import UserError
    from vla_sim.policies.registry import check_policy
    from vla_sim.rollout.plan import Plan
    from vla_sim.scenarios import chosen_scenarios

    if not options.policy:
        raise UserError("--policy is missing: name at least one, e.g. --policy ensemble")
    if not (options.scenario or options.suite):
        raise UserError("--scenario or --suite is missing, e.g. --scenario obstacle_left or --suite core")
    chosen = chosen_scenarios(options.scenario, options.suite)
    for name in options.policy:
        check_policy(name)
    load_embodiment(options.embodiment)
    return Plan(
        policies=tuple(options.policy),
        scenarios=tuple(chosen),
        suites=tuple(chosen.values()),
        episodes=options.episodes,
        seed=options.seed,
        embodiment=options.embodiment,
        instruction_set=options.instruction_set,
        language=options.language,
        renderer=options.renderer,
    )


def _headline(plan: Plan, out: Path) -> str:
    last = plan.seed + plan.episodes - 1
    return (
        f"{counted(len(plan.policies), 'policy', 'policies')} x {counted(len(plan.scenarios), 'scenario')} x "
        f"{counted(plan.episodes, 'episode')} "
        f"(seeds {plan.seed}..{last}, {plan.instruction_set} phrasings, {plan.embodiment}) -> {out}"
    )


def _nothing_but_errors(records: Sequence[EpisodeResult]) -> bool:
    """Whether some policy never got through a single episode."""
    return bool({record.policy for record in records} - {record.policy for record in records if not record.error})


def _gate(result: Result, out: Path, options: argparse.Namespace) -> int:
    from vla_sim.core.errors import UserError
    from vla_sim.evaluation.baseline import compare_baseline, record_baseline

    if options.update_baseline:
        record_baseline(result.records, options.update_baseline)
        print(f"baseline of {len(result.records)} episodes written to {options.update_baseline}")
    if options.baseline:
        try:
            report = compare_baseline(result.records, options.baseline)
        except ValueError as error:
            raise UserError(f"--baseline: {error}") from error
        print(report.text(str(out)))
        if not report.passed:
            return 1
    return int(_nothing_but_errors(result.records))


def _again(out: Path) -> str:
    return f"python -m vla_sim.eval --resume {out}"


def _counted(items: Sequence[Any]) -> Any:
    from tqdm import tqdm

    return tqdm(items, desc="filming", unit="episode", disable=len(items) < 2 or not sys.stderr.isatty(), leave=False)


class _Bar:
    """Progress with the running success rate; one line at a time where nobody watches a terminal."""

    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, desc="driving", unit="episode", mininterval=0.2 if sys.stderr.isatty() else 10, leave=False
        )

    def show(self, done: int, total: int, successes: int) -> None:
        self._bar.set_postfix_str(f"success {successes / done:.1%}", refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


if __name__ == "__main__":
    sys.exit(main())
