"""Policies trained in rounds: expert rollouts, behaviour cloning, DAgger.

Used by `recipes.train_shipped`, `recipes.train_turning` and `recipes.train_rooms`, which say what is driven and what is
made.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.training_options import TrainingOptions, print_line, publish
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.options import Folder
from vla_sim.core.run_folder import PLAN_FILE, bind
from vla_sim.core.types import Outcome
from vla_sim.training.new_policies import NewPolicies

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.datasets.demonstrations import Demonstrations
    from vla_sim.rollout.demonstrations import Collection, Task
    from vla_sim.training.batches import Sampler
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.warm_start import Beginning

EPILOG = """The folder OUT holds data, checkpoint, logs and the policies of each round. Started again
on the same folder, it goes on where it was interrupted. Seeds are below 100000: no evaluation seed is ever seen.
"""

IMAGE_PX = 96
# Episodes are padded to the longest of their part.
PART_EPISODES = 400


@dataclass(frozen=True)
class Round:
    """One round: episodes to collect, then steps of learning on all episodes so far.

    Attributes:
        first_world: seed of its first world.
        mix: share of the episodes by scenario or suite ("suite NAME").
        learner_share, noise: see `vla_sim.rollout.demonstrations.Task`.
        single: single images instead of episodes, see `recipes.single_images`.
        batch_episodes, max_steps: shape of a batch.
        decay: let the learning rate fall.
    """

    name: str
    first_world: int
    episodes: int
    steps: int
    mix: Mapping[str, float]
    learner_share: float = 0.0
    noise: float = 0.0
    single: bool = False
    batch_episodes: int = 88
    max_steps: int = 36
    decay: bool = False


@dataclass(frozen=True)
class Recipe:
    """What is trained, and from what.

    Attributes:
        policies: what is made.
        embodiments: robots, each with its share of every round's worlds; all take an action at the same rate.
        rounds: in order.
        sizes: hidden, and fields of `ConvClipSpec`.
        noise_at_rest: see `vla_sim.rollout.demonstrations.Collection`.
        begin: policy that the only head begins as; "": new weights.
        backbone_of: policy with whose CLIP new weights begin, see `begin_afresh`.
    """

    policies: NewPolicies
    embodiments: tuple[str, ...]
    rounds: tuple[Round, ...]
    sizes: Mapping[str, int]
    noise_at_rest: bool = True
    begin: str = ""
    backbone_of: str = ""


@dataclass(frozen=True, kw_only=True)
class RoundsOptions(TrainingOptions):
    """What such a recipe is told."""

    out: Folder
    """Working folder."""


def train_in_rounds(recipe: Recipe, options: RoundsOptions) -> None:
    """All rounds that the folder lacks; then the policies are published.

    Raises:
        UserError: another training is writing there, or the folder belongs to another one.
    """
    import torch

    from vla_sim.core.files import FolderLock

    torch.set_num_threads(options.threads)
    with FolderLock(options.out):
        _train(recipe, options)


def _train(recipe: Recipe, options: RoundsOptions) -> None:
    begin, rounds, best = time.perf_counter(), recipe.rounds, recipe.policies.best
    trainer = _trainer(recipe, options)
    resumed = trainer.checkpoint.exists()
    parts: list[Demonstrations] = []
    for number, round_ in enumerate(rounds):
        learner = options.out / rounds[number - 1].name / best if round_.learner_share else None
        parts += _data(recipe, options, round_, learner)
        trainer.source = _sampler(trainer, round_, parts)
        if resumed and number == 0:
            trainer.load()
        steps = max(1, round(round_.steps * options.scale))
        finished = options.out / round_.name / best / "config.json"
        if trainer.stages.get(round_.name, {}).get("steps", 0) < steps or not finished.exists():
            trainer.run(round_.name, steps=steps, decay=round_.decay, log=print_line)
            trainer.export(options.out / round_.name, robots=recipe.embodiments)
    if options.publish:
        publish(options.out / rounds[-1].name, options.publish)
    print(f"done in {(time.perf_counter() - begin) / 60:.1f} minutes: {options.out / rounds[-1].name}")


def _trainer(recipe: Recipe, options: RoundsOptions) -> Trainer:
    from vla_sim.training.behaviour_cloning import Trainer
    from vla_sim.training.config import TrainConfig
    from vla_sim.training.warm_start import begin_as, for_robot

    first, *others = map(load_embodiment, recipe.embodiments)
    if recipe.begin:
        begun = begin_as(recipe.begin, recipe.policies, first, seed=options.seed)
    else:
        begun = _afresh(recipe, options, first)
    for robot in others:
        for_robot(begun, robot)
    config = TrainConfig(action_names=begun.action_names, action_scale=begun.action_scale, seed=options.seed)
    return Trainer(begun, config, options.out)


def _afresh(recipe: Recipe, options: RoundsOptions, robot: Embodiment) -> Beginning:
    from vla_sim.scenarios import load_scenario
    from vla_sim.training.warm_start import begin_afresh

    names = {name for round_ in recipe.rounds if not round_.single for entry in round_.mix for name in _names(entry)}
    texts = sorted({text for name in names for text in load_scenario(name).instructions("train")})
    common = {"seed": options.seed, "texts": texts, "made": recipe.policies, "backbone_of": recipe.backbone_of}
    return begin_afresh(robot, **common, **recipe.sizes)  # type: ignore[arg-type]


def _sampler(trainer: Trainer, round_: Round, parts: Sequence[Demonstrations]) -> Sampler:
    """Draws from all parts in the way of this round."""
    from vla_sim.training.batches import Sampler
    from vla_sim.training.recorded import shares

    config = replace(trainer.config, batch_episodes=round_.batch_episodes, max_steps=round_.max_steps)
    sampler = Sampler(config, shares(parts))
    for part in parts:
        sampler.add(part)
    return sampler


def _data(recipe: Recipe, options: RoundsOptions, round_: Round, learner: Path | None) -> list[Demonstrations]:
    """The episodes of a round, in parts that fit into memory: from disk, or collected now.

    Raises:
        UserError: the folder holds episodes of other worlds, robots or a learner that is not this one.
    """
    from vla_sim.training.recorded import FACTS, read_round, save_round

    begin = time.perf_counter()
    parts: list[Demonstrations] = []
    _bind(options.out / "data" / round_.name, recipe, round_, options, learner)
    for number, (embodiment, tasks) in enumerate(_parts(recipe, round_, options)):
        folder = options.out / "data" / round_.name / f"part_{number:03}"
        if not (folder / FACTS).exists():
            save_round(folder, _collected(_collection(recipe, embodiment, learner), round_, tasks, options.workers))
        parts.append(read_round(folder))
    outcomes = [Outcome(outcome) for part in parts for outcome in part.outcomes]
    succeeded = sum(outcome.succeeded for outcome in outcomes) / len(outcomes)
    images, taken = sum(int(part.mask.sum()) for part in parts), time.perf_counter() - begin
    print(
        f"{round_.name}: {len(outcomes)} episodes, {images} images, {succeeded:.1%} success, {taken:.0f} s", flush=True
    )
    return parts


def _bind(folder: Path, recipe: Recipe, round_: Round, options: RoundsOptions, learner: Path | None) -> None:
    """Mark a round's folder with everything that decides its episodes, or refuse it."""
    from vla_sim.policies.registry import policy_hash
    from vla_sim.scenarios import load_scenario

    if any(folder.glob("part_*")) and not (folder / PLAN_FILE).is_file():
        raise UserError(f"{folder} does not say what its episodes were made from; choose a new --out")
    plan = {
        "worlds": {
            robot: hashlib.sha256(repr(tasks).encode()).hexdigest()
            for robot, tasks in zip(recipe.embodiments, round_tasks(recipe, round_, options), strict=True)
        },
        "robots": {robot: load_embodiment(robot).content_hash for robot in recipe.embodiments},
        "scenarios": {name: load_scenario(name).hash for entry in round_.mix for name in _names(entry)},
        "single": round_.single,
        "noise_at_rest": recipe.noise_at_rest,
        "learner": policy_hash(str(learner)) if learner else "",
    }
    folder.mkdir(parents=True, exist_ok=True)
    bind(folder, plan)


