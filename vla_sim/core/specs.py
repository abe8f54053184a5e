"""Embodiments as data: body, drive, actuation, timing, camera. Read from `envs/*.toml` by `embodiments`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from vla_sim.core.config import ListOf, Number, check_fields
from vla_sim.core.sensors import CameraSpec as CameraSpec
from vla_sim.core.sensors import LidarSpec, Sensor, SensorTables, check_sensors

ACTION_NAMES = ("vx", "vy", "wz")


class DriveKind(str, Enum):
    """How wheels make a twist."""

    OMNI3 = "omni3"
    DIFFERENTIAL = "differential"
    ACKERMANN = "ackermann"

    @property
    def wheels(self) -> int:
        """How many wheels have motors of their own; 0 where one motor drives an axle."""
        return {DriveKind.OMNI3: 3, DriveKind.DIFFERENTIAL: 2, DriveKind.ACKERMANN: 0}[self]


class ActuationKind(str, Enum):
    """VELOCITY follows the commanded twist. HEADING_PULSE keeps its direction only, at one calibrated speed."""

    VELOCITY = "velocity"
    HEADING_PULSE = "heading_pulse"


@dataclass(frozen=True)
class BodySpec:
    """The robot's body for physics: an upright cylinder.

    Attributes:
        max_push_n: largest force with which the base can push what it touches.
    """

    radius_m: Annotated[float, Number(0.02, 2)] = 0.15
    height_m: Annotated[float, Number(0.02, 3)] = 0.28
    mass_kg: Annotated[float, Number(0.05, 1000)] = 8.0
    max_push_n: Annotated[float, Number(0.1, 100_000)] = 60.0

    def __post_init__(self) -> None:
        check_fields(self, "body")


@dataclass(frozen=True)
class DriveSpec:
    """Wheels: geometry and the motors' limit.

    Attributes:
        wheel_angles_rad: direction of each omni wheel's axle seen from the centre (OMNI3 only); a wheel at
            angle a rolls along (cos a, sin a) in the body frame, as in the LeKiwi driver.
        base_radius_m: centre to wheel (OMNI3), or half the track width (DIFFERENTIAL, ACKERMANN).
        max_wheel_radps: motor limit; all wheels are scaled down together when one would pass it.
        wheelbase_m: between the axles (ACKERMANN only); the pose of a car is that of the middle of its rear axle.
        max_steer_rad: largest angle of the front wheels (ACKERMANN only). With the wheelbase it makes the smallest
            turning circle: a turn that is too tight comes out as wide as the steering makes it.
        wheel_gains: share of its commanded speed that each wheel makes: 1 sound, 0.5 weak, 0 blocked. In the order of
            wheel_angles (OMNI3), or left and right (DIFFERENTIAL); empty: all are sound.
        wheel_gain_spread: what each wheel loses beyond that in an episode: the size of a normal deviate with this
            standard deviation, drawn from the episode's seed.
    """

    kind: DriveKind = DriveKind.OMNI3
    wheel_radius_m: Annotated[float, Number(0.005, 1)] = 0.05
    base_radius_m: Annotated[float, Number(0.01, 2)] = 0.125
    wheel_angles_rad: Annotated[tuple[float, ...], ListOf(Number(-360, 360), 3)] = (
        math.radians(150),
        math.radians(-90),
        math.radians(30),
    )
    max_wheel_radps: Annotated[float, Number(0.1, 1_000_000)] = 16.0
    wheelbase_m: Annotated[float, Number(0.02, 4)] = 0.22
    max_steer_rad: Annotated[float, Number(1, 80)] = math.radians(30)
    wheel_gains: Annotated[tuple[float, ...], ListOf(Number(0, 1))] = ()
    wheel_gain_spread: Annotated[float, Number(0, 1)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "drive")
        self._check_gains()
        a, b, c = self.wheel_angles_rad
        if self.kind is DriveKind.OMNI3 and abs(math.sin(b - a) + math.sin(c - b) + math.sin(a - c)) < 0.1:
            angles = [round(math.degrees(angle), 3) for angle in self.wheel_angles_rad]
            raise ValueError(
                f"drive.wheel_angles_deg must lie apart, else the base cannot move every way, got {angles}"
            )
        if self.max_wheel_radps * self.wheel_radius_m < 0.01:
            top = f"{self.max_wheel_radps * self.wheel_radius_m:g} m/s"
            raise ValueError(
                f"drive.max_wheel_radps {self.max_wheel_radps:g} with wheel_radius_m {self.wheel_radius_m:g} gives at "
                f"most {top}: the robot would hardly move"
            )

    def _check_gains(self) -> None:
        faulty = bool(self.wheel_gains) or self.wheel_gain_spread > 0
        if faulty and not self.kind.wheels:
            raise ValueError(
                f"drive.wheel_gains and wheel_gain_spread are for wheels with motors of their own, drive.kind is "
                f"{self.kind.value!r}; actuation.slip makes a car slower"
            )
        if self.wheel_gains and len(self.wheel_gains) != self.kind.wheels:
            raise ValueError(
                f"drive.wheel_gains must hold one number for each of {self.kind.wheels} wheels, got "
                f"{list(self.wheel_gains)}"
            )
        if self.wheel_gains and not any(self.wheel_gains):
            raise ValueError("drive.wheel_gains are all 0: the robot would never move")

    @property
    def max_curvature(self) -> float:
        """Largest turn per metre in rad/m; infinite where the base turns on the spot."""
        return math.tan(self.max_steer_rad) / self.wheelbase_m if self.kind is DriveKind.ACKERMANN else math.inf


@dataclass(frozen=True)
class ActuationSpec:
    """What the base makes of a command.

    Attributes:
        speed_mps: HEADING_PULSE: the one calibrated speed of every translation, whatever its heading.
        turn_radps: HEADING_PULSE: rate of every turn.
        dead_zone_mps, dead_zone_radps: components not larger than this count as zero.
        pulse_s: HEADING_PULSE: motion per command; the rest of the control step is standstill.
        max_accel_mps2, max_accel_radps2: limits of the change of the twist; 0 means at once.
        lag_s: time constant of a first-order lag between command and twist; 0 means none.
        slip: share of the commanded motion that is lost, the mean over episodes.
        slip_spread: standard deviation of that share between episodes (drawn from the episode's seed).
    """

    kind: ActuationKind = ActuationKind.VELOCITY
    speed_mps: Annotated[float, Number(0.01, 10)] = 0.5
    turn_radps: Annotated[float, Number(0.01, 30)] = 0.8
    dead_zone_mps: Annotated[float, Number(0, 10)] = 0.0
    dead_zone_radps: Annotated[float, Number(0, 30)] = 0.0
    pulse_s: Annotated[float, Number(0.0001, 10)] = 0.4
    max_accel_mps2: Annotated[float, Number(0, 1000)] = 0.0
    max_accel_radps2: Annotated[float, Number(0, 10_000)] = 0.0
    lag_s: Annotated[float, Number(0, 5)] = 0.0
    slip: Annotated[float, Number(0, 0.95)] = 0.0
    slip_spread: Annotated[float, Number(0, 1)] = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "actuation")


@dataclass(frozen=True)
class Embodiment:
    """A robot that can be driven: everything the simulator needs to know of it.

    Attributes:
        action_names: components of an action, a subset of ("vx", "vy", "wz") in that order.
        max_mps, max_radps: bounds of the action space.
        control_s: time from one action to the next.
        physics_hz: physics steps per second; control_s must be a whole number of them.
        sensors: what it observes beside camera and odometry, by the name of its observation.
        content_hash: sha256 of the file that it was read from.
    """

    name: str
    description: str = ""
    action_names: tuple[str, ...] = ("vx", "vy")
    max_mps: Annotated[float, Number(0.01, 10)] = 0.5
    max_radps: Annotated[float, Number(0.01, 30)] = 1.0
    control_s: Annotated[float, Number(0.005, 10)] = 0.4
    physics_hz: Annotated[int, Number(10, 10_000, whole=True)] = 120
    body: BodySpec = field(default_factory=BodySpec)
    drive: DriveSpec = field(default_factory=DriveSpec)
    actuation: ActuationSpec = field(default_factory=ActuationSpec)
    camera: CameraSpec = field(default_factory=CameraSpec)
    sensors: Annotated[Mapping[str, Sensor], SensorTables()] = field(default_factory=dict)
    content_hash: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "")
        if not self.action_names or [n for n in ACTION_NAMES if n in self.action_names] != list(self.action_names):
            raise ValueError(f"action.names must be some of {ACTION_NAMES} in this order, got {self.action_names}")
        steps = self.control_s * self.physics_hz
        if abs(steps - round(steps)) > 1e-9 or round(steps) < 1:
            raise ValueError(
                f"timing.control_s {self.control_s:g} is not a whole number of steps at {self.physics_hz} Hz"
            )
        if self.drive.kind is not DriveKind.OMNI3 and "vy" in self.action_names:
            raise ValueError(
                f"action.names: a drive of kind {self.drive.kind.value!r} cannot move sideways; leave vy out"
            )
        self._check_moves()
        check_sensors(self.sensors)

    def _check_moves(self) -> None:
        """Refuse a robot that no action can move: its tasks would be lost before they begin."""
        actuation = self.actuation
        if actuation.kind is ActuationKind.HEADING_PULSE and round(actuation.pulse_s * self.physics_hz) < 1:
            raise ValueError(
                f"actuation.pulse_s {actuation.pulse_s:g} is shorter than a step of the physics (1/{self.physics_hz} s "
                "by timing.physics_hz): the robot would never move"
            )
        moves = {"vx", "vy"} & set(self.action_names)
        if moves and actuation.dead_zone_mps >= self.max_mps:
            raise ValueError(
                f"actuation.dead_zone_mps {actuation.dead_zone_mps:g} is not less than action.max_mps "
                f"{self.max_mps:g}: the robot would never move"
            )
        if "wz" in self.action_names and actuation.dead_zone_radps >= self.max_radps:
            raise ValueError(
                f"actuation.dead_zone_radps {actuation.dead_zone_radps:g} is not less than action.max_radps "
                f"{self.max_radps:g}: the robot would never turn"
            )

    @property
    def lidars(self) -> dict[str, LidarSpec]:
        """Those of its sensors that are LiDARs."""
        return {name: sensor for name, sensor in self.sensors.items() if isinstance(sensor, LidarSpec)}

    @property
    def cruise_mps(self) -> float:
        """The speed at which it translates when nothing slows it down."""
        pulsed = self.actuation.kind is ActuationKind.HEADING_PULSE
        return self.actuation.speed_mps if pulsed else self.max_mps

    @property
    def substeps(self) -> int:
        """Physics steps per control step."""
        return round(self.control_s * self.physics_hz)
