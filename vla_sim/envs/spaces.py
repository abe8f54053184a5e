"""Observation and action spaces of the navigation envs; one place so that single and vector env agree."""

from __future__ import annotations

import functools
import string

import numpy as np
from gymnasium import spaces

from vla_sim.core.sensors import IMAGE, CameraSpec, LidarSpec, Sensor, depth_camera, sensor_shapes
from vla_sim.core.specs import Embodiment
from vla_sim.envs.simulation import action_bounds
from vla_sim.envs.text_space import InstructionSpace
from vla_sim.scenarios.languages import letters

INSTRUCTION_LENGTH = 256
# Generous bounds of STATE_NAMES: m, m, rad, m/s, m/s, rad/s.
STATE_BOUNDS = np.array([100.0, 100.0, np.pi, 10.0, 10.0, 50.0], dtype=np.float32)


@functools.lru_cache(maxsize=1)
def _characters() -> str:
    """Printable ASCII, the Hangul syllables, and what else the languages are written with."""
    usual = string.printable + "".join(map(chr, range(0xAC00, 0xD7A4)))
    return usual + "".join(sorted(letters() - set(usual)))


def action_space(embodiment: Embodiment) -> spaces.Box:
    """Body twist [vx, vy(, wz)] in m/s and rad/s, float32."""
    bounds = action_bounds(embodiment)
    return spaces.Box(-bounds, bounds, dtype=np.float32)


def sensor_spaces(embodiment: Embodiment, *, images: bool = True) -> dict[str, spaces.Box]:
    """Of the sensors beside camera and odometry, by name; without images those that need no drawing."""
    shapes = sensor_shapes(embodiment.camera, embodiment.sensors)
    return {
        name: _sensor_space(sensor, shapes[name], embodiment)
        for name, sensor in embodiment.sensors.items()
        if images or isinstance(sensor, LidarSpec)
    }


def _sensor_space(sensor: Sensor, shape: tuple[int, ...], embodiment: Embodiment) -> spaces.Box:
    if isinstance(sensor, CameraSpec):
        return spaces.Box(0, 255, shape, np.uint8)
    if isinstance(sensor, LidarSpec):
        return spaces.Box(0.0, sensor.range_m, shape, np.float32)
    return spaces.Box(0.0, depth_camera(sensor, embodiment.camera, embodiment.sensors).far_m, shape, np.float32)


def observation_space(embodiment: Embodiment, *, images: bool = True) -> spaces.Dict:
    """`image` uint8 (H, W, 3) RGB, `instruction` text, `state` float32 (6,), and the embodiment's sensors by name.

    Without images what must be drawn is left out: cameras and depth.
    """
    width, height = embodiment.camera.image_px
    image = spaces.Box(0, 255, (height, width, 3), np.uint8)
    return spaces.Dict(
        {
            **({IMAGE: image} if images else {}),
            "instruction": InstructionSpace(INSTRUCTION_LENGTH, charset=_characters()),
            "state": spaces.Box(-STATE_BOUNDS, STATE_BOUNDS, dtype=np.float32),
            **sensor_spaces(embodiment, images=images),
        }
    )
