"""Writes augmented copies of recordings into a folder, on several processes. Used by the command `augment`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_sim.augmentation.base import TRACE
from vla_sim.augmentation.recipe import read_recipe
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.folder import SerbotReading, SerbotRecording
from vla_sim.datasets.serbot.hdf5 import MAIN, SerbotStyle
from vla_sim.datasets.store import Entry
from vla_sim.rollout.filling import write_entry


@dataclass(frozen=True)
class Job:
    """One copy to be made.

    Attributes:
        index: its place in the plan.
        recording: the path of the recording.
        number: of the recording, part of the seed.
        recipe: number of the recipe.
        copy: of this recording by this recipe.
        channel_order: of the recording, and so of the copy.
    """

    index: int
    recording: Path
    number: int
    recipe: int
    copy: int
    channel_order: str


@dataclass(frozen=True)
class Setup:
    """Everything else that decides what the copies contain; it travels to the workers.

    Attributes:
        root: folder of the recordings.
        recipes: as written.
        seed: of all that is drawn.
        embodiment: robot of recordings that do not say theirs.
        copies: by recipe, for the names.
        first_name: number of the first copy in its name; more than 0 where copies are copied beside their originals.
    """

    root: Path
    recipes: tuple[str, ...]
    seed: int
    embodiment: str | None
    copies: int
    first_name: int = 0


@dataclass(frozen=True)
class Refusal:
    """A copy that cannot be made, and why."""

    job: Job
    why: str


class CopyMaker:
    """What a worker does with a job."""

    def __init__(self, folder: Path, setup: Setup) -> None:
        self._folder, self._setup = folder, setup
        self._recipes = [read_recipe(text, setup.embodiment) for text in setup.recipes]

    def __call__(self, job: Job) -> Iterator[Entry | Refusal]:
        """The new entry once its file is in its place, or why there is none.

        Raises:
            UserError: the recording cannot be read, or the disk is full.
        """
        recording = SerbotRecording(job.recording, SerbotReading(job.channel_order), root=self._setup.root)
        episode = recording.load()
        rng = np.random.default_rng([self._setup.seed, job.number, job.recipe, job.copy])
        try:
            made = self._recipes[job.recipe](episode, rng)
        except UserError as error:
            yield Refusal(job, str(error))
            return
        style = SerbotStyle(
            layout=recording.facts.layout if recording.is_hdf5 else MAIN,
            channel_order=job.channel_order,
            scale=recording.scale,
        )
        yield self._written(made, job, style)

    def _written(self, episode: Episode, job: Job, style: SerbotStyle) -> Entry:
        number = self._setup.first_name + job.recipe * self._setup.copies + job.copy
        source = str(job.recording.relative_to(self._setup.root))
        facts: dict[str, Plain] = {**episode.provenance, "index": job.index, "augmented_from": source}
        named = replace(episode, name=f"{episode.name}_aug{number:02d}", provenance=facts)
        entry = write_entry(self._folder, job.index, named, style)
        return replace(
            entry,
            facts={**entry.facts, "augmented_from": source, TRACE: facts.get(TRACE, "")},
        )


def first_name(names: Iterable[str]) -> int:
    """The first number that no copy among these names has."""
    numbers = [match.group(1) for name in names if (match := re.search(r"_aug(\d+)$", name))]
    return max(map(int, numbers), default=-1) + 1


def jobs_of(recordings: Sequence[SerbotRecording], recipes: int, copies: int, *, first: int) -> list[Job]:
    """All copies in order: by recording, then recipe, then copy.

    Args:
        recordings: of which copies are made.
        recipes: number of recipes.
        copies: of each recording by each recipe.
        first: index of the first copy.
    """
    jobs: list[Job] = []
    for number, recording in enumerate(recordings):
        order = recording.channel_order.order
        for recipe in range(recipes):
            for copy in range(copies):
                jobs.append(Job(first + len(jobs), recording.path, number, recipe, copy, order))
    return jobs
