"""Writes augmented copies of recordings into a folder, on several processes. Used by the command `augment`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vla_sim.augmentation.base import TRACE
from vla_sim.augmentation.recipe import read_recipe
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.datasets.base import Dataset, ReadOptions, Selection
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.serbot.hdf5 import SerbotStyle
from vla_sim.datasets.store import Entry
from vla_sim.datasets.writing import WriteOptions, write_entry


@dataclass(frozen=True)
class Job:
    """One copy to be made.

    Attributes:
        index: its place in the plan.
        source: where the recording lies in its set.
        name: of the recording.
        place: its number in the whole set.
        number: its number among those that can be read, part of the seed.
        recipe: number of the recipe.
        copy: of this recording by this recipe.
    """

    index: int
    source: str
    name: str
    place: int
    number: int
    recipe: int
    copy: int


@dataclass(frozen=True)
class Setup:
    """Everything else that decides what the copies contain; it travels to the workers.

    Attributes:
        data: folder of the data set.
        reading: how it is read.
        writing: how the copies are written.
        recipes: as written.
        seed: of all that is drawn.
        embodiment: robot of recordings that do not say theirs.
        copies: by recipe, for the names.
        first_name: number of the first copy in its name; more than 0 where copies are copied beside their originals.
    """

    data: Path
    reading: ReadOptions
    writing: WriteOptions
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
        self._dataset = open_dataset(setup.data, setup.reading)
        self._recipes = [read_recipe(text, setup.embodiment) for text in setup.recipes]

    def __call__(self, job: Job) -> Iterator[Entry | Refusal]:
        """The new entry once its file is in its place, or why there is none.

        Raises:
            UserError: the recording cannot be read, or the disk is full.
        """
        episode = replace(self._dataset[job.place].loaded(), name=job.name)
        rng = np.random.default_rng([self._setup.seed, job.number, job.recipe, job.copy])
        try:
            made = self._recipes[job.recipe](episode, rng)
        except UserError as error:
            yield Refusal(job, str(error))
            return
        style = self._setup.writing.style(self._dataset.stored_as(job.place))
        yield self._written(made, job, style)

    def _written(self, episode: Episode, job: Job, style: SerbotStyle) -> Entry:
        number = self._setup.first_name + job.recipe * self._setup.copies + job.copy
        facts: dict[str, Plain] = {**episode.provenance, "index": job.index, "augmented_from": job.source}
        named = replace(episode, name=f"{episode.name}_aug{number:02d}", provenance=facts)
        more = {"augmented_from": job.source, TRACE: facts.get(TRACE, "")}
        return write_entry(self._folder, job.index, named, style, more)


def first_name(names: Iterable[str]) -> int:
    """The first number that no copy among these names has."""
    numbers = [match.group(1) for name in names if (match := re.search(r"_aug(\d+)$", name))]
    return max(map(int, numbers), default=-1) + 1


def jobs_of(dataset: Dataset, recipes: int, copies: int, *, first: int) -> list[Job]:
    """All copies in order: by recording, then recipe, then copy.

    Args:
        dataset: of whose episodes copies are made; all can be read.
        recipes: number of recipes.
        copies: of each recording by each recipe.
        first: index of the first copy.
    """
    jobs: list[Job] = []
    for number, episode in enumerate(dataset):
        place = dataset.indices[number] if isinstance(dataset, Selection) else number
        for recipe in range(recipes):
            for copy in range(copies):
                jobs.append(Job(first + len(jobs), dataset.place(number), episode.name, place, number, recipe, copy))
    return jobs
