"""Sources of demonstrations and how often each is drawn: recordings, data sets and simulated rounds, mixed by weight.

A source is anything that `vla_sim.datasets` reads (HDF5 recordings, LeRobot data sets) or a folder of simulated rounds.
Its images are shrunk once to the network's size and kept on disk, so a training that goes on need not read it again.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.files import sweep_aside, whole_folder, write_whole
from vla_sim.core.motion import joined
from vla_sim.core.run_folder import check_same, read_object
from vla_sim.core.sensors import LidarSpec
from vla_sim.core.types import Outcome
from vla_sim.datasets.base import AS_IT_IS, Joined, ReadOptions
from vla_sim.datasets.dataset import open_dataset, open_sets
from vla_sim.datasets.demonstrations import Demonstrations, Later
from vla_sim.datasets.origins import content_origin, origins_of
from vla_sim.datasets.rounds import ROUND_FORMAT
from vla_sim.training.recorded import FACTS, read_round, save_round
from vla_sim.training.source_spec import SourceSpec
from vla_sim.training.splitting import copies_together, held_out

log = logging.getLogger(__name__)

PART_EPISODES = 64
# What cameras give; the network's own size is shrunk from that, as it is when it drives.
CAMERA_PX = 224
# Steps that differ by less than this ratio are the same: files keep them as float32.
SAME_STEP = 1e-6
INDEX, BEGUN = "index.json", "begun.json"


@dataclass(frozen=True)
class Shape:
    """What a network needs.

    Attributes:
        image_px: side of its images.
        action_names: components of its actions.
        step_s: seconds between two actions of the robot.
        keep_still: keep a still frame with which recordings begin.
    """

    image_px: int
    action_names: tuple[str, ...]
    step_s: float
    keep_still: bool = False


@dataclass(frozen=True)
class Source:
    """Episodes of a source, ready to be learned from.

    Attributes:
        spec: where they are from.
        parts: the episodes; images lie on disk.
        left_out: still first frames that were dropped.
    """

    spec: SourceSpec
    parts: Sequence[Demonstrations]
    left_out: int = 0

    @property
    def episodes(self) -> int:
        """How many."""
        return sum(len(part.mask) for part in self.parts)

    @property
    def frames(self) -> int:
        """How many steps."""
        return sum(int(part.mask.sum()) for part in self.parts)

    def named(self) -> list[Demonstrations]:
        """The parts, all episodes counted under the source's name (and their group, where it has several)."""
        groups = {group for part in self.parts for group in part.groups}
        if len(groups) == 1:
            return [replace(part, groups=[self.spec.name] * len(part.mask)) for part in self.parts]
        return [replace(part, groups=[f"{self.spec.name}/{group}" for group in part.groups]) for part in self.parts]

    def weights(self) -> dict[str, float]:
        """Of its groups; they share the source's weight."""
        groups = list(dict.fromkeys(group for part in self.named() for group in part.groups))
        return {group: self.spec.weight / len(groups) for group in groups}

    def origins(self) -> list[tuple[str, ...]]:
        """Where each episode comes from, by what it says and by what it holds."""
        return [
            (*part.origins[i], content_origin(part.images[i, 0], part.actions[i, : part.mask[i].sum()]))
            for part in self.parts
            for i in range(len(part.mask))
        ]

    def parted(self, held: np.ndarray) -> tuple[Source, Source]:
        """The episodes that are not held out, and those that are: bool (E,)."""
        learned: list[Demonstrations] = []
        checked: list[Demonstrations] = []
        first = 0
        for part in self.parts:
            here = held[first : first + len(part.mask)]
            first += len(part.mask)
            for chosen, parts in ((~here, learned), (here, checked)):
                if chosen.any():
                    parts.append(part.some(np.flatnonzero(chosen)))
        return replace(self, parts=learned), replace(self, parts=checked)


def split(sources: Sequence[Source], share: float, seed: int) -> tuple[list[Source], list[Source]]:
    """Episodes of each source to learn from and for the validation loss, drawn once; copies are on one side.

    Args:
        sources: all that are learned from.
        share: of each source's episodes that are for validation.
        seed: of the drawing.
    """
    if not share:
        return list(sources), [replace(source, parts=[]) for source in sources]
    origins = [source.origins() for source in sources]
    held = held_out(origins, share, seed)
    learned, checked = zip(*(source.parted(mask) for source, mask in zip(sources, held, strict=True)), strict=True)
    groups = [group for group in copies_together([names for one in origins for names in one]) if len(group) > 1]
    together = f"; {sum(map(len, groups))} of them in {len(groups)} groups of copies, held together" if groups else ""
    total = sum(map(len, origins))
    log.info(f"validation: {sum(int(mask.sum()) for mask in held)} of {total} episodes{together}")
    return list(learned), list(checked)


