"""Train the shipped policies from seeds: expert rollouts, behaviour cloning, DAgger."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recipes.training_options import TrainingOptions, print_line, publish
from vla_sim.core.cli import run_command
from vla_sim.core.options import Folder, Name
from vla_sim.core.types import Outcome

if TYPE_CHECKING:
    from vla_sim.datasets.demonstrations import Demonstrations
    from vla_sim.rollout.demonstrations import Task
    from vla_sim.training.batches import Sampler
    from vla_sim.training.behaviour_cloning import Trainer

EPILOG = """The folder OUT holds data, checkpoint, logs and the policies of each round. Started again
on the same folder, it goes on where it was interrupted. Seeds are below 100000: no evaluation seed is ever seen.

examples:
  python -m recipes.train_shipped --out runs/train --publish policies
  python -m recipes.train_shipped --out runs/quick --scale 0.1"""

IMAGE_PX = 96
# Episodes are padded to the longest of their part.
PART_EPISODES = 400
# Share of the episodes that each scenario or suite gets; choosing among objects takes the most examples.
MIX = {
    "choose_goal": 0.20,
    "hard_choose_goal": 0.08,
    "obstacle_left": 0.06,
    "obstacle_right": 0.06,
    "two_obstacles_left": 0.06,
    "two_obstacles_right": 0.06,
    "reach_goal": 0.04,
    "hard_obstacle_left": 0.03,
    "hard_obstacle_right": 0.03,
    "hard_two_obstacles_left": 0.03,
    "hard_two_obstacles_right": 0.03,
    "suite seed": 0.06,
    "suite refuse": 0.13,
    "suite route": 0.13,
}
# The same of single images; most show every object as the goal in turn.
LOOKS = {
    "choose_goal": 0.36,
    "hard_choose_goal": 0.16,
    "obstacle_left": 0.06,
    "obstacle_right": 0.06,
    "refuse_absent": 0.14,
    "refuse_ambiguous": 0.10,
    "refuse_contradiction": 0.05,
    "refuse_stop": 0.04,
    "refuse_nothing": 0.03,
}
# Telling what is there from what is not takes more images than finding it.
ABSENT = {"refuse_absent": 0.4, "refuse_ambiguous": 0.3, "choose_goal": 0.2, "hard_choose_goal": 0.1}
# What a clone does worst: several legs, and objects that are not there.
HARDEST = {
    "choose_goal": 0.14,
    "hard_choose_goal": 0.08,
    "obstacle_left": 0.03,
    "obstacle_right": 0.03,
    "two_obstacles_left": 0.03,
    "two_obstacles_right": 0.03,
    "reach_goal": 0.02,
    "hard_obstacle_left": 0.04,
    "hard_obstacle_right": 0.04,
    "hard_two_obstacles_left": 0.04,
    "hard_two_obstacles_right": 0.04,
    "suite seed": 0.03,
    "refuse_absent": 0.06,
    "refuse_ambiguous": 0.06,
    "refuse_nothing": 0.02,
    "refuse_stop": 0.02,
    "refuse_contradiction": 0.01,
    "stop_midway_left": 0.01,
    "stop_midway_right": 0.01,
    "suite route": 0.26,
}


@dataclass(frozen=True)
class Round:
    """One round: episodes to collect, then steps of learning on all episodes so far.

    Attributes:
        first_world: seed of its first world.
        learner_share, noise: see `vla_sim.rollout.demonstrations.Task`.
        mix: share of the episodes by scenario or suite.
        single: single images instead of episodes, see `recipes.single_images`.
        batch_episodes, max_steps: shape of a batch.
        decay: let the learning rate fall.
    """

    name: str
    first_world: int
    episodes: int
    steps: int
    learner_share: float = 0.0
    noise: float = 0.0
    mix: Mapping[str, float] = field(default_factory=lambda: MIX)
    single: bool = False
    batch_episodes: int = 88
    max_steps: int = 36
    decay: bool = False


# Batches in which an episode of several legs is learned as a whole.
LONG: dict[str, Any] = {"batch_episodes": 72, "max_steps": 64}
# Words first: which object is meant is learned on single images, and kept alive by them while driving is learned.
ROUNDS = (
    Round("look", first_world=30000, episodes=9000, steps=400, mix=LOOKS, single=True, batch_episodes=384, max_steps=4),
    Round("clone", first_world=0, episodes=4000, steps=900, noise=0.5),
    Round(
        "absent", first_world=15000, episodes=5000, steps=100, mix=ABSENT, single=True, batch_episodes=384, max_steps=4
    ),
    Round("routes", first_world=22000, episodes=1800, steps=300, mix={"suite route": 1.0}, noise=0.3, **LONG),
    Round("dagger_1", first_world=5000, episodes=2000, steps=500, mix=HARDEST, learner_share=0.8, noise=0.15, **LONG),
    Round("dagger_2", 40000, 2000, steps=1000, mix=HARDEST, learner_share=1.0, noise=0.05, decay=True, **LONG),
)


@dataclass(frozen=True, kw_only=True)
class Options(TrainingOptions):
    """What `recipes.train_shipped` is told."""

    out: Folder = Path("runs/train")
    """Working folder."""
    embodiment: Name = "serbot"
    """The robot, a name or a TOML file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    import torch

    from vla_sim.core.files import FolderLock

    torch.set_num_threads(options.threads)
    with FolderLock(options.out):
        _train(options)
    return 0


