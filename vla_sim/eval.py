"""Drive policies through scenarios in closed loop; write results, report and videos."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from vla_sim.core.bounds import Count, PositiveInt, Seconds, Seed, Workers
from vla_sim.core.cli import INTERRUPTED, command_line, counted, fresh_folder, run_command
from vla_sim.core.errors import UserError
from vla_sim.core.options import Name, Names, OptionalFile, OptionalFolder, OptionalName, flag_of, named

if TYPE_CHECKING:
    from vla_sim.evaluation.runner import Result
    from vla_sim.rollout.plan import Plan

EPILOG = """A TOML file stands for all scenarios that it defines; my.toml#one for one of them. --list prints all names.

examples:
  python -m vla_sim.eval --policy ensemble --scenario obstacle_left
  python -m vla_sim.eval --policy clip_lstm clip_mlp --suite core --episodes 50 --workers 2 --video failures
  python -m vla_sim.eval --policy my_module:MyPolicy --scenario ./my_scenario.toml
  python -m vla_sim.eval --resume runs/core

results: OUT/episodes.jsonl (one line per episode), OUT/summary.json, OUT/report.html, OUT/videos/
exit code: 0 all episodes ran, 1 outcomes differ from --baseline or every episode of a policy raised an error,
2 bad input, 130 interrupted (go on with --resume; episodes that raised are driven again)"""


# What may be said beside --resume, as no result depends on it.
MAY_CHANGE = (
    *("resume", "workers", "video", "floors", "hang_timeout", "start_timeout"),
    *("baseline", "update_baseline"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.eval` is told."""

    policy: Names = ()
    """Name, folder or module:Class; several are compared."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    suite: Names = ()
    """Whole suites."""
    episodes: PositiveInt = 50
    """How many; of each policy in each scenario."""
    first_seed: Seed = 100_000
    """Seed of the first world; trainings use less than the default."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    instruction_set: Literal["eval", "train"] = "eval"
    """Held-out or training phrasings."""
    language: OptionalName = None
    """Only this language, e.g. ko (default: the scenario's mix)."""
    instruction: Annotated[str | None, named("TEXT")] = None
    """Say this in every episode in place of the scenario's sentence, which still says how it is judged."""
    workers: Workers = 2
    """Processes; results do not depend on it."""
    video: Annotated[str, named("{none,failures,all,N}")] = "none"
    """Episodes to film."""
    renderer: Literal["software", "gpu", "tiny"] = "software"
    """What draws."""
    delay: Annotated[Count, named("STEPS")] = 0
    """Control steps by which actions arrive late."""
    floors: bool = True
    """Leave out hold, random and straight, which do not look and stand below the policies in every table."""
    hang_timeout: Seconds = 60.0
    """Seconds a step may take."""
    start_timeout: Seconds = 600.0
    """Seconds that loading a policy may take; all of its episodes are errors then."""
    out: OptionalFolder = None
    """Output folder (default: runs/eval-TIME)."""
    resume: OptionalFolder = None
    """Go on with what was begun in this folder."""
    list: bool = False
    """Print policies, scenarios by suite, and robots; then stop."""
    baseline: OptionalFile = None
    """Compare with a recorded baseline; exit 1 on change."""
    update_baseline: OptionalFile = None
    """Record the outcomes as regression baseline."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG)


def run(options: Options) -> int:
    """Evaluate, write, print; returns the exit code."""
    from vla_sim.core.progress import progress_bar, watched
    from vla_sim.evaluation.reporting.films import wanted_films
    from vla_sim.evaluation.reporting.finish import finish_run
    from vla_sim.evaluation.runner import evaluate

    if options.list:
        return _print_list()
    wanted_films([], options.video)  # a bad --video or --baseline must fail before the run, not after
    if options.baseline and not options.baseline.is_file():
        raise UserError(f"--baseline {options.baseline} does not exist; record one with --update-baseline")
    plan = _plan(options)
    out = options.resume or options.out or fresh_folder("eval")
    with progress_bar("driving", len(plan.jobs())) as bar:
        result = evaluate(
            plan,
            out,
            workers=options.workers,
            hang_timeout_s=options.hang_timeout,
            start_timeout_s=options.start_timeout,
            on_progress=lambda done, total, successes: bar(done, f"success {successes / done:.1%}"),
            on_begin=lambda: print(_headline(plan, out), flush=True),
            floors=options.floors,
            on_floors=lambda done, total: bar(len(plan.jobs()), f"floors {done} of {total}"),
        )
    finish_run(result, plan, out, video=options.video, watch=lambda records: watched(records, "filming"))
    if not result.complete:
        again = command_line("eval", "--resume", out)
        print(f"interrupted after {len(result.records)} of {len(plan.jobs())} episodes; go on with: {again}")
        return INTERRUPTED
    return _compared(result, out, options)


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


def _plan(options: Options) -> Plan:
    from vla_sim.evaluation.planning import make_plan
    from vla_sim.evaluation.runner import read_plan

    if options.resume:
        others = replace(Options(), **{name: getattr(options, name) for name in MAY_CHANGE})
        if options != others:
            may = ", ".join(map(flag_of, MAY_CHANGE[1:])).replace("--floors", "--no-floors")
            raise UserError(f"--resume takes everything from its folder but {may}: leave the other options away")
        return read_plan(options.resume)
    if not options.policy:
        raise UserError("--policy is missing: name at least one, e.g. --policy ensemble")
    if not (options.scenario or options.suite):
        raise UserError("--scenario or --suite is missing, e.g. --scenario obstacle_left or --suite core")
    return make_plan(
        options.policy,
        scenarios=options.scenario,
        suites=options.suite,
        episodes=options.episodes,
        first_seed=options.first_seed,
        embodiment=options.embodiment,
        instruction_set=options.instruction_set,
        language=options.language,
        renderer=options.renderer,
        delay=options.delay,
        instruction=options.instruction,
    )


def _headline(plan: Plan, out: Path) -> str:
    last = plan.seed + plan.episodes - 1
    late = f", actions {counted(plan.delay, 'step')} late" if plan.delay else ""
    told = f"{plan.instruction_set} phrasings" if plan.instruction is None else f"all told {plan.instruction!r}"
    return (
        f"{counted(len(plan.policies), 'policy', 'policies')} x {counted(len(plan.scenarios), 'scenario')} x "
        f"{counted(plan.episodes, 'episode')} "
        f"(seeds {plan.seed}..{last}, {told}, {plan.embodiment}{late}) -> {out}"
    )


def _compared(result: Result, out: Path, options: Options) -> int:
    """The exit code: whether outcomes are those of the baseline, and every policy got through an episode."""
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
    drove = {record.policy for record in result.records if not record.error}
    return int(any(record.policy not in drove for record in result.records))


if __name__ == "__main__":
    sys.exit(main())
