"""`python -m vla_sim.dagger`: rounds of DAgger, of which only those count that win against the one before."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.dagger import Rounds, RoundsPlan

MIXINGS = ("step", "stretch", "episode")

EPILOG = """A round: the policy drives in turns with the expert, the expert labels every state, the policy learns from
all of it, and is accepted if it succeeds in more worlds than the last accepted one (the same worlds for both, McNemar's
exact test); otherwise it is dropped. Worlds to learn from, to choose by and to compare by are different seeds, all
below 100000; the report at the end uses seeds from 100000 on. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.dagger --policy clip_lstm --rounds 5 --out runs/dagger
  python -m vla_sim.dagger --policy runs/clone/policy/clip_lstm --from real=recordings --suite seed --out runs/seed"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.dagger`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.dagger",
        description=__doc__.split(": ", 1)[1],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--policy", default="clip_lstm", help="name or folder to start from (default %(default)s)")
    made.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    made.add_argument("--out", type=Path, default=Path("runs/dagger"), metavar="DIR", help="working folder")
    made.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        default=[],
        metavar="[NAME=]DIR[:WEIGHT]",
        help="demonstrations to keep learning from (default: as many drives of the expert as a round has)",
    )
    made.add_argument("--skip-bad", action="store_true", help="leave recordings out that cannot be read")
    made.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites to drive (default: core)")
    made.add_argument("--scenario", nargs="+", default=[], metavar="NAME", help="scenarios to drive")
    made.add_argument("--embodiment", default="serbot")
    made.add_argument("--seed", type=int, default=0, help="number of the run: of worlds, batches and mixing")
    made.add_argument("--workers", type=int, default=2, help="processes that drive, and threads that learn")
    steering = made.add_argument_group("who steers")
    steering.add_argument(
        "--episodes",
        type=int,
        default=200,
        help="of each round; 0: none, a control that only trains longer (default %(default)s)",
    )
    steering.add_argument(
        "--beta",
        default="exponential:0.5",
        help="the expert's share: exponential:BASE, linear, constant:B, or a list B1,B2,... (default %(default)s)",
    )
    steering.add_argument("--mixing", choices=MIXINGS, default="step", help="for how long it is drawn who steers")
    steering.add_argument("--noise", type=float, default=0.0, help="on the steering, in shares of full speed")
    learning = made.add_argument_group("learning")
    learning.add_argument("--steps", type=int, default=400, help="of each round (default %(default)s)")
    learning.add_argument("--check-every", type=int, default=100, help="steps between two looks at the closed loop")
    learning.add_argument("--patience", type=int, default=0, help="looks without a new best before a round ends early")
    learning.add_argument("--learning-rate", type=float, default=7e-4)
    learning.add_argument("--batch-episodes", type=int, default=24)
    learning.add_argument("--gathered-share", type=float, default=0.5, help="of what is drawn; the rest demonstrations")
    learning.add_argument("--forget-dropped", action="store_true", help="learn nothing from drives of dropped rounds")
    gate = made.add_argument_group("gate")
    gate.add_argument("--gate-episodes", type=int, default=50, help="worlds of each scenario (default %(default)s)")
    gate.add_argument("--check-episodes", type=int, default=10, help="of each scenario, for the looks")
    gate.add_argument("--level", type=float, default=0.05, help="of the test (default %(default)s)")
    gate.add_argument("--report-episodes", type=int, default=34, help="of each scenario at the end; 0: no report")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.files import FolderLock
    from vla_sim.rollout.driving import check_counts
    from vla_sim.training.sources import parse_sources

    options.out = options.out.resolve()
    check_counts(options, "rounds", "steps", "batch_episodes")
    parse_sources(options.sources)  # what is misspelled is said before anything heavy is loaded
    plan = _plan(options)
    import torch

    torch.set_num_threads(options.workers)
    with FolderLock(options.out):
        rounds = _rounds(options, plan)
        entries = rounds.run()
        _report(options, plan, rounds, entries)
    return 0


