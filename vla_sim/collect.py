"""`python -m vla_sim.collect`: drives of the expert (or of a policy that it labels) as a data set on disk."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.cli import run_command
from vla_sim.learning.driving import Progress, add_drive_options, check_counts, setup_of

if TYPE_CHECKING:
    from vla_sim.data.store import Entry
    from vla_sim.learning.filling import FileShape
    from vla_sim.learning.recording import RecordingJob, RecordingSetup

FORMATS = ("hdf5", "lerobot")
CHANNEL_ORDERS = ("rgb", "bgr")
LAYOUTS = ("main", "nested", "groups")

EPILOG = """Scenarios take turns; world, noise and habits follow from the seed, so the same command gives the same
files for any number of workers. Interrupted, it goes on when started again. Seeds lie below 100000: no world of an
evaluation is seen.

examples:
  python -m vla_sim.collect --policy expert --suite seed --episodes 200 --out data/expert --format hdf5
  python -m vla_sim.collect --scenario obstacle_left obstacle_right --episodes 100 --noise 0.5 --out data/noisy
  python -m vla_sim.collect --suite seed --episodes 200 --out data/lerobot --format lerobot"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.collect`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.collect",
        description="Record drives as a data set.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--policy", default="expert", help="who steers; the expert labels every state (default expert)")
    made.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites to drive")
    made.add_argument("--scenario", nargs="+", default=[], metavar="NAME", help="scenarios to drive, names or files")
    made.add_argument("--episodes", type=int, required=True, help="how many in all")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    made.add_argument("--format", choices=FORMATS, default="hdf5", help="of the files (default hdf5)")
    made.add_argument("--seed0", type=int, default=0, help="first seed (default 0)")
    add_drive_options(made)
    seed_style = made.add_argument_group("hdf5")
    seed_style.add_argument("--layout", choices=LAYOUTS, default="main", help="arrangement (default main)")
    seed_style.add_argument(
        "--channel-order", choices=CHANNEL_ORDERS, default="rgb", help="of stored pictures; the robot's are bgr"
    )
    seed_style.add_argument("--still-start", action="store_true", help="begin with a still frame, as recordings do")
    seed_style.add_argument("--frames", type=int, default=0, help="pad with stops to so many steps, e.g. 18")
    lerobot = made.add_argument_group("lerobot")
    lerobot.add_argument("--fps", type=int, help="frames a second (default: the lowest whole rate that fits)")
    lerobot.add_argument("--images", action="store_true", help="PNG pictures instead of H.264 films")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.data.store import EpisodeStore
    from vla_sim.learning.filling import fill, plan_of

    check_counts(options, "episodes")
    setup, shape, jobs = setup_of(options), _shape(options), _jobs(options)
    plan = {"kind": "collection", **plan_of(setup, shape, jobs)}
    if options.format == "lerobot":
        return _collect_lerobot(options, plan, setup, shape, jobs)
    with EpisodeStore(options.out, plan) as store:
        progress = Progress(jobs, store, setup)
        fill(store, jobs, setup, shape, workers=options.workers, on_entry=progress)
        store.finish()
        progress.end(options.out)
    return 0


def _shape(options: argparse.Namespace) -> FileShape:
    from vla_sim.data.seed_actions import UNSCALED
    from vla_sim.data.seed_hdf5 import SeedStyle
    from vla_sim.learning.filling import FileShape

    if options.format == "lerobot":
        # What is kept until the data set is complete: exact, and quickly written.
        return FileShape(SeedStyle(scale=UNSCALED, compression=0))
    style = SeedStyle(layout=options.layout, channel_order=options.channel_order)
    return FileShape(style, options.still_start, options.frames)


def _jobs(options: argparse.Namespace) -> list[RecordingJob]:
    from vla_sim.errors import UserError
    from vla_sim.learning.recording import RecordingJob
    from vla_sim.scenarios import load_scenario, load_suite

    names = [scenario.name for suite in options.suite for scenario in load_suite(suite)]
    for name in options.scenario:
        load_scenario(name)
        names.append(name)
    if not names:
        raise UserError("name what to drive with --suite or --scenario")
    return [RecordingJob(i, names[i % len(names)], options.seed0 + i) for i in range(options.episodes)]


def _collect_lerobot(
    options: argparse.Namespace,
    plan: dict[str, object],
    setup: RecordingSetup,
    shape: FileShape,
    jobs: Sequence[RecordingJob],
) -> int:
    """Episodes are kept aside as HDF5 until their turn comes: the data set has them in order."""
    from vla_sim.data.lerobot import LeRobotWriter, lowest_fps
    from vla_sim.data.seed_folder import SeedRecording
    from vla_sim.data.store import EpisodeStore
    from vla_sim.errors import UserError
    from vla_sim.learning.filling import fill

    if options.out.exists() and any(options.out.iterdir()):
        raise UserError(f"{options.out} is complete already, or holds other files; choose a new folder")
    fps = options.fps or lowest_fps(setup.robot().control_s)
    aside = options.out.with_name(f".{options.out.name}.episodes")
    aside.parent.mkdir(parents=True, exist_ok=True)
    plan = {**plan, "fps": fps, "video": not options.images}
    with (
        EpisodeStore(aside, plan) as store,
        LeRobotWriter(options.out, fps, setup.robot().name, not options.images, resume=True) as writer,
    ):
        progress = Progress(jobs, store, setup)
        written = len(writer)

        def add_in_turn() -> None:
            nonlocal written
            while written in store.entries:
                writer.add(SeedRecording(aside / store.entries[written].file).load())
                written += 1

        def on_entry(entry: Entry) -> None:
            progress(entry)
            add_in_turn()

        add_in_turn()
        fill(store, jobs, setup, shape, workers=options.workers, on_entry=on_entry)
    progress.end(options.out)
    shutil.rmtree(aside)
    return 0


if __name__ == "__main__":
    sys.exit(main())
