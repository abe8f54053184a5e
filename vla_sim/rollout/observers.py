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

from vla_sim.core.sensors import TAKEN
from vla_sim.core.types import Instruction
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
        sensors: what further sensors show, by name; of the whole batch as well.
    """

    image: np.ndarray
    state: np.ndarray
    simulation: Simulation
    sensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(cls, observation: Mapping[str, Any], index: int, simulation: Simulation) -> Moment:
        """One env of a batch."""
        image = observation["image"][index] if "image" in observation else NO_IMAGE
        sensors = {name: values[index] for name, values in observation.items() if name not in TAKEN}
        return cls(image, observation["state"][index], simulation, sensors)


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
    """`images` uint8 (H, W, 3), `states` float32 (S,) and `sensors` by name, one more than steps."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []
        self.states: list[np.ndarray] = []
        self.sensors: dict[str, list[np.ndarray]] = {}

    def on_episode_start(self, moment: Moment) -> None:
        """Keep what is seen."""
        self.images.append(moment.image.copy())
        self.states.append(moment.state.copy())
        for name, values in moment.sensors.items():
            self.sensors.setdefault(name, []).append(values.copy())

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep what is seen."""
        self.on_episode_start(moment)


@dataclass(frozen=True)
class Said:
    """A sentence of an episode.

    Attributes:
        step: control steps that were driven before it was said.
        time_s: simulated time then.
        text: the sentence.
        refuse: whether standing still is the right answer to it.
    """

    step: int
    time_s: float
    text: str
    refuse: bool


class Sentences(Observer):
    """`said`: every sentence of the episode in order, and `stopped`: for each step whether it was one of standstill."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.stopped: list[bool] = []
        self._now: Instruction | None = None

    def on_episode_start(self, moment: Moment) -> None:
        """Keep the first sentence."""
        scene = moment.simulation.scene
        assert scene is not None
        if scene.instruction is not self._now:
            self._now = scene.instruction
            now = Said(len(self.stopped), moment.simulation.time_s, scene.instruction.text, scene.task.refuse)
            self.said.append(now)

    def on_step(self, taken: Taken, moment: Moment) -> None:
        """Keep another one."""
        self.stopped.append(moment.simulation.stopped)
        self.on_episode_start(moment)

    def by_step(self) -> tuple[str, ...]:
        """The sentence that each action answers, as many as there were steps."""
        ends = [*(said.step for said in self.said[1:]), len(self.stopped)]
        return tuple(said.text for said, end in zip(self.said, ends, strict=True) for _ in range(said.step, end))


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
    sentences: Sentences = field(default_factory=Sentences)
