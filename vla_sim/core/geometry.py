"""Planar distances between points and bodies. Used by the env's judge, the planner and the records."""

from __future__ import annotations

import math

import numpy as np

from vla_sim.core.types import Body, Role, Scene


def surface_distance(body: Body, x_m: float, y_m: float) -> float:
    """Distance in metres from a world point to a body's footprint; negative inside it."""
    dx, dy = x_m - body.x_m, y_m - body.y_m
    if body.round:
        return math.hypot(dx, dy) - body.size_m[0] / 2
    cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
    out_x = abs(cos * dx + sin * dy) - body.size_m[0] / 2
    out_y = abs(cos * dy - sin * dx) - body.size_m[1] / 2
    if out_x <= 0 and out_y <= 0:
        return max(out_x, out_y)
    return math.hypot(max(out_x, 0.0), max(out_y, 0.0))


def surface_distances(body: Body, points_m: np.ndarray) -> np.ndarray:
    """`surface_distance` for points (n, 2) in the world frame; metres, shape (n,)."""
    dx, dy = points_m[:, 0] - body.x_m, points_m[:, 1] - body.y_m
    if body.round:
        return np.hypot(dx, dy) - body.size_m[0] / 2
    cos, sin = math.cos(body.yaw_rad), math.sin(body.yaw_rad)
    out_x = np.abs(cos * dx + sin * dy) - body.size_m[0] / 2
    out_y = np.abs(cos * dy - sin * dx) - body.size_m[1] / 2
    outside = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0))
    return np.where((out_x <= 0) & (out_y <= 0), np.maximum(out_x, out_y), outside)


def clearances(scene: Scene, points_m: np.ndarray, robot_radius_m: float) -> np.ndarray:
    """Gap in metres between the robot's disc at each point (n, 2) and the nearest body but goal and movers; shape (n,).

    Bodies stand where the scene put them; where nothing stands, infinity.
    """
    gaps = [surface_distances(body, points_m) for body in scene.bodies if body.role not in (Role.GOAL, Role.MOVER)]
    return np.min(gaps, axis=0) - robot_radius_m if gaps else np.full(len(points_m), np.inf)


def resample(points_m: np.ndarray, spacing_m: float) -> np.ndarray:
    """A polyline (n, 2) with points added so that neighbours are at most `spacing_m` apart."""
    lengths = np.linalg.norm(np.diff(points_m, axis=0), axis=1)
    counts = np.maximum(1, np.ceil(lengths / spacing_m)).astype(int)
    pieces = [points_m[:1]]
    for here, there, count in zip(points_m[:-1], points_m[1:], counts, strict=True):
        pieces.append(here + (there - here) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)
