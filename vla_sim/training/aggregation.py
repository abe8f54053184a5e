"""What DAgger gathers: episodes of a learner and an expert in turns, labelled by the expert, on disk with a manifest.

A round's episodes come in parts, each complete or absent; its manifest is written when all parts are there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import math
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.files import clear_errors, discard_folder, sweep_aside, whole_folder, write_whole
from vla_sim.core.pool import run_units
from vla_sim.core.run_folder import check_same, read_object
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.datasets.store import content_hash
from vla_sim.rollout.demonstrations import Collection, Task, collect_shard
from vla_sim.training.recorded import FACTS, read_round, save_round

log = logging.getLogger(__name__)

FORMAT = 1
MANIFEST = "manifest.json"
PART_EPISODES = 50
# Steps that whoever was drawn steers before the next drawing; 0 is a whole episode.
MIXING = {"step": 1, "stretch": 4, "episode": 0}


@dataclass(frozen=True)
class Schedule:
    """How much the expert steers in each round.

    Attributes:
        kind: "exponential", "linear", "constant" or "list".
        values: the base of the power, nothing, the constant, or the list; a list's last value stays.
    """

    kind: str
    values: tuple[float, ...] = ()

    KINDS = ("exponential", "linear", "constant")

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and 0 <= value <= 1 for value in self.values):
            raise UserError(f"beta must lie in 0..1, got {', '.join(map(str, self.values))}")
        if self.kind != "linear" and not self.values:
            raise UserError(f"beta schedule {self.kind!r} needs a number, e.g. {self.kind}:0.5")

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """From "exponential:0.5", "linear", "constant:0" or a list such as "0.8,0.4,0".

        Raises:
            UserError: none of those.
        """
        kind, _, rest = text.partition(":")
        if kind and not (kind[0].isdigit() or kind[0] in ".-"):
            if kind not in cls.KINDS:
                raise UserError(f"unknown beta schedule {kind!r}; {suggest(kind, cls.KINDS)}")
        else:
            kind, rest = "list", text
        try:
            values = tuple(float(value) for value in rest.split(",")) if rest else ()
        except ValueError as error:
            raise UserError(f"beta must be numbers, got {rest!r}") from error
        return cls(kind, values)

    def beta(self, round_number: int, rounds: int) -> float:
        """Share of the episode that the expert steers in a round; rounds count from 1."""
        if self.kind == "exponential":
            return self.values[0] ** round_number
        if self.kind == "linear":
            return max(0.0, 1 - round_number / rounds)
        return self.values[min(round_number, len(self.values)) - 1]


@dataclass(frozen=True)
class Gathering:
    """One round's episodes: everything that decides them.

    Attributes:
        name: of the round.
        scenarios: driven in turns.
        seeds: one for each episode.
        beta: probability that the expert steers.
        mixing: "step", "stretch" or "episode": for how long that is drawn.
        noise: on the steering, in shares of full speed; labels stay clean.
        learner: policy folder that steers the rest; "" where the expert steers alone.
        learner_hash: of that policy.
        embodiment, image_px: the robot; side of the images to keep.
        action_names: components to keep, see `Collection`.
        frames: enough images; seeds beyond are not driven, and the last drive is cut. 0: all seeds, uncut.
    """

    name: str
    scenarios: tuple[str, ...]
    seeds: range
    beta: float
    mixing: str = "step"
    noise: float = 0.0
    learner: str = ""
    learner_hash: str = ""
    embodiment: str = "serbot"
    image_px: int = 96
    action_names: tuple[str, ...] = ()
    frames: int = 0

    def __post_init__(self) -> None:
        if self.mixing not in MIXING:
            raise UserError(f"unknown mixing {self.mixing!r}; {suggest(self.mixing, MIXING)}")
        if not 0 <= self.beta <= 1:
            raise UserError(f"beta must lie in 0..1, got {self.beta}")

    def tasks(self) -> list[Task]:
        """The episodes."""
        share = 1 - self.beta if self.learner else 0.0
        names = self.scenarios
        return [
            Task(names[i % len(names)], seed, share, self.noise, MIXING[self.mixing])
            for i, seed in enumerate(self.seeds)
        ]

    def plan(self) -> dict[str, Any]:
        """What a manifest says of it. Where the learner lies does not matter, only which it is."""
        facts = {key: value for key, value in asdict(self).items() if key not in ("seeds", "learner", "frames")}
        seeds = [self.seeds[0], self.seeds[-1]]
        return {
            "format": FORMAT,
            **facts,
            "scenarios": list(self.scenarios),
            "action_names": list(self.action_names),
            "seeds": seeds,
            "frames_wanted": self.frames,
        }


def gather(gathering: Gathering, folder: Path, *, workers: int = 1) -> list[Demonstrations]:
    """Drive what is missing of a round; its episodes, images on disk.

    Args:
        gathering: what to drive.
        folder: of the round.
        workers: processes; they do not change the result.

    Raises:
        UserError: the folder holds another round, or the disk is full.
    """
    plan = gathering.plan()
    if (folder / MANIFEST).exists():
        found = read_object(folder / MANIFEST)
        check_same(folder, {key: found.get(key) for key in plan}, plan)
    else:
        _drive(gathering, folder, workers)
        manifest = {**plan, **_counts(folder, gathering.frames)}
        write_whole(folder / MANIFEST, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())
        log.info(
            f"{gathering.name}: {manifest['episodes']} episodes, {manifest['frames']} images, beta "
            f"{gathering.beta:.2f}, {manifest['outcomes'].get('success', 0) / manifest['episodes']:.1%} success"
        )
    return read_parts(folder)


def read_parts(folder: Path) -> list[Demonstrations]:
    """The episodes of a complete round."""
    parts = _parts_of(folder)
    frames = int(json.loads((folder / MANIFEST).read_text("utf-8")).get("frames_wanted", 0))
    return cut(parts, frames) if frames else parts


def cut(parts: Sequence[Demonstrations], frames: int) -> list[Demonstrations]:
    """The first episodes that have so many steps together, the last one shortened where it must be."""
    kept: list[Demonstrations] = []
    for part in parts:
        lengths = part.mask.sum(axis=1)
        before = np.cumsum(lengths) - lengths
        left = np.clip(frames - before, 0, lengths)
        count = int((left > 0).sum())
        frames -= int(left.sum())
        if not count:
            break
        mask = np.arange(part.mask.shape[1]) < left[:count, None]
        kept.append(replace(part.some(range(count)), mask=mask))
    return kept


def _parts_of(folder: Path) -> list[Demonstrations]:
    return [read_round(path.parent) for path in sorted(folder.glob(f"part_*/{FACTS}"))]


def _drive(gathering: Gathering, folder: Path, workers: int) -> None:
    tasks = gathering.tasks()
    with clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    sweep_aside(folder)
    begun = folder / "plan.json"
    if begun.exists() and read_object(begun) != gathering.plan():
        # Parts of another learner (of a training that was begun anew) are no parts of this round.
        for part in folder.glob("part_*"):
            discard_folder(part)
    write_whole(begun, (json.dumps(gathering.plan(), indent=1) + "\n").encode())
    parts = [
        (f"part_{i // PART_EPISODES:03}", tasks[i : i + PART_EPISODES]) for i in range(0, len(tasks), PART_EPISODES)
    ]
    factory = functools.partial(_Driver, gathering, folder)
    # Without a number of frames all parts are wanted; with one, as few as have them.
    size = workers if gathering.frames else len(parts)
    for first in range(0, len(parts), size):
        missing = [part for part in parts[first : first + size] if not (folder / part[0] / FACTS).exists()]
        for _ in run_units(missing, factory, workers=workers):
            pass
        if gathering.frames and _frames(folder) >= gathering.frames:
            break
    if gathering.frames:
        _drop_surplus(gathering, folder)


def _frames(folder: Path) -> int:
    return sum(int(part.mask.sum()) for part in _parts_of(folder))


def _drop_surplus(gathering: Gathering, folder: Path) -> None:
    """Several workers may have driven a part more than one worker would have."""
    found = _frames(folder)
    if found < gathering.frames:
        raise UserError(f"{gathering.name}: all episodes have {found} images, {gathering.frames} are wanted")
    for name in sorted((path.name for path in folder.glob("part_*")), reverse=True):
        found -= int(read_round(folder / name).mask.sum())
        if found < gathering.frames:
            break
        discard_folder(folder / name)


class _Driver:
    """What a worker does with a part."""

    def __init__(self, gathering: Gathering, folder: Path) -> None:
        self._gathering, self._folder = gathering, folder

    def __call__(self, part: tuple[str, Sequence[Task]]) -> Iterator[str]:
        name, tasks = part
        made_by = self._gathering
        common = (made_by.embodiment, made_by.image_px, made_by.learner, made_by.action_names)
        demonstrations = collect_shard(tasks, Collection(*common))
        shutil.rmtree(self._folder / name, ignore_errors=True)
        with whole_folder(self._folder / name) as aside:
            save_round(aside, demonstrations)
        yield name


def _counts(folder: Path, frames: int) -> dict[str, Any]:
    """What came of a round."""
    hashes = {path.parent.name: content_hash(path.parent) for path in sorted(folder.glob(f"part_*/{FACTS}"))}
    facts = [json.loads((folder / name / FACTS).read_text("utf-8")) for name in hashes]
    parts = _parts_of(folder)
    kept = cut(parts, frames) if frames else parts
    driven = [
        pair
        for part, fact in zip(kept, facts, strict=False)
        for pair in list(zip(fact["scenarios"], fact["outcomes"], strict=True))[: len(part.mask)]
    ]
    lines = "\n".join(f"{name} {found}" for name, found in hashes.items())
    return {
        "episodes": len(driven),
        "frames": sum(int(part.mask.sum()) for part in kept),
        "outcomes": dict(Counter(outcome for _, outcome in driven)),
        "by_scenario": dict(Counter(scenario for scenario, _ in driven)),
        "parts": hashes,
        "sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }
