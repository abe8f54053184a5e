"""From a command to the twist the base tries to make, physics step by physics step. Used by `vla_sim.sim.robot`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from vla_sim.core.specs import ActuationKind, Embodiment
from vla_sim.sim.kinematics import Drive, Twist

STANDSTILL: Twist = (0.0, 0.0, 0.0)


class Actuation:
    """The base's motors between commands: `reset` for an episode, `command` a control step, `next` a physics step."""

    def __init__(self, embodiment: Embodiment) -> None:
        self.embodiment = embodiment
        self._spec = embodiment.actuation
        self._drive = Drive(embodiment.drive)
        self._step_s = 1.0 / embodiment.physics_hz
        self._pulse_steps = embodiment.substeps
        if self._spec.kind is ActuationKind.HEADING_PULSE:
            self._pulse_steps = min(self._pulse_steps, round(self._spec.pulse_s * embodiment.physics_hz))
        self._instant = self._spec.lag_s == 0 and self._spec.max_accel_mps2 == 0 and self._spec.max_accel_radps2 == 0
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Stand still; draw this episode's slip and what its wheels lose."""
        drawn = self._spec.slip + self._spec.slip_spread * float(rng.standard_normal())
        self._grip = 1.0 - min(max(drawn, 0.0), 0.95)
        self._gains = self._drawn_gains(rng)
        self._target = self._twist = STANDSTILL
        self._steps_left = 0

    def _drawn_gains(self, rng: np.random.Generator) -> np.ndarray | None:
        """Share of its speed that each wheel makes; None where all are sound."""
        drive = self.embodiment.drive
        if not drive.wheel_gains and drive.wheel_gain_spread == 0:
            return None
        gains = np.array(drive.wheel_gains or [1.0] * drive.kind.wheels)
        lost = drive.wheel_gain_spread * np.abs(rng.standard_normal(len(gains)))
        return np.clip(gains - lost, 0.0, 1.0)

    def command(self, action: Twist) -> None:
        """Take a body twist (m/s, m/s, rad/s) that holds until the next one."""
        wanted = self._heading_only(action) if self._spec.kind is ActuationKind.HEADING_PULSE else self._zoned(action)
        vx, vy, wz = self._drive.limit(wanted)
        if self._gains is not None:
            vx, vy, wz = self._drive.with_gains((vx, vy, wz), self._gains)
        self._target = (vx * self._grip, vy * self._grip, wz * self._grip)
        self._steps_left = self._pulse_steps

    @property
    def target(self) -> Twist:
        """Twist that the present command asks of the wheels, after dead zone, limits and slip."""
        return self._target

    @property
    def top_mps(self) -> float:
        """The speed that is not passed before the next command, as every step goes from the twist to the target."""
        return max(math.hypot(*self._target[:2]), math.hypot(*self._twist[:2]))

    def next(self) -> Twist:
        """Body twist to make during the next physics step."""
        target = self._target if self._steps_left > 0 else STANDSTILL
        self._steps_left -= 1
        if self._instant:
            self._twist = target
        else:
            self._approach(target)
        return self._twist

    def following(self, steps: int) -> Iterator[tuple[Twist, int]]:
        """The twists of the next physics steps, each with the number of steps that it holds."""
        if not self._instant:
            for _ in range(steps):
                yield self.next(), 1
            return
        driven = min(steps, max(self._steps_left, 0))
        for count in (driven, steps - driven):
            if count:
                yield self.next(), count
                self._steps_left -= count - 1

    def _zoned(self, action: Twist) -> Twist:
        vx, vy, wz = action
        zone, turn_zone = self._spec.dead_zone_mps, self._spec.dead_zone_radps
        return (
            0.0 if abs(vx) <= zone else vx,
            0.0 if abs(vy) <= zone else vy,
            0.0 if abs(wz) <= turn_zone else wz,
        )

    def _heading_only(self, action: Twist) -> Twist:
        """As the robot's driver: a whole-degree heading at one speed, or else a turn at one rate."""
        vx, vy, wz = self._zoned(action)
        if vx or vy:
            heading = math.radians(round(math.degrees(math.atan2(vy, vx))) % 360)
            return (self._spec.speed_mps * math.cos(heading), self._spec.speed_mps * math.sin(heading), 0.0)
        return (0.0, 0.0, math.copysign(self._spec.turn_radps, wz) if wz else 0.0)

    def _approach(self, target: Twist) -> None:
        share = 1.0 - math.exp(-self._step_s / self._spec.lag_s) if self._spec.lag_s > 0 else 1.0
        dx, dy, dw = (share * (t - now) for t, now in zip(target, self._twist, strict=True))
        if self._spec.max_accel_mps2 > 0:
            size, most = math.hypot(dx, dy), self._spec.max_accel_mps2 * self._step_s
            if size > most:
                dx, dy = dx * most / size, dy * most / size
        if self._spec.max_accel_radps2 > 0:
            most = self._spec.max_accel_radps2 * self._step_s
            dw = min(max(dw, -most), most)
        vx, vy, wz = self._twist
        self._twist = self._drive.possible((vx + dx, vy + dy, wz + dw))
