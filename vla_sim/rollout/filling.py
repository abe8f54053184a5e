"""Fills a folder with recorded episodes, on several processes, and goes on where an interrupted run stopped.

Used by the commands `collect` and `expand`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vla_sim import __version__
from vla_sim.core.episode import Episode
from vla_sim.core.pool import run_units
from vla_sim.datasets.serbot.actions import padded, with_still_start
from vla_sim.datasets.serbot.hdf5 import SerbotStyle
from vla_sim.datasets.store import Entry
from vla_sim.datasets.writing import DatasetWriter, write_entry
from vla_sim.rollout.recording import NUM_ENVS, Recorder, RecordingJob, RecordingSetup
from vla_sim.rollout.steering import EXPERT

# Episodes of a unit: enough to keep all envs busy, few enough to share the work evenly.
MOST_EPISODES = 6 * NUM_ENVS


@dataclass(frozen=True)
class FileShape:
    """How episodes become files.

    Attributes:
        stored_as: what they should look like, see `Dataset.stored_as`.
        still_start: begin with the recordings' still frame and its zero action.
        frames: pad shorter episodes with stops to so many steps; 0: never.
    """

    stored_as: Mapping[str, Any] = field(default_factory=dict)
    still_start: bool = False
    frames: int = 0

    def shaped(self, episode: Episode) -> Episode:
        """The episode as it is written."""
        started = with_still_start(episode) if self.still_start else episode
        return padded(started, self.frames)


def plan_of(setup: RecordingSetup, shape: FileShape, jobs: Sequence[RecordingJob]) -> dict[str, Any]:
    """Everything that decides the files, as plain values: the head of a manifest."""
    from vla_sim.scenarios import load_scenario

    names = dict.fromkeys(job.scenario for job in jobs)
    policy_hash = ""
    if setup.policy != EXPERT:
        from vla_sim.policies.registry import identity_hash

        policy_hash = identity_hash(setup.policy)
    listed = "\n".join(f"{job.index} {job.scenario} {job.seed}" for job in jobs)
    return {
        "vla_sim": __version__,
        "setup": asdict(setup),
        "shape": asdict(shape),
        "embodiment_hash": setup.robot().content_hash,
        "policy_hash": policy_hash,
        "scenario_hashes": {name: load_scenario(name).hash for name in names},
        "jobs": len(jobs),
        "jobs_sha256": hashlib.sha256(listed.encode()).hexdigest(),
    }


def fill(
    writer: DatasetWriter,
    jobs: Sequence[RecordingJob],
    setup: RecordingSetup,
    shape: FileShape,
    *,
    workers: int,
    on_entry: Callable[[Entry], None] = lambda entry: None,
) -> None:
    """Record the jobs that the set lacks.

    Args:
        writer: of the new set.
        jobs: all of the plan.
        setup: what decides each episode.
        shape: what decides its file.
        workers: processes.
        on_entry: told of each new episode once it is safe.

    Raises:
        UserError: a scenario or policy cannot be used, or the disk is full.
    """
    factory = functools.partial(_Filler, writer.folder, setup, shape, writer.options.style(shape.stored_as))
    done = {job.index for job in jobs if job.index in writer}
    for entry in run_units(_units(jobs, done, setup, workers), factory, workers=workers):
        writer.add(entry)
        on_entry(entry)


@dataclass(frozen=True)
class _Unit:
    """Jobs that are driven together, and which of them are wanted."""

    jobs: tuple[RecordingJob, ...]
    wanted: frozenset[int]


def _units(jobs: Sequence[RecordingJob], done: set[int], setup: RecordingSetup, workers: int) -> list[_Unit]:
    if setup.policy == EXPERT:
        jobs = [job for job in jobs if job.index not in done]
        size = max(NUM_ENVS, min(MOST_EPISODES, len(jobs) // (4 * workers)))
    else:
        # A network's sums may depend on what shares its batch: units must not depend on what is done already.
        size = MOST_EPISODES
    parts = [tuple(jobs[i : i + size]) for i in range(0, len(jobs), size)]
    units = [_Unit(part, frozenset(job.index for job in part) - done) for part in parts]
    return [unit for unit in units if unit.wanted]


class _Filler:
    """What a worker does with a unit: drive it and write what is wanted."""

    def __init__(self, folder: Path, setup: RecordingSetup, shape: FileShape, style: SerbotStyle) -> None:
        self._folder, self._shape, self._style = folder, shape, style
        self._recorder = Recorder(setup)

    def __call__(self, unit: _Unit) -> Iterator[Entry]:
        """The new entries, each once its file is in its place."""
        for episode in self._recorder.record(unit.jobs):
            index = int(episode.provenance["index"])
            if index in unit.wanted:
                yield write_entry(self._folder, index, self._shape.shaped(episode), self._style)
