"""Drives that become data sets: the expert (or another policy under its eyes) in the vector env, as `Episode`s.

What an episode contains depends on its job and the setup alone: not on the jobs beside it, nor on the process.
(A trained policy is the exception: its sums may round differently in another batch, so its units are never cut anew.)
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Role, Scene
from vla_sim.datasets.serbot.names import DISTANCES, simulated_stem
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED, SceneSource
from vla_sim.envs.simulation import STATE_NAMES, action_bounds, checked_action
from vla_sim.rollout.collecting import LABEL_MARGIN_M, LANES, NOISE_STREAM
from vla_sim.sim.camera import RENDERERS

EXPERT = "expert"
# Simulated drives have no date: their clock starts here and counts a second for each index, so that names differ.
FIRST_TAKEN = datetime(2000, 1, 1)
# Distances ahead that part close from medium and medium from far, as in the cup family's scenarios.
DISTANCE_LIMITS_M = (1.0, 1.4)
# Memory and size of the Ornstein-Uhlenbeck noise: those of `vla_sim.rollout.collecting`.
NOISE_MEMORY, NOISE_SIZE = 0.7, 0.7


@dataclass(frozen=True)
class RecordingJob:
    """One episode to record.

    Attributes:
        index: its place in the plan; part of its name.
        scenario: name or file of the scenario.
        seed: of the world, the noise and the expert's habits; below 100000.
    """

    index: int
    scenario: str
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < FIRST_EVALUATION_SEED:
            raise UserError(
                f"seed {self.seed} is no training seed: those are 0 to {FIRST_EVALUATION_SEED - 1}, the others "
                "are kept for evaluation"
            )


@dataclass(frozen=True)
class RecordingSetup:
    """Everything else that decides what an episode contains.

    Attributes:
        policy: who steers: the expert, or a policy whose every state the expert labels.
        embodiment: name or file of the robot.
        image_px: (width, height) of the pictures; None: the embodiment's.
        noise: size of smooth noise on the steering in shares of full speed; labels stay clean.
        keys: whether the steering is rounded to the eight directions of serbot's keys.
        language: of the sentences; None draws it.
        renderer: which one draws.
        clock_s: second from which the names count, so that they differ from those of drives that are there already.
    """

    policy: str = EXPERT
    embodiment: str = "serbot"
    image_px: tuple[int, int] | None = None
    noise: float = 0.0
    keys: bool = False
    language: str | None = None
    renderer: str = "software"
    clock_s: int = 0

    def __post_init__(self) -> None:
        self.robot()
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UserError(f"noise must not be negative, got {self.noise}")
        if self.renderer not in RENDERERS:
            raise UserError(f"unknown renderer {self.renderer!r}; {suggest(self.renderer, RENDERERS)}")
        if self.keys and "wz" in self.robot().action_names:
            raise UserError(f"keys are for robots with actions vx, vy; {self.embodiment} has a yaw rate")

    def robot(self) -> Embodiment:
        """The embodiment with pictures of the wanted size."""
        spec = load_embodiment(self.embodiment)
        if self.image_px is None:
            return spec
        try:
            return replace(spec, camera=replace(spec.camera, image_px=self.image_px))
        except ValueError as error:
            raise UserError(str(error)) from error


@dataclass
class _Lane:
    """An episode while it is driven; lists grow by one each step."""

    job: RecordingJob
    scene: Scene
    rng: np.random.Generator
    noise: np.ndarray
    images: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    labels: list[np.ndarray] = field(default_factory=list)

    def see(self, observation: dict[str, Any], lane: int) -> None:
        self.images.append(observation["image"][lane].copy())
        self.states.append(observation["state"][lane].copy())


class Recorder:
    """Drives jobs in a vector env and gives their episodes; use it in a `with` statement."""

    def __init__(self, setup: RecordingSetup, *, lanes: int = LANES) -> None:
        from vla_sim.envs.vector import NavigateVectorEnv
        from vla_sim.policies.expert import ExpertPolicy

        self.setup = setup
        self._robot = setup.robot()
        self._sources: dict[str, SceneSource] = {}
        self._learner = _load_learner(setup.policy, self._robot)
        # When it labels another's states its habits are the same everywhere, so that like states get like labels.
        self._expert = ExpertPolicy(margin_m=LABEL_MARGIN_M) if self._learner else ExpertPolicy()
        self._bounds = action_bounds(self._robot)
        any_scenario = "obstacle_left"
        self._env = NavigateVectorEnv(
            lanes, any_scenario, self._robot, renderer=setup.renderer, autoreset_mode="Disabled"
        )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give physics and pictures back."""
        self._env.close()

    def record(self, jobs: Sequence[RecordingJob]) -> Iterator[Episode]:
        """The episodes of all jobs, each as soon as it has ended.

        Raises:
            UserError: a scenario does not exist or has no feasible world.
        """
        waiting = deque(jobs)
        running: list[_Lane | None] = [None] * self._env.num_envs
        observation = self._refill(waiting, running)
        while any(running):
            observation, *_ = self._env.step(self._steer(observation, running))
            for lane, drive in enumerate(running):
                if drive is None:
                    continue
                drive.see(observation, lane)
                if self._env.lanes[lane].outcome is not None:
                    yield self._episode(drive, lane)
                    running[lane] = None
            if waiting and not all(running):
                observation = self._refill(waiting, running)

    def _refill(self, waiting: deque[RecordingJob], running: list[_Lane | None]) -> dict[str, Any]:
        lanes = self._env.num_envs
        mask, seeds = np.zeros(lanes, dtype=bool), np.zeros(lanes, dtype=np.int64)
        scenes: list[Scene | None] = [None] * lanes
        for lane in range(lanes):
            if running[lane] is None and waiting:
                job = waiting.popleft()
                scene = scenes[lane] = self._source(job.scenario).scene(job.seed)
                mask[lane], seeds[lane] = True, job.seed
                rng = np.random.default_rng([job.seed, NOISE_STREAM])
                running[lane] = _Lane(job, scene, rng, np.zeros(len(self._bounds)))
        observation, _ = self._env.reset(options={"reset_mask": mask, "scenes": scenes})
        self._expert.reset(mask, seeds)
        if self._learner:
            self._learner.reset(mask, seeds)
        for lane in np.flatnonzero(mask).tolist():
            drive = running[lane]
            assert drive is not None
            drive.see(observation, lane)
        return observation

    def _source(self, scenario: str) -> SceneSource:
        if scenario not in self._sources:
            self._sources[scenario] = SceneSource(scenario, self._robot, "train", self.setup.language)
        return self._sources[scenario]

    def _steer(self, observation: dict[str, Any], running: list[_Lane | None]) -> np.ndarray:
        """What every lane does next; notes it with the expert's label."""
        truths = [
            {**(lane.info() if drive else {}), "embodiment": self._robot}
            for lane, drive in zip(self._env.lanes, running, strict=True)
        ]
        labels = self._expert.act(observation, truths)
        shown = {**observation, "instruction": list(observation["instruction"])}
        chosen = self._learned(shown, truths) if self._learner else labels
        actions = np.zeros_like(labels)
        for lane, drive in enumerate(running):
            if drive is not None:
                label = as_key(labels[lane], self._robot.max_mps) if self.setup.keys else labels[lane]
                action = chosen[lane] if self._learner else label
                actions[lane] = checked_action(action + self._noise(drive), self._robot)
                drive.actions.append(actions[lane].copy())
                drive.labels.append(label.copy())
        return actions

    def _learned(self, shown: dict[str, Any], truths: list[dict[str, Any]]) -> np.ndarray:
        """The learner's actions; ground truth is for those only that say they need it."""
        actions: np.ndarray = self._learner.act(shown, truths if self._learner.spec.requires_privileged_info else None)
        return actions

    def _noise(self, drive: _Lane) -> np.ndarray:
        if self.setup.noise > 0:
            push = self.setup.noise * self._bounds * drive.rng.standard_normal(len(self._bounds))
            drive.noise = NOISE_MEMORY * drive.noise + NOISE_SIZE * push
        return drive.noise

    def _episode(self, drive: _Lane, lane: int) -> Episode:
        simulation = self._env.lanes[lane]
        assert simulation.outcome is not None
        actions, labels = np.stack(drive.actions), np.stack(drive.labels)
        distance = obstacle_distance(drive.scene)
        return Episode(
            name=simulated_stem(
                drive.scene.scenario,
                distance=distance,
                pattern="variant",
                taken=FIRST_TAKEN + timedelta(seconds=self.setup.clock_s + drive.job.index),
            ),
            images=np.stack(drive.images),
            actions=actions.astype(np.float32),
            action_names=tuple(self._robot.action_names),
            instruction=drive.scene.instruction.text,
            step_s=self._robot.control_s,
            labels=None if np.array_equal(actions, labels) else labels.astype(np.float32),
            states=np.stack(drive.states),
            state_names=STATE_NAMES,
            outcome=simulation.outcome,
            provenance=self._provenance(drive, distance),
        )

    def _provenance(self, drive: _Lane, distance: str) -> dict[str, Plain]:
        scene, source = drive.scene, self._source(drive.job.scenario).scenario
        obstacles = scene.with_role(Role.OBSTACLE)
        return {
            "index": drive.job.index,
            "simulated": True,
            "scenario": scene.scenario,
            "suite": source.suite,
            "scenario_hash": source.hash,
            "seed": scene.seed,
            "side": scene.task.side.value if scene.task.side else "",
            "distance": distance,
            "target": scene.goal.kind.value,
            "obstacle": obstacles[0].kind.value if obstacles else "",
            "obstacles": len(obstacles),
            "language": scene.instruction.language,
            "phrasing": scene.instruction.phrasing,
            "embodiment": self._robot.name,
            "embodiment_hash": self._robot.content_hash,
            "policy": self.setup.policy,
            "noise": self.setup.noise,
            "keys": self.setup.keys,
        }


