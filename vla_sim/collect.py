"""`python -m vla_sim.collect`: drives of the expert (or of a policy that it labels) as a data set on disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.cli import run_command
from vla_sim.rollout.driving import Progress, add_choice, add_drive_options, check_counts, setup_of

if TYPE_CHECKING:
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.filling import FileShape
    from vla_sim.rollout.recording import RecordingJob, RecordingSetup

FORMATS = ("hdf5", "lerobot")
CHANNEL_ORDERS = ("rgb", "bgr")
LAYOUTS = ("main", "nested", "groups")
# Options that mean nothing for the other format.
ONLY_FOR = {"hdf5": ("layout", "channel_order", "still_start", "frames"), "lerobot": ("fps", "images")}

EPILOG = """Scenarios take turns; world, noise and habits follow from the seed, so the same command gives the same
files for any number of workers. Interrupted, it goes on when started again. Seeds lie below 100000: no world of an
evaluation is seen.

examples:
  python -m vla_sim.collect --policy expert --suite seed --episodes 200 --out data/expert --format hdf5
  python -m vla_sim.collect --scenario obstacle_left obstacle_right --episodes 100 --noise 0.5 --out data/noisy
  python -m vla_sim.collect --suite seed --episodes 200 --out data/lerobot --format lerobot

results: DIR with one HDF5 file an episode and manifest.jsonl (scenario, seed, outcome, sha256 of each), or with a
LeRobotDataset v3.0. Formats, columns and channel order: docs/data.md"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.collect`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.collect",
        description="Drive in the simulator and keep the drives as a data set: pictures, actions, sentences, outcomes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites of scenarios to drive")
    made.add_argument("--scenario", nargs="+", default=[], metavar="NAME", help="scenarios to drive, names or files")
    made.add_argument("--episodes", type=int, required=True, metavar="N", help="how many in all")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the data set")
    add_choice(made, "--format", FORMATS, default="hdf5", text="of the files (default hdf5)")
    made.add_argument(
        "--policy",
        default="expert",
        metavar="NAME",
        help="who steers, a name or a folder; the expert labels every state whoever does (default expert)",
    )
    made.add_argument("--seed0", type=int, default=0, metavar="SEED", help="seed of the first episode (default 0)")
    add_drive_options(made)
    serbot_style = made.add_argument_group("only with --format hdf5")
    add_choice(serbot_style, "--layout", LAYOUTS, default="main", text="where things stand in a file (default main)")
    add_choice(
        serbot_style,
        "--channel-order",
        CHANNEL_ORDERS,
        default="rgb",
        text="of stored pictures; serbot's own are bgr (default rgb)",
    )
    serbot_style.add_argument(
        "--still-start", action="store_true", help="begin with a still frame and a zero action, as recordings do"
    )
    serbot_style.add_argument(
        "--frames", type=int, default=0, metavar="N", help="pad shorter drives with stops to so many steps, e.g. 18"
    )
    lerobot = made.add_argument_group("only with --format lerobot")
    lerobot.add_argument(
        "--fps", type=int, metavar="N", help="frames a second (default: the lowest whole rate that fits: 5 for 0.4 s)"
    )
    lerobot.add_argument("--images", action="store_true", help="PNG pictures instead of H.264 films")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.filling import fill, plan_of

    check_counts(options, "episodes")
    _check_format(options)
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


def _check_format(options: argparse.Namespace) -> None:
    from vla_sim.core.errors import UserError

    for kind, names in ONLY_FOR.items():
        for name in names:
            if kind != options.format and getattr(options, name) != parser().get_default(name):
                raise UserError(f"--{name.replace('_', '-')} is for --format {kind} only")


def _shape(options: argparse.Namespace) -> FileShape:
    from vla_sim.datasets.serbot.actions import UNSCALED
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.rollout.filling import FileShape

    if options.format == "lerobot":
        # What is kept until the data set is complete: exact, and quickly written.
        return FileShape(SerbotStyle(scale=UNSCALED, compression=0))
    style = SerbotStyle(layout=options.layout, channel_order=options.channel_order)
    return FileShape(style, options.still_start, options.frames)


def _jobs(options: argparse.Namespace) -> list[RecordingJob]:
    from vla_sim.core.errors import UserError
    from vla_sim.rollout.recording import RecordingJob
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
    from vla_sim.core.encoding import check_size
    from vla_sim.core.files import discard_folder
    from vla_sim.datasets.lerobot import LeRobotWriter, is_finished, lowest_fps
    from vla_sim.datasets.lerobot.format import repeats
    from vla_sim.datasets.serbot.folder import SerbotRecording
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.filling import fill

    robot = setup.robot()
    fps = lowest_fps(robot.control_s) if options.fps is None else options.fps
    repeats(robot.control_s, fps)
    if not options.images:
        check_size(*robot.camera.image_px)
    aside = options.out.with_name(f".{options.out.name}.episodes")
    plan = {**plan, "fps": fps, "video": not options.images}
    if is_finished(options.out, plan):
        discard_folder(aside)
        print(f"{options.out}: {len(jobs)} episodes were complete already")
        return 0
    aside.parent.mkdir(parents=True, exist_ok=True)
    with (
        EpisodeStore(aside, plan) as store,
        LeRobotWriter(options.out, fps, robot.name, not options.images, resume=True, plan=plan) as writer,
    ):
        progress = Progress(jobs, store, setup)
        written = len(writer)

        def add_in_turn() -> None:
            nonlocal written
            while written in store.entries:
                writer.add(SerbotRecording(aside / store.entries[written].file).load())
                written += 1

        def on_entry(entry: Entry) -> None:
            progress(entry)
            add_in_turn()

        add_in_turn()
        fill(store, jobs, setup, shape, workers=options.workers, on_entry=on_entry)
    progress.end(options.out)
    discard_folder(aside)
    return 0


if __name__ == "__main__":
    sys.exit(main())