def _train(options: Options) -> None:
    """All rounds that the folder lacks."""
    begin = time.perf_counter()
    trainer = _trainer(options)
    resumed = trainer.checkpoint.exists()
    parts: list[Demonstrations] = []
    for number, round_ in enumerate(ROUNDS):
        learner = options.out / ROUNDS[number - 1].name / "ensemble" if round_.learner_share else None
        parts += _data(options, round_, learner)
        trainer.source = _sampler(trainer, round_, parts)
        if resumed and number == 0:
            trainer.load()
        steps = max(1, round(round_.steps * options.scale))
        finished = options.out / round_.name / "ensemble" / "config.json"
        if trainer.stages.get(round_.name, {}).get("steps", 0) < steps or not finished.exists():
            trainer.run(round_.name, steps=steps, decay=round_.decay, log=print_line)
            trainer.export(options.out / round_.name)
    if options.publish:
        publish(options.out / ROUNDS[-1].name, options.publish)
    print(f"done in {(time.perf_counter() - begin) / 60:.1f} minutes: {options.out / ROUNDS[-1].name}")


def _trainer(options: Options) -> Trainer:
    from vla_sim.core.embodiments import load_embodiment
    from vla_sim.scenarios import load_scenario
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.warm_start import begin_afresh

    spec = load_embodiment(options.embodiment)
    names = {name for entry in MIX for name in _names(entry)}
    texts = sorted({text for name in names for text in load_scenario(name).instructions("train")})
    begun = begin_afresh(spec, seed=options.seed, texts=texts)
    config = TrainConfig(action_names=begun.action_names, action_scale=begun.action_scale, seed=options.seed)
    return Trainer(begun, config, options.out)


def _sampler(trainer: Trainer, round_: Round, parts: Sequence[Demonstrations]) -> Sampler:
    """Draws from all parts in the way of this round."""
    from vla_sim.training.batches import Sampler

    config = replace(trainer.config, batch_episodes=round_.batch_episodes, max_steps=round_.max_steps)
    sampler = Sampler(config)
    for part in parts:
        sampler.add(part)
    return sampler


def _data(options: Options, round_: Round, learner: Path | None) -> list[Demonstrations]:
    """The episodes of a round, in parts that fit into memory: from disk, or collected now."""
    from vla_sim.training.recorded import FACTS, read_round, save_round

    begin = time.perf_counter()
    tasks = round_tasks(round_, options.seed, options.scale)
    parts = []
    for number, first in enumerate(range(0, len(tasks), PART_EPISODES)):
        folder = options.out / "data" / round_.name / f"part_{number:03}"
        if not (folder / FACTS).exists():
            save_round(folder, _collected(options, round_, tasks[first : first + PART_EPISODES], learner))
        parts.append(read_round(folder))
    outcomes = [Outcome(outcome) for part in parts for outcome in part.outcomes]
    succeeded = sum(outcome.succeeded for outcome in outcomes) / len(outcomes)
    images, taken = sum(int(part.mask.sum()) for part in parts), time.perf_counter() - begin
    print(f"{round_.name}: {len(outcomes)} episodes, {images} images, {succeeded:.1%} success, {taken:.0f} s")
    return parts


def _collected(options: Options, round_: Round, tasks: Sequence[Task], learner: Path | None) -> Demonstrations:
    from recipes.single_images import collect_looks
    from vla_sim.rollout.demonstrations import collect

    common = {"image_px": IMAGE_PX, "workers": options.workers}
    if round_.single:
        return collect_looks([(task.scenario, task.seed) for task in tasks], options.embodiment, **common)
    return collect(tasks, options.embodiment, learner=str(learner) if learner else None, **common)


def round_tasks(round_: Round, seed: int, scale: float) -> list[Task]:
    """Which worlds a round drives: the entries of its mix, left and right with the same seeds, all below 100000."""
    from vla_sim.rollout.demonstrations import Task

    tasks = []
    seed = first_seed(round_, seed)
    for entry, share in round_.mix.items():
        names = _names(entry)
        count = max(len(names), round(round_.episodes * scale * share))
        # A third of the episodes is without noise, as a robot drives that is told what to do.
        tasks += [
            Task(names[i % len(names)], seed + i, round_.learner_share, round_.noise * (i % 3 != 0))
            for i in range(count)
        ]
    return tasks


def first_seed(round_: Round, seed: int) -> int:
    """First world of a round, for training seed 0 or 1 and so on; never an evaluation seed."""
    return seed * 50_000 % 100_000 + round_.first_world


def _names(entry: str) -> list[str]:
    """Scenario names of an entry of MIX."""
    from vla_sim.scenarios import load_suite

    if entry.startswith("suite "):
        return [scenario.name for scenario in load_suite(entry.removeprefix("suite "))]
    return [entry]


if __name__ == "__main__":
    sys.exit(main())
