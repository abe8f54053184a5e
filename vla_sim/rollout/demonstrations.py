"""Demonstrations as arrays that a training reads: the expert labels every visited state, whoever steers."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.pool import run_units
from vla_sim.core.sensors import LidarSpec
from vla_sim.core.specs import Embodiment
from vla_sim.core.threads import torch_threads
from vla_sim.core.types import Pose2, Scene
from vla_sim.datasets.demonstrations import Demonstrations, Later
from vla_sim.datasets.origins import scene_origin
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
from vla_sim.envs.simulation import action_bounds
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import fit
from vla_sim.policies.images import shrink
from vla_sim.rollout.observers import Moment, Observer, Sentences, Taken
from vla_sim.rollout.recording import LABELLING, NUM_ENVS
from vla_sim.rollout.rollout import Scenes, rollout
from vla_sim.rollout.steering import EXPERT, Noisy, Steering, Supervised
from vla_sim.scenarios.scenario import Scenario
from vla_sim.sim.camera import place_in_image

SHARD_EPISODES = 100


@dataclass(frozen=True)
class Task:
    """One episode to collect: which world, and who steers.

    Attributes:
        learner_fraction: probability that the learner steers, drawn anew every `hold` steps; 0 is the expert alone.
        noise: size of the Ornstein-Uhlenbeck noise on the steering, in fractions of full speed; labels stay clean.
        hold: steps between two drawings of who steers; 0 draws once for the whole episode.
    """

    scenario: str
    seed: int
    learner_fraction: float = 0.0
    noise: float = 0.0
    hold: int = 4

    def __post_init__(self) -> None:
        if self.seed >= FIRST_EVALUATION_SEED:
            raise UserError(
                f"seed {self.seed} is an evaluation seed: training uses seeds below {FIRST_EVALUATION_SEED}"
            )


def goal_in_image(scene: Scene, spec: Embodiment, pose: Pose2) -> tuple[float, float]:
    """Where the middle of the goal appears: (right, down) as fractions of the image, NaN outside.

    It may be hidden; NaN as well where nothing is to be reached.
    """
    if scene.task.refuse:
        return math.nan, math.nan
    goal = scene.goal
    centre = (goal.x_m, goal.y_m, goal.size_m[2] / 2)
    return place_in_image(spec.camera, scene.look, pose, centre) or (math.nan, math.nan)


@dataclass(frozen=True)
class Collection:
    """What all tasks of a collection share.

    Attributes:
        embodiment: name or file of the robot.
        image_px: side of the square images to keep.
        learner: policy that steers its fraction; "": none.
        action_names: components to keep, of those of the robot; the expert leaves the others at 0. Empty: all.
        noise_at_rest: whether a robot that is to stand still is pushed about, too; see `Noisy`.
    """

    embodiment: str
    image_px: int
    learner: str = ""
    action_names: tuple[str, ...] = ()
    noise_at_rest: bool = True

    def robot(self) -> Embodiment:
        """The embodiment.

        Raises:
            UserError: there is none, or it lacks a component.
        """
        robot = load_embodiment(self.embodiment)
        lacking = [name for name in self.action_names if name not in robot.action_names]
        if lacking:
            raise UserError(f"{robot.name} has no action {lacking[0]!r}: it takes {list(robot.action_names)}")
        return robot

    def kept(self, robot: Embodiment) -> tuple[str, ...]:
        """The components to keep."""
        return self.action_names or robot.action_names

    def sideways(self, robot: Embodiment) -> bool:
        """Whether the expert may move sideways."""
        return "vy" in self.kept(robot)


def collect(tasks: Sequence[Task], collection: Collection, *, workers: int = 2) -> Demonstrations:
    """Run all tasks; the same tasks give the same data for any number of workers.

    Args:
        tasks: what to run.
        collection: how.
        workers: processes.

    Raises:
        UserError: the learner does not fit the robot, or a scenario cannot be used.
    """
    shards = [tasks[i : i + SHARD_EPISODES] for i in range(0, len(tasks), SHARD_EPISODES)]
    factory = functools.partial(_Collector, collection)
    return Demonstrations.joined(list(run_units(shards, factory, workers=workers, ordered=True)))


class _Collector:
    """What a worker does with a shard."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    def __call__(self, tasks: Sequence[Task]) -> Iterator[Demonstrations]:
        yield collect_shard(tasks, self._collection)


