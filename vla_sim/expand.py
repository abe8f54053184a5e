"""`python -m vla_sim.expand`: real recordings kept, simulated drives added until the set is large and balanced."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.cli import run_command
from vla_sim.rollout.driving import Progress, add_choice, add_drive_options, check_counts, readable, setup_of

if TYPE_CHECKING:
    from vla_sim.core.episode import Plain
    from vla_sim.datasets.serbot.folder import SerbotRecording
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.expansion import ExpansionPlan
    from vla_sim.rollout.filling import FileShape

CHANNEL_ORDERS = ("auto", "rgb", "bgr")

EPILOG = """Recordings are HDF5 files or folders of pictures as serbot has them. They are kept as they are (hard
links where the disk allows, else copies). The simulated ones have their picture size, channel order and still first
frame. A cell is a scenario, its side and a distance; drives are added to the emptiest cells, mirrored scenarios
included. The same command gives the same files for any number of workers; interrupted, it goes on when started again.

examples:
  python -m vla_sim.expand --from recordings --target-episodes 200 --plan
  python -m vla_sim.expand --from recordings --target-episodes 200 --out data/expanded

results: OUT with all episodes and manifest.jsonl, which says what was recorded and what simulated; see docs/data.md"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.expand`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.expand",
        description="Fill a set of recordings up with simulated drives, balanced over side, distance and scenario.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--from", type=Path, required=True, dest="source", metavar="DIR", help="folder of recordings")
    made.add_argument(
        "--target-episodes", type=int, required=True, metavar="N", help="how many in the end, recordings included"
    )
    made.add_argument("--out", type=Path, metavar="DIR", help="folder of the new set, outside the recordings'")
    made.add_argument("--plan", action="store_true", help="show what would be added to which cell, and end")
    made.add_argument("--copy", action="store_true", help="copy the recordings instead of linking them")
    made.add_argument("--skip-bad", action="store_true", help="leave recordings out that cannot be read")
    add_choice(
        made,
        "--channel-order",
        CHANNEL_ORDERS,
        default="auto",
        text="of the recordings' pictures; auto: what files say, else by their colours (default auto)",
    )
    made.add_argument(
        "--frames", type=int, default=0, metavar="N", help="pad simulated drives with stops to so many steps, e.g. 18"
    )
    made.add_argument(
        "--seed0", type=int, default=0, metavar="SEED", help="first seed of the simulated worlds (default 0)"
    )
    add_drive_options(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from vla_sim.core.errors import UserError
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
    from vla_sim.rollout.expansion import make_plan
    from vla_sim.rollout.recording import free_clock

    check_counts(options, "target_episodes")
    if options.out is None and not options.plan:
        raise UserError("name a folder for the new set with --out, or look at the plan only with --plan")
    folder = SerbotFolder(options.source, SerbotReading(channel_order=options.channel_order))
    recordings = readable(folder, skip=options.skip_bad)
    setup = setup_of(options)
    plan = make_plan(
        recordings,
        target=options.target_episodes,
        seed0=options.seed0,
        robot_radius_m=setup.robot().body.radius_m,
    )
    print(plan.table())
    if not plan.jobs:
        print(f"{plan.before.total()} recordings are {options.target_episodes} or more: nothing to add")
    if options.plan:
        return 0
    if setup.image_px is None:
        setup = replace(setup, image_px=_usual_size(recordings))
    setup = replace(setup, clock_s=free_clock(recording.path.stem for recording in recordings))
    shape = _shape_like(recordings, options.frames)
    _fill(options, recordings, plan, setup, shape)
    return 0


def _usual_size(recordings: Sequence[SerbotRecording]) -> tuple[int, int]:
    return Counter(recording.facts.image_px for recording in recordings).most_common(1)[0][0]


def _shape_like(recordings: Sequence[SerbotRecording], frames: int) -> FileShape:
    """Files like those of the recordings: channel order, and a still first frame where most have one."""
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.rollout.filling import FileShape

    order = recordings[0].channel_order
    still = sum(not recording.steps.actions[0].any() for recording in recordings)
    print(
        f"simulated files: channel order {order}, still first frame: {'yes' if 2 * still > len(recordings) else 'no'}"
    )
    return FileShape(SerbotStyle(channel_order=order.order), 2 * still > len(recordings), frames)


def _fill(
    options: argparse.Namespace,
    recordings: Sequence[SerbotRecording],
    plan: ExpansionPlan,
    setup: Any,
    shape: FileShape,
) -> None:
    from vla_sim.core.errors import UserError
    from vla_sim.datasets.store import EpisodeStore, content_hash
    from vla_sim.rollout.filling import fill, plan_of

    if options.out.resolve() == options.source.resolve() or options.source.resolve() in options.out.resolve().parents:
        raise UserError(f"--out {options.out} must not lie in the folder of the recordings")
    hashes = {recording.path: content_hash(recording.path) for recording in recordings}
    head = {
        "kind": "expansion",
        "recordings": {str(path.relative_to(options.source)): found for path, found in hashes.items()},
        **plan_of(setup, shape, plan.jobs),
    }
    with EpisodeStore(options.out, head) as store:
        progress = Progress(range(len(recordings) + len(plan.jobs)), store, setup)
        for index, recording in enumerate(recordings):
            if index not in store.entries:
                store.add(_keep(recording, index, options, hashes[recording.path]))
        fill(store, plan.jobs, setup, shape, workers=options.workers, on_entry=progress)
        store.finish()
        progress.end(options.out)


def _keep(recording: SerbotRecording, index: int, options: argparse.Namespace, sha256: str) -> Entry:
    """A recording in its new place."""
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.expansion import cell_of

    relative = recording.path.relative_to(options.source)
    place(recording.path, options.out / relative, copy=options.copy)
    cell = cell_of(recording)
    facts: dict[str, Plain] = {
        "simulated": bool(recording.facts.ours),
        "source": str(relative),
        "scenario": cell.scenario,
        "side": cell.side,
        "distance": cell.distance,
        "instruction": recording.instruction,
    }
    return Entry(index, recording.name, str(relative), sha256, len(recording.steps.actions), facts)


def place(source: Path, target: Path, *, copy: bool) -> None:
    """Link or copy a file or folder to a place where it appears whole.

    Raises:
        UserError: the disk is full.
    """
    from vla_sim.core.files import clear_errors

    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    with clear_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, aside, copy_function=shutil.copy2 if copy else _link_or_copy)
            elif copy:
                shutil.copy2(source, aside)
            else:
                _link_or_copy(source, aside)
            aside.replace(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            if aside.is_file():
                aside.unlink()


def _link_or_copy(source: str | Path, target: str | Path) -> str | Path:
    """A hard link; across disks a copy."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


if __name__ == "__main__":
    sys.exit(main())
