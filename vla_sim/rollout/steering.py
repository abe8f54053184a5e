"""Who decides the actions of a rollout: a policy, the expert, both in turns; with noise, or late; or a list replayed.

steering = Noisy(Supervised(ExpertPolicy(), robot), action_bounds(robot), lambda job: 0.5)
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.envs.simulation import ActionError
from vla_sim.policies.base import Policy, PolicySpec, fit

EXPERT = "expert"
# Streams of an episode's seed from which steering draws (0 to 4 belong to scene, motion and expert).
NOISE_STREAM, MIX_STREAM = 5, 6
# Ornstein-Uhlenbeck noise: how much of it stays from step to step, and how much is new.
NOISE_MEMORY, NOISE_SIZE = 0.7, 0.7


class EpisodeJob(Protocol):
    """An episode to run."""

    @property
    def seed(self) -> int:
        """Of everything that is drawn in it."""


J = TypeVar("J", bound=EpisodeJob)
J_contra = TypeVar("J_contra", bound=EpisodeJob, contravariant=True)


@dataclass(frozen=True)
class Decision:
    """What all N envs do next.

    Attributes:
        actions: (N, A) body twists in m/s and rad/s. One that is not finite ends its episode.
        proposals: by name, what others would do: (N, A). "expert" is what the expert would do.
        diagnostics: what the policy says about its decision, arrays (N, ...).
        inference_s: seconds that the policy took.
    """

    actions: np.ndarray
    proposals: Mapping[str, np.ndarray] = field(default_factory=dict)
    diagnostics: Mapping[str, np.ndarray] = field(default_factory=dict)
    inference_s: float = 0.0


class Steering(Protocol[J_contra]):
    """Decides the actions of N envs; what it decides for one depends on that one alone."""

    def reset(self, started: Sequence[J_contra | None]) -> None:
        """Episodes begin in the envs that have a job here; the others go on."""

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The next step.

        Args:
            observation: of all envs, as the vector env gives it.
            infos: privileged state of each env, and the robot as "embodiment".
        """


def _masked(started: Sequence[EpisodeJob | None]) -> tuple[np.ndarray, np.ndarray]:
    """Which envs start, bool (N,), and their seeds, int64 (N,), as `Policy.reset` takes them."""
    mask = np.array([job is not None for job in started])
    return mask, np.array([0 if job is None else job.seed for job in started], dtype=np.int64)


