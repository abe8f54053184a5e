"""Where an episode comes from, so that copies of it are known: augmented, converted, linked, driven again."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath

import numpy as np

from vla_sim.core.episode import Episode, Plain
from vla_sim.scenarios.library import family_of

# What `vla_sim.augment` appends to the name of a copy.
_COPY_ENDING = re.compile(r"(_aug\d+)+$")
_FILE_ENDING = re.compile(r"\.(h5|hdf5|json)$")


def origins_of(episode: Episode) -> tuple[str, ...]:
    """Where an episode comes from, in every way that it tells; two that share one of these are copies.

    Simulated ones by their scene (the seed, and the family of scenarios that have one scene for each seed), others by
    their name and the recording that they were made of, without what copies append.
    """
    known = episode.provenance
    if "seed" in known and known.get("scenario"):
        family = str(known.get("family") or family_of(str(known["scenario"])))
        return (scene_origin(family, known["seed"]),)
    made_of = [episode.name, str(known.get("augmented_from") or ""), str(known.get("source") or "")]
    return tuple(sorted({f"name {name}" for text in made_of if (name := _without_endings(text))}))


def scene_origin(family: str, seed: Plain) -> str:
    """The origin of all episodes in one simulated scene."""
    return f"scene {family} {seed}"


def content_origin(image: np.ndarray, actions: np.ndarray) -> str:
    """The origin of equal episodes, from the first image, uint8 (h, w, 3), and all actions, float32 (T, A)."""
    return f"content {hashlib.sha256(image.tobytes() + actions.astype(np.float32).tobytes()).hexdigest()}"


def _without_endings(text: str) -> str:
    return _COPY_ENDING.sub("", _FILE_ENDING.sub("", PurePosixPath(text).name))