class _Trace(Observer):
    """What is learned from one episode: small images, ranges, the expert's actions, where the goal is in the images.

    Args:
        image_px: side of the images.
        lidars: by name; what other sensors show is not kept.
    """

    def __init__(self, image_px: int, lidars: Mapping[str, LidarSpec]) -> None:
        self._image_px = image_px
        self.ranges: dict[str, list[np.ndarray]] = {name: [] for name in lidars}
        self.images: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        self.goals: list[tuple[float, float]] = []
        self.sentences = Sentences()

    def on_episode_start(self, moment: Moment) -> None:
        """Keep image and goal."""
        self.sentences.on_episode_start(moment)
        self._look(moment)

    def _look(self, moment: Moment) -> None:
        simulation = moment.simulation
        assert simulation.scene is not None
        self.images.append(shrink(moment.image[None], self._image_px)[0].copy())
        self.goals.append(goal_in_image(simulation.scene, simulation.embodiment, simulation.pose))
        for name, kept in self.ranges.items():
            kept.append(np.array(moment.sensors[name]))

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep the expert's action, too."""
        self.sentences.on_step(taken, moment)
        self._look(moment)
        self.actions.append(taken.proposals[EXPERT])


def collect_shard(tasks: Sequence[Task], collection: Collection) -> Demonstrations:
    """Run these tasks in one vector env; see `collect`."""
    robot = collection.robot()
    env = NavigateVectorEnv(NUM_ENVS, tasks[0].scenario, robot, autoreset_mode="Disabled")
    scenes, traces = Scenes(robot), {}
    try:
        steering = _steering(collection, robot)
        with torch_threads(1):
            for ended in rollout(
                env, steering, tasks, scenes, functools.partial(_Trace, collection.image_px, robot.lidars)
            ):
                if ended.error:
                    raise UserError(f"{collection.learner or EXPERT}: {ended.error.strip().splitlines()[-1]}")
                traces[ended.number] = ended.observer, ended.outcome.value
    finally:
        env.close()
    sources = [scenes.source(task.scenario).scenario for task in tasks]
    in_turn = [traces[number] for number in range(len(tasks))]
    columns = [robot.action_names.index(name) for name in collection.kept(robot)]
    return Demonstrations.padded(
        images=[trace.images[:-1] for trace, _ in in_turn],
        actions=[np.stack(trace.actions)[:, columns] for trace, _ in in_turn],
        goals=[trace.goals[:-1] for trace, _ in in_turn],
        sensors=[{name: kept[:-1] for name, kept in trace.ranges.items()} for trace, _ in in_turn],
        lidars=robot.lidars,
        texts=[
            source.equivalents(task.seed, robot_radius_m=robot.body.radius_m)
            for source, task in zip(sources, tasks, strict=True)
        ],
        scenarios=[task.scenario for task in tasks],
        outcomes=[outcome for _, outcome in in_turn],
        action_names=collection.kept(robot),
        step_s=robot.control_s,
        origins=[(scene_origin(source.family, task.seed),) for source, task in zip(sources, tasks, strict=True)],
        later=[
            _later(source, task, trace.sentences, robot)
            for source, task, (trace, _) in zip(sources, tasks, in_turn, strict=True)
        ],
    )


def _later(source: Scenario, task: Task, sentences: Sentences, robot: Embodiment) -> Later:
    """What was said on the way, from which step on, in all its phrasings."""
    steps = [said.step for said in sentences.said[1:]]
    if not steps:
        return ()
    phrasings = source.later_equivalents(task.seed, robot_radius_m=robot.body.radius_m)
    return tuple((step, texts) for step, texts in zip(steps, phrasings, strict=False) if step < len(sentences.stopped))


def _steering(collection: Collection, robot: Embodiment) -> Steering[Task]:
    from vla_sim.policies.expert import ExpertPolicy
    from vla_sim.policies.registry import load_policy

    loaded = None
    if collection.learner:
        loaded = load_policy(collection.learner)
        fit(loaded, robot, f"policy {collection.learner!r}")
    expert = ExpertPolicy(**LABELLING if loaded else {}, sideways=collection.sideways(robot))
    steering = Supervised[Task](expert, robot, loaded, lambda job: job.learner_fraction, lambda job: job.hold)
    # Components that nobody uses are not disturbed either.
    used = np.array([name in collection.kept(robot) for name in robot.action_names])
    bounds = action_bounds(robot).astype(np.float64) * used
    return Noisy(steering, bounds, lambda job: job.noise, at_rest=collection.noise_at_rest)
