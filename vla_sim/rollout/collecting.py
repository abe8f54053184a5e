"""Rollouts that become training data: the expert labels every visited state, whoever steers."""

from __future__ import annotations

import math
import multiprocessing
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Pose2, Scene
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource
from vla_sim.sim.camera import place_in_picture

# Streams of an episode's seed used while collecting (0 to 4 belong to scene, motion and expert).
NOISE_STREAM, MIX_STREAM = 5, 6

LANES = 8
SHARD_EPISODES = 100
# Expert drives with a common habit when it labels a learner's states, so that like states get like labels.
LABEL_MARGIN_M = (0.13, 0.13)


@dataclass(frozen=True)
class Task:
    """One episode to collect: which world, and who steers.

    Attributes:
        learner_share: probability that the learner steers, drawn anew every `hold` steps; 0 is the expert alone.
        noise: size of the Ornstein-Uhlenbeck noise on the steering, in shares of full speed; labels stay clean.
        hold: steps between two drawings of who steers; 0 draws once for the whole episode.
    """

    scenario: str
    seed: int
    learner_share: float = 0.0
    noise: float = 0.0
    hold: int = 4

    def __post_init__(self) -> None:
        if self.seed >= FIRST_EVALUATION_SEED:
            raise UserError(
                f"seed {self.seed} is an evaluation seed: training uses seeds below {FIRST_EVALUATION_SEED}"
            )


def goal_in_picture(scene: Scene, spec: Embodiment, pose: Pose2) -> tuple[float, float]:
    """Where the middle of the goal appears: (right, down) as shares of the picture, NaN outside. It may be hidden."""
    goal = scene.goal
    centre = (goal.x_m, goal.y_m, goal.size_m[2] / 2)
    return place_in_picture(spec.camera, scene.look, pose, centre) or (math.nan, math.nan)


@dataclass(frozen=True)
class Drives:
    """Collected episodes, padded to the longest.

    Attributes:
        images: uint8 (E, T, h, w, 3), shrunk to the learner's resolution.
        actions: float32 (E, T, action_dim), the expert's label for each picture.
        goals: float32 (E, T, 2), where the goal is in each picture: see `goal_in_picture`.
        mask: bool (E, T), which steps exist.
        texts: per episode, equivalent training phrasings of its instruction.
        scenarios: where each was driven.
        outcomes: how each ended.
    """

    images: np.ndarray
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray
    texts: list[list[str]]
    scenarios: list[str]
    outcomes: list[str]

    @classmethod
    def joined(cls, parts: Sequence[Drives]) -> Drives:
        """All episodes of several collections, in order."""
        longest = max(part.mask.shape[1] for part in parts)

        def stack(arrays: list[np.ndarray]) -> np.ndarray:
            padded = [np.pad(a, [(0, 0), (0, longest - a.shape[1])] + [(0, 0)] * (a.ndim - 2)) for a in arrays]
            return np.concatenate(padded)

        return cls(
            stack([p.images for p in parts]),
            stack([p.actions for p in parts]),
            stack([p.goals for p in parts]),
            stack([p.mask for p in parts]),
            [texts for p in parts for texts in p.texts],
            [scenario for p in parts for scenario in p.scenarios],
            [outcome for p in parts for outcome in p.outcomes],
        )


def collect(tasks: Sequence[Task], embodiment: str, *, learner: str | None, image_px: int, workers: int = 2) -> Drives:
    """Drive all tasks; the same tasks give the same data for any number of workers.

    Args:
        tasks: what to drive.
        embodiment: name of the robot.
        learner: policy that steers its share, or None.
        image_px: side of the square pictures to keep.
        workers: processes.
    """
    shards = [tasks[i : i + SHARD_EPISODES] for i in range(0, len(tasks), SHARD_EPISODES)]
    calls = [(shard, embodiment, learner, image_px) for shard in shards]
    if workers == 1 or len(shards) == 1:
        return Drives.joined([collect_shard(*call) for call in calls])
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return Drives.joined(pool.starmap(collect_shard, calls, chunksize=1))


@dataclass
class _Lane:
    task: Task
    noise_rng: np.random.Generator
    mix_rng: np.random.Generator
    noise: np.ndarray
    texts: list[str]
    images: list[np.ndarray]
    actions: list[np.ndarray]
    goals: list[tuple[float, float]]
    learner_steers: bool = False