def ask(policy: Policy, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """A policy's actions (N, A); privileged state is only for those that say they need it."""
    shown = {**observation, "instruction": list(observation["instruction"])}
    return policy.act(shown, infos if policy.spec.requires_privileged_info else None)


class ByPolicy:
    """A policy steers.

    Raises:
        UserError: it does not fit the robot.
    """

    def __init__(self, policy: Policy, robot: Embodiment) -> None:
        fit(policy, robot)
        self._policy, self._components = policy, len(robot.action_names)

    def reset(self, started: Sequence[EpisodeJob | None]) -> None:
        """Reset the policy."""
        self._policy.reset(*_masked(started))

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """What the policy does, timed.

        Raises:
            ActionError: its actions have another shape than (N, A).
        """
        begin = time.perf_counter()
        actions = ask(self._policy, observation, infos)
        taken_s = time.perf_counter() - begin
        if np.shape(actions) != (len(infos), self._components):
            raise ActionError(
                f"act must return actions of shape {(len(infos), self._components)}, got {np.shape(actions)}"
            )
        return Decision(actions, diagnostics=self._policy.diagnostics(), inference_s=taken_s)


class Supervised(Generic[J]):
    """The expert says what it would do in every state, whoever steers; proposes it as "expert".

    Args:
        expert: a policy; its actions are what is learned from.
        robot: checked against both.
        learner: steers its part of the steps; None leaves the expert alone.
        learner_fraction: probability that the learner steers, by job.
        hold: steps between two drawings of who steers, by job; 0 draws once for the whole episode.
    """

    def __init__(
        self,
        expert: Policy,
        robot: Embodiment,
        learner: Policy | None = None,
        learner_fraction: Callable[[J], float] = lambda job: 1.0,
        hold: Callable[[J], int] = lambda job: 0,
    ) -> None:
        fit(expert, robot)
        self._expert = expert
        self._learner = None if learner is None else ByPolicy(learner, robot)
        self._fraction, self._hold = learner_fraction, hold
        self._turns: list[Turns | None] = []

    def reset(self, started: Sequence[J | None]) -> None:
        """Reset both; whose turn it is, is drawn from the seeds."""
        self._expert.reset(*_masked(started))
        if self._learner is not None:
            self._learner.reset(started)
        self._turns = self._turns or [None] * len(started)
        for index, job in enumerate(started):
            if job is not None:
                self._turns[index] = Turns(job.seed, self._fraction(job), self._hold(job))

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The action of whoever's turn it is in each env."""
        expert = ask(self._expert, observation, infos)
        if self._learner is None:
            return Decision(expert, {EXPERT: expert})
        decision = self._learner.decide(observation, infos)
        learners_turn = np.array([turns is not None and turns.learner_is_next() for turns in self._turns])
        actions = np.where(learners_turn[:, None], decision.actions, expert)
        return replace(decision, actions=actions, proposals={EXPERT: expert})


class Turns:
    """Whether the learner steers, step by step, in one episode: drawn every `hold` steps, once where that is 0."""

    def __init__(self, seed: int, learner_fraction: float, hold: int) -> None:
        self._rng = np.random.default_rng([seed, MIX_STREAM])
        self._fraction, self._hold = learner_fraction, hold
        self._step, self._learner = 0, False

    def learner_is_next(self) -> bool:
        """Whether the learner steers the next step."""
        if self._step % self._hold == 0 if self._hold else self._step == 0:
            self._learner = self._rng.random() < self._fraction
        self._step += 1
        return self._learner


class Noisy(Generic[J]):
    """Smooth noise (Ornstein-Uhlenbeck) on what is driven; proposals stay clean.

    Args:
        steering: decides.
        bounds: full speed of each action component, (A,), scales the noise.
        noise: size in fractions of full speed, by job; 0 leaves an episode as it is.
        seed: of the noise, by job.
        at_rest: False: who stands still is left alone. Noise there keeps a robot that has arrived from ever coming to
            rest, or pushes it into the goal.
    """

    def __init__(
        self,
        steering: Steering[J],
        bounds: np.ndarray,
        noise: Callable[[J], float],
        seed: Callable[[J], Any] = lambda job: [job.seed, NOISE_STREAM],
        *,
        at_rest: bool = True,
    ) -> None:
        self._steering, self._noise, self._seed, self._at_rest = steering, noise, seed, at_rest
        self._bounds = bounds
        self._running: list[OrnsteinUhlenbeck | None] = []

    def reset(self, started: Sequence[J | None]) -> None:
        """Begin the noise of the new episodes from their seeds."""
        self._steering.reset(started)
        self._running = self._running or [None] * len(started)
        for index, job in enumerate(started):
            if job is not None:
                size = self._noise(job)
                rng = np.random.default_rng(self._seed(job))
                self._running[index] = OrnsteinUhlenbeck(size * self._bounds, rng) if size > 0 else None

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The decision with noise; float32 as actions are."""
        decision = self._steering.decide(observation, infos)
        actions = np.array(decision.actions, dtype=np.float32)
        for index, noise in enumerate(self._running):
            if noise is not None:
                push = noise.next()
                if self._at_rest or actions[index].any():
                    actions[index] = decision.actions[index] + push
        return replace(decision, actions=actions)


class Delayed(Generic[J]):
    """Actions arrive a number of control steps late; until the first one arrives the robot stands still.

    Args:
        steering: decides; what it proposes and says is not delayed.
        steps: how late, at least 0.
    """

    def __init__(self, steering: Steering[J], steps: int) -> None:
        self._steering, self._steps = steering, steps
        self._on_their_way: list[deque[np.ndarray]] = []

    def reset(self, started: Sequence[J | None]) -> None:
        """Nothing is on its way to an env whose episode begins."""
        self._steering.reset(started)
        self._on_their_way = self._on_their_way or [deque() for _ in started]
        for waiting, job in zip(self._on_their_way, started, strict=True):
            if job is not None:
                waiting.clear()

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The actions that were decided so many steps ago."""
        decision = self._steering.decide(observation, infos)
        actions = np.zeros_like(decision.actions)
        for index, waiting in enumerate(self._on_their_way):
            waiting.append(np.array(decision.actions[index]))
            if len(waiting) > self._steps:
                actions[index] = waiting.popleft()
        return replace(decision, actions=actions)


class OrnsteinUhlenbeck:
    """Noise that drifts back to zero.

    Args:
        size: by component, (A,).
        rng: where chance comes from.
    """

    def __init__(self, size: np.ndarray, rng: np.random.Generator) -> None:
        self._size, self._rng = size, rng
        self._now = np.zeros(len(size))

    def next(self) -> np.ndarray:
        """The next value, float64 (A,)."""
        push = self._size * self._rng.standard_normal(len(self._size))
        self._now = NOISE_MEMORY * self._now + NOISE_SIZE * push
        return self._now


class ByActions:
    """Drives a list of actions in every env.

    Args:
        actions: (T, A); after the last one, an episode that still runs ends with an error.
    """

    def __init__(self, actions: Sequence[Sequence[float]] | np.ndarray, robot: Embodiment) -> None:
        count = len(robot.action_names)
        self._actions = np.concatenate([np.reshape(actions, (-1, count)), np.full((1, count), np.nan)])
        self._steps = np.zeros(0, dtype=np.int64)

    def reset(self, started: Sequence[EpisodeJob | None]) -> None:
        """Begin the list again in the envs that have a job."""
        mask, _ = _masked(started)
        self._steps = np.where(mask, 0, self._steps if len(self._steps) else np.zeros(len(mask), dtype=np.int64))

    def decide(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]]) -> Decision:
        """The next action of each env."""
        actions = self._actions[np.minimum(self._steps, len(self._actions) - 1)]
        self._steps += 1
        return Decision(actions)


class EightHeadings(Policy):
    """A policy whose translations are rounded to the keys of the serbot robot's remote control: see `as_key`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._speed_mps = 0.0

    @property
    def spec(self) -> PolicySpec:  # type: ignore[override]
        """Of the policy."""
        return self._policy.spec

    def prepare(self, robot: Embodiment) -> None:
        """Keys have the robot's full speed."""
        self._policy.prepare(robot)
        self._speed_mps = robot.max_mps

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Reset the policy."""
        self._policy.reset(reset_mask, seeds)

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Rounded body twists, float32 (N, 2)."""
        return np.stack([as_key(twist, self._speed_mps) for twist in self._policy.act(observation, infos)])


def as_key(twist: np.ndarray, speed_mps: float) -> np.ndarray:
    """The key that comes nearest to a translation: one of eight headings, components 0 or full speed; 0 stays 0."""
    if not twist.any():
        return twist
    eighth = round(math.atan2(twist[1], twist[0]) / (math.pi / 4))
    heading = eighth * math.pi / 4
    # Rounded: cos of a right angle is not quite zero, and diagonals have both components full.
    signs = np.sign([round(math.cos(heading), 6), round(math.sin(heading), 6)])
    return (signs * speed_mps).astype(np.float32)
