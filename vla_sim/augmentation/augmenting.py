"""Altered copies of recordings as a data set, from config to files. Used by `vla_sim.augment`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vla_sim.core.bounds import PositiveInt, Seed
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.options import OptionalFile, OptionalName, named
from vla_sim.datasets.base import Dataset
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.writing import (
    Contents,
    DatasetWriter,
    SourceOptions,
    is_complete,
    keep,
    manifest_facts,
    refuse_inside,
    source_hashes,
    write_dataset,
)
from vla_sim.rollout.driving import Progress

if TYPE_CHECKING:
    from vla_sim.augmentation.copies import Job, Refusal, Setup
    from vla_sim.augmentation.recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(SourceOptions):
    """What copies to make of what."""

    recipe: Annotated[tuple[str, ...], named("RECIPE ...")]
    """What is done, see below; several make copies each."""
    copies: PositiveInt = 1
    """Of each recording by each recipe."""
    seed: Seed = 0
    """Of random numbers: everything that is drawn."""
    with_originals: bool = False
    """Begin the new set with the recordings themselves."""
    skip_refused: bool = False
    """Leave copies out that a recipe cannot make."""
    embodiment: OptionalName = None
    """Robot: a name or TOML file; of recordings that do not say theirs."""
    sheet: OptionalFile = None
    """Image of the first recording and its copies."""


def augment(config: AugmentConfig, out: Path, *, workers: int = 2) -> None:
    """Fill a folder with copies; one that holds a part of them is completed.

    Args:
        config: what to make.
        out: the folder.
        workers: processes; files are the same for any number.

    Raises:
        UserError: a recipe that cannot be made, recordings that cannot be read, or a folder of another plan.
    """
    from vla_sim.augmentation.copies import Setup, first_name, jobs_of
    from vla_sim.augmentation.sheet import check_sheet

    if config.sheet:
        check_sheet(config.sheet)
    recipes = _recipes(config)
    dataset = open_dataset(config.data, config.reading).readable()
    refuse_inside(out, config.data)
    originals = len(dataset) if config.with_originals else 0
    jobs = jobs_of(dataset, len(recipes), config.copies, first=originals)
    setup = Setup(
        config.data,
        config.reading,
        config.writing,
        tuple(config.recipe),
        config.seed,
        config.embodiment,
        config.copies,
        first_name([episode.name for episode in dataset]) if originals else 0,
    )
    plan = _plan(config, dataset, jobs)
    if is_complete(out, plan, config.writing):
        log.info(f"{out}: its episodes were complete already")
        return
    with write_dataset(out, plan, config.writing, Contents.of(dataset)) as writer:
        progress = Progress(originals + len(jobs), writer)
        for index in range(originals):
            if index not in writer:
                facts = {**manifest_facts(dataset[index]), "source": dataset.place(index)}
                keep(writer, index, dataset, index, facts, copy=True, folders=False)
        refused = _fill(writer, jobs, setup, config, workers, progress)
        writer.finish()
        progress.end(out, f"{refused} left out")
        if config.sheet:
            _draw_sheet(config.sheet, config, dataset[0], [job for job in jobs if job.number == 0], writer)


def _recipes(config: AugmentConfig) -> list[Recipe]:
    from vla_sim.augmentation.recipe import read_recipe

    if len(set(config.recipe)) < len(config.recipe):
        raise UserError("two recipes are the same; say --copies for more of one")
    recipes = [read_recipe(text, config.embodiment) for text in config.recipe]
    for recipe in recipes:
        if config.copies > 1 and not recipe.drawn:
            raise UserError(f"recipe {recipe.text!r} draws nothing: its {config.copies} copies would be identical")
    return recipes


def _plan(config: AugmentConfig, dataset: Dataset, jobs: Sequence[Job]) -> dict[str, Any]:
    """Everything that decides the files, as plain values: the head of a manifest."""
    from vla_sim import __version__

    return {
        "kind": "augmentation",
        "vla_sim": __version__,
        "recordings": source_hashes(dataset),
        "reading": asdict(replace(config.reading, skip_bad=False)),
        "recipes": list(config.recipe),
        "copies": config.copies,
        "seed": config.seed,
        "embodiment": config.embodiment or "",
        "with_originals": config.with_originals,
        "jobs": len(jobs),
    }


def _fill(
    writer: DatasetWriter, jobs: Sequence[Job], setup: Setup, config: AugmentConfig, workers: int, progress: Progress
) -> int:
    """Make the copies that the set lacks; how many were refused."""
    from vla_sim.augmentation.copies import CopyMaker, Refusal
    from vla_sim.core.pool import run_units

    missing = [job for job in jobs if job.index not in writer]
    refused: list[Refusal] = []
    for result in run_units(missing, functools.partial(CopyMaker, writer.folder, setup), workers=workers):
        if isinstance(result, Refusal):
            if not config.skip_refused:
                raise UserError(f"{result.why}; --skip-refused leaves such copies out")
            log.warning(f"left out: {result.why}")
            refused.append(result)
        else:
            writer.add(result)
            progress(result)
    return len(refused)


def _draw_sheet(
    sheet: Path, config: AugmentConfig, original: Episode, jobs: Sequence[Job], writer: DatasetWriter
) -> None:
    """The first recording above its copies."""
    from vla_sim.augmentation.sheet import write_sheet
    from vla_sim.datasets.serbot.folder import SerbotRecording

    rows = [("recorded", original.loaded())]
    for job in jobs:
        if job.index in writer.entries:
            copy = SerbotRecording(writer.folder / writer.entries[job.index].file)
            rows.append((config.recipe[job.recipe], copy.load()))
    write_sheet(sheet, rows)
    log.info(f"image: {sheet}")
