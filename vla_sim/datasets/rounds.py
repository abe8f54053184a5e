"""Rounds of training data as our own trainings keep them: a folder with four arrays and `facts.json` each.

images.npy uint8 (E, T, h, w, 3), actions.npy float32 (E, T, A) of the expert, goals.npy float32 (E, T, 2) and mask.npy
bool (E, T), padded to the longest episode; sensor_NAME.npy float32 (E, T, rays) of each LiDAR that `sensors` of
facts.json describes; the texts, scenarios and outcomes of the E episodes stand in facts.json, and
what is said on the way (`later`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.config import Place, read_table
from vla_sim.core.episode import Episode, lazy_images
from vla_sim.core.errors import UserError
from vla_sim.core.sensors import SENSOR_NAME, LidarSpec
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome
from vla_sim.datasets.base import AS_IT_IS, STEP_S, Dataset, Format, ReadOptions, open_all, picked, squeezed
from vla_sim.datasets.demonstrations import ARRAYS, Demonstrations, Later, Ranges
from vla_sim.datasets.untrusted import list_of, number_of, read_json, read_npy, table_of, text_of

FACTS_FILE = "facts.json"
ROUND_FORMAT = "rounds"


def open_round(folder: Path) -> Demonstrations:
    """A round as it lies on the disk: the arrays are memory maps, their values are as they are.

    Raises:
        UserError: it is missing, incomplete or damaged.
    """
    try:
        facts = _facts(folder)
        arrays: dict[str, Any] = {name: read_npy(folder / f"{name}.npy", mapped=True) for name in ARRAYS}
        for name in ("texts", "scenarios", "outcomes"):
            if len(facts[name]) != len(arrays["mask"]):
                raise UserError(f"{folder}: {name} must be a list of {len(arrays['mask'])}")
        facts["sensors"] = {
            name: Ranges(read_npy(ranges_file(folder, name), mapped=True), lidar)
            for name, lidar in facts["sensors"].items()
        }
        return Demonstrations(**arrays, **facts)
    except (UserError, ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{folder}: its episodes cannot be read: {error}; collect them again or leave them out"
        ) from error


def ranges_file(folder: Path, name: str) -> Path:
    """Where a round keeps what a LiDAR measured."""
    return folder / f"sensor_{name}.npy"


def _facts(folder: Path) -> dict[str, Any]:
    """What `facts.json` says of the episodes, checked."""
    path = folder / FACTS_FILE
    read = table_of(read_json(path), str(path))
    facts: dict[str, Any] = {
        name: list_of(read.get(name), f"{path}: {name}") for name in ("texts", "scenarios", "outcomes")
    }
    for texts in facts["texts"]:
        if not list_of(texts, f"{path}: texts"):
            raise UserError(f"{path}: texts has an episode without a sentence")
        for text in texts:
            text_of(text, f"{path}: texts")
    for text in facts["scenarios"]:
        text_of(text, f"{path}: scenarios")
    facts["outcomes"] = [text_of(outcome or "", f"{path}: outcomes") for outcome in facts["outcomes"]]
    if read.get("action_names") is not None:
        names = list_of(read["action_names"], f"{path}: action_names")
        facts["action_names"] = tuple(text_of(name, f"{path}: action_names") for name in names)
    facts["origins"] = [
        tuple(text_of(name, f"{path}: origins") for name in list_of(names, f"{path}: origins"))
        for names in list_of(read.get("origins", []), f"{path}: origins")
    ]
    facts["later"] = [
        tuple(_later(entry, f"{path}: later") for entry in list_of(entries, f"{path}: later"))
        for entries in list_of(read.get("later", []), f"{path}: later")
    ]
    facts["sensors"] = {
        _sensor_name(name, str(path)): read_table(LidarSpec, table, Place(str(path), f"sensors.{name}"))
        for name, table in table_of(read.get("sensors", {}), f"{path}: sensors").items()
    }
    if "step_s" in read:
        facts["step_s"] = number_of(read["step_s"], f"{path}: step_s", least=1e-4, most=3600)
    return facts


def _sensor_name(name: str, where: str) -> str:
    """The name of a sensor, which is part of a file's name."""
    if not SENSOR_NAME.fullmatch(name):
        raise UserError(f"{where}: sensors has a name that is none: {name!r:.80}")
    return name


def _later(entry: Any, where: str) -> tuple[int, list[str]]:
    """A step, and what is said from it on."""
    pair = list_of(entry, where)
    if len(pair) != 2 or not isinstance(pair[0], int):
        raise UserError(f"{where} must hold pairs of a step and its sentences, got {pair!r:.80}")
    return pair[0], [text_of(text, where) for text in list_of(pair[1], where)]


class RoundsDataset(Dataset):
    """The episodes of one round."""

    format = ROUND_FORMAT

    def __init__(self, path: Path, options: ReadOptions = AS_IT_IS) -> None:
        super().__init__(path, options)
        self._round = open_round(path)

    def __len__(self) -> int:
        return len(self._round)

    def place(self, index: int) -> str:
        """See `Dataset`."""
        return f"{self.path.resolve().name}#{index}"

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        data, where = self._round, f"{self.path}: episode {index}"
        steps = int(np.asarray(data.mask[index]).sum())
        if not steps or not data.mask[index, :steps].all():
            raise UserError(f"{where}: its mask has gaps or is empty")
        names = data.action_names or ACTION_NAMES[: data.actions.shape[2]]
        if len(names) != data.actions.shape[2]:
            raise UserError(f"{where}: {data.actions.shape[2]} columns of actions, but names for {len(names)}")
        actions, names = picked(np.asarray(data.actions[index, :steps]), names, self.options.renamed(), where)
        scenario, outcome, texts = data.scenarios[index], data.outcomes[index], data.texts[index]
        size = self.options.image_px or data.images.shape[2:4][::-1]
        try:
            return Episode(
                name=self.place(index),
                images=lazy_images((steps, size[1], size[0], 3), functools.partial(self._images, index)),
                actions=np.ascontiguousarray(actions, dtype=np.float32),
                action_names=tuple(names),
                instruction=texts[0],
                step_s=float(data.step_s or STEP_S),
                outcome=Outcome(outcome) if outcome else None,
                provenance={"source": self.place(index), "scenario": scenario},
                phrasings=tuple(texts),
                sentences=_by_step(texts[0], data.later[index], steps),
                goals=np.asarray(data.goals[index, :steps], dtype=np.float32),
                sensors={name: np.array(ranges.values[index, :steps]) for name, ranges in data.sensors.items()},
            )
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{where}: {error}") from error

    def _images(self, index: int, which: slice) -> np.ndarray:
        return squeezed(np.array(self._round.images[index, which]), self.options.image_px)


def _by_step(first: str, later: Later, steps: int) -> tuple[str, ...]:
    """The sentence of each step, () where it is always the first."""
    said = [first] * steps
    for step, phrasings in later:
        said[step:] = [phrasings[0]] * (steps - step)
    return tuple(said) if later else ()


def _open(path: Path, found: Sequence[Path], options: ReadOptions) -> Dataset:
    return open_all(path, found, options, RoundsDataset)


def _looks_like(path: Path) -> bool:
    return (path / FACTS_FILE).is_file()


FORMAT = Format(ROUND_FORMAT, f"rounds of our own trainings ({FACTS_FILE} beside images.npy ...)", _looks_like, _open)