def mixture_weights(sources: Iterable[Source]) -> dict[str, float]:
    """How often each group of all sources is drawn; they add up to 1."""
    weights = {group: weight for source in sources for group, weight in source.weights().items()}
    total = sum(weights.values())
    return {group: weight / total for group, weight in weights.items()}


def open_source(
    spec: SourceSpec,
    shape: Shape,
    cache: Path,
    *,
    reading: ReadOptions = AS_IT_IS,
) -> Source:
    """The episodes of a source.

    Args:
        spec: where it lies.
        shape: what the network needs.
        cache: folder for its shrunk images.
        reading: how data sets are read.

    Raises:
        UserError: it holds nothing readable, or nothing that fits the network.
    """
    sets = open_sets(spec.folder, reading)
    if all(one.format == ROUND_FORMAT for one in sets):
        folders = [one.path for whole in sets for one in (whole.sets if isinstance(whole, Joined) else (whole,))]
        source = Source(spec, [_checked_round(read_round(folder), folder, shape) for folder in folders])
    else:
        source = _converted(spec, shape, cache, reading)
    note = f", {source.left_out} still first frames left out" if source.left_out else ""
    log.info(f"{spec.name}: {source.episodes} episodes, {source.frames} steps from {spec.folder}{note}")
    return source


def _checked_round(part: Demonstrations, folder: Path, shape: Shape) -> Demonstrations:
    side = part.images.shape[2]
    if side != shape.image_px:
        raise UserError(f"{folder}: its images are {side} px wide, the network reads {shape.image_px}")
    count = part.actions.shape[2]
    names = part.action_names or shape.action_names[:count]
    if names != shape.action_names or count != len(names):
        raise UserError(
            f"{folder}: its actions are {list(names)} in {count} columns, wanted {list(shape.action_names)}"
        )
    step_s = part.step_s or shape.step_s
    if not math.isclose(step_s, shape.step_s, rel_tol=SAME_STEP):
        raise UserError(f"{folder}: its step is {step_s:g} s, the robot's is {shape.step_s:g} s")
    return part


def _converted(spec: SourceSpec, shape: Shape, cache: Path, reading: ReadOptions) -> Source:
    """A source whose images are shrunk into the cache first, unless they are there."""
    from vla_sim.datasets.store import content_hash

    index = cache / INDEX
    key = {
        "folder": str(spec.folder.resolve()),
        "sha256": content_hash(spec.folder),
        "shape": json.loads(json.dumps(vars(shape))),
        "reading": json.loads(json.dumps(asdict(reading))),
    }
    if index.exists():
        known = read_object(index)
        check_same(cache, {name: known.get(name) for name in key}, key)
    else:
        _begin_cache(cache, key)
        left_out = _fill_cache(spec, shape, cache, reading)
        write_whole(index, (json.dumps({**key, "left_out": left_out}, indent=1) + "\n").encode())
        known = {"left_out": left_out}
    return Source(spec, [read_round(path.parent) for path in sorted(cache.glob(f"part_*/{FACTS}"))], known["left_out"])


def _begin_cache(cache: Path, key: Mapping[str, Any]) -> None:
    """Keep the parts that a killed run made of the same episodes, and no others."""
    begun = cache / BEGUN
    if not (begun.exists() and read_object(begun) == key):
        shutil.rmtree(cache, ignore_errors=True)
        write_whole(begun, json.dumps(key).encode())


def _fill_cache(spec: SourceSpec, shape: Shape, cache: Path, reading: ReadOptions) -> int:
    cache.mkdir(parents=True, exist_ok=True)
    sweep_aside(cache)
    left_out = 0
    for number, episodes in enumerate(_in_parts(iter(open_dataset(spec.folder, reading).readable()))):
        fitted = [fitted_episode(episode, shape) for episode in episodes]
        left_out += sum(still for _, still in fitted)
        target = cache / f"part_{number:03}"
        if not target.exists():
            with whole_folder(target) as aside:
                save_round(aside, as_demonstrations([episode for episode, _ in fitted]))
    return left_out


def _in_parts(episodes: Iterator[Episode]) -> Iterator[list[Episode]]:
    part: list[Episode] = []
    for episode in episodes:
        part.append(episode)
        if len(part) == PART_EPISODES:
            yield part
            part = []
    if part:
        yield part


