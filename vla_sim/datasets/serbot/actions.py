"""What the numbers in serbot's recordings mean: columns, label scale, events, and the still first frame.

The documents conflict about the columns. The collector is authoritative: forward, left, yaw rate. The format document
and the programming interface call the second one a yaw rate; who believes them says so with `columns`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES

COLLECTOR_COLUMNS = ("vx", "vy", "wz")
# The format document has vx, wz, gripper; "gripper" is a column without meaning on this robot.
COLUMN_NAMES = (*ACTION_NAMES, "gripper")

START, MOVE, STOP = EVENTS = ("episode_start", "start_action", "stop_action")
# Frames of a recording: one still frame and 17 keys.
FRAMES = 18


@dataclass(frozen=True)
class LabelScale:
    """How recorded labels and twists relate. The robot keeps the heading only, so 1.15 is a label and not a speed.

    Attributes:
        label: value that a recording has for a full move.
        speed_mps, turn_radps: what the robot does then; the defaults are those of the embodiment serbot.
    """

    label: float = 1.15
    speed_mps: float = 0.5
    turn_radps: float = 0.8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"label scale: {name} must be positive, got {value}")

    def factors(self, names: Sequence[str]) -> np.ndarray:
        """Twist per label for each column, float64 (A,), in m/s or rad/s; what is no twist stays as it is."""
        full = {"vx": self.speed_mps, "vy": self.speed_mps, "wz": self.turn_radps}
        return np.array([full.get(name, self.label) / self.label for name in names])

    def twists(self, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Labels (T, A) as body twists, float32 (T, A), in m/s and rad/s."""
        return (labels.astype(np.float64) * self.factors(names)).astype(np.float32)

    def labels(self, twists: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Body twists (T, A) as labels, float32 (T, A)."""
        return (twists.astype(np.float64) / self.factors(names)).astype(np.float32)


# Labels that are twists already.
UNSCALED = LabelScale(1.0, 1.0, 1.0)


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """The names of a file's action columns, if they can be such.

    Raises:
        UserError: an unknown or repeated name.
    """
    for name in columns:
        if name not in COLUMN_NAMES:
            raise UserError(f"unknown action column {name!r}; {suggest(name, COLUMN_NAMES)}")
    if len(set(columns)) != len(columns):
        raise UserError(f"action columns must differ, got {list(columns)}")
    return tuple(columns)


def pick_columns(values: np.ndarray, columns: Sequence[str], wanted: Sequence[str], where: str) -> np.ndarray:
    """The wanted columns of a table of actions; what is left out must be zero.

    Args:
        values: float (T, C).
        columns: names of the C columns.
        wanted: names to keep, in this order.
        where: file, for messages.

    Raises:
        UserError: a wanted column is missing, or motion would be lost.
    """
    for name in wanted:
        if name not in columns:
            raise UserError(f"{where}: its actions have columns {list(columns)} but no {name}; ask for what it has")
    for index, name in enumerate(columns):
        moving = np.flatnonzero(values[:, index])
        if name not in wanted and len(moving):
            raise UserError(
                f"{where}: column {index} ({name}) is not zero at step {moving[0]} and would be lost; "
                f"ask for it with action_names, or say what the columns mean with columns"
            )
    return values[:, [list(columns).index(name) for name in wanted]]


def unknown_parts(names: Sequence[str]) -> str:
    """What to do about components that are no part of the motion of a mobile base; "" where there are none.

    Robots here are driven by vx, vy and wz, and neither serbot's files nor their policies have a place for more.
    """
    others = [name for name in names if name not in ACTION_NAMES]
    if not others:
        return ""
    shown = ", ".join(others[:6]) + (", ..." if len(others) > 6 else "")
    return (
        f"its actions have {shown}, which mobile robots have no place for; "
        "keep what moves the base: --columns NAME=vx NAME=vy, by the names that the set gives them"
    )


def full_columns(actions: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Actions (T, A) as the collector's three columns, zeros where a component does not exist.

    Raises:
        UserError: there are other components, which would be lost.
    """
    if problem := unknown_parts(names):
        raise UserError(problem)
    table = np.zeros((len(actions), len(COLLECTOR_COLUMNS)), dtype=actions.dtype)
    table[:, [COLLECTOR_COLUMNS.index(name) for name in names]] = actions
    return table


def default_events(actions: np.ndarray) -> tuple[str, ...]:
    """Events of an episode that has none: a stop where nothing moves, a key everywhere else."""
    return tuple(MOVE if row.any() else STOP for row in actions)


def with_still_start(episode: Episode) -> Episode:
    """The episode with the recordings' first frame: the robot stands, the action is zero."""

    def longer(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(values[:1]), values])

    first_state = None if episode.states is None else np.concatenate([episode.states[:1], episode.states])
    return replace(
        episode,
        images=np.concatenate([episode.images[:1], episode.images]),
        actions=longer(episode.actions),
        labels=None if episode.labels is None else longer(episode.labels),
        states=first_state,
        sensors={name: np.concatenate([values[:1], values]) for name, values in episode.sensors.items()},
        events=(START, *(episode.events or default_events(episode.actions))),
    )


def padded(episode: Episode, frames: int = FRAMES) -> Episode:
    """The episode with at least so many steps: the last image again with zero actions and stop events.

    The image after the last action, where there is one, is what the robot sees while it stands.
    """
    more = frames - len(episode)
    if more <= 0:
        return episode

    def longer(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros((more, values.shape[1]), values.dtype)])

    def held(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.repeat(values[-1:], more, axis=0)])

    events = episode.events or default_events(episode.actions)
    return replace(
        episode,
        images=held(episode.images),
        actions=longer(episode.actions),
        labels=None if episode.labels is None else longer(episode.labels),
        states=None if episode.states is None else held(episode.states),
        sensors={name: held(np.asarray(values)) for name, values in episode.sensors.items()},
        events=(*events, *(STOP,) * more),
    )
