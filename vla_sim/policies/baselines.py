"""Policies that do not look: still, straight ahead, at random, a replayed list. Scores are measured against them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder

# Stream of an episode's seed from which the random policy draws (others draw scene, motion and expert).
RANDOM_STREAM = 7


# Components of an action until a robot is known.
PLANAR = ("vx", "vy")


class Following(Policy):
    """What these policies share: without action names of their own they follow the robot.

    Args:
        action_names: components of its actions; empty: those of whatever robot it drives, (vx, vy) until it is known.
    """

    description = ""

    def __init__(self, action_names: Sequence[str] = ()) -> None:
        self.spec = PolicySpec(action_names=tuple(action_names), image_px=(), description=self.description)
        self._names = tuple(action_names) or PLANAR

    def prepare(self, robot: Embodiment) -> None:
        """Take the robot's action names."""
        self._names = tuple(robot.action_names)

    def _twists(self, count: int, **components: float) -> np.ndarray:
        """The same twist in all envs, float32 (count, A); components that it does not name are 0."""
        twist = np.array([components.get(name, 0.0) for name in self._names], dtype=np.float32)
        return np.tile(twist, (count, 1))


class HoldPolicy(Following):
    """Never moves."""

    description = "stands still"

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> HoldPolicy:
        """Config: action_names."""
        folder.know(("action_names",))
        return cls(folder.action_names(()))

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Zeros."""
        return self._twists(len(observation["instruction"]))


class StraightPolicy(Following):
    """Drives straight ahead at the robot's cruising speed, or at 0.5 m/s until it is known."""

    description = "drives straight ahead"

    def __init__(self, action_names: Sequence[str] = ()) -> None:
        super().__init__(action_names)
        self._speed_mps = 0.5

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> StraightPolicy:
        """Config: action_names."""
        folder.know(("action_names",))
        return cls(folder.action_names(()))

    def prepare(self, robot: Embodiment) -> None:
        """Take the robot's action names and speed."""
        super().prepare(robot)
        self._speed_mps = robot.cruise_mps

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Nothing to forget."""

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Ahead, everywhere."""
        return self._twists(len(observation["instruction"]), vx=self._speed_mps)


class RandomPolicy(Following):
    """Drives in a random direction at a fixed speed, a new one every `hold_steps` steps; the same for the same seed."""

    description = "drives at random"

    def __init__(
        self,
        action_names: Sequence[str] = (),
        *,
        speed_mps: float = 0.5,
        turn_radps: float = 1.0,
        hold_steps: int = 1,
    ) -> None:
        if hold_steps < 1:
            raise ValueError(f"hold_steps must be at least 1, got {hold_steps}")
        super().__init__(action_names)
        self._speed_mps, self._turn_radps, self._hold_steps = speed_mps, turn_radps, hold_steps
        self._generators: list[np.random.Generator] = []
        self._steps = np.zeros(0, dtype=np.int64)
        self._held = np.zeros((0, len(self._names)), dtype=np.float32)

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> RandomPolicy:
        """Config: action_names, speed_mps, turn_radps, hold_steps."""
        folder.know(("action_names", "speed_mps", "turn_radps", "hold_steps"))
        return cls(
            folder.action_names(()),
            speed_mps=folder.get("speed_mps", float, 0.5),
            turn_radps=folder.get("turn_radps", float, 1.0),
            hold_steps=folder.get("hold_steps", int, 1),
        )

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Draw anew from the seeds of the marked envs."""
        if len(self._generators) != len(reset_mask):
            self._generators = [np.random.default_rng(0) for _ in reset_mask]
            self._steps = np.zeros(len(reset_mask), dtype=np.int64)
            self._held = np.zeros((len(reset_mask), len(self._names)), dtype=np.float32)
        for env_index in np.flatnonzero(reset_mask):
            self._generators[env_index] = np.random.default_rng([int(seeds[env_index]), RANDOM_STREAM])
            self._steps[env_index] = 0

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Random twists."""
        for env_index, generator in enumerate(self._generators):
            if self._steps[env_index] % self._hold_steps == 0:
                self._held[env_index] = self._draw(generator)
        self._steps += 1
        return self._held.copy()

    def _draw(self, generator: np.random.Generator) -> list[float]:
        heading, turn = generator.uniform(-math.pi, math.pi), generator.uniform(-1, 1)
        twist = {
            "vx": self._speed_mps * math.cos(heading),
            "vy": self._speed_mps * math.sin(heading),
            "wz": self._turn_radps * turn,
        }
        return [twist[name] for name in self._names]


class ReplayPolicy(Policy):
    """Replays a list of actions in every env, then stands still."""

    def __init__(
        self, actions: Sequence[Sequence[float]] | np.ndarray, action_names: tuple[str, ...] = ("vx", "vy")
    ) -> None:
        """Args: actions: (T, A) in m/s and rad/s; action_names: what their columns are."""
        self._actions = np.asarray(actions, dtype=np.float32)
        if self._actions.ndim != 2 or self._actions.shape[1] != len(action_names):
            raise ValueError(f"actions must be rows of {list(action_names)}, got shape {self._actions.shape}")
        if not np.isfinite(self._actions).all():
            raise ValueError("actions must be finite")
        self.spec = PolicySpec(
            action_names=action_names, image_px=(), description=f"replays {len(self._actions)} actions"
        )
        self._steps = np.zeros(0, dtype=np.int64)

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> ReplayPolicy:
        """Config: actions (rows), action_names."""
        folder.know(("actions", "action_names"))
        try:
            return cls(folder.get("actions", list), folder.action_names())
        except (ValueError, TypeError) as error:
            raise folder.error(str(error)) from error

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Start the list again in the marked envs."""
        if len(self._steps) != len(reset_mask):
            self._steps = np.zeros(len(reset_mask), dtype=np.int64)
        self._steps[np.asarray(reset_mask, dtype=bool)] = 0

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The next row of each env; zeros after the last."""
        padded = np.concatenate([self._actions, np.zeros_like(self._actions[:1], shape=(1, self._actions.shape[1]))])
        actions = padded[np.minimum(self._steps, len(self._actions))]
        self._steps += 1
        return actions