def free_clock(names: Iterable[str]) -> int:
    """The first second of the simulated clock after those that file names of drives carry, see `FIRST_TAKEN`."""
    seconds = [-1]
    for name in names:
        try:
            taken = datetime.strptime("_".join(name.split("_")[1:3]), "%Y%m%d_%H%M%S")
        except ValueError:
            continue  # of a robot, or named by hand
        if taken.year == FIRST_TAKEN.year:
            seconds.append(round((taken - FIRST_TAKEN).total_seconds()))
    return max(seconds) + 1


def obstacle_distance(scene: Scene) -> str:
    """close, medium or far: how far ahead of the start the first obstacle stands; "" without obstacle."""
    ahead = [body.x_m - scene.start.x_m for body in scene.with_role(Role.OBSTACLE)]
    return DISTANCES[sum(min(ahead) >= limit for limit in DISTANCE_LIMITS_M)] if ahead else ""


def as_key(twist: np.ndarray, speed_mps: float) -> np.ndarray:
    """The key that comes nearest to a translation: one of eight headings, components 0 or full speed; 0 stays 0."""
    if not twist.any():
        return twist
    eighth = round(math.atan2(twist[1], twist[0]) / (math.pi / 4))
    heading = eighth * math.pi / 4
    # Rounded: cos of a right angle is not quite zero, and diagonals have both components full.
    signs = np.sign([round(math.cos(heading), 6), round(math.sin(heading), 6)])
    return (signs * speed_mps).astype(np.float32)


def _load_learner(policy: str, robot: Embodiment) -> Any:
    """The policy that steers, or None for the expert itself."""
    if policy == EXPERT:
        return None
    import torch

    from vla_sim.policies.registry import load_policy

    torch.set_num_threads(1)
    loaded = load_policy(policy)
    gives, reads = tuple(loaded.spec.action_names), tuple(loaded.spec.image_px)
    if gives and gives != tuple(robot.action_names):
        raise UserError(f"{policy} gives actions {list(gives)}, {robot.name} takes {list(robot.action_names)}")
    if reads and reads != tuple(robot.camera.image_px):
        raise UserError(f"{policy} reads {reads} pictures, the camera of {robot.name} gives {robot.camera.image_px}")
    return loaded