class _Collector:
    """One vector env with the expert and perhaps a learner beside it."""

    def __init__(self, embodiment: str, learner: str | None, image_px: int, scenario: str) -> None:
        from vla_sim.envs.vector import NavigateVectorEnv
        from vla_sim.policies.expert import ExpertPolicy
        from vla_sim.policies.images import shrink
        from vla_sim.policies.registry import load_policy

        self.env = NavigateVectorEnv(LANES, scenario, embodiment, autoreset_mode="Disabled")
        self._expert = ExpertPolicy(margin_m=LABEL_MARGIN_M) if learner else ExpertPolicy()
        self._learner = load_policy(learner) if learner else None
        self._shrink = lambda images: shrink(images, image_px)
        self._sources: dict[str, SceneSource] = {}
        self._speed = self.env.embodiment.max_mps

    def run(self, tasks: Sequence[Task]) -> list[tuple[_Lane, str]]:
        """Drive the tasks; returns lanes in the order of the tasks with their outcomes."""
        waiting = deque(enumerate(tasks))
        running: list[tuple[int, _Lane] | None] = [None] * LANES
        finished: dict[int, tuple[_Lane, str]] = {}
        observation = self._refill(waiting, running)
        while any(running):
            actions = self._step(observation, running)
            observation, *_ = self.env.step(actions)
            for lane, entry in enumerate(running):
                outcome = self.env.lanes[lane].outcome
                if entry is not None and outcome is not None:
                    finished[entry[0]] = (entry[1], outcome.value)
                    running[lane] = None
            if waiting and not all(running):
                observation = self._refill(waiting, running)
        return [finished[number] for number in range(len(tasks))]

    def _refill(self, waiting: deque[tuple[int, Task]], running: list[Any]) -> dict[str, Any]:
        mask, seeds = np.zeros(LANES, dtype=bool), np.zeros(LANES, dtype=np.int64)
        scenes: list[Any] = [None] * LANES
        for lane in range(LANES):
            if running[lane] is None and waiting:
                number, task = waiting.popleft()
                source = self._source(task.scenario)
                scenes[lane] = source.scene(task.seed)
                mask[lane], seeds[lane] = True, task.seed
                noise_rng = np.random.default_rng([task.seed, NOISE_STREAM])
                mix_rng = np.random.default_rng([task.seed, MIX_STREAM])
                texts = source.scenario.equivalents(task.seed, robot_radius_m=source.embodiment.body.radius_m)
                running[lane] = (number, _Lane(task, noise_rng, mix_rng, np.zeros(2), texts, [], [], []))
        observation, _ = self.env.reset(options={"reset_mask": mask, "scenes": scenes})
        self._expert.reset(mask, seeds)
        if self._learner:
            self._learner.reset(mask, seeds)
        return observation

    def _source(self, scenario: str) -> SceneSource:
        if scenario not in self._sources:
            self._sources[scenario] = SceneSource(scenario, self.env.embodiment, "train", None)
        return self._sources[scenario]

    def _step(self, observation: dict[str, Any], running: list[Any]) -> np.ndarray:
        infos = [
            {**(s.info() if s.scene is not None else {}), "embodiment": self.env.embodiment} for s in self.env.lanes
        ]
        labels = self._expert.act(observation, infos)
        shown = {**observation, "instruction": list(observation["instruction"])}
        learned = self._learner.act(shown) if self._learner else labels
        small = self._shrink(observation["image"])
        actions = labels.copy()
        for lane, entry in enumerate(running):
            if entry is not None:
                entry[1].images.append(small[lane].copy())
                entry[1].actions.append(labels[lane])
                entry[1].goals.append(self._goal_place(lane))
                actions[lane] = self._steered(entry[1], labels[lane], learned[lane])
        return actions

    def _goal_place(self, lane: int) -> tuple[float, float]:
        simulation = self.env.lanes[lane]
        assert simulation.scene is not None
        return goal_in_picture(simulation.scene, self.env.embodiment, simulation.pose)

    def _steered(self, lane: _Lane, label: np.ndarray, learned: np.ndarray) -> np.ndarray:
        step, hold = len(lane.actions) - 1, lane.task.hold
        if step % hold == 0 if hold else step == 0:
            lane.learner_steers = lane.mix_rng.random() < lane.task.learner_share
        action = learned if lane.learner_steers else label
        if lane.task.noise > 0:
            size = lane.task.noise * self._speed
            lane.noise = 0.7 * lane.noise + 0.7 * size * lane.noise_rng.standard_normal(2)
            action = action + lane.noise
        return action


def collect_shard(tasks: Sequence[Task], embodiment: str, learner: str | None, image_px: int) -> Drives:
    """Drive these tasks in one vector env; see `collect`."""
    import torch

    torch.set_num_threads(1)
    collector = _Collector(embodiment, learner, image_px, tasks[0].scenario)
    try:
        driven = collector.run(tasks)
    finally:
        collector.env.close()
    longest = max(len(lane.actions) for lane, _ in driven)
    count = len(driven)
    images = np.zeros((count, longest, image_px, image_px, 3), dtype=np.uint8)
    actions = np.zeros((count, longest, driven[0][0].actions[0].size), dtype=np.float32)
    goals = np.full((count, longest, 2), np.nan, dtype=np.float32)
    mask = np.zeros((count, longest), dtype=bool)
    for number, (lane, _) in enumerate(driven):
        steps = len(lane.actions)
        images[number, :steps], actions[number, :steps], mask[number, :steps] = lane.images, lane.actions, True
        goals[number, :steps] = lane.goals
    texts, scenarios = [lane.texts for lane, _ in driven], [lane.task.scenario for lane, _ in driven]
    return Drives(images, actions, goals, mask, texts, scenarios, [outcome for _, outcome in driven])
