"""Scenes on the other side of the plane y = 0: what `Mirror`, which sees recordings only, is held to."""

from dataclasses import replace

from vla_sim.augmentation.words import mirror_name, mirror_text
from vla_sim.core.types import Body, Pose2, Scene, wrap_angle


def mirrored_scene(scene: Scene) -> Scene:
    """The world on the other side of the plane y = 0, with its task and words. Surfaces keep their grain."""
    x_min, x_max, y_min, y_max = scene.bounds_m
    roll, pitch, yaw = scene.look.camera_tilt_rad
    look = replace(scene.look, sun_azimuth_rad=-scene.look.sun_azimuth_rad, camera_tilt_rad=(-roll, pitch, -yaw))
    return replace(
        scene,
        scenario=scene.twin or scene.scenario,
        twin=scene.scenario if scene.twin else "",
        start=mirrored_pose(scene.start),
        bodies=tuple(map(_mirrored_body, scene.bodies)),
        bounds_m=(x_min, x_max, -y_max, -y_min),
        task=replace(scene.task, side=scene.task.side.opposite if scene.task.side else None),
        look=look,
        instruction=replace(
            scene.instruction,
            text=mirror_text(scene.instruction.text),
            phrasing=mirror_name(scene.instruction.phrasing),
        ),
    )


def mirrored_pose(pose: Pose2) -> Pose2:
    """The pose on the other side of the plane y = 0."""
    return Pose2(pose.x_m, -pose.y_m, wrap_angle(-pose.yaw_rad))


def _mirrored_body(body: Body) -> Body:
    return replace(body, y_m=-body.y_m, yaw_rad=wrap_angle(-body.yaw_rad))
