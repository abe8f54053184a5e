"""A simple model of the robot for overview images: a round body on three omni wheels with a camera on a mast."""

from __future__ import annotations

import functools
import math

import numpy as np

from vla_sim.core.types import Pose2, Vec3
from vla_sim.sim.layers import VERTEX, Layer, around, soft_patches, to_bytes
from vla_sim.sim.mesh_parts import Mesh, band, cuboid, join
from vla_sim.sim.mesh_scene import MeshScene

RADIUS_M = 0.15
WHEEL_RADIUS_M = 0.05
WHEEL_ANGLES_RAD = (math.radians(150), math.radians(-90), math.radians(30))

_DARK = (0.16, 0.17, 0.19)
_WHITE = (0.9, 0.91, 0.93)
_GREY = (0.55, 0.58, 0.62)
_ORANGE = (0.95, 0.45, 0.1)


def robot_layers(robot: Pose2, scene: MeshScene) -> list[tuple[Layer, str]]:
    """The robot's shadow and triangles at a pose in the world, each with the style it is drawn in."""
    mesh = _robot_mesh()
    cos, sin = math.cos(robot.yaw_rad), math.sin(robot.yaw_rad)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    vertices = np.zeros(len(mesh.positions), VERTEX)
    vertices["position"] = mesh.positions @ turn.T + np.array([robot.x_m, robot.y_m, 0.0])
    vertices["color"][:, :3] = to_bytes(mesh.colors * scene.light.shade(mesh.normals @ turn.T))
    vertices["color"][:, 3] = 255
    solid = Layer("", 0, vertices, mesh.triangles.astype(np.uint16), np.zeros(len(vertices), np.uint16))
    shadow = soft_patches(1)
    shadow.vertices["position"][:, :2] = around(vertices["position"], robot.yaw_rad, 0.25, 0.25)
    shadow.vertices["color"][:, 3] = 150
    return [(shadow, "shadow"), (solid, "solid")]


@functools.cache
def _robot_mesh() -> Mesh:
    """In metres, body frame, standing on z = 0."""
    r = RADIUS_M
    decks = [
        _ring((r, 0.05), (r, 0.075), _DARK),
        _ring((r, 0.075), (0.0, 0.075), _DARK),
        _ring((0.12, 0.075), (0.115, 0.19), _WHITE),
        _ring((0.118, 0.12), (0.118, 0.145), _ORANGE),
        _ring((r, 0.19), (r, 0.21), _GREY),
        _ring((r, 0.21), (0.0, 0.21), _WHITE),
    ]
    mast = _block((0.085, 0.0, 0.25), (0.025, 0.025, 0.08), _DARK)
    head = _block((0.095, 0.0, 0.3), (0.04, 0.09, 0.035), _DARK)
    arrow = [
        _block((x, 0.0, 0.213), (0.025, width, 0.006), _ORANGE)
        for x, width in ((0.0, 0.09), (0.025, 0.055), (0.05, 0.02))
    ]
    tail = _block((-0.05, 0.0, 0.213), (0.08, 0.03, 0.006), _ORANGE)
    return join([*decks, mast, head, *arrow, tail, *(_wheel(angle) for angle in WHEEL_ANGLES_RAD)])


def _ring(low: tuple[float, float], high: tuple[float, float], color: Vec3) -> Mesh:
    return band(low, high, segments=24, color=color)


def _block(center: Vec3, size: Vec3, color: Vec3) -> Mesh:
    block = cuboid(color=color)
    block.positions[:] = block.positions * np.array(size) + np.array(center)
    return block


def _wheel(angle_rad: float) -> Mesh:
    """An omni wheel that rolls along (cos, sin) of its angle: its axle points outward, 90 degrees clockwise of that."""
    half = 0.014
    parts = [
        band((WHEEL_RADIUS_M, -half), (WHEEL_RADIUS_M, half), color=_DARK),
        band((WHEEL_RADIUS_M, half), (0.018, half), color=_GREY),
        band((0.018, half), (0.0, half), color=_DARK),
    ]
    wheel = join(parts)
    axle_rad = angle_rad - math.pi / 2
    outward = np.array([math.cos(axle_rad), math.sin(axle_rad), 0.0])
    rolling = np.array([-outward[1], outward[0], 0.0])
    turn = np.column_stack([rolling, [0.0, 0.0, 1.0], outward])
    wheel.positions[:] = wheel.positions @ turn.T + (RADIUS_M - half) * outward + np.array([0, 0, WHEEL_RADIUS_M])
    wheel.normals[:] = wheel.normals @ turn.T
    return wheel
