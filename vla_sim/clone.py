"""`python -m vla_sim.clone`: learning from a mixture of demonstrations, stopped by success in the closed loop."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.closed_loop import Exam, FitPlan
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.sources import Source
    from vla_sim.training.warm_start import Beginning

EPILOG = """A source is a folder of recordings (HDF5), a LeRobot data set, or simulated rounds (OUT/data of
recipes.train_shipped or vla_sim.dagger). The weight says how often it is drawn, whatever its size.
Every --check-every steps the policy drives through worlds of its own (seeds 92000 to 95999, never those of training
or of evaluations); the best state is kept. Validation loss is recorded beside it.
The folder OUT gets policy/ (clip_lstm and clip_mlp on one encoder, and their ensemble), best.json, training.jsonl and
tensorboard/. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.clone --source real=recordings:0.5 synthetic=data/expanded:0.5 --suite seed --out runs/clone
  python -m vla_sim.clone --source real=recordings --start clip_lstm --steps 500 --learning-rate 3e-4"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.clone`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.clone",
        description=__doc__.split(": ", 1)[1],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--source", nargs="+", required=True, metavar="[NAME=]DIR[:WEIGHT]", help="demonstrations, mixed by weight"
    )
    made.add_argument("--skip-bad", action="store_true", help="leave recordings out that cannot be read")
    made.add_argument(
        "--policy", default="clip_lstm", help="which is wanted: clip_lstm, clip_mlp or ensemble (default %(default)s)"
    )
    made.add_argument("--start", metavar="POLICY", help="name or folder of a policy to go on from (default: at random)")
    made.add_argument("--out", type=Path, default=Path("runs/clone"), metavar="DIR", help="working folder")
    made.add_argument("--embodiment", default="serbot")
    made.add_argument("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    made.add_argument("--workers", type=int, default=2, help="threads that learn, processes that drive")
    learning = made.add_argument_group("learning")
    learning.add_argument("--steps", type=int, default=2000, help="at most (default %(default)s)")
    learning.add_argument("--learning-rate", type=float, default=1.5e-3)
    learning.add_argument("--batch-episodes", type=int, default=24)
    learning.add_argument("--no-augmentation", action="store_true", help="no mirroring, shifts, colours, garbled words")
    learning.add_argument("--validation-share", type=float, default=0.1, help="of each source (default %(default)s)")
    learning.add_argument("--keep-still", action="store_true", help="learn the still frame that recordings begin with")
    checks = made.add_argument_group("early stopping")
    checks.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites to drive (default: core)")
    checks.add_argument("--scenario", nargs="+", default=[], metavar="NAME", help="scenarios to drive")
    checks.add_argument("--check-every", type=int, default=200, help="steps between two looks (default %(default)s)")
    checks.add_argument("--check-episodes", type=int, default=10, help="of each scenario (default %(default)s)")
    checks.add_argument("--patience", type=int, default=5, help="looks without a new best before it ends; 0: never")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.files import FolderLock
    from vla_sim.rollout.driving import check_counts
    from vla_sim.training.closed_loop import fit
    from vla_sim.training.sources import parse_sources
    from vla_sim.training.warm_start import check_driver

    options.out = options.out.resolve()
    check_driver(options.policy)
    check_counts(options, "steps", "batch_episodes")
    parse_sources(options.source)  # what is misspelled is said before anything heavy is loaded
    plan = _fit_plan(options)
    import torch

    torch.set_num_threads(options.workers)
    with FolderLock(options.out):
        sources, begun = _sources(options)
        learned, checked = zip(
            *(source.split(options.validation_share, options.seed) for source in sources), strict=True
        )
        _check_learned(learned, options.validation_share)
        trainer = _trainer(options, begun, learned)
        _check_plan(options, plan, trainer, learned)
        validation = [part for source in checked for part in source.parts]
        folder = fit(trainer, plan, validation=validation, workers=options.workers)
    found = json.loads((options.out / "best.json").read_text("utf-8"))
    best = next(look for look in found["looks"] if look["step"] == found["best_step"])
    print(f"best after {best['step']} steps: {best['successes']} of {best['episodes']}: {folder / options.policy}")
    return 0


def _fit_plan(options: argparse.Namespace) -> FitPlan:
    from vla_sim.training.closed_loop import FitPlan

    return FitPlan(options.steps, options.check_every, options.patience, _exam(options), options.policy)


def _exam(options: argparse.Namespace) -> Exam:
    from vla_sim.scenarios import load_scenario, load_suite
    from vla_sim.training.closed_loop import Exam
    from vla_sim.training.seeds import CHOOSING, seeds_within

    suites = options.suite or ([] if options.scenario else ["core"])
    names = [scenario.name for suite in suites for scenario in load_suite(suite)]
    names += [load_scenario(name).name for name in options.scenario]
    seeds = seeds_within(CHOOSING, 0, options.check_episodes, "the worlds of the checks")
    return Exam(tuple(dict.fromkeys(names)), seeds, options.embodiment)


def _sources(options: argparse.Namespace) -> tuple[list[Source], Beginning]:
    """The sources, and the network that they are shrunk for."""
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.core.errors import UserError
    from vla_sim.training.sources import Shape, open_source, parse_sources
    from vla_sim.training.warm_start import begin_afresh, begin_with

    if not 0 <= options.validation_share < 1:
        raise UserError(f"--validation-share must lie in 0..1 and not be 1, got {options.validation_share}")
    spec = load_embodiment(options.embodiment)
    begun = begin_with(options.start, seed=options.seed) if options.start else begin_afresh(spec, seed=options.seed)
    shape = Shape(begun.model.config.image_px, begun.action_names, spec.control_s, options.keep_still)
    specs, skip = parse_sources(options.source), options.skip_bad
    return [open_source(s, shape, options.out / "sources" / s.name, skip_bad=skip) for s in specs], begun


def _trainer(options: argparse.Namespace, begun: Beginning, sources: Sequence[Source]) -> Trainer:
    from vla_sim.training.batches import Sampler
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.sources import mixture_weights

    config = _config(options, begun)
    trainer = Trainer(begun.model, begun.tokenizer, config, options.out)
    trainer.source = Sampler(config, mixture_weights(sources))
    for source in sources:
        for part in source.named():
            trainer.add(part)
    return trainer


def _check_learned(sources: Sequence[Source], share: float) -> None:
    """Something of each source is left to learn from."""
    from vla_sim.core.errors import UserError

    for source in sources:
        if not source.episodes:
            raise UserError(
                f"source {source.spec.name}: --validation-share {share:g} leaves no episode to learn from; give less"
            )


def _config(options: argparse.Namespace, begun: Beginning) -> TrainConfig:
    from vla_sim.core.errors import UserError
    from vla_sim.training.config import TrainConfig

    plain: dict[str, Any] = {"mirror": 0.0, "jitter": 0.0, "shift_px": 0, "vary_words": 0.0}
    try:
        return TrainConfig(
            action_names=begun.action_names,
            action_scale=begun.action_scale,
            batch_episodes=options.batch_episodes,
            learning_rate=options.learning_rate,
            seed=options.seed,
            **(plain if options.no_augmentation else {}),
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_plan(options: argparse.Namespace, plan: FitPlan, trainer: Trainer, sources: Sequence[Source]) -> None:
    """A folder belongs to one plan."""
    from vla_sim.training.closed_loop import keep_plan
    from vla_sim.training.sources import describe

    facts = dataclasses.asdict(plan)
    facts["exam"]["seeds"] = [plan.exam.seeds[0], plan.exam.seeds[-1]]
    keep_plan(
        options.out,
        {
            **facts,
            "start": options.start or "",
            "validation_share": options.validation_share,
            "keep_still": options.keep_still,
            "sources": describe(sources),
            "learning": dataclasses.asdict(trainer.config),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
