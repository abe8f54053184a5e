"""Action chunks: a predictor gives the next k actions, a wrapper says which of them are driven. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vla_sim.policies.base import Policy, PolicySpec
from vla_sim.policies.folders import PolicyFolder

# Decay of ACT's weights (arXiv 2304.13705, section IV-A; 0.01 in its code).
ACT_DECAY = 0.01


class ChunkPredictor(Protocol):
    """What gives chunks, as `VlaPolicy` does.

    Attributes:
        spec: as of a policy.
        horizon: k, actions of a chunk, one control step apart.
        remembers: whether it must see every image, also those for which no chunk is needed.
    """

    spec: PolicySpec
    horizon: int
    remembers: bool

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """As of a policy."""

    def chunk(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, k, A), in m/s and rad/s: the first is for now."""


class ChunkedPolicy(Policy):
    """Receding horizon: of each chunk the first `execute` actions are driven, then a new one is asked for.

    Envs count for themselves, so what an env drives never depends on when another one started.

    Args:
        predictor: gives the chunks.
        execute: 1 uses a new chunk at every step, k drives chunks to their ends without looking.

    Raises:
        ValueError: execute is not between 1 and k.
    """

    def __init__(self, predictor: ChunkPredictor, *, execute: int) -> None:
        if not 1 <= execute <= predictor.horizon:
            raise ValueError(f"execute must lie between 1 and the horizon {predictor.horizon}, got {execute}")
        self.spec = predictor.spec
        self._predictor, self._execute = predictor, execute
        self._chunks = np.zeros((0, predictor.horizon, len(predictor.spec.action_names)), dtype=np.float32)
        self._driven = np.zeros(0, dtype=np.int64)

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Drop the chunks of the marked envs."""
        self._predictor.reset(reset_mask, seeds)
        if len(self._driven) != len(reset_mask):
            self._chunks = np.zeros((len(reset_mask), *self._chunks.shape[1:]), dtype=np.float32)
            self._driven = np.zeros(len(reset_mask), dtype=np.int64)
        self._driven[np.asarray(reset_mask, dtype=bool)] = 0

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The next action of each env's chunk, float32 (N, A)."""
        ended = self._driven % self._execute == 0
        if ended.any() or self._predictor.remembers:
            chunks = self._predictor.chunk(observation, infos)
            self._chunks[ended] = chunks[ended]
        actions = self._chunks[np.arange(len(ended)), self._driven % self._execute]
        self._driven += 1
        return actions


class TemporalEnsemble(Policy):
    """ACT's temporal ensembling: a chunk at every step, and the mean of all that was ever predicted for now.

    The prediction made i-th (0 is the oldest still alive) weighs exp(-decay * i), as in ACT.

    Args:
        predictor: gives the chunks.
        decay: 0 weighs all alike; large trusts the oldest alone.

    Raises:
        ValueError: decay is negative or not finite.
    """

    def __init__(self, predictor: ChunkPredictor, *, decay: float = ACT_DECAY) -> None:
        if not (np.isfinite(decay) and decay >= 0):
            raise ValueError(f"decay must not be negative, got {decay}")
        self.spec = predictor.spec
        self._predictor, self._decay = predictor, decay
        # Chunks by age (0 is now's), and how many of them an env has.
        self._chunks = np.zeros((0, predictor.horizon, predictor.horizon, len(self.spec.action_names)))
        self._alive = np.zeros(0, dtype=np.int64)

    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Drop the predictions of the marked envs."""
        self._predictor.reset(reset_mask, seeds)
        if len(self._alive) != len(reset_mask):
            self._chunks = np.zeros((len(reset_mask), *self._chunks.shape[1:]))
            self._alive = np.zeros(len(reset_mask), dtype=np.int64)
        marked = np.asarray(reset_mask, dtype=bool)
        self._chunks[marked], self._alive[marked] = 0, 0

    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """The weighted mean, float32 (N, A)."""
        self._chunks = np.roll(self._chunks, 1, axis=1)
        self._chunks[:, 0] = self._predictor.chunk(observation, infos)
        self._alive = np.minimum(self._alive + 1, self._predictor.horizon)
        age = np.arange(self._predictor.horizon)
        order = self._alive[:, None] - 1 - age
        weights = np.where(order >= 0, np.exp(-self._decay * np.maximum(order, 0)), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
        # What a chunk of some age says about now is its entry of that number.
        return np.einsum("nk,nka->na", weights, self._chunks[:, age, age]).astype(np.float32)


METHODS = ("receding", "temporal_ensemble")


class ChunkedFolder:
    """The policy type "chunked": how the chunks of another policy folder are driven."""

    @classmethod
    def from_folder(cls, folder: PolicyFolder) -> Policy:
        """Config: predictor (name of a policy that gives chunks), method, execute (receding), decay (ensemble).

        Raises:
            PolicyError: a value makes no sense, or the predictor gives no chunks.
        """
        from vla_sim.policies.registry import load_folder

        folder.know(("predictor", "method", "execute", "decay"))
        method = folder.get("method", str, METHODS[0])
        if method not in METHODS:
            raise folder.error(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        predictor: Any = load_folder(folder.sibling(folder.get("predictor", str)))
        if not hasattr(predictor, "chunk"):
            raise folder.error(f"predictor {folder.config['predictor']!r} gives no chunks; a vla policy does")
        try:
            if method == "receding":
                return ChunkedPolicy(predictor, execute=folder.get("execute", int, 1))
            return TemporalEnsemble(predictor, decay=folder.get("decay", float, ACT_DECAY))
        except ValueError as error:
            raise folder.error(str(error)) from error


def chunk_targets(actions: np.ndarray, mask: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """For each step the next `horizon` actions, and which of them exist; to train a model that predicts chunks.

    Args:
        actions: float (n, T, A).
        mask: bool (n, T), which steps exist.
        horizon: k.

    Returns:
        Actions (n, T, k, A), zeros where there is none, and bool (n, T, k).
    """
    reset_mask, steps, components = actions.shape
    padded = np.concatenate([actions, np.zeros((reset_mask, horizon - 1, components), actions.dtype)], axis=1)
    exists = np.concatenate([mask, np.zeros((reset_mask, horizon - 1), dtype=bool)], axis=1)
    index = np.arange(steps)[:, None] + np.arange(horizon)
    real = exists[:, index] & mask[:, :, None]
    return np.where(real[..., None], padded[:, index], 0), real
