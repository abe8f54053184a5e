"""Rounds of training data as our own trainings keep them: a folder with four arrays and `facts.json` each.

images.npy uint8 (E, T, h, w, 3), actions.npy float32 (E, T, A) of the expert, goals.npy float32 (E, T, 2) and mask.npy
bool (E, T), padded to the longest episode; the texts, scenarios and outcomes of the E episodes stand in facts.json.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode, lazy_images
from vla_sim.core.errors import UserError
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome
from vla_sim.datasets.base import AS_IT_IS, STEP_S, Dataset, Format, ReadOptions, open_all, picked, squeezed
from vla_sim.datasets.untrusted import list_of, number_of, read_json, read_npy, table_of, text_of

ARRAYS = ("images", "actions", "goals", "mask")
FACTS_FILE = "facts.json"
ROUND_FORMAT = "rounds"


@dataclass(frozen=True)
class Round:
    """A round as it lies on the disk; the arrays are memory maps.

    Attributes:
        images, actions, goals, mask: see the head of this file.
        facts: "texts", "scenarios" and "outcomes", a list of E each; of newer rounds also "action_names", "step_s"
            and "origins", a list of texts for each episode: see `vla_sim.datasets.origins`.
    """

    images: np.ndarray
    actions: np.ndarray
    goals: np.ndarray
    mask: np.ndarray
    facts: dict[str, Any]


def open_round(folder: Path) -> Round:
    """The arrays of a round, checked against each other.

    Raises:
        UserError: it is missing, incomplete or damaged.
    """
    try:
        facts = _facts(folder)
        images, actions, goals, mask = (read_npy(folder / f"{name}.npy", mapped=True) for name in ARRAYS)
        if mask.ndim != 2 or mask.dtype != bool:
            raise UserError(f"{folder}: mask must be bool (E, T), got {mask.dtype} {mask.shape}")
        count, steps = mask.shape
        expected = {"images": (count, steps), "actions": (count, steps), "goals": (count, steps, 2)}
        for name, array in (("images", images), ("actions", actions), ("goals", goals)):
            if array.shape[: len(expected[name])] != expected[name]:
                raise UserError(f"{folder}: {name} have shape {array.shape}, mask {mask.shape}")
        if images.dtype != np.uint8 or images.ndim != 5 or images.shape[4] != 3 or actions.ndim != 3:
            raise UserError(f"{folder}: images are {images.dtype} {images.shape}, actions {actions.shape}")
        for name in ("texts", "scenarios", "outcomes"):
            if len(facts[name]) != count:
                raise UserError(f"{folder}: {name} must be a list of {count}")
        if len(facts["origins"]) not in (0, count):
            raise UserError(f"{folder}: origins must be a list of {count}")
    except UserError as error:
        raise UserError(
            f"{folder}: its episodes cannot be read: {error}; collect them again or leave them out"
        ) from error
    return Round(images, actions, goals, mask, facts)


def _facts(folder: Path) -> dict[str, Any]:
    """`facts.json`, checked."""
    path = folder / FACTS_FILE
    facts = table_of(read_json(path), str(path))
    for name in ("texts", "scenarios", "outcomes"):
        facts[name] = list_of(facts.get(name), f"{path}: {name}")
    for texts in facts["texts"]:
        if not list_of(texts, f"{path}: texts"):
            raise UserError(f"{path}: texts has an episode without a sentence")
        for text in texts:
            text_of(text, f"{path}: texts")
    for text in facts["scenarios"]:
        text_of(text, f"{path}: scenarios")
    facts["outcomes"] = [text_of(outcome or "", f"{path}: outcomes") for outcome in facts["outcomes"]]
    if facts.get("action_names") is not None:
        names = list_of(facts["action_names"], f"{path}: action_names")
        facts["action_names"] = [text_of(name, f"{path}: action_names") for name in names]
    facts["origins"] = [
        tuple(text_of(name, f"{path}: origins") for name in list_of(names, f"{path}: origins"))
        for names in list_of(facts.get("origins", []), f"{path}: origins")
    ]
    if "step_s" in facts:
        facts["step_s"] = number_of(facts["step_s"], f"{path}: step_s", least=1e-4, most=3600)
    return facts


class RoundsDataset(Dataset):
    """The episodes of one round."""

    format = ROUND_FORMAT

    def __init__(self, path: Path, options: ReadOptions = AS_IT_IS) -> None:
        super().__init__(path, options)
        self._round = open_round(path)

    def __len__(self) -> int:
        return len(self._round.mask)

    def place(self, index: int) -> str:
        """See `Dataset`."""
        return f"{self.path.resolve().name}#{index}"

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        data, where = self._round, f"{self.path}: episode {index}"
        steps = int(np.asarray(data.mask[index]).sum())
        if not steps or not data.mask[index, :steps].all():
            raise UserError(f"{where}: its mask has gaps or is empty")
        names = data.facts.get("action_names") or ACTION_NAMES[: data.actions.shape[2]]
        if len(names) != data.actions.shape[2]:
            raise UserError(f"{where}: {data.actions.shape[2]} columns of actions, but names for {len(names)}")
        actions, names = picked(np.asarray(data.actions[index, :steps]), names, self.options.renamed(), where)
        scenario, outcome, texts = (data.facts[name][index] for name in ("scenarios", "outcomes", "texts"))
        size = self.options.image_px or data.images.shape[2:4][::-1]
        try:
            return Episode(
                name=self.place(index),
                images=lazy_images((steps, size[1], size[0], 3), functools.partial(self._images, index)),
                actions=np.ascontiguousarray(actions, dtype=np.float32),
                action_names=tuple(names),
                instruction=texts[0],
                step_s=float(data.facts.get("step_s", STEP_S)),
                outcome=Outcome(outcome) if outcome else None,
                provenance={"source": self.place(index), "scenario": str(scenario)},
                phrasings=tuple(texts),
                goals=np.asarray(data.goals[index, :steps], dtype=np.float32),
            )
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{where}: {error}") from error

    def _images(self, index: int, which: slice) -> np.ndarray:
        return squeezed(np.array(self._round.images[index, which]), self.options.image_px)


def _open(path: Path, found: Sequence[Path], options: ReadOptions) -> Dataset:
    return open_all(path, found, options, RoundsDataset)


def _looks_like(path: Path) -> bool:
    return (path / FACTS_FILE).is_file()


FORMAT = Format(ROUND_FORMAT, f"rounds of our own trainings ({FACTS_FILE} beside images.npy ...)", _looks_like, _open)
