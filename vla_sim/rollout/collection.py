"""Episodes of the expert, or of a policy that it labels, as a data set on disk. Used by `vla_sim.collect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vla_sim.core.bounds import Count, PositiveInt, Seed
from vla_sim.core.errors import UserError
from vla_sim.core.options import Name, Names, flag_of
from vla_sim.rollout.driving import DriveOptions, Progress

if TYPE_CHECKING:
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.filling import FileShape
    from vla_sim.rollout.recording import RecordingJob, RecordingSetup


@dataclass(frozen=True, kw_only=True)
class Hdf5Options:
    """Only with --format hdf5."""

    layout: Literal["main", "nested", "groups"] = "main"
    """Where things stand in a file."""
    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Of stored images; serbot's own are bgr."""
    still_start: bool = False
    """Begin with a still frame and a zero action, as recordings do."""
    frames: Count = 0
    """Pad shorter episodes with stops to so many steps, e.g. 18."""


@dataclass(frozen=True, kw_only=True)
class LeRobotOptions:
    """Only with --format lerobot."""

    fps: PositiveInt | None = None
    """Frames a second (default: the lowest whole rate that fits: 5 for 0.4 s)."""
    images: bool = False
    """PNG images instead of H.264 films."""


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to collect."""

    suite: Names = ()
    """Suites of scenarios to drive."""
    scenario: Names = ()
    """Scenarios to drive, names or files."""
    episodes: PositiveInt
    """How many in all."""
    policy: Name = "expert"
    """Who steers, a name or a folder; the expert labels every state whoever does."""
    first_seed: Seed = 0
    """Seed of the first episode."""
    format: Literal["hdf5", "lerobot"] = "hdf5"
    """Of the files."""
    drives: DriveOptions = field(default_factory=DriveOptions)
    hdf5: Hdf5Options = Hdf5Options()
    lerobot: LeRobotOptions = LeRobotOptions()


def collect_set(config: CollectConfig, out: Path, *, workers: int = 2) -> None:
    """Fill a folder with a data set; one that holds a part of it is completed.

    Args:
        config: what to collect.
        out: the folder.
        workers: processes; files are the same for any number.

    Raises:
        UserError: unknown names, options of the other format, or the folder belongs to another plan.
    """
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.filling import fill, plan_of

    _check_format(config)
    setup, shape, jobs = config.drives.setup(config.policy), _shape(config), _jobs(config)
    plan = {"kind": "collection", **plan_of(setup, shape, jobs)}
    if config.format == "lerobot":
        _collect_lerobot(config, out, plan, setup, shape, jobs, workers)
        return
    with EpisodeStore(out, plan) as store:
        progress = Progress(jobs, store, setup)
        fill(store, jobs, setup, shape, workers=workers, on_entry=progress)
        store.finish()
        progress.end(out)


def _check_format(config: CollectConfig) -> None:
    """Options that have no effect are refused."""
    for other in {"hdf5", "lerobot"} - {config.format}:
        options = getattr(config, other)
        for option in fields(options):
            if getattr(options, option.name) != option.default:
                raise UserError(f"{flag_of(option.name)} is for --format {other} only")


def _shape(config: CollectConfig) -> FileShape:
    from vla_sim.datasets.serbot.actions import UNSCALED
    from vla_sim.datasets.serbot.hdf5 import SerbotStyle
    from vla_sim.rollout.filling import FileShape

    if config.format == "lerobot":
        # What is kept until the data set is complete: exact, and quickly written.
        return FileShape(SerbotStyle(scale=UNSCALED, compression=0))
    style = SerbotStyle(layout=config.hdf5.layout, channel_order=config.hdf5.channel_order)
    return FileShape(style, config.hdf5.still_start, config.hdf5.frames)


def _jobs(config: CollectConfig) -> list[RecordingJob]:
    """Scenarios take turns; those named twice come twice."""
    from vla_sim.rollout.recording import RecordingJob
    from vla_sim.scenarios import load_suite
    from vla_sim.scenarios.library import scenarios_of

    names = [scenario.name for suite in config.suite for scenario in load_suite(suite)]
    names += [scenario for name in config.scenario for scenario in scenarios_of(name)]
    if not names:
        raise UserError("name what to drive with --suite or --scenario")
    return [RecordingJob(i, names[i % len(names)], config.first_seed + i) for i in range(config.episodes)]


def _collect_lerobot(
    config: CollectConfig,
    out: Path,
    plan: dict[str, object],
    setup: RecordingSetup,
    shape: FileShape,
    jobs: Sequence[RecordingJob],
    workers: int,
) -> None:
    """Episodes are kept aside as HDF5 until their turn comes: the data set has them in order."""
    from vla_sim.core.encoding import check_size
    from vla_sim.core.files import discard_folder
    from vla_sim.datasets.lerobot import LeRobotWriter, is_finished, lowest_fps
    from vla_sim.datasets.lerobot.format import repeats
    from vla_sim.datasets.serbot.folder import SerbotRecording
    from vla_sim.datasets.store import EpisodeStore
    from vla_sim.rollout.filling import fill

    robot = setup.robot()
    fps = lowest_fps(robot.control_s) if config.lerobot.fps is None else config.lerobot.fps
    repeats(robot.control_s, fps)
    if not config.lerobot.images:
        check_size(*robot.camera.image_px)
    aside = out.with_name(f".{out.name}.episodes")
    plan = {**plan, "fps": fps, "video": not config.lerobot.images}
    if is_finished(out, plan):
        discard_folder(aside)
        print(f"{out}: {len(jobs)} episodes were complete already")
        return
    aside.parent.mkdir(parents=True, exist_ok=True)
    with (
        EpisodeStore(aside, plan) as store,
        LeRobotWriter(out, fps, robot.name, not config.lerobot.images, resume=True, plan=plan) as writer,
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
        fill(store, jobs, setup, shape, workers=workers, on_entry=on_entry)
    progress.end(out)
    discard_folder(aside)
