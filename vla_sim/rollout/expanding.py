"""Real recordings kept, simulated episodes added until the set is large and balanced. Used by `vla_sim.expand`."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from vla_sim.core.bounds import Count, PositiveInt, Seed
from vla_sim.core.errors import UserError
from vla_sim.core.options import named
from vla_sim.rollout.driving import DriveOptions, Progress, readable

if TYPE_CHECKING:
    from vla_sim.core.episode import Plain
    from vla_sim.datasets.serbot.folder import SerbotRecording
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.expansion import ExpansionPlan
    from vla_sim.rollout.filling import FileShape
    from vla_sim.rollout.recording import RecordingSetup


@dataclass(frozen=True, kw_only=True)
class ExpandConfig:
    """What to expand, and how far."""

    data: Annotated[Path, named("DIR")]
    """Folder of recordings."""
    target_episodes: PositiveInt
    """How many in the end, recordings included."""
    copy: bool = False
    """Copy the recordings instead of linking them."""
    skip_bad: bool = False
    """Leave recordings out that cannot be read."""
    channel_order: Literal["auto", "rgb", "bgr"] = "auto"
    """Of the recordings' images; auto: what files say, else by their colours."""
    frames: Count = 0
    """Pad simulated episodes with stops to so many steps, e.g. 18."""
    first_seed: Seed = 0
    """First seed of the simulated worlds."""
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
    from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
    from vla_sim.rollout.expansion import make_plan
    from vla_sim.rollout.recording import free_clock

    folder = SerbotFolder(config.data, SerbotReading(channel_order=config.channel_order))
    recordings = readable(folder, skip=config.skip_bad)
    setup = config.drives.setup()
    plan = make_plan(
        recordings,
        target=config.target_episodes,
        seed0=config.first_seed,
        robot_radius_m=setup.robot().body.radius_m,
    )
    print(plan.table())
    if not plan.jobs:
        print(f"{plan.before.total()} recordings are {config.target_episodes} or more: nothing to add")
    if out is None:
        return plan
    if setup.image_px is None:
        setup = replace(setup, image_px=_usual_size(recordings))
    setup = replace(setup, clock_s=free_clock(recording.path.stem for recording in recordings))
    _fill(config, out, recordings, plan, setup, _shape_like(recordings, config.frames), workers)
    return plan


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
    config: ExpandConfig,
    out: Path,
    recordings: Sequence[SerbotRecording],
    plan: ExpansionPlan,
    setup: RecordingSetup,
    shape: FileShape,
    workers: int,
) -> None:
    from vla_sim.datasets.store import EpisodeStore, content_hash
    from vla_sim.rollout.filling import fill, plan_of

    if out.resolve() == config.data.resolve() or config.data.resolve() in out.resolve().parents:
        raise UserError(f"--out {out} must not lie in the folder of the recordings")
    hashes = {recording.path: content_hash(recording.path) for recording in recordings}
    head = {
        "kind": "expansion",
        "recordings": {str(path.relative_to(config.data)): found for path, found in hashes.items()},
        **plan_of(setup, shape, plan.jobs),
    }
    with EpisodeStore(out, head) as store:
        progress = Progress(range(len(recordings) + len(plan.jobs)), store, setup)
        for index, recording in enumerate(recordings):
            if index not in store.entries:
                store.add(_keep(recording, index, config, out, hashes[recording.path]))
        fill(store, plan.jobs, setup, shape, workers=workers, on_entry=progress)
        store.finish()
        progress.end(out)


def _keep(recording: SerbotRecording, index: int, config: ExpandConfig, out: Path, sha256: str) -> Entry:
    """A recording in its new place."""
    from vla_sim.datasets.store import Entry
    from vla_sim.rollout.expansion import cell_of

    relative = recording.path.relative_to(config.data)
    place(recording.path, out / relative, copy=config.copy)
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
