"""What is kept of one running episode: path, images, hashes, actions. Handed to `vla_sim.rollout.rollout`.

An observer belongs to one episode and is told of its start, each step and nothing else. An `Observers` is made of
several: declare the parts as its fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash

from vla_sim.envs.simulation import Simulation
from vla_sim.rollout.steering import Decision

NO_IMAGE = np.zeros((0, 0, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Moment:
    """One env as it is now.

    Attributes:
        image: uint8 (H, W, 3), what its camera sees. Belongs to the whole batch: copy it to keep it. Empty in an env
            without images.
        state: float32 (S,), see `STATE_NAMES`.
        simulation: the env itself: pose, scene, outcome, time.
    """

    image: np.ndarray
    state: np.ndarray
    simulation: Simulation

    @classmethod
    def of(cls, observation: Mapping[str, Any], index: int, simulation: Simulation) -> Moment:
        """One env of a batch."""
        image = observation["image"][index] if "image" in observation else NO_IMAGE
        return cls(image, observation["state"][index], simulation)


@dataclass(frozen=True)
class Taken:
    """The step that led to a moment.

    Attributes:
        action: float64 (A,), as executed: within the robot's bounds, m/s and rad/s.
        proposals: by name, what others would have done, each (A,); "expert" where one was asked.
        diagnostics: what the policy said about its decision.
        inference_ms: this episode's part of the time that the decision took.
    """

    action: np.ndarray
    proposals: Mapping[str, np.ndarray]
    diagnostics: Mapping[str, np.ndarray]
    inference_ms: float

    @classmethod
    def of(cls, decision: Decision, index: int, action: np.ndarray, running: int) -> Taken:
        """One env of a batch in which `running` episodes share the time."""
        return cls(
            action,
            {name: actions[index] for name, actions in decision.proposals.items()},
            {name: values[index] for name, values in decision.diagnostics.items()},
            decision.inference_s * 1e3 / running,
        )


class Observer:
    """Keeps nothing."""

    def on_episode_start(self, moment: Moment) -> None:
        """The episode has begun."""

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """An action was executed; this is what came of it."""


class Observers(Observer):
    """All observers among its fields."""

    def on_episode_start(self, moment: Moment) -> None:
        """Tell them."""
        for part in vars(self).values():
            part.on_episode_start(moment)

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Tell them."""
        for part in vars(self).values():
            part.on_step(taken, moment)


class Path(Observer):
    """`poses`: (x, y, yaw) in the world frame, m and rad, one more than steps."""

    def __init__(self) -> None:
        self.poses: list[tuple[float, float, float]] = []

    def on_episode_start(self, moment: Moment) -> None:
        """Keep the pose."""
        pose = moment.simulation.pose
        self.poses.append((pose.x_m, pose.y_m, pose.yaw_rad))

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep the pose."""
        self.on_episode_start(moment)


class ImageHash(Observer):
    """`hexdigest`: of all images in order."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()

    def on_episode_start(self, moment: Moment) -> None:
        """Add the image."""
        self._hash.update(np.ascontiguousarray(moment.image).data)

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Add the image."""
        self.on_episode_start(moment)

    @property
    def hexdigest(self) -> str:
        """Of the images so far."""
        return self._hash.hexdigest()


class Images(Observer):
    """`images` uint8 (H, W, 3) and `states` float32 (S,), one more than steps."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.states: list[np.ndarray] = []

    def on_episode_start(self, moment: Moment) -> None:
        """Keep image and state."""
        self.images.append(moment.image.copy())
        self.states.append(moment.state.copy())

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep image and state."""
        self.on_episode_start(moment)


class Actions(Observer):
    """`executed` float64 (A,) and `proposed` by name, (A,): one each step."""

    def __init__(self) -> None:
        self.executed: list[np.ndarray] = []
        self.proposed: dict[str, list[np.ndarray]] = {}

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep the actions."""
        self.executed.append(taken.action)
        for name, action in taken.proposals.items():
            self.proposed.setdefault(name, []).append(action)


class Diagnostics(Observer):
    """What a policy says of each decision: `values` by name, and `inference_ms`."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.inference_ms: list[float] = []

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep it."""
        self.inference_ms.append(taken.inference_ms)
        for name, value in taken.diagnostics.items():
            self.values.setdefault(name, []).append(round(float(np.mean(value)), 6))


@dataclass
class Demonstration(Observers):
    """What a demonstration is made of."""

    seen: Images = field(default_factory=Images)
    actions: Actions = field(default_factory=Actions)
