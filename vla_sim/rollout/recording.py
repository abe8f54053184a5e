"""Rollouts that become demonstrations: the expert (or another policy under its eyes) in the vector env, as `Episode`s.

What an episode contains depends on its job and the setup alone: not on the jobs beside it, nor on the process.
(A trained policy is the exception: its sums may round differently in another batch, so its units are never cut anew.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import Embodiment
from vla_sim.core.threads import torch_threads
from vla_sim.core.types import Role, Scene
from vla_sim.datasets.serbot.names import DISTANCES, simulated_stem
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
from vla_sim.envs.simulation import STATE_NAMES, action_bounds
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.policies.base import Policy, fit
from vla_sim.rollout.observers import Demonstration
from vla_sim.rollout.rollout import Ended, Scenes, rollout
from vla_sim.rollout.steering import EXPERT, EightHeadings, Noisy, Steering, Supervised
from vla_sim.scenarios.languages import check_language
from vla_sim.sim.renderers import RENDERERS

# Envs side by side.
NUM_ENVS = 8
# An env needs one until it is given scenes.
ANY_SCENARIO = "obstacle_left"
# When the expert labels another's states its clearance is the same everywhere, so that like states get like labels; to
# what moves it is twice the usual one, for a learner strays and cannot know where somebody will go.
LABEL_MARGIN_M = (0.13, 0.13)
LABELLING: Mapping[str, Any] = {"margin_m": LABEL_MARGIN_M, "mover_margin_m": 0.24}
# Simulated episodes have no date: their clock starts here and counts a second for each index, so that names differ.
FIRST_TAKEN = datetime(2000, 1, 1)
# Distances ahead that part close from medium and medium from far, as in the cup family's scenarios.
DISTANCE_LIMITS_M = (1.0, 1.4)


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
        image_px: (width, height) of the images; None: the embodiment's.
        noise: size of smooth noise on the steering in shares of full speed; labels stay clean.
        keys: whether the steering is rounded to the eight directions of serbot's keys.
        language: of the sentences; None draws it.
        renderer: which one draws.
        clock_s: second from which the names count, so that they differ from those of episodes that are there already.
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
        if self.language is not None:
            check_language(self.language)
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise UserError(f"noise must not be negative, got {self.noise}")
        if self.renderer not in RENDERERS:
            raise UserError(f"unknown renderer {self.renderer!r}; {suggest(self.renderer, RENDERERS)}")
        if self.keys and "wz" in self.robot().action_names:
            raise UserError(f"keys are for robots with actions vx, vy; {self.embodiment} has a yaw rate")

    def robot(self) -> Embodiment:
        """The embodiment with images of the wanted size."""
        spec = load_embodiment(self.embodiment)
        if self.image_px is None:
            return spec
        try:
            return replace(spec, camera=replace(spec.camera, image_px=self.image_px))
        except ValueError as error:
            raise UserError(str(error)) from error


class Recorder:
    """Runs jobs in a vector env and gives their episodes; use it in a `with` statement.

    Raises:
        UserError: a policy cannot be loaded or does not fit the robot.
    """

    def __init__(self, setup: RecordingSetup, *, num_envs: int = NUM_ENVS) -> None:
        self.setup = setup
        self._robot = setup.robot()
        self._scenes = Scenes(self._robot, "train", setup.language)
        self._steering = _steering(setup, self._robot)
        self._env = NavigateVectorEnv(
            num_envs, ANY_SCENARIO, self._robot, renderer=setup.renderer, autoreset_mode="Disabled"
        )

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give physics and images back."""
        self._env.close()

    def record(self, jobs: Sequence[RecordingJob]) -> Iterator[Episode]:
        """The episodes of all jobs, each as soon as it has ended.

        Raises:
            UserError: a scenario does not exist or has no feasible world, or an action is none.
        """
        with torch_threads(1):
            for ended in rollout(self._env, self._steering, jobs, self._scenes, Demonstration):
                yield self._episode(ended)

    def _episode(self, ended: Ended[RecordingJob, Demonstration]) -> Episode:
        if ended.error:
            raise UserError(
                f"{self.setup.policy} in {ended.job.scenario}, seed {ended.job.seed}: "
                f"{ended.error.strip().splitlines()[-1].partition(': ')[2]}"
            )
        seen, actions = ended.observer.seen, ended.observer.actions
        executed = np.stack(actions.executed).astype(np.float32)
        labels = np.stack(actions.proposed[EXPERT]).astype(np.float32)
        distance, said = obstacle_distance(ended.scene), ended.observer.sentences.by_step()
        return Episode(
            name=simulated_stem(
                ended.scene.scenario,
                distance=distance,
                pattern="variant",
                taken=FIRST_TAKEN + timedelta(seconds=self.setup.clock_s + ended.job.index),
            ),
            images=np.stack(seen.images),
            actions=executed,
            action_names=tuple(self._robot.action_names),
            instruction=ended.scene.instruction.text,
            step_s=self._robot.control_s,
            labels=None if np.array_equal(executed, labels) else labels,
            states=np.stack(seen.states),
            state_names=STATE_NAMES,
            sensors={name: np.stack(values) for name, values in seen.sensors.items()},
            outcome=ended.outcome,
            provenance=self._provenance(ended.job, ended.scene, distance),
            sentences=said if len(set(said)) > 1 else (),
        )

    def _provenance(self, job: RecordingJob, scene: Scene, distance: str) -> dict[str, Plain]:
        source = self._scenes.source(job.scenario).scenario
        obstacles = scene.with_role(Role.OBSTACLE)
        return {
            "index": job.index,
            "simulated": True,
            "scenario": scene.scenario,
            "family": source.family,
            "suite": source.suite,
            "scenario_hash": source.hash,
            "seed": scene.seed,
            "side": scene.task.side.value if scene.task.side else "",
            "success": scene.task.success.value,
            "distance": distance,
            "target": scene.goal.kind.value if scene.has_goal else "",
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
    """The first second of the simulated clock after those that file names of episodes carry, see `FIRST_TAKEN`."""
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
    ahead = [scene.start.seen_from(body.x_m, body.y_m)[0] for body in scene.with_role(Role.OBSTACLE)]
    return DISTANCES[sum(min(ahead) >= limit for limit in DISTANCE_LIMITS_M)] if ahead else ""


def _steering(setup: RecordingSetup, robot: Embodiment) -> Steering[RecordingJob]:
    """Who steers, and what is learned from: the expert's action in every state."""
    from vla_sim.policies.expert import ExpertPolicy
    from vla_sim.policies.registry import load_policy

    learner = None
    if setup.policy != EXPERT:
        learner = load_policy(setup.policy)
        fit(learner, robot, f"policy {setup.policy!r}")
    expert: Policy = ExpertPolicy(**LABELLING if learner else {})
    if setup.keys:
        expert = EightHeadings(expert)
    return Noisy(Supervised[RecordingJob](expert, robot, learner), action_bounds(robot), lambda job: setup.noise)
