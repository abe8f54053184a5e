"""Train the models of the benchmark's rows: small backbones, then a head for each row."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from recipes.training_options import TrainingOptions, print_line, publish
from vla_sim.core.cli import run_command
from vla_sim.core.options import Folder, named

if TYPE_CHECKING:
    from recipes.zoo_training import RowTraining
    from vla_sim.datasets.demonstrations import Demonstrations

EPILOG = """DATA is the folder `data` that `python -m recipes.train_shipped --out runs/train` leaves: all rows learn
from these demonstrations, made from seeds below 100000. Started again on the same folder OUT, it goes on
where it was interrupted.

examples:
  python -m recipes.train_zoo --data runs/train/data --out runs/rows --publish policies
  python -m recipes.train_zoo --rows simple_clip mobile_vla
  python -m vla_sim.benchmark --out runs/benchmark && \\
  python -m recipes.train_zoo --cards runs/benchmark/benchmark.json --publish policies"""

BACKBONES = ("clip", "kosmos2")
# What backbones learn from: single images, and the expert's demonstrations. Heads learn from all rounds.
GROUNDING_ROUNDS = ("look", "clone")
# The gate drives these worlds, which nobody learned from and no evaluation uses, under both instructions.
GATE_SCENARIOS = ("two_obstacles_left", "two_obstacles_right")
GATE_SEED, GATE_WORLDS, GATE_SHARE = 90_000, 48, 0.8
# A row that fails it learns on, this often, for this share of its steps.
GATE_ROUNDS, GATE_MORE = 2, 0.5
# The ensembles' members, one with each kind of memory; what they are fitted on.
MEMBERS = ("kosmos2_clip_lstm_norm", "mobile_vla", "kosmos2_clip_gpt2")
HELD_OUT_SEED, HELD_OUT_EPISODES, HELD_OUT_NOISE = 80_000, 240, 0.4
HELD_OUT_SCENARIOS = ("obstacle_left", "obstacle_right", "two_obstacles_left", "two_obstacles_right", "choose_goal")


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """What `recipes.train_zoo` is told."""

    data: Folder = Path("runs/train/data")
    """Demonstrations."""
    out: Folder = Path("runs/rows")
    """Working folder."""
    rows: Annotated[tuple[str, ...], named("ROW ...")] = ()
    """Some of those in recipes/zoo.py (default: all)."""
    cards: Annotated[tuple[Path, ...], named("JSON ...")] = ()
    """Benchmarks' JSON: only write the model cards from it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    from vla_sim.core.files import FolderLock

    if options.cards:
        return _write_cards(options)
    with FolderLock(options.out):
        _train(options)
    return 0


def _train(options: Options) -> None:
    """Backbones, rows and ensembles that the folder lacks."""
    import torch

    from recipes.pretrain import train_backbone
    from recipes.zoo import ROWS, row
    from recipes.zoo_training import RowTraining
    from vla_sim.training.recorded import read_rounds

    names = options.rows or list(ROWS)
    needed = {part for name in names for part in BACKBONES if row(name).backbone in (part, "both")}
    torch.set_num_threads(options.threads)
    grounding = [part for name in GROUNDING_ROUNDS for part in read_rounds(options.data / name)]
    for part in sorted(needed):
        train_backbone(part, grounding, options.out, seed=options.seed, scale=options.scale, log=print_line)
    parts: list[Demonstrations] = read_rounds(options.data)
    rows = RowTraining(parts, options.out, seed=options.seed, scale=options.scale)
    for name in names:
        if not rows.gate(name).is_file():
            _train_row(rows, name, options)
    if all(rows.gate(member).is_file() for member in MEMBERS):
        _fit_ensembles(options)
    if options.publish:
        publish(options.out / "policies", options.publish)


def _train_row(rows: RowTraining, name: str, options: Options) -> None:
    """Train it until the gate is content, or has been asked often enough; either way it is reported."""
    for number in range(GATE_ROUNDS + 1):
        begin = time.perf_counter()
        folder = rows.train(name, more=GATE_MORE * number, log=print_line)
        seconds = time.perf_counter() - begin
        solved = _both_instructions(folder, options.workers)
        print(
            f"{name}: {solved} of {GATE_WORLDS} worlds under both instructions, trained in {seconds:.0f} s", flush=True
        )
        if solved >= GATE_SHARE * GATE_WORLDS:
            break
    facts = {"worlds": GATE_WORLDS, "both_instructions": solved, "passed": solved >= GATE_SHARE * GATE_WORLDS}
    rows.gate(name).write_text(json.dumps({**facts, "extra_rounds": number}, indent=1) + "\n", "utf-8")


