"""Real recordings kept, simulated episodes added until the set is large and balanced. Used by `vla_sim.expand`."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.bounds import Count, PositiveInt, Seed
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.datasets.base import Dataset
from vla_sim.datasets.channel_order import RGB
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.writing import (
    Contents,
    SourceOptions,
    is_complete,
    keep,
    refuse_inside,
    source_hashes,
    write_dataset,
)
from vla_sim.rollout.driving import DriveOptions, Progress

if TYPE_CHECKING:
    from vla_sim.core.specs import Embodiment
    from vla_sim.rollout.expansion import ExpansionPlan
    from vla_sim.rollout.filling import FileShape
    from vla_sim.rollout.recording import RecordingSetup

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExpandConfig(SourceOptions):
    """What to expand, and how far."""

    target_episodes: PositiveInt
    """How many in the end, recordings included."""
    copy: bool = False
    """Copy the recordings instead of linking them."""
    frames: Count = 0
    """Pad shorter episodes with stops to so many steps, e.g. 18; simulated ones alone."""
    first_seed: Seed = 0
    """Seed of the first world."""
    drives: DriveOptions = field(default_factory=DriveOptions)


def expand(config: ExpandConfig, out: Path | None, *, workers: int = 2) -> ExpansionPlan:
    """Fill a new folder with the recordings and simulated episodes; one that holds a part of it is completed.

    Args:
        config: what to expand.
        out: the folder; None only shows the plan.
        workers: processes; files are the same for any number.

    Returns:
        What was added to which cell.

    Raises:
        UserError: recordings that cannot be read, or the folder belongs to another plan.
    """
    from vla_sim.rollout.expansion import make_plan
    from vla_sim.rollout.recording import free_clock

    dataset = open_dataset(config.data, config.reading).readable()
    episodes = list(dataset)
    setup = config.drives.setup()
    plan = make_plan(
        episodes,
        target=config.target_episodes,
        seed0=config.first_seed,
        robot_radius_m=setup.robot().body.radius_m,
    )
    log.info(plan.table())
    if not plan.jobs:
        log.info(f"{plan.before.total()} recordings are {config.target_episodes} or more: nothing to add")
    if out is None:
        return plan
    refuse_inside(out, config.data)
    _check_rate(episodes, setup.robot())
    if setup.image_px is None:
        setup = replace(setup, image_px=_usual_size(episodes))
    setup = replace(setup, clock_s=free_clock(episode.name for episode in episodes))
    _fill(config, out, dataset, plan, setup, _shape_like(dataset, episodes, config.frames), workers)
    return plan


def _check_rate(episodes: Sequence[Episode], robot: Embodiment) -> None:
    """Refuse to add episodes of another control rate than that of the recordings."""
    for episode in episodes:
        if not math.isclose(episode.step_s, robot.control_s, rel_tol=0.01):
            raise UserError(
                f"{episode.name} has a step of {episode.step_s:g} s, {robot.name} one of {robot.control_s:g} s: "
                "one data set cannot hold both; choose another --embodiment"
            )


def _usual_size(episodes: Sequence[Episode]) -> tuple[int, int]:
    height, width = Counter(episode.images.shape[1:3] for episode in episodes).most_common(1)[0][0]
    return width, height


def _shape_like(dataset: Dataset, episodes: Sequence[Episode], frames: int) -> FileShape:
    """Files like those of the recordings: channel order, and a still first frame where most have one."""
    from vla_sim.rollout.filling import FileShape

    order = dataset.stored_as(0).get("channel_order", RGB)
    still = 2 * sum(not episode.actions[0].any() for episode in episodes) > len(episodes)
    said = episodes[0].provenance.get("source_channel_order", order)
    log.info(f"simulated files: channel order {said}, still first frame: {'yes' if still else 'no'}")
    return FileShape({"channel_order": order}, still, frames)


def _fill(
    config: ExpandConfig,
    out: Path,
    dataset: Dataset,
    plan: ExpansionPlan,
    setup: RecordingSetup,
    shape: FileShape,
    workers: int,
) -> None:
    from vla_sim.rollout.filling import fill, plan_of

    head = {
        "kind": "expansion",
        "recordings": source_hashes(dataset),
        "reading": asdict(replace(config.reading, skip_bad=False)),
        **plan_of(setup, shape, plan.jobs),
    }
    if is_complete(out, head, config.writing):
        log.info(f"{out}: {plan.before.total() + len(plan.jobs)} episodes were complete already")
        return
    with write_dataset(out, head, config.writing, Contents.of(dataset)) as writer:
        progress = Progress(len(dataset) + len(plan.jobs), writer, setup.robot().control_s)
        for index in range(len(dataset)):
            if index not in writer:
                keep(writer, index, dataset, index, _facts_of(dataset, index), copy=config.copy)
        fill(writer, plan.jobs, setup, shape, workers=workers, on_entry=progress)
        writer.finish()
        progress.end(out)


def _facts_of(dataset: Dataset, index: int) -> dict[str, Plain]:
    """What the manifest says of a recording."""
    from vla_sim.rollout.expansion import cell_of

    episode = dataset[index]
    cell = cell_of(episode)
    return {
        "simulated": bool(episode.provenance.get("simulated")),
        "source": dataset.place(index),
        "scenario": cell.scenario,
        "side": cell.side,
        "distance": cell.distance,
        "instruction": episode.instruction,
        "outcome": "",  # of this run: it drove none
    }
