"""Embodiments as data: body, drive, actuation, timing, camera. Read from `envs/*.toml` by `embodiments`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum

from vla_sim.core.types import Vec3

ACTION_NAMES = ("vx", "vy", "wz")


def _positive(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{owner}.{name} must be positive, got {value}")


def _not_negative(owner: str, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{owner}.{name} must not be negative, got {value}")


class DriveKind(str, Enum):
    """How wheels make a twist."""

    OMNI3 = "omni3"
    DIFFERENTIAL = "differential"


class ActuationKind(str, Enum):
    """VELOCITY follows the commanded twist. HEADING_PULSE keeps its direction only, at one calibrated speed."""

    VELOCITY = "velocity"
    HEADING_PULSE = "heading_pulse"


@dataclass(frozen=True)
class CameraSpec:
    """A camera on the robot.

    Attributes:
        sensor_px: (width, height) of the real sensor; gives the aspect ratio.
        image_px: (width, height) of the observation. The sensor picture is squeezed to it, aspect not preserved.
        hfov_rad: horizontal field of view of the undistorted sensor picture. The vertical one follows
            from the aspect ratio of the sensor (square pixels): see `vfov_rad`.
        mount_m: optical centre in the body frame (x forward, y left, z up from the floor).
        pitch_rad: positive looks down.
        distortion: first radial coefficient k1 of the Brown model on normalised image coordinates;
            negative is barrel distortion as a wide-angle lens has; 0 is a pinhole.
        near_m, far_m: range in which things are drawn.
    """

    sensor_px: tuple[int, int] = (1280, 720)
    image_px: tuple[int, int] = (224, 224)
    hfov_rad: float = math.radians(90)
    mount_m: Vec3 = (0.1, 0.0, 0.3)
    pitch_rad: float = math.radians(12)
    distortion: float = 0.0
    near_m: float = 0.03
    far_m: float = 20.0

    def __post_init__(self) -> None:
        if not 0 < self.hfov_rad < math.pi:
            raise ValueError(f"hfov must lie between 0 and 180 degrees, got {math.degrees(self.hfov_rad):g}")
        if min(*self.sensor_px, *self.image_px) < 8:
            raise ValueError(f"pictures need 8 pixels a side, got {self.sensor_px} and {self.image_px}")
        if not 0 < self.near_m < self.far_m:
            raise ValueError(f"near_m must lie between 0 and far_m, got {self.near_m} and {self.far_m}")

    @property
    def vfov_rad(self) -> float:
        """Vertical field of view that square sensor pixels imply."""
        width, height = self.sensor_px
        return 2 * math.atan(math.tan(self.hfov_rad / 2) * height / width)


@dataclass(frozen=True)
class BodySpec:
    """The robot's body for physics: an upright cylinder.

    Attributes:
        max_push_n: largest force with which the base can push what it touches.
    """

    radius_m: float = 0.15
    height_m: float = 0.28
    mass_kg: float = 8.0
    max_push_n: float = 60.0

    def __post_init__(self) -> None:
        _positive("body", **vars(self))


@dataclass(frozen=True)
class DriveSpec:
    """Wheels: geometry and the motors' limit.

    Attributes:
        wheel_angles_rad: direction of each omni wheel's axle seen from the centre (OMNI3 only); a wheel at
            angle a rolls along (cos a, sin a) in the body frame, as in the LeKiwi driver.
        base_radius_m: centre to wheel (OMNI3), or half the track width (DIFFERENTIAL).
        max_wheel_radps: motor limit; all wheels are scaled down together when one would pass it.
    """

    kind: DriveKind = DriveKind.OMNI3
    wheel_radius_m: float = 0.05
    base_radius_m: float = 0.125
    wheel_angles_rad: tuple[float, ...] = (math.radians(150), math.radians(-90), math.radians(30))
    max_wheel_radps: float = 16.0

    def __post_init__(self) -> None:
        _positive(
            "drive",
            wheel_radius_m=self.wheel_radius_m,
            base_radius_m=self.base_radius_m,
            max_wheel_radps=self.max_wheel_radps,
        )
        if self.kind is DriveKind.OMNI3 and len(self.wheel_angles_rad) != 3:
            raise ValueError(f"drive.wheel_angles needs 3 angles, got {len(self.wheel_angles_rad)}")


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
    speed_mps: float = 0.5
    turn_radps: float = 0.8
    dead_zone_mps: float = 0.0
    dead_zone_radps: float = 0.0
    pulse_s: float = 0.4
    max_accel_mps2: float = 0.0
    max_accel_radps2: float = 0.0
    lag_s: float = 0.0
    slip: float = 0.0
    slip_spread: float = 0.0

    def __post_init__(self) -> None:
        _positive("actuation", speed_mps=self.speed_mps, turn_radps=self.turn_radps, pulse_s=self.pulse_s)
        names = ("dead_zone_mps", "dead_zone_radps", "max_accel_mps2", "max_accel_radps2", "lag_s", "slip_spread")
        _not_negative("actuation", **{name: getattr(self, name) for name in names})
        if not 0 <= self.slip < 1:
            raise ValueError(f"actuation.slip must lie in [0, 1), got {self.slip}")


@dataclass(frozen=True)
class Embodiment:
    """A robot that can be driven: everything the simulator needs to know of it.

    Attributes:
        action_names: components of an action, a subset of ("vx", "vy", "wz") in that order.
        max_mps, max_radps: bounds of the action space.
        control_s: time from one action to the next.
        physics_hz: physics steps per second; control_s must be a whole number of them.
        content_hash: sha256 of the file that it was read from.
    """

    name: str
    description: str = ""
    action_names: tuple[str, ...] = ("vx", "vy")
    max_mps: float = 0.5
    max_radps: float = 1.0
    control_s: float = 0.4
    physics_hz: int = 120
    body: BodySpec = field(default_factory=BodySpec)
    drive: DriveSpec = field(default_factory=DriveSpec)
    actuation: ActuationSpec = field(default_factory=ActuationSpec)
    camera: CameraSpec = field(default_factory=CameraSpec)
    content_hash: str = ""

    def __post_init__(self) -> None:
        _positive("timing", control_s=self.control_s, physics_hz=self.physics_hz)
        _positive("action", max_mps=self.max_mps, max_radps=self.max_radps)
        if not self.action_names or [n for n in ACTION_NAMES if n in self.action_names] != list(self.action_names):
            raise ValueError(f"action.names must be some of {ACTION_NAMES} in this order, got {self.action_names}")
        steps = self.control_s * self.physics_hz
        if abs(steps - round(steps)) > 1e-9:
            raise ValueError(
                f"timing.control_s {self.control_s:g} is not a whole number of steps at {self.physics_hz} Hz"
            )
        if self.drive.kind is DriveKind.DIFFERENTIAL and "vy" in self.action_names:
            raise ValueError("action.names: a differential drive cannot move sideways; leave vy out")

    @property
    def cruise_mps(self) -> float:
        """The speed at which it translates when nothing slows it down."""
        pulsed = self.actuation.kind is ActuationKind.HEADING_PULSE
        return self.actuation.speed_mps if pulsed else self.max_mps

    @property
    def substeps(self) -> int:
        """Physics steps per control step."""
        return round(self.control_s * self.physics_hz)