def _collection(recipe: Recipe, embodiment: str, learner: Path | None) -> Collection:
    from vla_sim.rollout.demonstrations import Collection

    names = load_embodiment(embodiment).action_names
    return Collection(
        embodiment,
        IMAGE_PX,
        learner="" if learner is None else str(learner),
        action_names=tuple(name for name in names if name not in recipe.policies.still),
        noise_at_rest=recipe.noise_at_rest,
    )


def _collected(collection: Collection, round_: Round, tasks: Sequence[Task], workers: int) -> Demonstrations:
    from recipes.single_images import collect_looks
    from vla_sim.rollout.demonstrations import collect

    if round_.single:
        return collect_looks([(task.scenario, task.seed) for task in tasks], collection, workers=workers)
    return collect(tasks, collection, workers=workers)


def _parts(recipe: Recipe, round_: Round, options: RoundsOptions) -> Iterator[tuple[str, list[Task]]]:
    """The robot and the tasks of each part."""
    for embodiment, tasks in zip(recipe.embodiments, round_tasks(recipe, round_, options), strict=True):
        for first in range(0, len(tasks), PART_EPISODES):
            yield embodiment, tasks[first : first + PART_EPISODES]


def round_tasks(recipe: Recipe, round_: Round, options: TrainingOptions) -> list[list[Task]]:
    """Which worlds each robot drives in a round: the entries of its mix, left and right with the same seeds.

    Another training seed shifts the worlds; behind the last one before evaluations' they begin again at 0.
    """
    from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
    from vla_sim.rollout.demonstrations import Task

    robots = len(recipe.embodiments)
    tasks: list[list[Task]] = [[] for _ in range(robots)]
    first = round_.first_world + 50_000 * options.seed
    for entry, share in round_.mix.items():
        names = _names(entry)
        count = max(len(names) * robots, round(round_.episodes * options.scale * share))
        for i in range(count):
            # A third of the episodes is without noise, as a robot drives that is told what to do.
            noise, world = round_.noise * (i % 3 != 0), (first + i) % FIRST_EVALUATION_SEED
            task = Task(names[i % len(names)], world, round_.learner_share, noise)
            tasks[i * robots // count].append(task)
    return tasks


def _names(entry: str) -> list[str]:
    """Scenario names of an entry of a mix."""
    from vla_sim.scenarios import load_suite

    if entry.startswith("suite "):
        return [scenario.name for scenario in load_suite(entry.removeprefix("suite "))]
    return [entry]
