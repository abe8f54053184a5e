"""What a recording says, as its files have it: labels and words, not yet twists and episodes. All formats give it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome
from vla_sim.datasets.channel_order import BGR, RGB
from vla_sim.datasets.serbot.actions import check_columns
from vla_sim.datasets.untrusted import list_of, number_of, plain_facts, shown, table_of, text_of

# Version of what this simulator adds to a recording.
FORMAT = 1


@dataclass(frozen=True)
class RawSteps:
    """Actions and what goes with them, as a file has them: labels, not yet twists.

    Attributes:
        actions: float32 (T, C).
        columns: names of the C columns where the file says them, else ().
        events: (T,) or None.
        expert: float32 (T, C) or None.
        states, state_names, sensors: see `Episode`.
    """

    actions: np.ndarray
    columns: tuple[str, ...] = ()
    events: tuple[str, ...] | None = None
    expert: np.ndarray | None = None
    states: np.ndarray | None = None
    state_names: tuple[str, ...] = ()
    sensors: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class RawFacts:
    """What a file says about itself.

    Attributes:
        layout: arrangement, one of the HDF5 or folder layouts.
        frames: T.
        last_image: whether there is an image after the last action besides.
        image_px: (width, height) of its images.
        attributes: the collector's root attributes, or the content of metadata.json.
        metadata: the proposed group.
        instruction: "" where it has none.
        sentences: one for each image where the instruction changes; () else.
        ours: what this simulator wrote of an episode (`vla_sim_*`), see `own_facts`; empty for recordings of the robot.
    """

    layout: str
    frames: int
    image_px: tuple[int, int]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""
    ours: Mapping[str, Any] = field(default_factory=dict)
    last_image: bool = False
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("attributes", "metadata", "ours"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


def own_facts(value: Any, where: str) -> dict[str, Any]:
    """What this simulator wrote about an episode, checked: what a file claims of itself need not be true to its form.

    Raises:
        UserError: another format, or a value that cannot be meant.
    """
    ours = table_of(value, where)
    if not ours:
        return ours
    if (version := ours.get("format", FORMAT)) != FORMAT:
        raise UserError(f"{where}: has vla_sim_format {shown(version)}, this version reads {FORMAT}")
    checks = {
        "channel_order": lambda v, what: _one_of(v, (RGB, BGR), what),
        "action_columns": lambda v, what: list(check_columns([text_of(n, what) for n in list_of(v, what)])),
        "action_names": _action_names,
        "label_scale": _label_scale,
        "step_s": lambda v, what: number_of(v, what, least=1e-4, most=3600),
        "instruction": text_of,
        "outcome": lambda v, what: v and _one_of(v, [o.value for o in Outcome], what),
        "provenance": plain_facts,
    }
    return ours | {key: check(ours[key], f"{where}: {key}") for key, check in checks.items() if key in ours}


def _one_of(value: Any, allowed: Any, what: str) -> str:
    if not isinstance(value, str) or value not in allowed:
        raise UserError(f"{what} is {shown(value)}; {suggest(str(value)[:99], allowed)}")
    return value


def _action_names(value: Any, what: str) -> list[str]:
    return [_one_of(name, ACTION_NAMES, what) for name in list_of(value, what)]


def _label_scale(value: Any, what: str) -> dict[str, float]:
    names = ("label", "speed_mps", "turn_radps")
    scale = table_of(value, what)
    for name in scale:
        _one_of(name, names, what)
    return {name: number_of(number, f"{what}.{name}", least=1e-9, most=1e9) for name, number in scale.items()}


def check_actions(actions: np.ndarray, frames: int, path: Path, columns: Sequence[str] = ()) -> None:
    """Refuse actions that do not fit the images or are not finite.

    Args:
        actions: (T, C).
        frames: number of images.
        path: for messages.
        columns: their names, where the file says them; without, there must be as many as the lab's files have.

    Raises:
        UserError: says which step.
    """
    expected = f"(T, {len(columns)})" if columns else "(T, 3) or (T, 2)"
    if actions.ndim != 2 or actions.shape[1] not in ((len(columns),) if columns else (2, 3)):
        raise UserError(f"{path}: actions must have shape {expected}, got {actions.shape}")
    if len(actions) not in (frames, frames - 1) or not len(actions):
        raise UserError(f"{path}: {frames} images but {len(actions)} actions")
    bad = np.argwhere(~np.isfinite(actions))
    if len(bad):
        step, column = map(int, bad[0])
        raise UserError(f"{path}: action {step}, column {column} is {actions[step, column]}; {len(bad)} such values")


# Why an episode whose instruction changes cannot be written in these formats.
ONE_SENTENCE = "these files hold one for an episode: write a LeRobot set (--format lerobot), which holds one a frame"


def one_sentence(sentences: tuple[str, ...], where: Path | str) -> str:
    """The sentence of an episode that has one entry, or one a step.

    Raises:
        UserError: it changes on the way; an episode has one, and the first would be wrong for the rest.
    """
    for step, sentence in enumerate(sentences):
        if sentence != sentences[0]:
            raise UserError(
                f"{where}: its instruction changes at step {step}, from {shown(sentences[0])} to {shown(sentence)}; "
                "an episode has one: cut it there into two, or leave it out"
            )
    return sentences[0] if sentences else ""
