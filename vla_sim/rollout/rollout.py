"""The closed loop: whoever steers is asked, the envs step, envs whose episode has ended get the next one.

The only place where steering and envs meet. Evaluation, collecting, DAgger, re-rendering, replay and the open-loop
error all call `rollout`; they differ in who steers (`vla_sim.rollout.steering`) and in what is kept of an episode
(`vla_sim.rollout.observers`).
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Outcome, Scene
from vla_sim.envs.sampling import SceneSource
from vla_sim.envs.simulation import ActionError, checked_action
from vla_sim.envs.vector import NavigateVectorEnv
from vla_sim.rollout.observers import Moment, Observer, Taken
from vla_sim.rollout.steering import EpisodeJob, Steering


class SeededJob(EpisodeJob, Protocol):
    """An episode whose scene is drawn from a scenario."""

    @property
    def scenario(self) -> str:
        """Name or file."""


J = TypeVar("J", bound=EpisodeJob)
O = TypeVar("O", bound=Observer)  # noqa: E741


@dataclass
class Running(Generic[J, O]):
    """An episode while it runs."""

    number: int
    job: J
    scene: Scene
    observer: O


@dataclass(frozen=True)
class Ended(Generic[J, O]):
    """An episode that has ended.

    Attributes:
        number: which of the jobs it was, from 0.
        job: what was asked for.
        scene: the world it ran in.
        observer: what was kept of it.
        outcome: how it ended; ERROR when it was given an action that cannot be executed.
        moment: the env at its end, valid until the loop goes on.
        error: why the last action could not be executed, a short traceback.
    """

    number: int
    job: J
    scene: Scene
    observer: O
    outcome: Outcome
    moment: Moment
    error: str | None = None


class Scenes:
    """The scenes of jobs, by scenario and seed.

    Args:
        robot: its size and camera decide which worlds are feasible.
        instruction_set: "train" or "eval" phrasings.
        language: e.g. "ko"; None for each scenario's mix.
        instruction: told in place of the scenarios' sentences; None for those.
    """

    def __init__(
        self,
        robot: Embodiment,
        instruction_set: str = "train",
        language: str | None = None,
        instruction: str | None = None,
    ) -> None:
        self._common = (robot, instruction_set, language, instruction)
        self._sources: dict[str, SceneSource] = {}

    def source(self, scenario: str) -> SceneSource:
        """Where the scenes of a scenario come from; made once."""
        if scenario not in self._sources:
            self._sources[scenario] = SceneSource(scenario, *self._common)
        return self._sources[scenario]

    def __call__(self, job: SeededJob) -> Scene:
        """The scene of a job."""
        return self.source(job.scenario).scene(job.seed)


def rollout(
    env: NavigateVectorEnv,
    steering: Steering[J],
    jobs: Iterable[J],
    scene_of: Callable[[J], Scene],
    observe: Callable[[], O],
    *,
    on_step: Callable[[], None] = lambda: None,
) -> Iterator[Ended[J, O]]:
    """Run every job, each in the next free env; gives each episode as soon as it has ended.

    An action that cannot be executed ends its episode with Outcome.ERROR, and no other. What steering raises comes
    through: the caller decides which episode is to blame.

    Args:
        env: with autoreset off; all of its envs are asked and drawn together, running or not.
        steering: gives the actions.
        jobs: in the order in which they start.
        scene_of: the world of a job.
        observe: makes what keeps the facts of one episode.
        on_step: called after every step of the envs, as a sign of life.
    """
    waiting = deque(enumerate(jobs))
    running: list[Running[J, O] | None] = [None] * env.num_envs
    observation: dict[str, Any] = {}
    while waiting or any(running):
        if waiting and not all(running):
            observation = _fill(env, steering, waiting, running, scene_of, observe)
        decision = steering.decide(observation, _infos(env))
        asked = sum(map(bool, running))
        actions, refused = _executable(decision.actions, env, running)
        for index, error in refused.items():
            yield _ended(env, index, running, observation, error)
        observation, *_ = env.step_running(actions)
        for index, episode in enumerate(running):
            if episode is not None:
                taken = Taken.of(decision, index, actions[index], asked)
                episode.observer.on_step(taken, Moment.of(observation, index, env.simulations[index]))
        for index, episode in enumerate(running):
            if episode is not None and env.simulations[index].outcome is not None:
                yield _ended(env, index, running, observation)
        on_step()


def _fill(
    env: NavigateVectorEnv,
    steering: Steering[J],
    waiting: deque[tuple[int, J]],
    running: list[Running[J, O] | None],
    scene_of: Callable[[J], Scene],
    observe: Callable[[], O],
) -> dict[str, Any]:
    """Start waiting jobs in the free envs."""
    started: list[J | None] = [None] * env.num_envs
    scenes: list[Any] = [None] * env.num_envs
    for index in range(env.num_envs):
        if running[index] is None and waiting:
            number, job = waiting.popleft()
            started[index], scenes[index] = job, scene_of(job)
            running[index] = Running(number, job, scenes[index], observe())
    mask = np.array([job is not None for job in started])
    observation, _ = env.reset(options={"reset_mask": mask, "scenes": scenes})
    steering.reset(started)
    for index in np.flatnonzero(mask).tolist():
        episode = running[index]
        assert episode is not None
        episode.observer.on_episode_start(Moment.of(observation, index, env.simulations[index]))
    return observation


def _infos(env: NavigateVectorEnv) -> list[dict[str, Any]]:
    """Privileged state of every env and the robot; an env that never started has the robot alone."""
    return [{**(s.info() if s.scene is not None else {}), "embodiment": env.embodiment} for s in env.simulations]


def _executable(
    wanted: np.ndarray, env: NavigateVectorEnv, running: list[Running[J, O] | None]
) -> tuple[np.ndarray, dict[int, str]]:
    """The actions (N, A), zeros where nothing runs, and by env index why an action cannot be executed."""
    actions, refused = np.zeros((env.num_envs, len(env.embodiment.action_names))), {}
    for index, episode in enumerate(running):
        if episode is not None:
            try:
                actions[index] = checked_action(wanted[index], env.embodiment)
            except ActionError:
                refused[index] = traceback.format_exc(limit=1)
    return actions, refused


def _ended(
    env: NavigateVectorEnv,
    index: int,
    running: list[Running[J, O] | None],
    observation: dict[str, Any],
    error: str | None = None,
) -> Ended[J, O]:
    """Take an episode out of its env."""
    episode, simulation = running[index], env.simulations[index]
    assert episode is not None
    running[index] = None
    if error is not None:
        simulation.outcome = Outcome.ERROR
    assert simulation.outcome is not None
    return Ended(
        *(episode.number, episode.job, episode.scene, episode.observer),
        outcome=simulation.outcome,
        moment=Moment.of(observation, index, simulation),
        error=error,
    )
