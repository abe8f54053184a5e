"""Altered copies of recordings as a data set, from config to files. Used by `vla_sim.augment`."""

from __future__ import annotations

import functools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vla_sim.core.bounds import PositiveInt, Seed
from vla_sim.core.errors import UserError
from vla_sim.core.options import OptionalFile, OptionalName, named

if TYPE_CHECKING:
    from vla_sim.augmentation.copies import Job, Refusal, Setup
    from vla_sim.augmentation.recipe import Recipe
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotRecording
    from vla_sim.datasets.store import Entry, EpisodeStore


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What copies to make of what."""

    data: Annotated[Path, named("DIR")]
    """Folder of recordings."""
    recipe: Annotated[tuple[str, ...], named("RECIPE ...")]
    """What is done, see below; several make copies each."""
    copies: PositiveInt = 1
    """Of each recording by each recipe."""
    seed: Seed = 0
    """Of everything that is drawn."""
    with_originals: bool = False
    """Begin the new set with the recordings themselves."""
    skip_bad: bool = False
    """Leave recordings out that cannot be read."""
    skip_refused: bool = False
    """Leave copies out that a recipe cannot make."""
    embodiment: OptionalName = None
    """Robot of recordings that do not say theirs, name or file."""
    channel_order: Literal["auto", "rgb", "bgr"] = "auto"
    """Of the recordings."""
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
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.driving import readable

    if config.sheet:
        check_sheet(config.sheet)
    recipes = _recipes(config)
    folder = SerbotFolder(config.data, SerbotReading(channel_order=config.channel_order))
    recordings = _named_once(folder, readable(folder, skip=config.skip_bad))
    if out.resolve() == config.data.resolve() or config.data.resolve() in out.resolve().parents:
        raise UserError(f"--out {out} must not lie in the folder of the recordings")
    originals = len(recordings) if config.with_originals else 0
    jobs = jobs_of(recordings, len(recipes), config.copies, first=originals)
    setup = Setup(
        config.data,
        tuple(config.recipe),
        config.seed,
        config.embodiment,
        config.copies,
        first_name([recording.name for recording in recordings[:originals]]),
    )
    with EpisodeStore(out, _plan(config, recordings, jobs)) as store:
        progress = _Progress(originals + len(jobs), store)
        for index, recording in enumerate(recordings[:originals]):
            if index not in store.entries:
                store.add(_original(recording, index, config, out))
        refused = _fill(store, jobs, setup, config, workers, progress)
        store.finish()
        progress.end(out, refused)
        if config.sheet:
            _draw_sheet(config.sheet, config, recordings[0], [job for job in jobs if job.number == 0], store)


def _recipes(config: AugmentConfig) -> list[Recipe]:
    from vla_sim.augmentation.recipe import read_recipe

    if len(set(config.recipe)) < len(config.recipe):
        raise UserError("two recipes are the same; say --copies for more of one")
    recipes = [read_recipe(text, config.embodiment) for text in config.recipe]
    for recipe in recipes:
        if config.copies > 1 and not recipe.drawn:
            raise UserError(f"recipe {recipe.text!r} draws nothing: its {config.copies} copies would be identical")
    return recipes


def _named_once(folder: SerbotFolder, recordings: list[SerbotRecording]) -> list[SerbotRecording]:
    twice = [name for name, count in Counter(recording.name for recording in recordings).items() if count > 1]
    if twice:
        raise UserError(f"{folder.path}: two recordings are named {twice[0]}; their copies would have one name")
    return recordings


def _plan(config: AugmentConfig, recordings: Sequence[SerbotRecording], jobs: Sequence[Job]) -> dict[str, Any]:
    """Everything that decides the files, as plain values: the head of a manifest."""
    from vla_sim import __version__
    from vla_sim.datasets.store import content_hash

    return {
        "kind": "augmentation",
        "vla_sim": __version__,
        "recordings": {str(r.path.relative_to(config.data)): content_hash(r.path) for r in recordings},
        "recipes": list(config.recipe),
        "copies": config.copies,
        "seed": config.seed,
        "embodiment": config.embodiment or "",
        "channel_orders": sorted({job.channel_order for job in jobs}),
        "with_originals": config.with_originals,
        "jobs": len(jobs),
    }


def _original(recording: SerbotRecording, index: int, config: AugmentConfig, out: Path) -> Entry:
    """A recording in its new place: an HDF5 file as it is, a folder of pictures as a file."""
    import hashlib
    from dataclasses import replace

    from vla_sim.core.files import write_whole
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.filling import FACTS, write_entry

    source = str(recording.path.relative_to(config.data))
    if not recording.is_hdf5:
        style = SerbotStyle(channel_order=recording.channel_order.order, scale=recording.scale)
        entry = write_entry(out, index, recording.load(), style)
        return replace(entry, facts={**entry.facts, "source": source})
    content = recording.path.read_bytes()
    write_whole(out / source, content)
    known = recording.provenance()
    facts = {key: known[key] for key in FACTS if key in known}
    facts |= {"instruction": recording.instruction, "outcome": str(recording.facts.ours.get("outcome", ""))}
    sha256 = hashlib.sha256(content).hexdigest()
    return Entry(index, recording.name, source, sha256, len(recording.steps.actions), {**facts, "source": source})


def _fill(
    store: EpisodeStore, jobs: Sequence[Job], setup: Setup, config: AugmentConfig, workers: int, progress: _Progress
) -> int:
    """Make the copies that the store lacks; how many were refused."""
    from vla_sim.augmentation.copies import CopyMaker, Refusal
    from vla_sim.core.pool import run_units

    missing = [job for job in jobs if job.index not in store.entries]
    refused: list[Refusal] = []
    for result in run_units(missing, functools.partial(CopyMaker, store.folder, setup), workers=workers):
        if isinstance(result, Refusal):
            if not config.skip_refused:
                raise UserError(f"{result.why}; --skip-refused leaves such copies out")
            print(f"left out: {result.why}", file=sys.stderr)
            refused.append(result)
        else:
            store.add(result)
            progress()
    return len(refused)


def _draw_sheet(
    sheet: Path, config: AugmentConfig, recording: SerbotRecording, jobs: Sequence[Job], store: EpisodeStore
) -> None:
    """The first recording above its copies."""
    from vla_sim.augmentation.sheet import write_sheet
    from vla_sim.datasets.serbot.folder import SerbotRecording

    rows = [("recorded", recording.load())]
    for job in jobs:
        if job.index in store.entries:
            copy = SerbotRecording(store.folder / store.entries[job.index].file)
            rows.append((config.recipe[job.recipe], copy.load()))
    write_sheet(sheet, rows)
    print(f"picture: {sheet}")


class _Progress:
    """One line that says how far it is."""

    def __init__(self, total: int, store: EpisodeStore) -> None:
        self._store, self._total = store, total
        self._begin = self._shown = time.perf_counter()
        if store.entries:
            print(f"{len(store.entries)} of {total} episodes are complete already", flush=True)

    def __call__(self) -> None:
        """Say it now and then."""
        now = time.perf_counter()
        terminal = sys.stdout.isatty()
        if now - self._shown > (0.2 if terminal else 5.0):
            self._shown = now
            print(self._line(), end="\r" if terminal else "\n", flush=True)

    def end(self, out: Path, refused: int) -> None:
        """Say what there is now."""
        left_out = f", {refused} left out" if refused else ""
        print(f"{self._line()}\n{out}: {len(self._store.entries)} episodes{left_out}")

    def _line(self) -> str:
        return f"{len(self._store.entries)}/{self._total} episodes, {time.perf_counter() - self._begin:.1f} s"
