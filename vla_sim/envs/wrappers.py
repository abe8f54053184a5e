"""Wrappers for learners that know boxes only, such as Stable-Baselines3."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

INSTRUCTION_BYTES = 256


def encode_text(text: str, size: int = INSTRUCTION_BYTES) -> np.ndarray:
    """UTF-8 bytes of a text, uint8 (size,), cut between characters and padded with zeros."""
    data = text.encode()[:size].decode(errors="ignore").encode()
    return np.frombuffer(data.ljust(size, b"\0"), dtype=np.uint8).copy()


def decode_text(data: np.ndarray) -> str:
    """The text that `encode_text` was given."""
    return bytes(np.asarray(data, dtype=np.uint8)).rstrip(b"\0").decode(errors="ignore")


class EncodeInstruction(gymnasium.ObservationWrapper[dict[str, Any], Any, dict[str, Any]]):
    """`instruction` becomes a uint8 Box of its UTF-8 bytes (256,); image and state stay as they are.

    Stable-Baselines3 has no text space: `PPO("MultiInputPolicy", EncodeInstruction(env))` works with this.
    """

    def __init__(self, env: gymnasium.Env[dict[str, Any], Any]) -> None:
        super().__init__(env)
        inner = env.observation_space
        assert isinstance(inner, spaces.Dict)
        encoded = spaces.Box(0, 255, (INSTRUCTION_BYTES,), np.uint8)
        self.observation_space = spaces.Dict({**inner.spaces, "instruction": encoded})

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The observation with encoded instruction."""
        return {**observation, "instruction": encode_text(observation["instruction"])}
