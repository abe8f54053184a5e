"""Learning from a mixture of demonstrations into a folder, from config to policies. Used by `vla_sim.clone`."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock
from vla_sim.training.options import CloneConfig

if TYPE_CHECKING:
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.closed_loop import FitPlan
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.sources import Source
    from vla_sim.training.warm_start import Beginning

log = logging.getLogger(__name__)

# What `augmentation=False` switches off.
PLAIN: dict[str, Any] = {"mirror": 0.0, "jitter": 0.0, "shift_px": 0, "vary_words": 0.0}


def clone(config: CloneConfig, out: Path, *, workers: int = 2, threads: int = 2) -> Path:
    """Train until the closed loop is not better any more; goes on where an earlier call was interrupted.

    Args:
        config: what to learn from, and how.
        out: folder of the training.
        workers: processes that drive.
        threads: threads that learn.

    Returns:
        The folder of the judged policy.

    Raises:
        UserError: unknown names, data that cannot be read, or the folder belongs to another training.
    """
    from vla_sim.training.source_spec import parse_sources
    from vla_sim.training.sources import split
    from vla_sim.training.warm_start import check_driver

    out = out.resolve()
    if config.check_policy and not config.init:
        check_driver(config.check_policy)
    parse_sources(config.data)  # what is misspelled is said before anything heavy is loaded
    plan = _fit_plan(config)
    import torch

    from vla_sim.training.closed_loop import fit

    torch.set_num_threads(threads)
    with FolderLock(out):
        sources, begun = _sources(config, out)
        plan = dataclasses.replace(plan, driver=check_driver(config.check_policy or begun.driver, begun))
        share = config.learning.validation_share
        learned, checked = split(sources, share, config.seed)
        _check_learned(learned, share)
        trainer = _trainer(config, begun, learned, out)
        _check_plan(config, plan, trainer, learned, out)
        validation = [part for source in checked for part in source.parts]
        folder = fit(trainer, plan, validation=validation, workers=workers)
    found = json.loads((out / "best.json").read_text("utf-8"))
    best = next(check for check in found["looks"] if check["step"] == found["best_step"])
    policy = folder / plan.driver
    log.info(f"best after {best['step']} steps: {best['successes']} of {best['episodes']}: {policy}")
    return policy


def chosen_names(scenarios: Sequence[str], suites: Sequence[str]) -> tuple[str, ...]:
    """The scenarios that a training drives: those named, or else the suite "core"."""
    from vla_sim.scenarios import chosen_scenarios

    return tuple(chosen_scenarios(scenarios, suites or (() if scenarios else ("core",))))


def _fit_plan(config: CloneConfig) -> FitPlan:
    from vla_sim.training.closed_loop import FitPlan, ValidationSuite
    from vla_sim.training.seeds import CHOOSING, seeds_within

    checks = config.checks
    seeds = seeds_within(CHOOSING, 0, checks.check_episodes, "the worlds of the checks")
    suite = ValidationSuite(chosen_names(checks.scenario, checks.suite), seeds, config.embodiment)
    return FitPlan(config.learning.steps, checks.check_every, checks.patience, suite)


def _sources(config: CloneConfig, out: Path) -> tuple[list[Source], Beginning]:
    """The sources, and the network that they are shrunk for."""
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.training.source_spec import parse_sources
    from vla_sim.training.sources import Shape, open_source
    from vla_sim.training.warm_start import begin_afresh, begin_with, for_robot

    if config.learning.validation_share == 1:
        raise UserError("--validation-share must lie between 0 and 1 and not be 1: nothing would be left to learn from")
    spec = load_embodiment(config.embodiment)
    begun = (
        for_robot(begin_with(config.init, seed=config.seed), spec)
        if config.init
        else begin_afresh(spec, seed=config.seed)
    )
    shape = Shape(begun.image_px, begun.action_names, spec.control_s, config.learning.keep_still)
    specs, reading = parse_sources(config.data), config.reading
    return [open_source(s, shape, out / "sources" / s.name, reading=reading) for s in specs], begun


def _trainer(config: CloneConfig, begun: Beginning, sources: Sequence[Source], out: Path) -> Trainer:
    from vla_sim.training.batches import Sampler
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.sources import mixture_weights

    learning = _train_config(config, begun)
    trainer = Trainer(begun, learning, out, Sampler(learning, mixture_weights(sources)))
    for source in sources:
        for part in source.named():
            trainer.add(part)
    return trainer


def _check_learned(sources: Sequence[Source], share: float) -> None:
    """Something of each source is left to learn from."""
    for source in sources:
        if not source.episodes:
            raise UserError(
                f"source {source.spec.name}: --validation-share {share:g} leaves no episode to learn from; give less"
            )


def _train_config(config: CloneConfig, begun: Beginning) -> TrainConfig:
    from vla_sim.training.config import TrainConfig

    try:
        return TrainConfig(
            action_names=begun.action_names,
            action_scale=begun.action_scale,
            batch_episodes=config.learning.batch_episodes,
            learning_rate=config.learning.learning_rate,
            seed=config.seed,
            **({} if config.learning.augmentation else PLAIN),
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_plan(config: CloneConfig, plan: FitPlan, trainer: Trainer, sources: Sequence[Source], out: Path) -> None:
    """A folder belongs to one plan."""
    from vla_sim.core.run_folder import bind
    from vla_sim.training.sources import describe

    facts = dataclasses.asdict(plan)
    facts["suite"]["seeds"] = [plan.suite.seeds[0], plan.suite.seeds[-1]]
    bind(
        out,
        {
            **facts,
            "start": config.init or "",
            "validation_share": config.learning.validation_share,
            "validation_by": "origin",  # earlier versions drew copies apart: their trainings must not go on with others
            "keep_still": config.learning.keep_still,
            "sources": describe(sources),
            "learning": dataclasses.asdict(trainer.config),
        },
    )
