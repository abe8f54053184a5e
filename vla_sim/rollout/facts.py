"""Facts of an episode that only metrics need, measured when it ends while its scene is at hand.

They are kept in `EpisodeResult.extra`, so a new one is a line here and breaks no earlier run.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vla_sim.core.planner import Planner
from vla_sim.core.types import Role, Scene
from vla_sim.envs.simulation import Simulation
from vla_sim.rollout.observers import Sentences

DIGITS = 4  # tenths of a millimetre


def facts_of(planner: Planner, path: np.ndarray, reach_m: float) -> dict[str, Any]:
    """All facts by name, plain JSON values.

    Args:
        planner: of the episode's scene.
        path: (T + 1, 2) positions of the robot's centre, metres, world frame.
        reach_m: how near the goal counts as reached.

    Returns:
        `expert_path`: corners (n, 2) of the shortest path from the start, empty where there is none.
        `closest_distance_m`: the smallest way left of the episode along shortest paths, None where there never was one.
    """
    return {
        "expert_path": np.round(planner.path(*path[0]), DIGITS).tolist(),
        "closest_distance_m": closest_distance(planner, path, reach_m),
    }


def reached_of(scene: Scene, reached: str, ended_at: str) -> dict[str, Any]:
    """What the robot came to.

    Args:
        scene: of the episode.
        reached: name of the body that it first came within reach of; "" for none.
        ended_at: name of the body at which the episode ended; "" for none.

    Returns:
        `reached_object`: kind and name, e.g. "cup (middle)", of that at which it ended, else of the first; "" for none.
        `reached_goal`: whether the first was the goal; standing still where that is right does not count.
    """
    bodies = {body.name: body for body in scene.bodies}
    first, last = bodies.get(reached), bodies.get(ended_at or reached)
    if first is None or last is None:
        return {"reached_object": "", "reached_goal": False}
    kind = last.kind.value
    named = kind if last.name == kind else f"{kind} ({last.name})"
    return {"reached_object": named, "reached_goal": first.role is Role.GOAL}


def sentences_of(sentences: Sentences, control_s: float) -> dict[str, Any]:
    """What else was said within the episode; nothing where it had one sentence.

    Returns:
        `sentences`: [time in s, text] of each in order.
        `obeyed_s`: where the robot was told to stop, seconds from that until it stood still for good; None for never.
    """
    if len(sentences.said) < 2:
        return {}
    facts: dict[str, Any] = {"sentences": [[round(said.time_s, DIGITS), said.text] for said in sentences.said]}
    told = sentences.said[-1]
    if told.refuse and not sentences.said[0].refuse:
        after = sentences.stopped[told.step :]
        moved = max((step + 1 for step, stopped in enumerate(after) if not stopped), default=0)
        facts["obeyed_s"] = round(moved * control_s, DIGITS) if moved < len(after) else None
    return facts


def legs_of(simulation: Simulation) -> dict[str, Any]:
    """Of a task of several legs: `legs`, how many there are, and `legs_done`; nothing else has them."""
    scene = simulation.scene
    if scene is None or not scene.task.legs:
        return {}
    return {"legs": len(scene.task.legs), "legs_done": simulation.legs_done}


def closest_distance(planner: Planner, path: np.ndarray, reach_m: float) -> float | None:
    """The smallest geodesic distance of all positions; a straight line to the goal bounds which are looked at."""
    bounds = np.array([planner.goal_gap(x, y) - reach_m for x, y in path])
    best = np.inf
    for i in np.argsort(bounds, kind="stable"):
        if bounds[i] >= best:
            break
        best = min(best, planner.distance(*path[i]))
    return round(float(best), DIGITS) if np.isfinite(best) else None
