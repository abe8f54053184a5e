"""What every augmentation of an episode is, and how it leaves its trace. Used by all modules of this package."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError
from vla_sim.core.specs import Embodiment

# Key of the provenance under which augmentations are listed in order: "mirror; light(gain=1.08)".
TRACE = "augmentation"
MOST_STRENGTH = 3.0
# Augmentations after which the image shows another view or another look than further sensors do.
MOVED_VIEW = ("rerender", "tilt", "crop")
_BETWEEN = "; "


class Augmentation(Protocol):
    """Makes another episode of one; the given one stays as it is. Equal episode, equal random numbers: equal result."""

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The other episode.

        Args:
            episode: what is there.
            rng: where chance comes from.

        Raises:
            UserError: this episode cannot be changed so; says why.
        """


def check_strength(what: str, strength: float) -> None:
    """Refuse strengths outside 0 to MOST_STRENGTH.

    Raises:
        UserError: names the augmentation.
    """
    if not (math.isfinite(strength) and 0 <= strength <= MOST_STRENGTH):
        raise UserError(f"{what}: strength must lie between 0 and {MOST_STRENGTH:g}, got {strength}")


def trace_of(episode: Episode) -> tuple[str, ...]:
    """The augmentations that an episode went through, in order."""
    listed = str(episode.provenance.get(TRACE, ""))
    return tuple(listed.split(_BETWEEN)) if listed else ()


def with_trace(episode: Episode, trace: tuple[str, ...], **changed: Any) -> Episode:
    """The episode with this trace, and with other fields changed as `dataclasses.replace` does."""
    facts: dict[str, Plain] = dict(changed.pop("provenance", episode.provenance))
    facts.pop(TRACE, None)
    if trace:
        facts[TRACE] = _BETWEEN.join(trace)
    return replace(episode, provenance=facts, **changed)


def changed(episode: Episode, what: str, parameters: Mapping[str, Plain], **fields: Any) -> Episode:
    """The episode with other fields, and with one more augmentation in its trace.

    Raises:
        UserError: it has further sensors, which the augmentation would have to change with the images.
    """
    if what in MOVED_VIEW:
        refuse_sensors(episode, what, but_ranges=True)
    listed = ", ".join(f"{key}={_short(value)}" for key, value in parameters.items())
    return with_trace(episode, (*trace_of(episode), f"{what}({listed})"), **fields)


def refuse_sensors(episode: Episode, what: str, *, but_ranges: bool = False) -> None:
    """Refuse an augmentation that would leave further sensors showing another world than the images.

    Args:
        episode: what is to be changed.
        what: the augmentation.
        but_ranges: ranges of a LiDAR may stay: what only the camera's view or light changes is the same for them.

    Raises:
        UserError: the episode has such sensors.
    """
    names = [name for name, values in episode.sensors.items() if not (but_ranges and values.ndim == 2)]
    if names:
        raise UserError(f"{episode.name}: {what} changes images only, not its sensors {', '.join(names)}")


def _short(value: Plain) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def robot_of(episode: Episode, given: str | None) -> Embodiment:
    """The robot that an episode was recorded with.

    Args:
        episode: whose provenance is asked.
        given: name or file of the robot; it comes in where the provenance names none, or one whose file is elsewhere.

    Raises:
        UserError: nobody says it, or there is no such robot.
    """
    said = str(episode.provenance.get("embodiment", ""))
    if not said and given is None:
        raise UserError(f"{episode.name}: the recording does not say which robot drove; name it with --embodiment")
    if given is None:
        return load_embodiment(said)
    robot = load_embodiment(given)
    return robot if said in ("", robot.name) else load_embodiment(said)
