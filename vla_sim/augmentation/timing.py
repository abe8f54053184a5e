"""The same episode slower or faster: twists are scaled and time with them, so that the path stays the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vla_sim.augmentation.base import changed, refuse_sensors, robot_of
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.motion import Pose, after, full_twists, joining_twist, path_of
from vla_sim.core.specs import ACTION_NAMES, ActuationKind, Embodiment
from vla_sim.sim.kinematics import Drive

# Factors are drawn between these where none is given.
SLOWEST, FASTEST = 0.8, 1.25
# Twists may pass a limit by this share: float32 rounds.
SLACK = 1e-5
# How far a robot without sideways motion may come off the old path when twists of two steps are joined.
OFF_PATH_M = 5e-3
RATE_NAMES = ("vx_mps", "vy_mps", "wz_radps")


@dataclass(frozen=True)
class Speed:
    """The drive played at another speed.

    Stretched, every image keeps its action, scaled, and `step_s` changes: exact. Resampled, `step_s` stays and there
    are fewer or more steps: their twists lead through the poses of the old path, images are the nearest recorded.
    What the wheels could not do, and the robot cut, is cut first: the path is that which was driven.

    Attributes:
        factor: 2 is twice as fast; None draws one that the robot can do between SLOWEST and FASTEST.
        keep_step: resample instead of stretching.
        embodiment: name or file of the robot, for recordings that do not say theirs.
    """

    factor: float | None = None
    keep_step: bool = False
    embodiment: str | None = None

    def __post_init__(self) -> None:
        if self.factor is not None and not (math.isfinite(self.factor) and 0.1 <= self.factor <= 10):
            raise UserError(f"speed: the factor must lie between 0.1 and 10, got {self.factor}")

    @property
    def name(self) -> str:
        """As in recipes."""
        return "pace" if self.keep_step else "speed"

    def __call__(self, episode: Episode, rng: np.random.Generator) -> Episode:
        """The drive at another speed.

        Raises:
            UserError: the robot cannot: it has one speed, or a limit or dead zone is in the way.
        """
        if self.factor == 1:
            return episode
        if self.keep_step:
            refuse_sensors(episode, "pace")
        robot = robot_of(episode, self.embodiment)
        episode = as_driven(episode, robot)
        low, high = possible_factors(episode, robot)
        factor = self.factor
        if factor is None:
            if low > FASTEST or high < SLOWEST:
                raise UserError(f"{episode.name}: no speed between {SLOWEST} and {FASTEST} of it can be driven")
            logs = np.log([max(low, SLOWEST), min(high, FASTEST)])
            factor = float(np.exp(rng.uniform(*logs)))
        elif not low <= factor <= high:
            raise UserError(
                f"{episode.name}: {robot.name} cannot drive it {factor:g} times as fast: its limits and dead zone "
                f"allow {low:.3g} to {high:.3g}"
            )
        return (resampled if self.keep_step else stretched)(episode, factor, robot)


def possible_factors(episode: Episode, robot: Embodiment) -> tuple[float, float]:
    """Smallest and largest factor at which every action and label stays within the robot's limits and moves it.

    Raises:
        UserError: the robot keeps the heading of a command only, so its speed cannot be scaled.
    """
    if robot.actuation.kind is ActuationKind.HEADING_PULSE:
        raise UserError(
            f"{episode.name}: {robot.name} drives at one speed whatever it is told (it keeps the heading only), "
            "so its actions cannot be scaled"
        )
    rows = [episode.actions] if episode.labels is None else [episode.actions, episode.labels]
    twists = full_twists(np.concatenate(rows).astype(np.float64), episode.action_names)
    limits = np.array([robot.max_mps, robot.max_mps, robot.max_radps])
    zones = np.array([robot.actuation.dead_zone_mps] * 2 + [robot.actuation.dead_zone_radps])
    drive = Drive(robot.drive)
    wheel_peak = max(float(np.abs(drive.wheel_speeds(tuple(row))).max()) for row in twists.tolist())  # type: ignore[arg-type]
    sizes = np.abs(twists)
    peaks = [*(sizes.max(axis=0) / limits), wheel_peak / robot.drive.max_wheel_radps]
    high = (1 + SLACK) / max(peaks) if max(peaks) > 0 else math.inf
    moving = sizes > zones
    shares = np.where(moving, zones / np.where(moving, sizes, 1), 0)
    return float(shares.max()) * (1 + SLACK), float(high)


def as_driven(episode: Episode, robot: Embodiment) -> Episode:
    """The episode with its actions and labels cut to what the wheels can do, as the robot does itself."""
    drive, columns = Drive(robot.drive), [ACTION_NAMES.index(name) for name in episode.action_names]

    def cut(values: np.ndarray) -> np.ndarray:
        twists = full_twists(values.astype(np.float64), episode.action_names)
        made = np.array([drive.limit((vx, vy, wz)) for vx, vy, wz in twists.tolist()])
        return made[:, columns].astype(np.float32)

    return replace(
        episode, actions=cut(episode.actions), labels=None if episode.labels is None else cut(episode.labels)
    )


def stretched(episode: Episode, factor: float, robot: Embodiment) -> Episode:
    """The same images with scaled actions and another time between them."""
    return changed(
        episode,
        "speed",
        {"factor": factor},
        actions=_scaled(episode.actions, factor),
        labels=None if episode.labels is None else _scaled(episode.labels, factor),
        states=_scaled_rates(episode, factor),
        step_s=episode.step_s / factor,
    )


def _scaled(values: np.ndarray, factor: float) -> np.ndarray:
    return (values.astype(np.float64) * factor).astype(np.float32)


def _scaled_rates(episode: Episode, factor: float) -> np.ndarray | None:
    """States with their speeds scaled; poses stay."""
    if episode.states is None:
        return None
    factors = [factor if name in RATE_NAMES else 1.0 for name in episode.state_names]
    return (episode.states.astype(np.float64) * factors).astype(np.float32)


def resampled(episode: Episode, factor: float, robot: Embodiment) -> Episode:
    """The drive at another speed with the same time between actions.

    Raises:
        UserError: two steps of a robot that cannot move sideways would have to be joined into one.
    """
    old_steps = len(episode)
    # The last step may reach past the end of the episode: there the robot stands.
    times = np.minimum(np.arange(math.ceil(old_steps / factor - 1e-9) + 1) * factor, old_steps)
    path = path_of(full_twists(episode.actions.astype(np.float64), episode.action_names), episode.step_s)
    columns = [ACTION_NAMES.index(name) for name in episode.action_names]
    moves, off_m = _moves_through([path.pose_at(time) for time in times], columns)
    if off_m > OFF_PATH_M:
        raise UserError(
            f"{episode.name}: {robot.name} cannot move sideways and would come {1000 * off_m:.0f} mm off its path; "
            "use speed, which changes the time between steps instead of their number"
        )
    last_image = len(episode.images) - 1
    nearest = np.minimum(np.floor(times + 0.5).astype(int), last_image)
    kept = nearest if episode.has_last_image else nearest[:-1]
    steps = np.minimum(nearest[:-1], old_steps - 1)
    states = _scaled_rates(episode, factor)
    return changed(
        episode,
        "pace",
        {"factor": factor},
        images=episode.images[kept],
        actions=(moves[:, columns] / episode.step_s).astype(np.float32),
        labels=None if episode.labels is None else _scaled(episode.labels[steps], factor),
        states=None if states is None else states[kept],
        events=None if episode.events is None else tuple(episode.events[step] for step in steps),
    )


def _moves_through(poses: Sequence[Pose], columns: Sequence[int]) -> tuple[np.ndarray, float]:
    """Moves (T, 3) from pose to pose with these components only, and how far from one of them they lead at most."""
    here, off_m, moves = poses[0], 0.0, []
    for there in poses[1:]:
        move = np.zeros(3)
        move[columns] = np.array(joining_twist(here, there))[columns]
        here = after(here, move)
        off_m = max(off_m, math.dist(here[:2], there[:2]))
        moves.append(move)
    return np.array(moves), off_m
