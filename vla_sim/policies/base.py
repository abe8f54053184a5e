"""What every policy is: `reset` and `act` on a batch of envs, and whether it fits a robot. numpy only."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_sim.core.content import embodiment_names
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.sensors import sensor_shapes
from vla_sim.core.specs import ACTION_NAMES, Embodiment

# Control rates that differ by less than this ratio are the same.
SAME_RATE = 1e-3


@dataclass(frozen=True)
class PolicySpec:
    """What a policy reads and gives; checked against the env before the first step.

    Attributes:
        action_names: components of its actions, of ("vx", "vy", "wz") in that order; empty: it follows the env.
        still: components that a robot may have besides: it leaves them at 0. One policy of ("vx", "wz") drives robots
            that can move sideways and robots that cannot.
        image_px: (width, height) of the images it reads; empty: it does not look at them.
        control_s: seconds from one action to the next that it was made for; None: any.
        requires_privileged_info: it reads privileged state from the infos; reports print that beside its score.
        description: one line for tables.
        sensors: the observations it reads beside image, instruction and state, by name, each with its shape; () where
            any will do.
    """

    action_names: tuple[str, ...] = ("vx", "vy")
    image_px: tuple[int, ...] = (224, 224)
    requires_privileged_info: bool = False
    description: str = ""
    control_s: float | None = None
    still: tuple[str, ...] = ()
    sensors: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if [name for name in ACTION_NAMES if name in self.action_names] != list(self.action_names):
            raise ValueError(f"action_names must be some of {ACTION_NAMES} in this order, got {self.action_names}")
        if not set(self.still) <= set(ACTION_NAMES) - set(self.action_names):
            raise ValueError(f"still must be some of {ACTION_NAMES} that are no actions of its own, got {self.still}")
        if len(self.image_px) not in (0, 2) or any(side < 1 for side in self.image_px):
            raise ValueError(f"image_px must be (width, height) in pixels, got {self.image_px}")
        if self.control_s is not None and not (math.isfinite(self.control_s) and self.control_s > 0):
            raise ValueError(f"control_s must be a positive number of seconds, got {self.control_s}")

    def misfit(self, robot: Embodiment) -> str:
        """Why a policy with this spec cannot drive a robot, as the end of a sentence; "" if it can."""
        moved = tuple(name for name in robot.action_names if name not in self.still)
        if self.action_names and tuple(self.action_names) != moved:
            return f"gives actions {list(self.action_names)}, {robot.name} takes {list(robot.action_names)}"
        if self.image_px and tuple(self.image_px) != tuple(robot.camera.image_px):
            given = _size(robot.camera.image_px)
            return f"reads images of {_size(self.image_px)}, the camera of {robot.name} gives {given}"
        if self.control_s is not None and not math.isclose(self.control_s, robot.control_s, rel_tol=SAME_RATE):
            return (
                f"was made for an action every {self.control_s:g} s, {robot.name} takes one every {robot.control_s:g} s"
            )
        return self._lacking(robot)

    def _lacking(self, robot: Embodiment) -> str:
        """Which sensor the robot lacks, or has in another size; "" for none."""
        shapes = sensor_shapes(robot.camera, robot.sensors)
        for name, shape in self.sensors.items():
            if name not in shapes:
                has = f"those of {robot.name} are {', '.join(shapes)}" if shapes else f"{robot.name} has none"
                return f"reads the sensor {name!r}; {has} ({_who_has(name, robot)})"
            if shape and tuple(shape) != shapes[name]:
                return f"reads {name!r} of shape {tuple(shape)}, {robot.name} gives {shapes[name]}"
        return ""


def fit(policy: Policy, robot: Embodiment, name: str = "the policy") -> None:
    """Prepare a policy for the robot that it will drive. The one place where that is checked.

    Raises:
        UserError: its actions, images or control rate are not the robot's.
    """
    reason = policy.spec.misfit(robot)
    if reason:
        raise UserError(f"{name} {reason}")
    # Also for classes that have the methods of a policy without being a `Policy`.
    prepare = getattr(policy, "prepare", None)
    if prepare is not None:
        prepare(robot)


def _who_has(sensor: str, robot: Embodiment) -> str:
    """Which robot of ours has a sensor and moves like this one, or where to give it one."""
    for name in embodiment_names():
        other = load_embodiment(name)
        if sensor in other.sensors and other.action_names == robot.action_names:
            return f"{name} has it: --embodiment {name}"
    return "[sensors.NAME] of its embodiment file"


def _size(image_px: Sequence[int]) -> str:
    return f"{image_px[0]} x {image_px[1]} px"


class Policy(ABC):
    """Drives N worlds ("envs") side by side, each in its own episode.

    What it decides for an env depends on that env alone, and on nothing before its last reset.
    """

    spec: PolicySpec = PolicySpec()

    @abstractmethod
    def reset(self, reset_mask: np.ndarray, seeds: np.ndarray) -> None:
        """Start new episodes.

        Args:
            reset_mask: bool (N,), which envs start anew; the others keep their memory. The first call fixes N.
            seeds: int64 (N,), the episodes' seeds; those of other envs mean nothing.
        """

    @abstractmethod
    def act(self, observation: Mapping[str, Any], infos: Sequence[Mapping[str, Any]] | None = None) -> np.ndarray:
        """Body twists, float32 (N, A), in m/s and rad/s.

        Args:
            observation: "image" uint8 (N, 224, 224, 3), "instruction" a list of N texts, "state" float32 (N, S), and
                what further sensors the robot has, by name (N, ...).
            infos: privileged state of each env; only for policies that say `requires_privileged_info`.
        """

    def prepare(self, robot: Embodiment) -> None:  # noqa: B027 (nothing to do is the rule)
        """Told once, before the first episode, which robot it drives; for policies that follow the robot."""

    def identity_files(self) -> Sequence[str]:
        """Files that decide what it does but are opened by a library of C, where nobody sees it; see `identity`."""
        return ()

    def diagnostics(self) -> dict[str, np.ndarray]:
        """What the policy says about its last decision, arrays (N, ...); nothing by default."""
        return {}
