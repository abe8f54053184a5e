"""One recorded episode, whatever file it came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome

Plain = str | int | float | bool


@dataclass(frozen=True, eq=False)
class Episode:
    """What a robot saw, was told and did, with where that came from.

    Pictures have one more entry than actions when the last one (after the last action) was kept, as the simulator
    does; recordings of a real robot often lack it, and then there are as many pictures as actions.

    Attributes:
        name: names the episode in its data set; file names and messages use it.
        images: uint8 (T or T+1, height, width, 3), RGB; image t was seen before action t.
        actions: float32 (T, A), body twists in m/s and rad/s; frames as in docs/conventions.md.
        action_names: names of the A components, some of "vx", "vy", "wz" in that order.
        instruction: the sentence that the robot followed; "" when the recording has none.
        step_s: seconds between two actions.
        labels: float32 (T, A) or None: what an expert would have done at each image, where that differs from what
            was done (noise was added, or a learner drove).
        states: float32 (as many as images, S) or None.
        state_names: names of the S components.
        events: one word per action, or None: "episode_start", "start_action", "stop_action".
        outcome: how it ended; None when nobody judged.
        provenance: plain facts: scenario, seed, side, distance, phrasing, source file, versions.
    """

    name: str
    images: np.ndarray
    actions: np.ndarray
    action_names: tuple[str, ...]
    instruction: str
    step_s: float
    labels: np.ndarray | None = None
    states: np.ndarray | None = None
    state_names: tuple[str, ...] = ()
    events: tuple[str, ...] | None = None
    outcome: Outcome | None = None
    provenance: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))
        self._check_images()
        self._check_actions("actions", self.actions)
        if self.labels is not None:
            self._check_actions("labels", self.labels)
        self._check_states()
        if self.events is not None and len(self.events) != len(self):
            self._refuse(f"{len(self)} actions but {len(self.events)} events")
        if not (math.isfinite(self.step_s) and self.step_s > 0):
            self._refuse(f"step_s must be positive, got {self.step_s}")

    def __len__(self) -> int:
        """The number of actions, T."""
        return len(self.actions)

    @property
    def has_last_image(self) -> bool:
        """Whether the picture after the last action was kept."""
        return len(self.images) == len(self) + 1

    def _check_images(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3:
            self._refuse(f"images must be uint8 (T, height, width, 3), got {self.images.dtype} {shape}")
        if len(self.actions) == 0:
            self._refuse("it has no actions")
        if shape[0] not in (len(self.actions), len(self.actions) + 1):
            self._refuse(f"{len(self.actions)} actions need as many images or one more, got {shape[0]}")

    def _check_actions(self, what: str, values: np.ndarray) -> None:
        if any(name not in ACTION_NAMES for name in self.action_names):
            self._refuse(f"action_names must be some of {ACTION_NAMES}, got {self.action_names}")
        if not self.action_names or len(set(self.action_names)) < len(self.action_names):
            self._refuse(f"action_names must differ and be at least one, got {self.action_names}")
        expected = (len(self.actions), len(self.action_names))
        if values.dtype != np.float32 or values.shape != expected:
            self._refuse(f"{what} must be float32 {expected}, got {values.dtype} {values.shape}")
        if not np.isfinite(values).all():
            self._refuse(f"{what} must be finite; step {int(np.argwhere(~np.isfinite(values))[0, 0])} is not")

    def _check_states(self) -> None:
        if self.states is None:
            return
        expected = (len(self.images), len(self.state_names))
        if self.states.dtype != np.float32 or self.states.shape != expected:
            self._refuse(f"states must be float32 {expected}, got {self.states.dtype} {self.states.shape}")
        if not np.isfinite(self.states).all():
            self._refuse(f"states must be finite; step {int(np.argwhere(~np.isfinite(self.states))[0, 0])} is not")

    def _refuse(self, why: str) -> None:
        raise ValueError(f"episode {self.name}: {why}")
