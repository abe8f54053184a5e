"""What frozen backbones see in the demonstrations, computed once and kept on disk: heads learn from it in minutes.

Each variant is one look at all episodes: the first as they are, the others augmented as `Sampler` augments, with other
phrasings. Half precision: what is lost is below what the heads can tell apart.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_sim.core.files import write_whole
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.training.batches import Batch, Sampler
from vla_sim.training.config import TrainConfig
from vla_sim.training.losses import recoloured, trimmed
from vla_sim.training.recorded import SHARES

if TYPE_CHECKING:
    from vla_sim.policies.models.backbones import Features
    from vla_sim.policies.models.encoder import VlaEncoder
    from vla_sim.training.members import Members

PARTS = ("patches", "image", "text")
CHUNK_EPISODES = 64


@dataclass(frozen=True)
class Cached:
    """One variant of one round of demonstrations.

    Attributes:
        features: by backbone and part, float16 (F, ...), see `Features`; memory maps.
        actions: float32 (F, A), normalised.
        goals: float32 (F, 2), see `Demonstrations`.
        starts: int64 (E + 1,), where each episode begins.
        groups: see `Demonstrations`.
    """

    features: Mapping[str, Mapping[str, np.ndarray]]
    actions: np.ndarray
    goals: np.ndarray
    starts: np.ndarray
    groups: tuple[str, ...]


def content_key(part: Demonstrations) -> str:
    """What tells these episodes from all others, as the name of a folder."""
    known = hashlib.sha256(repr([list(part.texts), list(part.later), list(part.scenarios)]).encode())
    known.update(np.ascontiguousarray(part.actions[part.mask]).tobytes())
    known.update(np.ascontiguousarray(part.images[:, 0]).tobytes())
    return known.hexdigest()[:16]


def cached(
    part: Demonstrations,
    encoders: Mapping[str, tuple[VlaEncoder, str]],
    config: TrainConfig,
    folder: Path,
    *,
    variant: int,
) -> Cached:
    """Read a variant from disk, or compute it.

    Args:
        part: one round of demonstrations.
        encoders: by name of the backbone, each with what identifies it: what another one saw is computed again.
        config: how variants other than 0 are augmented; its seed decides them.
        folder: where this variant of this round is kept; what is missing is computed.
        variant: its number.
    """
    plain = {"mirror": 0.0, "jitter": 0.0, "shift_px": 0, "vary_words": 0.0} if variant == 0 else {}
    config = dataclasses.replace(config, max_steps=10**6, **plain)  # type: ignore[arg-type]
    folder.mkdir(parents=True, exist_ok=True)
    for name, (encoder, identity) in encoders.items():
        done = folder / f"{name}.done"
        if not done.exists() or done.read_text("utf-8") != identity:
            _compute(part, name, encoder, config, folder, variant)
            write_whole(done, identity.encode())
    features = {name: {key: np.load(folder / f"{name}.{key}.npy", mmap_mode="r") for key in PARTS} for name in encoders}
    actions, goals, starts = (np.load(folder / f"{key}.npy") for key in ("actions", "goals", "starts"))
    return Cached(features, actions, goals, starts, tuple(part.groups))


def _compute(
    part: Demonstrations, name: str, encoder: VlaEncoder, config: TrainConfig, folder: Path, variant: int
) -> None:
    import torch

    sampler = Sampler(config)
    sampler.add(part)
    found: dict[str, list[np.ndarray]] = {key: [] for key in (*PARTS, "actions", "goals", "lengths")}
    for first in range(0, len(part.mask), CHUNK_EPISODES):
        episodes = range(first, min(first + CHUNK_EPISODES, len(part.mask)))
        batch = sampler.of(episodes, np.random.default_rng([config.seed, variant, first]))
        with torch.inference_mode():
            seen = _seen(encoder, batch)
        for key in PARTS:
            found[key].append(getattr(seen, key).to(torch.float16).numpy())
        found["actions"].append(batch.actions)
        found["goals"].append(batch.goals)
        found["lengths"].append(batch.mask.sum(axis=1))
    for key in PARTS:
        np.save(folder / f"{name}.{key}.npy", np.concatenate(found[key]))
    np.save(folder / "actions.npy", np.concatenate(found["actions"]))
    np.save(folder / "goals.npy", np.concatenate(found["goals"]))
    np.save(folder / "starts.npy", np.concatenate([[0], np.concatenate(found["lengths"]).cumsum()]))


def _seen(encoder: VlaEncoder, batch: Batch) -> Any:
    import torch

    from vla_sim.policies.models.text_batch import picked

    language = encoder.backbone.encode_text(trimmed(encoder.reader.read(batch.texts)))
    return encoder.backbone(recoloured(batch), picked(language, torch.from_numpy(batch.said)))[0]


@dataclass(frozen=True)
class FeatureBatch:
    """What one step of a head learns from; F frames of E episodes, episode after episode.

    Attributes:
        features: by backbone and part, float16 (F, ...).
        actions: float32 (F, A), normalised.
        goals: float32 (F, 2).
        mask: bool (E, T).
        sensors: see `Batch`; none.
    """

    features: Mapping[str, Mapping[str, np.ndarray]]
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray
    sensors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """F."""
        return len(self.actions)

    def read(self, members: Members) -> list[Features]:
        """What the members' backbones have read. Tokens are left out: nothing behind a backbone asks for them."""
        import torch

        from vla_sim.policies.models.backbones import Features

        found = []
        for part in members.facts:
            kept = {key: torch.from_numpy(value).float() for key, value in self.features[part.name].items()}
            nothing = torch.zeros(self.frames, 0)
            found.append(Features(kept["patches"], kept["image"], nothing[..., None], nothing.bool(), kept["text"]))
        return found


class FeatureSampler:
    """Draws batches from cached variants; groups are drawn by their shares (`recorded.SHARES`).

    Args:
        variants: of the same rounds; each draw takes any of them.
        config: gives batch_episodes and max_steps.
    """

    def __init__(self, variants: Sequence[Cached], config: TrainConfig) -> None:
        self._variants, self._config = list(variants), config
        self._groups: dict[str, list[tuple[int, int]]] = {}
        for number, variant in enumerate(self._variants):
            for episode, group in enumerate(variant.groups):
                self._groups.setdefault(group, []).append((number, episode))
        weights = np.array([SHARES.get(group, 1.0) for group in self._groups])
        self._shares = weights / weights.sum()

    @property
    def episodes(self) -> int:
        """How many there are, each variant for itself."""
        return sum(len(variant.groups) for variant in self._variants)

    def draw(self, rng: np.random.Generator) -> FeatureBatch:
        """The next batch."""
        names = list(self._groups)
        chosen = []
        for _ in range(self._config.batch_episodes):
            members = self._groups[names[rng.choice(len(names), p=self._shares)]]
            chosen.append(members[rng.integers(len(members))])
        return self._batch(chosen)

    def _batch(self, chosen: Sequence[tuple[int, int]]) -> FeatureBatch:
        spans = []
        for number, episode in chosen:
            first, last = self._variants[number].starts[episode : episode + 2]
            spans.append((self._variants[number], slice(first, min(last, first + self._config.max_steps))))
        lengths = np.array([span.stop - span.start for _, span in spans])
        some = self._variants[0].features
        return FeatureBatch(
            features={
                name: {key: np.concatenate([v.features[name][key][span] for v, span in spans]) for key in PARTS}
                for name in some
            },
            actions=np.concatenate([v.actions[span] for v, span in spans]),
            goals=np.concatenate([v.goals[span] for v, span in spans]),
            mask=np.arange(lengths.max()) < lengths[:, None],
        )
