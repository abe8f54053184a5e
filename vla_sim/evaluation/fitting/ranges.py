"""Ranges of distance, offset, size and speed in which a rollout succeeds, found by sampling worlds.

First over wide ranges, then around the worlds that succeed or nearly do; of the last ones the sides of a box are peeled
off until nearly all worlds within succeed (patient rule induction, J. H. Friedman and N. I. Fisher, 1999). The same
seed gives the same worlds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from vla_sim.core.specs import Embodiment
from vla_sim.core.types import SuccessRule
from vla_sim.evaluation.fitting.sequences import Drive
from vla_sim.evaluation.fitting.worlds import Bodies, Judged, Worlds, judge, path_of, values_of, varied, worlds_of
from vla_sim.scenarios import load_scenario

Ranges = Mapping[str, tuple[float, float]]

# What is tried where nothing else is said, in metres from the robot's centre at its start.
WIDE: Ranges = {
    "goal_ahead_m": (0.5, 7.0),
    "goal_aside_m": (-3.0, 3.0),
    "obstacle_ahead_m": (0.3, 4.0),
    "obstacle_aside_m": (-1.0, 1.0),
    "obstacle_width_m": (0.15, 0.8),
}
# Worlds of the scenario that sizes, turns and arrangements are taken from.
SCENES = 200
# Share of the worlds of a box that must succeed, and successes without which nothing is said about ranges.
GOOD_SHARE, FEWEST = 0.95, 20
# Rounds after the first, and how many worlds the next one is drawn around at least.
ROUNDS, NEAREST = 3, 100
# Share of the worlds that is peeled off at a time.
PEEL = 0.04
# Obstacles start this far beyond the robot, and the goal beyond the obstacles: closer worlds mean nothing.
APART_M = 0.05


@dataclass(frozen=True)
class Fit:
    """What was found for one drive at one speed.

    Attributes:
        drive: its name.
        scenario: whose worlds it was tried in.
        count: how many recordings are this drive.
        keys: as it was written.
        steps: number of actions.
        speed_mps: at which the robot translates.
        end_m: (ahead, aside) where it ends.
        share_as_is: share of the scenario's own worlds in which it succeeds.
        residual_as_is_m: by how much it misses there, the median, see `Judged`.
        as_is: ranges of the scenario's own worlds.
        share_tried: share of all worlds tried that succeed.
        residual_m: the least residual of all worlds tried.
        ranges: in which it succeeds; empty where hardly any world does.
        share: of the worlds within those ranges that succeed.
    """

    drive: str
    scenario: str
    count: int
    keys: str
    steps: int
    speed_mps: float
    end_m: tuple[float, float]
    share_as_is: float
    residual_as_is_m: float
    as_is: Ranges
    share_tried: float
    residual_m: float
    ranges: Ranges = field(default_factory=dict)
    share: float = 0.0

    @property
    def outside(self) -> tuple[str, ...]:
        """Which of the scenario's own ranges do not meet those that are needed; none where it succeeds as it is."""
        if self.share_as_is >= GOOD_SHARE:
            return ()
        return tuple(
            name for name, (low, high) in self.ranges.items() if self.as_is[name][1] < low or self.as_is[name][0] > high
        )


def fit(
    drive: Drive,
    robot: Embodiment,
    speed_mps: float,
    *,
    count: int,
    seed: int,
    success: SuccessRule = SuccessRule.REACHED,
    wide: Ranges = WIDE,
) -> Fit:
    """Try a rollout in `count` worlds around those of its scenario.

    Args:
        drive: what was driven.
        robot: by whom.
        speed_mps: at which it translates; the robot's own speed is `robot.cruise_mps`.
        count: worlds of each round.
        seed: of the first of the scenario's worlds, and of what is drawn.
        success: the rule by which it succeeds.
        wide: ranges of the first round.

    Raises:
        UserError: no such scenario, or nothing is to be reached there.
    """
    radius = robot.body.radius_m
    scenario = load_scenario(drive.scenario)
    own = worlds_of([scenario.sample(seed + i, robot_radius_m=radius) for i in range(SCENES)])
    own = replace(own, success=success)
    path = path_of(drive.actions, robot) * (speed_mps / robot.cruise_mps)
    as_is = judge(own, path, radius)
    rng = np.random.default_rng(seed)
    names = list(values_of(own))
    first = tried = _tried(own, path, {name: wide[name] for name in names}, count, rng, radius)
    for _ in range(ROUNDS):
        near = _nearest(tried.judged)
        around = {name: _span(column[near], wide[name]) for name, column in tried.values.items()}
        tried = _tried(own, path, around, count, rng, radius)
    ranges, share = box(tried.values, tried.judged.success)
    return Fit(
        *(drive.name, scenario.name, drive.count, drive.keys, len(drive.actions), speed_mps),
        end_m=(float(path[-1, 0]), float(path[-1, 1])),
        share_as_is=float(as_is.success.mean()),
        residual_as_is_m=float(np.median(as_is.residual_m)),
        as_is={name: (float(values.min()), float(values.max())) for name, values in values_of(own).items()},
        share_tried=float(first.judged.success.mean()),
        residual_m=float(min(first.judged.residual_m.min(), tried.judged.residual_m.min())),
        ranges=ranges,
        share=share,
    )


