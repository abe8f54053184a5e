"""What robots observe beside odometry and sentence: images, depth, LiDAR. Shared by the single and the vector env."""

from __future__ import annotations

import numpy as np

from vla_sim.core.sensors import IMAGE, MAIN_CAMERA, CameraSpec, DepthSpec, LidarSpec
from vla_sim.core.specs import Embodiment
from vla_sim.core.types import Scene
from vla_sim.envs.simulation import Simulation
from vla_sim.envs.spaces import sensor_spaces
from vla_sim.sim.camera import Renderer, Shot
from vla_sim.sim.lidar import Lidar
from vla_sim.sim.renderers import make_renderer

# Stream of a scene's seed from which sensors draw their noise.
SENSOR_STREAM = 11


class Sensing:
    """The sensors of several robots of one kind, each in a slot of its own.

    Every slot is measured when its robot is placed, and then stays as it is: what a robot observes does not depend on
    the slots beside it.

    Args:
        robot: has the sensors.
        slots: how many robots.
        renderer: see `make_renderer`.
        images: False leaves out whatever must be drawn: cameras and depth.
    """

    def __init__(self, robot: Embodiment, slots: int, *, renderer: str, images: bool = True) -> None:
        sensors = robot.sensors
        others = {name: sensor for name, sensor in sensors.items() if isinstance(sensor, CameraSpec)}
        self._cameras: dict[str, CameraSpec] = {IMAGE: robot.camera, **others} if images else {}
        self.renderers: dict[str, Renderer] = {
            name: make_renderer(camera.image_px, slots, name=renderer) for name, camera in self._cameras.items()
        }
        self._depths = {
            name: _camera_of(sensor) for name, sensor in sensors.items() if images and isinstance(sensor, DepthSpec)
        }
        self._lidars = {
            name: [Lidar(sensor) for _ in range(slots)]
            for name, sensor in sensors.items()
            if isinstance(sensor, LidarSpec)
        }
        spaces = sensor_spaces(robot, images=images)
        self._readings = {
            name: np.zeros((slots, *space.shape), np.float32)
            for name, space in spaces.items()
            if name not in self._cameras
        }
        self._order = list(spaces)

    def load(self, slot: int, scene: Scene) -> None:
        """An episode begins in a slot."""
        for name, renderer in self.renderers.items():
            renderer.load(slot, scene, self._cameras[name])
        for number, lidars in enumerate(self._lidars.values()):
            lidars[slot].load(scene.bodies, np.random.default_rng([scene.seed, SENSOR_STREAM, number]))

    def place(self, slot: int, simulation: Simulation) -> None:
        """The robot of a slot is where its simulation says: measure there."""
        pose, moved = simulation.pose, simulation.moved()
        shot = Shot(simulation.steps, simulation.twist)
        for renderer in self.renderers.values():
            renderer.place(slot, pose, moved, shot)
        for name, camera in self._depths.items():
            self._readings[name][slot] = self.renderers[camera].depth(slot)
        for name, lidars in self._lidars.items():
            self._readings[name][slot] = lidars[slot].measure(pose, moved)

    def images(self) -> np.ndarray:
        """Images of the robots' own cameras, uint8 (slots, H, W, 3); the next call overwrites them."""
        return self.renderers[IMAGE].render()

    def read(self) -> dict[str, np.ndarray]:
        """What the further sensors of all slots show, arrays (slots, ...) by name."""
        return {
            name: self.renderers[name].render().copy() if name in self._cameras else self._readings[name].copy()
            for name in self._order
        }

    def close(self) -> None:
        """Give the renderers back."""
        for renderer in self.renderers.values():
            renderer.close()


def _camera_of(sensor: DepthSpec) -> str:
    """The observation of the camera whose depth it is."""
    return IMAGE if sensor.camera == MAIN_CAMERA else sensor.camera
