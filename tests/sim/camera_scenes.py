"""Small scenes for the camera's tests."""

from __future__ import annotations

import numpy as np

from vla_sim.core.types import Body, Instruction, Kind, Look, Pose2, Role, Scene, Task

CARDBOARD = (0.72, 0.53, 0.34)


def body(name, kind, size, x, y, yaw=0.0, *, role=Role.OBSTACLE, color=(0.6, 0.6, 0.6), texture="plain"):
    return Body(name, kind, role, size, x, y, yaw, color, texture)


def walls(x_min=-1.0, x_max=5.0, y_min=-2.5, y_max=2.5, height=2.5, thick=0.1):
    mid_x, mid_y, long_x, long_y = (x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min
    return (
        body("wall_far", Kind.WALL, (thick, long_y + 2 * thick, height), x_max + thick / 2, mid_y, role=Role.WALL),
        body("wall_near", Kind.WALL, (thick, long_y + 2 * thick, height), x_min - thick / 2, mid_y, role=Role.WALL),
        body("wall_right", Kind.WALL, (long_x, thick, height), mid_x, y_min - thick / 2, role=Role.WALL),
        body("wall_left", Kind.WALL, (long_x, thick, height), mid_x, y_max + thick / 2, role=Role.WALL),
    )


def scene_of(*bodies, look=Look(), start=Pose2(0.0, 0.0), with_walls=True):  # noqa: B008 - frozen
    every = (*(walls() if with_walls else ()), *bodies)
    return Scene("camera", 0, start, every, (-1.0, 5.0, -2.5, 2.5), Task(), look, Instruction("go"))


def goal(kind=Kind.BOTTLE, size=(0.16, 0.16, 0.4), x=3.2, y=0.3, yaw=0.0, color=(0.1, 0.4, 0.7), texture="plain"):
    return body("goal", kind, size, x, y, yaw, role=Role.GOAL, color=color, texture=texture)


def typical_scene(look=Look()):  # noqa: B008 - frozen
    """Floor, four walls, two boxes and a goal."""
    return scene_of(
        body("box_0", Kind.BOX, (0.3, 0.4, 0.35), 1.3, 0.4, 0.3, color=CARDBOARD, texture="cardboard"),
        body("box_1", Kind.BOX, (0.25, 0.3, 0.3), 2.2, -0.5, -0.2, color=CARDBOARD, texture="cardboard"),
        goal(),
        look=look,
    )


def random_scene(seed):
    """Objects of every kind scattered in front of the robot, with a random light and a tilted camera."""
    rng = np.random.default_rng(seed)
    kinds = [Kind.BOX, Kind.CUP, Kind.BOTTLE, Kind.POT, Kind.BASKET]
    bodies = []
    for index, kind in enumerate(kinds):
        wide, high = float(rng.uniform(0.15, 0.4)), float(rng.uniform(0.15, 0.45))
        deep = wide if kind in (Kind.CUP, Kind.BOTTLE, Kind.POT) else float(rng.uniform(0.15, 0.4))
        x, y, yaw = float(rng.uniform(0.8, 3.5)), -1.2 + 0.6 * index, float(rng.uniform(-3, 3))
        color = tuple(float(c) for c in rng.uniform(0.1, 0.9, 3))
        role = Role.GOAL if index == 0 else Role.DISTRACTOR
        bodies.append(body(f"thing_{index}", kind, (wide, deep, high), x, y, yaw, role=role, color=color))
    tilt = tuple(float(t) for t in rng.uniform(-0.06, 0.06, 3))
    look = Look(
        sun_azimuth_rad=float(rng.uniform(-3, 3)),
        floor_texture=str(rng.choice(["tiles", "wood", "carpet", "concrete", "plain"])),
        wall_texture=str(rng.choice(["plaster", "brick", "panel", "plain"])),
        camera_tilt_rad=tilt,
        texture_seed=int(rng.integers(100)),
    )
    return scene_of(*bodies, look=look)
