"""DAgger into a folder, from config to the policy of the last accepted round. Used by `vla_sim.dagger`."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, sweep_aside, whole_folder, write_whole
from vla_sim.training.cloning import chosen_names
from vla_sim.training.options import DaggerConfig

if TYPE_CHECKING:
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.dagger import Rounds, RoundsPlan

log = logging.getLogger(__name__)


def run_dagger(config: DaggerConfig, out: Path, *, workers: int = 2, threads: int = 2) -> Path:
    """Run all rounds and the report; goes on where an earlier call was interrupted.

    Args:
        config: what to do.
        out: folder of the run.
        workers: processes that drive.
        threads: threads that learn.

    Returns:
        The policy of the last accepted round, or of the start if there is none.

    Raises:
        UserError: unknown names, data that cannot be read, or the folder belongs to another run.
    """
    from vla_sim.training.source_spec import parse_sources

    out = out.resolve()
    parse_sources(config.data)  # what is misspelled is said before anything heavy is loaded
    plan = _plan(config)
    import torch

    torch.set_num_threads(threads)
    with FolderLock(out):
        rounds = _rounds(config, plan, out, workers)
        entries = rounds.run()
        return _report(config, plan, rounds, entries, out, workers)


def _plan(config: DaggerConfig) -> RoundsPlan:
    from vla_sim.training.aggregation import Schedule
    from vla_sim.training.dagger import RoundsPlan

    steering, learning, gate = config.steering, config.learning, config.gate
    return RoundsPlan(
        policy=config.init,
        rounds=config.rounds,
        scenarios=chosen_names(config.scenario, config.suite),
        episodes=steering.episodes,
        schedule=Schedule.parse(steering.beta),
        mixing=steering.mixing,
        noise=steering.noise,
        steps=learning.steps,
        check_every=learning.check_every,
        patience=learning.patience,
        choosing=gate.check_episodes,
        comparing=gate.gate_episodes,
        level=gate.level,
        gathered_share=learning.gathered_share,
        keep_dropped=not learning.forget_dropped,
        seed=config.seed,
        embodiment=config.embodiment,
    )


def _rounds(config: DaggerConfig, plan: RoundsPlan, out: Path, workers: int) -> Rounds:
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.training.dagger import Rounds
    from vla_sim.training.source_spec import parse_sources
    from vla_sim.training.sources import Shape, mixture_weights, open_source
    from vla_sim.training.warm_start import begin_with

    learning, begun = _train_config(config), begin_with(plan.policy)
    _check_plan(config, plan, learning, out)
    shape = Shape(begun.image_px, begun.action_names, load_embodiment(plan.embodiment).control_s)
    specs, reading = parse_sources(config.data), config.reading
    sources = [open_source(spec, shape, out / "sources" / spec.name, reading=reading) for spec in specs]
    parts = [part for source in sources for part in source.named()]
    weights = mixture_weights(sources) if sources else {}
    return Rounds(plan, out, parts, weights, learning, workers=workers)


def _train_config(config: DaggerConfig) -> TrainConfig:
    from vla_sim.training.config import TrainConfig

    learning = config.learning
    try:
        return TrainConfig(learning_rate=learning.learning_rate, batch_episodes=learning.batch_episodes)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_plan(config: DaggerConfig, plan: RoundsPlan, learning: TrainConfig, out: Path) -> None:
    """A folder belongs to one plan; only the number of rounds may grow."""
    from vla_sim.core.run_folder import bind

    # A linear schedule depends on how many rounds there are.
    free = [] if plan.schedule.kind == "linear" else ["rounds"]
    facts = {"sources": list(config.data), "learning": dataclasses.asdict(learning)}
    bind(out, {**plan.to_json(), **facts}, free=free)


def _report(
    config: DaggerConfig,
    plan: RoundsPlan,
    rounds: Rounds,
    entries: list[dict[str, Any]],
    out: Path,
    workers: int,
) -> Path:
    """Start and last accepted round in worlds that nothing was chosen by."""
    from vla_sim.training.closed_loop import ValidationSuite
    from vla_sim.training.dagger import START
    from vla_sim.training.gate import judge
    from vla_sim.training.seeds import REPORTING

    accepted = [entry["round"] for entry in entries if entry["accepted"]]
    last = accepted[-1] if accepted else START
    document: dict[str, Any] = {"format": 1, "rounds": entries, "last_accepted": last, "driver": rounds.driver}
    if config.gate.report_episodes and accepted:
        seeds = range(REPORTING, REPORTING + config.gate.report_episodes)
        suite = ValidationSuite(plan.scenarios, seeds, plan.embodiment, instruction_set="eval")
        driven = {
            name: suite.drive(rounds.policy_of(name) / rounds.driver, out / name / "report", workers=workers)
            for name in (START, last)
        }
        verdict = judge(driven[last], driven[START], level=plan.level)
        document["report"] = {"seeds": [seeds[0], seeds[-1]], **verdict.to_json()}
        log.info(f"held-out worlds, {last} against {START}: {verdict.overall.text()}")
    policy = _keep_last(out, rounds.policy_of(last), last) / rounds.driver
    write_whole(out / "report.json", (json.dumps(document, indent=1) + "\n").encode())
    kept = "" if accepted else " (as it began)"
    log.info(f"{len(accepted)} of {len(entries)} rounds accepted; the policy is {policy}{kept}")
    return policy


def _keep_last(out: Path, policies: Path, name: str) -> Path:
    """The policies of the last accepted round under a name that stays."""
    target, mark = out / "policy", out / "policy_of"
    if not (target.exists() and mark.exists() and mark.read_text("utf-8") == name):
        sweep_aside(out)
        mark.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        with whole_folder(target) as aside:
            shutil.copytree(policies, aside, dirs_exist_ok=True)
        write_whole(mark, name.encode())
    return target