def _both_instructions(folder: Path, workers: int) -> int:
    """How many worlds the policy solves under the left and under the right instruction."""
    import tempfile

    from vla_sim.evaluation.runner import evaluate
    from vla_sim.rollout.plan import Plan

    plan = Plan((str(folder),), GATE_SCENARIOS, ("", ""), GATE_WORLDS, GATE_SEED, "serbot", instruction_set="train")
    with tempfile.TemporaryDirectory() as out:
        records = evaluate(plan, Path(out), workers=workers).records
    solved = [{record.seed for record in records if record.scenario == s and record.success} for s in GATE_SCENARIOS]
    return len(solved[0] & solved[1])


def _fit_ensembles(options: Options) -> None:
    """Three ensembles of the same members: fixed weights, a gate, the members' own uncertainty."""
    from recipes.ensembles import fitted_gate, fitted_weights, predictions, write_ensemble
    from vla_sim.policies.registry import load_policy

    policies = options.out / "policies"
    drives = _held_out(options)
    members = [load_policy(str(policies / member)) for member in MEMBERS]
    actions, target = predictions(members, drives)
    facts = {"held_out_frames": len(target), "first_seed": HELD_OUT_SEED}
    weights = fitted_weights(actions, target)
    short = ", ".join(MEMBERS)
    write_ensemble(
        *(policies / "ensemble_fitted", MEMBERS, "weighted", f"weights fitted on held-out drives: {short}"),
        weights=[max(weight, 1e-4) for weight in weights],
        training=facts,
    )
    write_ensemble(
        *(policies / "ensemble_gated", MEMBERS, "gated", f"a gate weighs each step: {short}"),
        gate=fitted_gate(actions, target, seed=options.seed),
        training=facts,
    )
    write_ensemble(
        *(policies / "ensemble_dynamic", MEMBERS, "dynamic", f"members weigh by their own uncertainty: {short}"),
        weights=[1.0] * len(MEMBERS),
    )
    errors = [float(abs(member - target).mean()) for member in actions]
    print(
        "held-out error of the members, m/s: " + ", ".join(f"{m} {e:.4f}" for m, e in zip(MEMBERS, errors, strict=True))
    )
    print("fitted weights: " + ", ".join(f"{m} {w:.3f}" for m, w in zip(MEMBERS, weights, strict=True)), flush=True)


def _held_out(options: Options) -> Demonstrations:
    """Demonstrations of the expert, disturbed, in worlds of their own."""
    from recipes.pretrain import SMALL_IMAGE_PX
    from vla_sim.rollout.demonstrations import Collection, Task, collect
    from vla_sim.training.recorded import FACTS, read_round, save_round

    folder = options.out / "held_out"
    if not (folder / FACTS).is_file():
        tasks = [
            Task(HELD_OUT_SCENARIOS[i % len(HELD_OUT_SCENARIOS)], HELD_OUT_SEED + i, 0.0, HELD_OUT_NOISE)
            for i in range(HELD_OUT_EPISODES)
        ]
        save_round(folder, collect(tasks, Collection("serbot", SMALL_IMAGE_PX), workers=options.workers))
    return read_round(folder)


def _write_cards(options: Options) -> int:
    """The cards of all trained policies in the published folder, else in OUT."""
    from vla_sim.policies.folders import CONFIG, PolicyFolder
    from vla_sim.policies.types import policy_types
    from vla_sim.training.cards import read_benchmark, write_card

    measured: dict[str, tuple[dict[str, Any], str]] = {}
    for path in options.cards:
        rows, suite = read_benchmark(path)
        measured |= {name: (row, suite) for name, row in rows.items()}
    for config in sorted((options.publish or options.out / "policies").glob(f"*/{CONFIG}")):
        folder = PolicyFolder.read(config.parent)
        if policy_types()[folder.kind].learned:
            gate = options.out / "rows" / folder.name / "gate.json"
            judged = json.loads(gate.read_text("utf-8")) if gate.is_file() else None
            write_card(folder.path, judged, *measured.get(folder.name, (None, "")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
