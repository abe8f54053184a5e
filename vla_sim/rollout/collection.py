"""Episodes of the expert, or of a policy that it labels, as a data set on disk. Used by `vla_sim.collect`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.bounds import Count, PositiveInt, Seed
from vla_sim.core.errors import UserError
from vla_sim.core.options import Name, Names
from vla_sim.datasets.writing import Contents, WriteOptions, is_complete, write_dataset
from vla_sim.rollout.driving import DriveOptions, Progress

if TYPE_CHECKING:
    from vla_sim.rollout.recording import RecordingJob

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to collect."""

    suite: Names = ()
    """Whole suites."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    episodes: PositiveInt
    """How many; in all."""
    policy: Name = "expert"
    """Name, folder or module:Class; who steers: the expert labels every state whoever does."""
    first_seed: Seed = 0
    """Seed of the first world."""
    still_start: bool = False
    """Begin with a still frame and a zero action, as recordings do."""
    frames: Count = 0
    """Pad shorter episodes with stops to so many steps, e.g. 18."""
    drives: DriveOptions = field(default_factory=DriveOptions)
    writing: WriteOptions = field(default_factory=WriteOptions)


def collect_set(config: CollectConfig, out: Path, *, workers: int = 2) -> None:
    """Fill a folder with a data set; one that holds a part of it is completed.

    Args:
        config: what to collect.
        out: the folder.
        workers: processes; files are the same for any number.

    Raises:
        UserError: unknown names, options of the other format, or the folder belongs to another plan.
    """
    from vla_sim.rollout.filling import FileShape, fill, plan_of

    setup, jobs = config.drives.setup(config.policy), _jobs(config)
    shape, robot = FileShape({}, config.still_start, config.frames), setup.robot()
    plan = {"kind": "collection", **plan_of(setup, shape, jobs)}
    if is_complete(out, plan, config.writing):
        log.info(f"{out}: {len(jobs)} episodes were complete already")
        return
    contents = Contents(robot.control_s, robot.camera.image_px, robot.name)
    with write_dataset(out, plan, config.writing, contents) as writer:
        progress = Progress(len(jobs), writer, robot.control_s)
        fill(writer, jobs, setup, shape, workers=workers, on_entry=progress)
        writer.finish()
        progress.end(out)


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