def _plan(options: argparse.Namespace) -> RoundsPlan:
    from vla_sim.scenarios import load_scenario, load_suite
    from vla_sim.training.aggregation import Schedule
    from vla_sim.training.dagger import RoundsPlan

    suites = options.suite or ([] if options.scenario else ["core"])
    names = [scenario.name for suite in suites for scenario in load_suite(suite)]
    names += [load_scenario(name).name for name in options.scenario]
    return RoundsPlan(
        policy=options.policy,
        rounds=options.rounds,
        scenarios=tuple(dict.fromkeys(names)),
        episodes=options.episodes,
        schedule=Schedule.parse(options.beta),
        mixing=options.mixing,
        noise=options.noise,
        steps=options.steps,
        check_every=options.check_every,
        patience=options.patience,
        choosing=options.check_episodes,
        comparing=options.gate_episodes,
        level=options.level,
        gathered_share=options.gathered_share,
        keep_dropped=not options.forget_dropped,
        seed=options.seed,
        embodiment=options.embodiment,
    )


def _rounds(options: argparse.Namespace, plan: RoundsPlan) -> Rounds:
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.training.dagger import Rounds
    from vla_sim.training.sources import Shape, mixture_weights, open_source, parse_sources
    from vla_sim.training.warm_start import begin_with

    config, begun = _config(options), begin_with(plan.policy)
    _check_plan(options, plan, config)
    shape = Shape(begun.model.config.image_px, begun.action_names, load_embodiment(plan.embodiment).control_s)
    specs = parse_sources(options.sources)
    skip = options.skip_bad
    sources = [open_source(spec, shape, options.out / "sources" / spec.name, skip_bad=skip) for spec in specs]
    parts = [part for source in sources for part in source.named()]
    weights = mixture_weights(sources) if sources else {}
    return Rounds(plan, options.out, parts, weights, config, workers=options.workers)


def _config(options: argparse.Namespace) -> TrainConfig:
    from vla_sim.core.errors import UserError
    from vla_sim.training.config import TrainConfig

    try:
        return TrainConfig(learning_rate=options.learning_rate, batch_episodes=options.batch_episodes)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_plan(options: argparse.Namespace, plan: RoundsPlan, config: TrainConfig) -> None:
    """A folder belongs to one plan; only the number of rounds may grow."""
    import dataclasses

    from vla_sim.training.closed_loop import keep_plan

    # A linear schedule depends on how many rounds there are.
    free = [] if plan.schedule.kind == "linear" else ["rounds"]
    facts = {"sources": options.sources, "learning": dataclasses.asdict(config)}
    keep_plan(options.out, {**plan.to_json(), **facts}, free=free)


def _report(options: argparse.Namespace, plan: RoundsPlan, rounds: Rounds, entries: list[dict[str, Any]]) -> None:
    """Start and last accepted round in worlds that nothing was chosen by."""
    from vla_sim.core.files import write_whole
    from vla_sim.training.closed_loop import Exam
    from vla_sim.training.dagger import START
    from vla_sim.training.gate import judge
    from vla_sim.training.seeds import REPORTING

    accepted = [entry["round"] for entry in entries if entry["accepted"]]
    last = accepted[-1] if accepted else START
    document: dict[str, Any] = {"format": 1, "rounds": entries, "last_accepted": last, "driver": rounds.driver}
    if options.report_episodes and accepted:
        seeds = range(REPORTING, REPORTING + options.report_episodes)
        exam = Exam(plan.scenarios, seeds, plan.embodiment, instruction_set="eval")
        driven = {
            name: exam.drive(
                rounds.policy_of(name) / rounds.driver, options.out / name / "report", workers=options.workers
            )
            for name in (START, last)
        }
        verdict = judge(driven[last], driven[START], level=plan.level)
        document["report"] = {"seeds": [seeds[0], seeds[-1]], **verdict.to_json()}
        print(f"held-out worlds, {last} against {START}: {verdict.overall.text()}")
    policy = _keep_last(options.out, rounds.policy_of(last), last) / rounds.driver
    write_whole(options.out / "report.json", (json.dumps(document, indent=1) + "\n").encode())
    kept = "" if accepted else " (as it began)"
    print(f"{len(accepted)} of {len(entries)} rounds accepted; the policy is {policy}{kept}")


def _keep_last(out: Path, policies: Path, name: str) -> Path:
    """The policies of the last accepted round under a name that stays."""
    import shutil

    from vla_sim.core.files import sweep_aside, whole_folder, write_whole

    target, mark = out / "policy", out / "policy_of"
    if not (target.exists() and mark.exists() and mark.read_text("utf-8") == name):
        sweep_aside(out)
        mark.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        with whole_folder(target) as aside:
            shutil.copytree(policies, aside, dirs_exist_ok=True)
        write_whole(mark, name.encode())
    return target


if __name__ == "__main__":
    sys.exit(main())
