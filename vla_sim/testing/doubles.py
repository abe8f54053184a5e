"""An env and a policy that stand for real ones in tests: quick, deterministic, and they keep what they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.envs.spaces import action_space, observation_space
from vla_sim.policies.base import Policy, PolicySpec

INSTRUCTION = "Pass the box on the left and stop at the basket"


class StubEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """Has the spaces of `VLASim/Navigate-v1`, no world, and ends with success after so many steps.

    The robot moves as it is told, in its own frame of the start; images are noise that follows from the seed.

    Attributes:
        actions: those of the running episode, as given.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2.5}  # noqa: RUF012 (as Gymnasium has it)

    def __init__(self, *, steps: int = 5, embodiment: str = "serbot", instruction: str = INSTRUCTION) -> None:
        """Make one.

        Args:
            steps: of an episode.
            embodiment: name or file of the robot whose spaces it has.
            instruction: what every episode asks for.
        """
        self.embodiment = load_embodiment(embodiment)
        self.action_space = action_space(self.embodiment)
        self.observation_space = observation_space(self.embodiment)
        self.render_mode = "rgb_array"
        self.actions: list[np.ndarray] = []
        self._steps, self._instruction = steps, instruction
        self._state = np.zeros(6, np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict]:
        """Begin an episode."""
        super().reset(seed=seed, options=options)
        self.actions, self._state = [], np.zeros(6, np.float32)
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Move for one control step.

        Raises:
            ValueError: the action is not one of the action space.
        """
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self.actions.append(np.array(action))
        twist = dict(zip(self.embodiment.action_names, action.tolist(), strict=True))
        velocity = np.array([twist.get(name, 0.0) for name in ("vx", "vy", "wz")], np.float32)
        self._state = np.concatenate([self._state[:3] + velocity * self.embodiment.control_s, velocity])
        ended = len(self.actions) >= self._steps
        return self._observation(), float(ended), ended, False, {"outcome": "success"} if ended else {}

    def render(self) -> np.ndarray:
        """An image of what is seen."""
        return np.array(self._observation()["image"])

    def _observation(self) -> dict[str, Any]:
        width, height = self.embodiment.camera.image_px
        image = self.np_random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        return {"image": image, "instruction": self._instruction, "state": self._state.astype(np.float32)}


class EchoPolicy(Policy):
    """Gives the same action always and keeps what it was shown.

    Attributes:
        observations: of each call of `act`, in order.
        seeds: of each call of `reset`: (which envs, their seeds).
    """

    def __init__(self, action: Sequence[float] = (0.5, 0.0)) -> None:
        """Make one.

        Args:
            action: vx, vy in m/s, and perhaps wz in rad/s.
        """
        self.spec = PolicySpec(("vx", "vy", "wz")[: len(action)], (), description="gives the same action always")
        self.observations: list[Mapping[str, Any]] = []
        self.seeds: list[tuple[np.ndarray, np.ndarray]] = []
        self._action, self._count = np.array(action, np.float32), 0

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Keep which envs start anew."""
        self._count = len(reset_mask)
        self.seeds.append((np.array(reset_mask), np.array(seeds)))

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The action, for every env."""
        self.observations.append(dict(observation))
        return np.tile(self._action, (self._count, 1))
