"""`python -m vla_sim.augment`: altered copies of recordings as a data set: mirrored, in another light, redrawn."""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.augmentation.copies import Job, Refusal, Setup
    from vla_sim.augmentation.recipe import Recipe
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotRecording
    from vla_sim.datasets.store import Entry, EpisodeStore

CHANNEL_ORDERS = ("auto", "rgb", "bgr")

EPILOG = """A recipe names augmentations between commas; each copy goes through all of them in this order. Some take a
value, as in light=0.5. Several --recipe make copies each. What drives or draws a world again (perturb, then rerender)
comes first.

{kinds}

What is drawn follows from the seed, the recording's place and the copy: the same command gives the same files for any
number of workers. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.augment --from data/expert --out data/more --recipe mirror,light,colour --copies 1
  python -m vla_sim.augment --from data/expert --out data/more --recipe rerender,noise=0.5 --recipe perturb --copies 3
  python -m vla_sim.augment --from recordings --out data/all --recipe mirror --with-originals"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.augment`."""
    from vla_sim.augmentation.recipe import KINDS

    listed = "\n".join(
        f"  {name:10} {kind.help}" + (f" (value: {kind.value})" if kind.value else "") for name, kind in KINDS.items()
    )
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.augment",
        description="Make altered copies of recordings.",
        epilog=EPILOG.format(kinds=listed),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--from", type=Path, required=True, dest="source", metavar="DIR", help="folder of recordings")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new set")
    made.add_argument("--recipe", action="append", required=True, help="what is done, see below")
    made.add_argument("--copies", type=int, default=1, metavar="N", help="of each recording by each recipe (default 1)")
    made.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default 0)")
    made.add_argument("--with-originals", action="store_true", help="begin the new set with the recordings themselves")
    made.add_argument("--skip-bad", action="store_true", help="leave recordings out that cannot be read")
    made.add_argument("--skip-refused", action="store_true", help="leave copies out that a recipe cannot make")
    made.add_argument("--embodiment", metavar="NAME", help="robot of recordings that do not say theirs, name or file")
    made.add_argument("--channel-order", choices=CHANNEL_ORDERS, default="auto", help="of the recordings")
    made.add_argument("--sheet", type=Path, metavar="FILE", help="picture of the first recording and its copies")
    made.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.augmentation.copies import Setup, first_name, jobs_of
    from vla_sim.augmentation.sheet import check_sheet
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.driving import check_counts, readable

    check_counts(options, "copies")
    if options.seed < 0:
        raise UserError(f"--seed must not be negative, got {options.seed}")
    if options.sheet:
        check_sheet(options.sheet)
    recipes = _recipes(options)
    folder = SerbotFolder(options.source, SerbotReading(channel_order=options.channel_order))
    recordings = _named_once(folder, readable(folder, skip=options.skip_bad))
    if options.out.resolve() == options.source.resolve() or options.source.resolve() in options.out.resolve().parents:
        raise UserError(f"--out {options.out} must not lie in the folder of the recordings")
    originals = len(recordings) if options.with_originals else 0
    jobs = jobs_of(recordings, len(recipes), options.copies, first=originals)
    setup = Setup(
        options.source,
        tuple(options.recipe),
        options.seed,
        options.embodiment,
        options.copies,
        first_name([recording.name for recording in recordings[:originals]]),
    )
    with EpisodeStore(options.out, _plan(options, recordings, jobs)) as store:
        progress = _Progress(originals + len(jobs), store)
        for index, recording in enumerate(recordings[:originals]):
            if index not in store.entries:
                store.add(_original(recording, index, options))
        refused = _fill(store, jobs, setup, options, progress)
        store.finish()
        progress.end(options.out, refused)
        if options.sheet:
            _draw_sheet(options, recordings[0], [job for job in jobs if job.number == 0], store)
    return 0