def fitted_episode(episode: Episode, shape: Shape) -> tuple[Episode, bool]:
    """An episode as the network needs it, and whether it began with a still frame that was left out.

    Images are squeezed to the network's square, actions become the expert's labels in the order of the network's
    components, and of a set recorded at a multiple of the robot's rate every so many actions become the one that moves
    as far as they do.

    Raises:
        UserError: its sentence is missing, its actions lack a component or have one more that moves, or its rate does
            not fit.
    """
    if not episode.instruction.strip() and episode.outcome is not Outcome.REFUSED:
        raise UserError(f"episode {episode.name} has no instruction; a policy that is told what to do needs one")
    every = _thinning(episode, shape)
    labels = _columns(episode, shape)
    still = not shape.keep_still and len(labels) > every and not labels[:every].any()
    first = every if still else 0
    images = episode.images[first : len(episode) : every]
    actions = labels
    if not math.isclose(episode.step_s, shape.step_s, rel_tol=SAME_STEP):
        actions = joined(labels, shape.action_names, step_s=episode.step_s, every=every, new_step_s=shape.step_s)
    sentences = episode.sentences[first::every][: len(actions) - first // every]
    fitted = replace(
        episode,
        # Where the still frame is left out, the episode may begin with another sentence.
        instruction=sentences[0] if sentences else episode.instruction,
        phrasings=episode.phrasings if not sentences or sentences[0] == episode.instruction else (),
        images=_shrunk(images, shape.image_px),
        actions=np.ascontiguousarray(actions[first // every :]),
        action_names=shape.action_names,
        labels=None,
        sentences=sentences,
        states=None,
        state_names=(),
        events=None,
        sensors={name: np.asarray(episode.sensors[name])[first : len(episode) : every] for name in _lidars(episode)},
        step_s=shape.step_s,
    )
    return fitted, still


def _lidars(episode: Episode) -> dict[str, LidarSpec]:
    """What measured its ranges, by name, where its robot is known; of other sensors nothing is learned."""
    try:
        known = load_embodiment(str(episode.provenance["embodiment"])).lidars
    except (KeyError, UserError):
        return {}
    shapes = {name: values.shape[1:] for name, values in episode.sensors.items()}
    return {name: lidar for name, lidar in known.items() if shapes.get(name) == (lidar.rays,)}


def _thinning(episode: Episode, shape: Shape) -> int:
    """How many steps of the episode are one of the robot's."""
    ratio = shape.step_s / episode.step_s
    if ratio < 0.99 or abs(ratio - round(ratio)) > 0.01 * ratio:
        raise UserError(
            f"episode {episode.name} has a step of {episode.step_s:g} s, which does not go into the robot's "
            f"{shape.step_s:g} s"
        )
    return round(ratio)


def _columns(episode: Episode, shape: Shape) -> np.ndarray:
    """The expert's labels by the names of the network's components, float32 (T, A)."""
    labels = episode.actions if episode.labels is None else episode.labels
    missing = [name for name in shape.action_names if name not in episode.action_names]
    if missing:
        raise UserError(
            f"episode {episode.name}: the network's actions are {list(shape.action_names)}, the episode has "
            f"{list(episode.action_names)}: {missing[0]} is missing"
        )
    for column, name in enumerate(episode.action_names):
        if name not in shape.action_names and np.abs(labels[:, column]).max() > 1e-6:
            raise UserError(f"episode {episode.name} moves by {name}, which the network's actions do not have")
    return labels[:, [episode.action_names.index(name) for name in shape.action_names]]


def _shrunk(images: np.ndarray, side_px: int) -> np.ndarray:
    from vla_sim.policies.images import shrink

    return shrink(shrink(np.ascontiguousarray(images), CAMERA_PX), side_px)


def as_demonstrations(episodes: Sequence[Episode]) -> Demonstrations:
    """Where the goal is in the images is not known; of LiDARs, those that all episodes have are kept."""
    each = [_lidars(episode) for episode in episodes]
    return Demonstrations.padded(
        images=[episode.images for episode in episodes],
        actions=[episode.actions for episode in episodes],
        texts=[list(episode.phrasings) or [episode.instruction] for episode in episodes],
        scenarios=[str(episode.provenance.get("scenario", "")) for episode in episodes],
        outcomes=[episode.outcome.value if episode.outcome else "" for episode in episodes],
        action_names=episodes[0].action_names,
        step_s=episodes[0].step_s,
        origins=[origins_of(episode) for episode in episodes],
        later=[_later(episode.sentences) for episode in episodes],
        sensors=[episode.sensors for episode in episodes],
        lidars={name: lidar for name, lidar in each[0].items() if all(have.get(name) == lidar for have in each)},
    )


def _later(sentences: Sequence[str]) -> Later:
    """Where another sentence begins, from the sentence of each step."""
    return tuple((i, [text]) for i, text in enumerate(sentences) if i and text != sentences[i - 1])


def describe(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Plain facts for a run's plan."""
    shares: Mapping[str, float] = mixture_weights(sources)
    return [
        {
            "name": source.spec.name,
            "folder": str(source.spec.folder.resolve()),
            "share": sum(share for group, share in shares.items() if group.split("/")[0] == source.spec.name),
            "episodes": source.episodes,
            "frames": source.frames,
        }
        for source in sources
    ]
