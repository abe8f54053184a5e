"""Demonstrations as arrays: episodes padded to the longest, as trainings collect, keep and learn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vla_sim.core.sensors import LidarSpec

ARRAYS = ("images", "actions", "goals", "mask")
_PER_EPISODE = ("texts", "later", "groups", "origins", "scenarios", "outcomes")
# Sentences that are said later in an episode: before which step, and its equivalent phrasings.
Later = tuple[tuple[int, Sequence[str]], ...]


@dataclass(frozen=True)
class Ranges:
    """What a LiDAR measured at each step.

    Attributes:
        values: float32 (E, T, rays) in metres, 0 where there is no step; an array or a memory map.
        lidar: measured them.

    Raises:
        ValueError: they contradict each other.
    """

    values: np.ndarray
    lidar: LidarSpec

    def __post_init__(self) -> None:
        if self.values.dtype != np.float32 or self.values.ndim != 3 or self.values.shape[2] != self.lidar.rays:
            raise ValueError(
                f"ranges must be float32 (E, T, {self.lidar.rays}), got {self.values.dtype} {self.values.shape}"
            )


@dataclass(frozen=True)
class Demonstrations:
    """Episodes of one robot with the expert's action at each step, padded to the longest.

    Attributes:
        images: uint8 (E, T, h, w, 3) at the model's resolution; an array or a memory map.
        texts: per episode, equivalent phrasings of its instruction, at least one.
        later: per episode, what else is said on the way, in order: the step from which it holds, and its equivalent
            phrasings. Empty: nothing.
        actions: float32 (E, T, A), the expert's twist at each step in m/s and rad/s, whoever steered.
        mask: bool (E, T), which steps exist.
        groups: per episode, what it is counted under: groups are drawn equally often. Empty: all one.
        goals: float32 (E, T, 2), where the goal is in each image: (right, down) as shares of its sides, NaN where it
            is outside. None: nowhere known.
        sensors: what each LiDAR measured, by its name; robots' other sensors are not kept.
        origins: per episode, where it comes from (`vla_sim.datasets.origins`). Empty: not known.
        scenarios, outcomes: per episode, where it was driven and how it ended. Empty: not known.
        action_names: of the components of actions, as the robot takes them; empty: not known.
        step_s: seconds an action is held; None: not known.

    Raises:
        ValueError: they contradict each other.
    """

    images: np.ndarray
    texts: Sequence[list[str]]
    actions: np.ndarray
    mask: np.ndarray
    groups: Sequence[str] = ()
    later: Sequence[Later] = ()
    goals: np.ndarray = None  # type: ignore[assignment]
    sensors: Mapping[str, Ranges] = field(default_factory=dict)
    origins: Sequence[tuple[str, ...]] = ()
    scenarios: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    action_names: tuple[str, ...] = ()
    step_s: float | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != bool:
            raise ValueError(f"mask must be bool (E, T), got {self.mask.dtype} {self.mask.shape}")
        shape = self.mask.shape
        if self.images.dtype != np.uint8 or self.images.ndim != 5 or self.images.shape[4] != 3:
            raise ValueError(f"images must be uint8 (E, T, h, w, 3), got {self.images.dtype} {self.images.shape}")
        if self.images.shape[:2] != shape or self.actions.shape[:2] != shape or self.actions.ndim != 3:
            raise ValueError(
                f"images, actions and mask must agree on (E, T), got {self.images.shape[:2]}, "
                f"{self.actions.shape} and {shape}"
            )
        if self.goals is None:
            object.__setattr__(self, "goals", np.full((*shape, 2), np.nan, dtype=np.float32))
        if self.goals.shape != (*shape, 2):
            raise ValueError(f"goals must have shape (E, T, 2), got {self.goals.shape}")
        for name, ranges in self.sensors.items():
            if ranges.values.shape[:2] != shape:
                raise ValueError(f"{name} must agree with mask on (E, T), got {ranges.values.shape[:2]} and {shape}")
        if len(self.texts) != len(self) or not all(self.texts):
            raise ValueError(f"texts must give each of {len(self)} episodes at least one phrasing")
        for name, unknown in (("groups", ""), ("later", ()), ("origins", ()), ("scenarios", ""), ("outcomes", "")):
            values = list(getattr(self, name)) or [unknown] * len(self)
            if len(values) != len(self):
                raise ValueError(f"{name} must be one for each of {len(self)} episodes, got {len(values)}")
            object.__setattr__(self, name, values)
        for episode, steps in enumerate([step for step, _ in later] for later in self.later):
            if steps != sorted({*steps}) or (steps and steps[0] < 1):
                raise ValueError(f"later must name steps in order, from 1 on, got {steps} for episode {episode}")
        if not all(phrasings for later in self.later for _, phrasings in later):
            raise ValueError("later must give each sentence at least one phrasing")

    def __len__(self) -> int:
        return len(self.mask)

    def check_learnable(self) -> None:
        """Look at the numbers, too.

        Raises:
            ValueError: an episode is empty or has a gap, or an action or a range is not a number.
        """
        lengths = self.mask.sum(axis=1)
        if not np.array_equal(self.mask, np.arange(self.mask.shape[1]) < lengths[:, None]) or (lengths == 0).any():
            raise ValueError("mask must be True from an episode's start on without a gap, and never empty")
        if not np.isfinite(self.actions[self.mask]).all():
            raise ValueError("actions must be finite")
        for name, ranges in self.sensors.items():
            if not np.isfinite(ranges.values[self.mask]).all():
                raise ValueError(f"{name} must be finite")

    def some(self, episodes: Sequence[int] | np.ndarray) -> Demonstrations:
        """These episodes, in this order; the first ones, or all, without a copy."""
        first = np.array_equal(episodes, np.arange(len(episodes)))
        which = slice(len(episodes)) if first else np.asarray(episodes)
        chosen: dict[str, Any] = {name: getattr(self, name)[which] for name in ARRAYS}
        for name in _PER_EPISODE:
            chosen[name] = [getattr(self, name)[i] for i in episodes]
        chosen["sensors"] = {name: Ranges(ranges.values[which], ranges.lidar) for name, ranges in self.sensors.items()}
        return replace(self, **chosen)

    @classmethod
    def padded(
        cls,
        *,
        images: Sequence[np.ndarray | Sequence[np.ndarray]],
        actions: Sequence[np.ndarray | Sequence[np.ndarray]],
        goals: Sequence[Sequence[tuple[float, float]]] | None = None,
        texts: Sequence[list[str]],
        scenarios: Sequence[str],
        outcomes: Sequence[str],
        action_names: tuple[str, ...] = (),
        step_s: float | None = None,
        origins: Sequence[tuple[str, ...]] = (),
        later: Sequence[Later] = (),
        sensors: Sequence[Mapping[str, np.ndarray | Sequence[np.ndarray]]] = (),
        lidars: Mapping[str, LidarSpec] | None = None,
    ) -> Demonstrations:
        """Episodes of their own lengths, one entry each; without goals, where the goals are is not known.

        Of each episode, `sensors` holds what each of the `lidars` measured, (T, rays) by name.
        """
        steps = [len(episode) for episode in actions]
        count, longest = len(steps), max(steps)
        made = cls(
            images=np.zeros((count, longest, *np.shape(images[0][0])), dtype=np.uint8),
            texts=texts,
            actions=np.zeros((count, longest, len(actions[0][0])), dtype=np.float32),
            mask=np.arange(longest) < np.array(steps)[:, None],
            origins=origins,
            later=later,
            scenarios=scenarios,
            outcomes=outcomes,
            action_names=action_names,
            step_s=step_s,
            sensors={
                name: Ranges(np.zeros((count, longest, lidar.rays), dtype=np.float32), lidar)
                for name, lidar in (lidars or {}).items()
            },
        )
        for number, length in enumerate(steps):
            made.images[number, :length], made.actions[number, :length] = images[number], actions[number]
            if goals is not None:
                made.goals[number, :length] = goals[number]
            for name, ranges in made.sensors.items():
                ranges.values[number, :length] = sensors[number][name]
        return made

    @classmethod
    def joined(cls, parts: Sequence[Demonstrations]) -> Demonstrations:
        """All episodes of several collections of one robot, in order.

        Raises:
            ValueError: they have other LiDARs.
        """
        longest = max(part.mask.shape[1] for part in parts)
        lidars = {name: ranges.lidar for name, ranges in parts[0].sensors.items()}
        if any({name: ranges.lidar for name, ranges in part.sensors.items()} != lidars for part in parts):
            raise ValueError(f"all parts must have the same LiDARs, got {[sorted(part.sensors) for part in parts]}")

        def stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
            padded = [np.pad(a, [(0, 0), (0, longest - a.shape[1])] + [(0, 0)] * (a.ndim - 2)) for a in arrays]
            return np.concatenate(padded)

        whole: dict[str, Any] = {name: stack([getattr(part, name) for part in parts]) for name in ARRAYS}
        whole["sensors"] = {
            name: Ranges(stack([part.sensors[name].values for part in parts]), lidar) for name, lidar in lidars.items()
        }
        for name in _PER_EPISODE:
            whole[name] = [value for part in parts for value in getattr(part, name)]
        return replace(parts[0], **whole)