def _recipes(options: argparse.Namespace) -> list[Recipe]:
    from vla_sim.augmentation.recipe import read_recipe
    from vla_sim.core.errors import UserError

    if len(set(options.recipe)) < len(options.recipe):
        raise UserError("two recipes are the same; say --copies for more of one")
    recipes = [read_recipe(text, options.embodiment) for text in options.recipe]
    for recipe in recipes:
        if options.copies > 1 and not recipe.drawn:
            raise UserError(f"recipe {recipe.text!r} draws nothing: its {options.copies} copies would be identical")
    return recipes


def _named_once(folder: SerbotFolder, recordings: list[SerbotRecording]) -> list[SerbotRecording]:
    from vla_sim.core.errors import UserError

    twice = [name for name, count in Counter(recording.name for recording in recordings).items() if count > 1]
    if twice:
        raise UserError(f"{folder.path}: two recordings are named {twice[0]}; their copies would have one name")
    return recordings


def _plan(options: argparse.Namespace, recordings: Sequence[SerbotRecording], jobs: Sequence[Job]) -> dict[str, Any]:
    """Everything that decides the files, as plain values: the head of a manifest."""
    from vla_sim import __version__
    from vla_sim.datasets.store import content_hash

    return {
        "kind": "augmentation",
        "vla_sim": __version__,
        "recordings": {str(r.path.relative_to(options.source)): content_hash(r.path) for r in recordings},
        "recipes": options.recipe,
        "copies": options.copies,
        "seed": options.seed,
        "embodiment": options.embodiment or "",
        "channel_orders": sorted({job.channel_order for job in jobs}),
        "with_originals": options.with_originals,
        "jobs": len(jobs),
    }


def _original(recording: SerbotRecording, index: int, options: argparse.Namespace) -> Entry:
    """A recording in its new place: an HDF5 file as it is, a folder of pictures as a file."""
    import hashlib
    from dataclasses import replace

    from vla_sim.core.files import write_whole
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.filling import FACTS, write_entry

    source = str(recording.path.relative_to(options.source))
    if not recording.is_hdf5:
        style = SerbotStyle(channel_order=recording.channel_order.order, scale=recording.scale)
        entry = write_entry(options.out, index, recording.load(), style)
        return replace(entry, facts={**entry.facts, "source": source})
    content = recording.path.read_bytes()
    write_whole(options.out / source, content)
    known = recording.provenance()
    facts = {key: known[key] for key in FACTS if key in known}
    facts |= {"instruction": recording.instruction, "outcome": str(recording.facts.ours.get("outcome", ""))}
    sha256 = hashlib.sha256(content).hexdigest()
    return Entry(index, recording.name, source, sha256, len(recording.steps.actions), {**facts, "source": source})


def _fill(
    store: EpisodeStore, jobs: Sequence[Job], setup: Setup, options: argparse.Namespace, progress: _Progress
) -> int:
    """Make the copies that the store lacks; how many were refused."""
    from vla_sim.augmentation.copies import CopyMaker, Refusal
    from vla_sim.core.errors import UserError
    from vla_sim.core.pool import run_units

    missing = [job for job in jobs if job.index not in store.entries]
    refused: list[Refusal] = []
    for result in run_units(missing, functools.partial(CopyMaker, store.folder, setup), workers=options.workers):
        if isinstance(result, Refusal):
            if not options.skip_refused:
                raise UserError(f"{result.why}; --skip-refused leaves such copies out")
            print(f"left out: {result.why}", file=sys.stderr)
            refused.append(result)
        else:
            store.add(result)
            progress()
    return len(refused)


def _draw_sheet(
    options: argparse.Namespace, recording: SerbotRecording, jobs: Sequence[Job], store: EpisodeStore
) -> None:
    """The first recording above its copies."""
    from vla_sim.augmentation.sheet import write_sheet
    from vla_sim.datasets.serbot.folder import SerbotRecording

    rows = [("recorded", recording.load())]
    for job in jobs:
        if job.index in store.entries:
            copy = SerbotRecording(store.folder / store.entries[job.index].file)
            rows.append((options.recipe[job.recipe], copy.load()))
    write_sheet(options.sheet, rows)
    print(f"picture: {options.sheet}")


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


if __name__ == "__main__":
    sys.exit(main())
