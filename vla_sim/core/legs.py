"""Tasks of several legs, to be done one after the other, and the scene as each leg sees it."""

from __future__ import annotations

from dataclasses import replace

from vla_sim.core.doorways import Doorway
from vla_sim.core.types import Body, Role, Scene


def at_leg(scene: Scene, leg: int) -> Scene:
    """The scene for who is on that leg.

    The next object to be reached is the goal, those of later legs are distractors, and one that was reached stands in
    the way like furniture.
    """
    task = scene.task
    if leg == task.leg and scene.has_goal:
        return scene
    targets = [(index, one.name) for index, one in enumerate(task.legs) if one.is_target]
    goal = next(name for index, name in targets if index >= leg)
    done = {name for index, name in targets if index < leg}

    def on_leg(body: Body) -> Body:
        if body.name not in {name for _, name in targets}:
            return body
        role = Role.GOAL if body.name == goal else Role.FURNITURE if body.name in done else Role.DISTRACTOR
        return replace(body, role=role)

    return replace(scene, bodies=tuple(map(on_leg, scene.bodies)), task=replace(task, leg=leg))


def targets(scene: Scene) -> tuple[Body, ...]:
    """What is to be reached, in order: one object without legs, none where the task is to refuse."""
    if scene.task.refuse:
        return ()
    by_name = {body.name: body for body in scene.bodies}
    return tuple(by_name[leg.name] for leg in scene.task.legs if leg.is_target) or (scene.goal,)


def next_target(scene: Scene) -> Scene | None:
    """The scene after its present goal was reached; None where that was the last one."""
    task = scene.task
    reached = next((i for i, leg in enumerate(task.legs) if i >= task.leg and leg.is_target), None)
    return None if reached is None or reached + 1 >= len(task.legs) else at_leg(scene, reached + 1)


def doorway_ahead(scene: Scene) -> Doorway | None:
    """The next doorway to go through on the way to the present goal; None where there is none."""
    leg = _leg_through(scene)
    return None if leg is None else next(one for one in scene.doorways if one.wall == scene.task.legs[leg].name)


def behind_doorway(scene: Scene) -> Scene | None:
    """The scene after that doorway was gone through; None where there is none."""
    leg = _leg_through(scene)
    return None if leg is None else at_leg(scene, leg + 1)


def _leg_through(scene: Scene) -> int | None:
    task = scene.task
    ahead = next((i for i, leg in enumerate(task.legs) if i >= task.leg and not leg.past), None)
    return ahead if ahead is not None and task.legs[ahead].through else None