@dataclass(frozen=True, eq=False)
class _Tried:
    """A round of worlds: their geometry by name and how the rollout ended."""

    values: Mapping[str, np.ndarray]
    judged: Judged


def _tried(
    own: Worlds, path: np.ndarray, ranges: Ranges, count: int, rng: np.random.Generator, radius: float
) -> _Tried:
    """Worlds drawn evenly from ranges; without those that no room can hold, or in which nothing is in the way."""
    values = {name: rng.uniform(low, high, count) for name, (low, high) in ranges.items()}
    worlds = varied(own.take(np.arange(count) % len(own)), values)
    possible = np.ones(count, dtype=bool)
    for body in worlds.obstacles:
        half = np.where(body.disc, body.half_m[:, 0], body.half_m.max(axis=1))
        possible &= np.hypot(body.x_m, body.y_m) - half >= radius + APART_M
        possible &= worlds.goal.gaps(np.stack([body.x_m, body.y_m], axis=1)[:, None])[:, 0] >= half + APART_M
    if worlds.side is not None:
        possible &= np.any([_in_the_way(body, worlds.goal, radius) for body in worlds.obstacles], axis=0)
    chosen = np.flatnonzero(possible)
    judged = judge(worlds.take(chosen), path, radius)
    return _Tried({name: column[chosen] for name, column in values.items()}, judged)


def _nearest(judged: Judged) -> np.ndarray:
    """The worlds that succeed; where those are few, those that miss by least."""
    if judged.success.sum() >= NEAREST:
        return np.flatnonzero(judged.success)
    return np.argsort(judged.residual_m, kind="stable")[:NEAREST]


def _span(values: np.ndarray, within: tuple[float, float]) -> tuple[float, float]:
    """From the least to the largest value, and a tenth more on each side."""
    low, high = float(values.min()), float(values.max())
    more = 0.1 * (high - low)
    return max(within[0], low - more), min(within[1], high + more)


def _in_the_way(body: Bodies, goal: Bodies, radius: float) -> np.ndarray:
    """Whether a robot that drives straight to the goal touches a body on its way, bool (W,)."""
    share = np.linspace(0.0, 1.0, 24)[None, :, None]
    line = share * np.stack([goal.x_m, goal.y_m], axis=1)[:, None]
    return np.asarray(body.gaps(line).min(axis=1) < radius)


def box(values: Mapping[str, np.ndarray], success: np.ndarray) -> tuple[dict[str, tuple[float, float]], float]:
    """Ranges in which nearly all worlds succeed.

    Of the box of all worlds the side is peeled off, again and again, without which the largest share succeeds.

    Args:
        values: geometry of W worlds by name, (W,) each.
        success: bool (W,).

    Returns:
        Ranges by name and the share within; none and 0 where too few worlds succeed.
    """
    if success.sum() < FEWEST:
        return {}, 0.0
    inside = np.flatnonzero(np.ones(len(success), dtype=bool))
    while success[inside].mean() < GOOD_SHARE and success[inside].sum() > FEWEST:
        inside = max(_peeled(values, inside), key=lambda kept: float(success[kept].mean()))
    ranges = {name: (float(column[inside].min()), float(column[inside].max())) for name, column in values.items()}
    return ranges, float(success[inside].mean())


def _peeled(values: Mapping[str, np.ndarray], inside: np.ndarray) -> Iterator[np.ndarray]:
    """What is left of the worlds inside when one side or another is peeled off."""
    for column in values.values():
        low, high = np.quantile(column[inside], (PEEL, 1 - PEEL))
        yield inside[column[inside] > low]
        yield inside[column[inside] < high]
