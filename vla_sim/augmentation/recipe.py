"""Recipes: lists of augmentations in words, as the command line has them. Used by `vla_sim.augment`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vla_sim.augmentation.base import Augmentation
from vla_sim.augmentation.images import Blur, Colour, Jpeg, Light, Noise
from vla_sim.augmentation.mirroring import Mirror
from vla_sim.augmentation.redriving import Perturb, Rerender
from vla_sim.augmentation.timing import Speed
from vla_sim.augmentation.viewing import Crop, Tilt
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest

# Made of a value ("" takes the default) and the robot of recordings that do not say theirs.
_Maker = Callable[[float | None, str | None], Augmentation]


@dataclass(frozen=True)
class Kind:
    """One augmentation that recipes may name.

    Attributes:
        make: of its value (None: the usual) and the robot of recordings that do not say theirs.
        value: what the value means; "" takes none.
        help: for people.
        drawn: whether two copies differ.
    """

    make: _Maker
    value: str
    help: str
    drawn: bool = True


def _strong(kind: Callable[[float], Augmentation]) -> _Maker:
    return lambda value, robot: kind(1.0 if value is None else value)


KINDS: dict[str, Kind] = {
    "rerender": Kind(lambda _, robot: Rerender(robot), "", "simulated episodes under other surfaces and light"),
    "perturb": Kind(
        lambda value, robot: Perturb(0.5 if value is None else value, robot),
        "noise in shares of full speed, usually 0.5",
        "simulated worlds driven again with noise and the expert's labels",
    ),
    "mirror": Kind(lambda _, robot: Mirror(), "", "left becomes right: images, motion, words", drawn=False),
    "light": Kind(_strong(Light), "strength", "brightness, tone curve, light from one side"),
    "colour": Kind(_strong(Colour), "strength", "contrast, saturation, tint"),
    "blur": Kind(_strong(Blur), "strength", "out of focus"),
    "noise": Kind(_strong(Noise), "strength", "noise of the sensor"),
    "jpeg": Kind(_strong(Jpeg), "strength", "traces of JPEG"),
    "tilt": Kind(lambda value, robot: Tilt(1.0 if value is None else value, robot), "strength", "a bent camera mount"),
    "crop": Kind(_strong(Crop), "strength", "a part of the image, enlarged"),
    "speed": Kind(
        lambda value, robot: Speed(value, embodiment=robot), "factor", "faster or slower, other time between steps"
    ),
    "pace": Kind(
        lambda value, robot: Speed(value, keep_step=True, embodiment=robot),
        "factor",
        "faster or slower, other number of steps",
    ),
}


@dataclass(frozen=True)
class Recipe:
    """Augmentations that are made one after the other.

    Attributes:
        text: as it was written.
        steps: what is done.
        drawn: whether two copies differ.
    """

    text: str
    steps: tuple[Augmentation, ...]
    drawn: bool

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The episode after all steps; each draws from a stream of its own.

        Raises:
            UserError: a step refuses it.
        """
        episode.refuse_sentences("augmentations change one sentence an episode: leave it out")
        for step, stream in zip(self.steps, rng.spawn(len(self.steps)), strict=True):
            episode = step(episode, stream)
        return episode


def read_recipe(text: str, embodiment: str | None = None) -> Recipe:
    """The recipe of a text such as "mirror,light=0.5,noise".

    Args:
        text: names between commas, each perhaps with a value.
        embodiment: name or file of the robot, for recordings that do not say theirs.

    Raises:
        UserError: an unknown name, or a value that is none.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise UserError(f"a recipe is a list of names between commas, e.g. mirror,light=0.5; got {text!r}")
    steps, drawn = [], False
    for word in words:
        name, equals, value = word.partition("=")
        if name not in KINDS:
            raise UserError(f"unknown augmentation {name!r}; {suggest(name, KINDS, most=len(KINDS))}")
        kind = KINDS[name]
        steps.append(kind.make(_number(word, kind, value) if equals else None, embodiment))
        drawn = drawn or (kind.drawn and not (name in ("speed", "pace") and equals))
    return Recipe(text, tuple(steps), drawn)


def _number(word: str, kind: Kind, value: str) -> float:
    if not kind.value:
        raise UserError(f"recipe {word!r}: this augmentation takes no value")
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"recipe {word!r}: the {kind.value} must be a number, got {value!r}") from error
