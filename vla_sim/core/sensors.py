"""What a robot observes: its camera, and further sensors by name, as `[sensors.NAME]` of an embodiment file says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from vla_sim.core.config import ListOf, Number, Place, Table, Text, Value, check_fields, check_keys, read_table, shown
from vla_sim.core.errors import suggest
from vla_sim.core.types import Vec3

_PIXELS = ListOf(Number(8, 4096, whole=True), 2)
# The observation of the camera that every robot has, and what else every robot observes.
IMAGE = "image"
TAKEN = (IMAGE, "instruction", "state")
# What `DepthSpec.camera` calls it.
MAIN_CAMERA = "camera"
SENSOR_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class CameraSpec:
    """A camera on the robot.

    Attributes:
        sensor_px: (width, height) of the real sensor; gives the aspect ratio.
        image_px: (width, height) of the observation. The sensor image is squeezed to it, aspect not preserved.
        hfov_rad: horizontal field of view of the undistorted sensor image. The vertical one follows
            from the aspect ratio of the sensor (square pixels): see `vfov_rad`.
        mount_m: optical centre in the body frame (x forward, y left, z up from the floor).
        pitch_rad: positive looks down.
        yaw_rad: where it looks, counter-clockwise from ahead.
        distortion: first radial coefficient k1 of the Brown model on normalised image coordinates;
            negative is barrel distortion as a wide-angle lens has; 0 is a pinhole.
        near_m, far_m: range in which things are drawn.
    """

    sensor_px: Annotated[tuple[int, int], _PIXELS] = (1280, 720)
    image_px: Annotated[tuple[int, int], _PIXELS] = (224, 224)
    hfov_rad: Annotated[float, Number(1, 179)] = math.radians(90)
    mount_m: Annotated[Vec3, ListOf(Number(-3, 3), 3)] = (0.1, 0.0, 0.3)
    pitch_rad: Annotated[float, Number(-90, 90)] = math.radians(12)
    yaw_rad: Annotated[float, Number(-180, 180)] = 0.0
    distortion: Annotated[float, Number(-2, 2)] = 0.0
    near_m: Annotated[float, Number(0.001, 1)] = 0.03
    far_m: Annotated[float, Number(1, 1000)] = 20.0

    def __post_init__(self) -> None:
        check_fields(self, "camera")
        if self.mount_m[2] <= 0:
            raise ValueError(f"camera.mount_m must lie above the floor (third number over 0), got {self.mount_m}")
        if not self.near_m < self.far_m:
            raise ValueError(f"camera.near_m must be less than far_m, got {self.near_m:g} and {self.far_m:g}")

    @property
    def vfov_rad(self) -> float:
        """Vertical field of view that square sensor pixels imply."""
        width, height = self.sensor_px
        return 2 * math.atan(math.tan(self.hfov_rad / 2) * height / width)


@dataclass(frozen=True)
class DepthSpec:
    """Distances along the optical axis of a camera: float32 (H, W) in metres, its far_m where nothing is.

    Attributes:
        camera: "camera", the robot's own, or the name of a sensor of kind "camera".
    """

    camera: Annotated[str, Text(40)] = MAIN_CAMERA


@dataclass(frozen=True)
class LidarSpec:
    """A planar LiDAR: ranges float32 (rays,) in metres, counter-clockwise, the middle one straight ahead.

    Rays spread over the field of view from its right end to its left one; of a full circle the first looks back and
    the last stops one step before it. What is lower than the sensor is not seen.

    Attributes:
        rays: how many.
        fov_rad: field of view.
        range_m: largest distance; also the value where nothing is.
        noise_m: standard deviation of what is measured, drawn from the episode's seed.
        mount_m: where it is in the body frame (x forward, y left, z up from the floor).
    """

    rays: Annotated[int, Number(2, 4096, whole=True)] = 180
    fov_rad: Annotated[float, Number(1, 360)] = 2 * math.pi
    range_m: Annotated[float, Number(0.1, 100)] = 6.0
    noise_m: Annotated[float, Number(0, 1)] = 0.0
    mount_m: Annotated[Vec3, ListOf(Number(-3, 3), 3)] = (0.0, 0.0, 0.15)

    def __post_init__(self) -> None:
        check_fields(self, "lidar")
        if self.mount_m[2] <= 0:
            raise ValueError(f"lidar.mount_m must lie above the floor (third number over 0), got {self.mount_m}")

    @property
    def full_circle(self) -> bool:
        """Whether it looks all around."""
        return self.fov_rad >= 2 * math.pi - 1e-9

    def mirrored(self, ranges: np.ndarray) -> np.ndarray:
        """Ranges (..., rays) with left and right exchanged, for a LiDAR in the middle of its robot."""
        reversed_ = ranges[..., ::-1]
        # Of a full circle the first ray looks back, and is its own mirror image.
        return np.ascontiguousarray(np.roll(reversed_, 1, axis=-1) if self.full_circle else reversed_)


Sensor = CameraSpec | DepthSpec | LidarSpec
KINDS: dict[str, type[Sensor]] = {"camera": CameraSpec, "depth": DepthSpec, "lidar": LidarSpec}


@dataclass(frozen=True)
class SensorTables(Value):
    """Tables of sensors by name; the key `kind` of each says what it is, the others are those of its class."""

    def read(self, value: Any, place: Place) -> dict[str, Sensor]:
        """See `Value`."""
        if not isinstance(value, Mapping):
            raise place.wrong(f"must be a table, got {shown(value)}")
        return {name: self._sensor(table, place.at(name)) for name, table in value.items()}

    def _sensor(self, table: Any, place: Place) -> Sensor:
        check_keys(table, table, place)
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            seen = f"unknown {shown(kind)}" if "kind" in table else "is missing"
            raise place.at("kind").wrong(f"{seen}; {suggest(str(kind), KINDS)}")
        return read_table(KINDS[kind], {key: found for key, found in table.items() if key != "kind"}, place)

    def parse(self, value: Any) -> Any:
        """See `Value`; sensors that were read already stay as they are."""
        if not isinstance(value, Mapping) or not all(isinstance(s, tuple(KINDS.values())) for s in value.values()):
            raise ValueError(f"must be sensors by name, got {shown(value)}")
        return value

    @property
    def words(self) -> str:
        """See `Value`."""
        return f"tables by name, each of a kind ({', '.join(KINDS)})"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"type": "object", "additionalProperties": {"anyOf": [_schema(kind) for kind in KINDS]}}


def _schema(kind: str) -> dict[str, Any]:
    schema = Table(KINDS[kind]).schema()
    return {**schema, "properties": {"kind": {"const": kind}, **schema["properties"]}, "required": ["kind"]}


def check_sensors(sensors: Mapping[str, Sensor]) -> None:
    """Hold sensors to each other.

    Raises:
        ValueError: a name that is none or taken, or the depth of a camera that is not there.
    """
    cameras = [MAIN_CAMERA, *(name for name, sensor in sensors.items() if isinstance(sensor, CameraSpec))]
    for name, sensor in sensors.items():
        if name in (*TAKEN, MAIN_CAMERA) or not SENSOR_NAME.fullmatch(name):
            raise ValueError(
                f"sensors.{name} must have another name: small letters, digits and _, and none of "
                f"{', '.join((*TAKEN, MAIN_CAMERA))}"
            )
        if isinstance(sensor, DepthSpec) and sensor.camera not in cameras:
            raise ValueError(
                f"sensors.{name}.camera is no camera: {sensor.camera!r}; {suggest(sensor.camera, cameras)}"
            )


def sensor_shapes(camera: CameraSpec, sensors: Mapping[str, Sensor]) -> dict[str, tuple[int, ...]]:
    """The shape of what each sensor shows, by name.

    Args:
        camera: the robot's own.
        sensors: the others.
    """
    return {name: _shape(sensor, camera, sensors) for name, sensor in sensors.items()}


def _shape(sensor: Sensor, camera: CameraSpec, sensors: Mapping[str, Sensor]) -> tuple[int, ...]:
    if isinstance(sensor, LidarSpec):
        return (sensor.rays,)
    if isinstance(sensor, DepthSpec):
        return _shape(depth_camera(sensor, camera, sensors), camera, sensors)[:2]
    width, height = sensor.image_px
    return (height, width, 3)


def depth_camera(sensor: DepthSpec, camera: CameraSpec, sensors: Mapping[str, Sensor]) -> CameraSpec:
    """The camera whose depth a sensor shows."""
    found = camera if sensor.camera == MAIN_CAMERA else sensors[sensor.camera]
    assert isinstance(found, CameraSpec)
    return found
