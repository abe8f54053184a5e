"""Fills a folder with recorded drives, on several processes, and goes on where an interrupted run stopped.

Used by the commands `collect` and `expand`.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vla_sim import __version__
from vla_sim.core.episode import Episode
from vla_sim.core.files import write_whole
from vla_sim.core.pool import run_units
from vla_sim.datasets.serbot.actions import padded, with_still_start
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, serbot_hdf5_bytes
from vla_sim.datasets.store import Entry, EpisodeStore
from vla_sim.rollout.recording import LANES, Recorder, RecordingJob, RecordingSetup
from vla_sim.rollout.steering import EXPERT

# Episodes of a unit: enough to keep all lanes busy, few enough to share the work evenly.
MOST_EPISODES = 6 * LANES
# Facts of an episode that its manifest line repeats, so that nobody needs to open files to count them.
FACTS = (
    *("simulated", "scenario", "suite", "seed", "side", "distance", "target", "obstacle", "obstacles"),
    *("language", "phrasing", "embodiment", "policy", "noise"),
)


@dataclass(frozen=True)
class FileShape:
    """How drives become files.

    Attributes:
        style: layout, channel order, scale, compression.
        still_start: begin with the recordings' still frame and its zero action.
        frames: pad shorter drives with stops to so many steps; 0: never.
    """

    style: SerbotStyle = field(default_factory=SerbotStyle)
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
        from vla_sim.policies.registry import policy_hash as hash_of

        policy_hash = hash_of(setup.policy)
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
    store: EpisodeStore,
    jobs: Sequence[RecordingJob],
    setup: RecordingSetup,
    shape: FileShape,
    *,
    workers: int,
    on_entry: Callable[[Entry], None] = lambda entry: None,
) -> None:
    """Record the jobs that the store lacks.

    Args:
        store: open for writing.
        jobs: all of the plan.
        setup: what decides each drive.
        shape: what decides its file.
        workers: processes.
        on_entry: told of each new episode once it is safe.

    Raises:
        UserError: a scenario or policy cannot be used, or the disk is full.
    """
    factory = functools.partial(_Filler, store.folder, setup, shape)
    for entry in run_units(_units(jobs, set(store.entries), setup, workers), factory, workers=workers):
        store.add(entry)
        on_entry(entry)


@dataclass(frozen=True)
class _Unit:
    """Jobs that are driven together, and which of them are wanted."""

    jobs: tuple[RecordingJob, ...]
    wanted: frozenset[int]


def _units(jobs: Sequence[RecordingJob], done: set[int], setup: RecordingSetup, workers: int) -> list[_Unit]:
    if setup.policy == EXPERT:
        jobs = [job for job in jobs if job.index not in done]
        size = max(LANES, min(MOST_EPISODES, len(jobs) // (4 * workers)))
    else:
        # A network's sums may depend on what shares its batch: units must not depend on what is done already.
        size = MOST_EPISODES
    parts = [tuple(jobs[i : i + size]) for i in range(0, len(jobs), size)]
    units = [_Unit(part, frozenset(job.index for job in part) - done) for part in parts]
    return [unit for unit in units if unit.wanted]


class _Filler:
    """What a worker does with a unit: drive it and write what is wanted."""

    def __init__(self, folder: Path, setup: RecordingSetup, shape: FileShape) -> None:
        self._folder, self._shape = folder, shape
        self._recorder = Recorder(setup)

    def __call__(self, unit: _Unit) -> Iterator[Entry]:
        """The new entries, each once its file is in its place."""
        for episode in self._recorder.record(unit.jobs):
            index = int(episode.provenance["index"])
            if index in unit.wanted:
                yield write_entry(self._folder, index, self._shape.shaped(episode), self._shape.style)


def write_entry(folder: Path, index: int, episode: Episode, style: SerbotStyle) -> Entry:
    """Write the file of an episode; what the manifest should say of it."""
    content = serbot_hdf5_bytes(episode, style)
    file = f"{episode.name}.h5"
    write_whole(folder / file, content)
    known = episode.provenance
    facts = {key: known[key] for key in FACTS if key in known}
    facts |= {"instruction": episode.instruction, "outcome": episode.outcome.value if episode.outcome else ""}
    return Entry(index, episode.name, file, hashlib.sha256(content).hexdigest(), len(episode), facts)
