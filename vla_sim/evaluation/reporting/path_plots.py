"""The plots of a report: all paths of a policy in a scenario from above, and single failures with what stood there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vla_sim.core.pages import Axes
from vla_sim.core.types import Outcome, Role, Scene
from vla_sim.evaluation.reporting.map import footprint
from vla_sim.rollout.result import EpisodeResult

Scenes = Mapping[tuple[str, int], Scene]

MAX_PLOTS = 120
MAX_PATHS = 4000
MAX_PATH_POINTS = 60
MAX_CLOSE_UPS = 12
PLOT_PX = 190


def _axes(points: Sequence[tuple[float, float]]) -> Axes:
    """World metres from above: x (forward) is up, y (left) to the left, equal scales, a line each metre or more."""
    xs, ys = [p[0] for p in points] or [0.0], [p[1] for p in points] or [0.0]
    x_low, x_high, y_low, y_high = min(xs) - 0.25, max(xs) + 0.25, min(ys) - 0.25, max(ys) + 0.25
    scale = min(PLOT_PX / (x_high - x_low), PLOT_PX / (y_high - y_low))
    spare = (PLOT_PX / scale - (y_high - y_low)) / 2
    y_low, y_high = y_low - spare, y_high + spare
    every = max(1, math.ceil(20 / scale))  # as many metres as leave room for the labels
    return Axes(
        width=PLOT_PX,
        height=round((x_high - x_low) * scale, 1),
        across=(y_high, y_low),
        up=(x_low, x_high),
        across_ticks=_multiples(y_low, y_high, every),
        up_ticks=_multiples(x_low, x_high, every),
    )


def _multiples(low: float, high: float, every: int) -> list[tuple[str, float]]:
    return [(str(m), float(m)) for m in range(math.ceil(low), math.floor(high) + 1) if m % every == 0]


def _across_up(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """World positions (x, y, ...) as the axes take them."""
    return [(p[1], p[0]) for p in points]


def plots(records: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """All paths of each policy and scenario, or an even sample of them; failures are kept first and drawn on top."""
    cells: dict[tuple[str, str], list[EpisodeResult]] = {}
    for record in records:
        if record.path:
            cells.setdefault((record.scenario, record.policy), []).append(record)
    order = {scenario: i for i, (scenario, _) in enumerate(cells)}
    chosen = sorted(cells, key=lambda key: order[key[0]])[:MAX_PLOTS]
    limit = max(8, MAX_PATHS // max(1, len(chosen)))
    frames = {
        scenario: _axes([(p[0], p[1]) for key in chosen if key[0] == scenario for r in cells[key] for p in r.path])
        for scenario, _ in chosen
    }
    return [_plot(key, cells[key], limit, frames[key[0]]) for key in chosen]


def _plot(key: tuple[str, str], cell: Sequence[EpisodeResult], limit: int, axes: Axes) -> dict[str, Any]:
    failures = [r for r in cell if not r.success]
    successes = [r for r in cell if r.success]
    shown = [*_sample(successes, max(limit // 4, limit - len(failures))), *_sample(failures, limit)]
    return {
        "scenario": key[0],
        "policy": key[1],
        "n": len(cell),
        "shown": len(shown),
        "axes": axes,
        "bodies": [],
        "paths": [_trace(r, axes) for r in shown],
    }


def _trace(record: EpisodeResult, axes: Axes) -> dict[str, Any]:
    points = _across_up(record.path)
    kept = [*_sample(points[:-1], MAX_PATH_POINTS), points[-1]]
    return {
        "outcome": record.outcome.value,
        "seed": record.seed,
        "line": axes.line(kept),
        "end": axes.px(*points[-1]),
        "start": axes.px(*points[0]),
    }


def _sample(items: Sequence[Any], limit: int) -> list[Any]:
    """At most `limit` items, evenly spread, the first among them."""
    if len(items) <= limit:
        return list(items)
    return [items[i * len(items) // limit] for i in range(limit)]


def close_ups(failures: Sequence[EpisodeResult], scenes: Scenes) -> list[dict[str, Any]]:
    """Single failures, each in a frame of its own, with what stood there where the scene is known."""
    drove = [r for r in failures if len(r.path) > 1]
    return [_close_up(r, scenes.get((r.scenario, r.seed))) for r in _one_of_each_first(drove)[:MAX_CLOSE_UPS]]


def _one_of_each_first(records: Sequence[EpisodeResult]) -> list[EpisodeResult]:
    """The same records, those first that show a policy, scenario and outcome not shown before."""
    seen: dict[tuple[str, str, Outcome], int] = {}
    ranks = []
    for record in records:
        key = (record.policy, record.scenario, record.outcome)
        ranks.append(seen.get(key, 0))
        seen[key] = ranks[-1] + 1
    return [records[i] for i in sorted(range(len(records)), key=lambda i: ranks[i])]


def _close_up(record: EpisodeResult, scene: Scene | None) -> dict[str, Any]:
    bodies = [b for b in scene.bodies if b.role is not Role.WALL] if scene else []
    outlines = [footprint(body) for body in bodies]
    axes = _axes([(p[0], p[1]) for p in record.path] + [p for corners in outlines for p in corners])
    return {
        "record": record,
        "axes": axes,
        "paths": [_trace(record, axes)],
        "bodies": [
            {
                "points": axes.line(_across_up(corners)),
                "role": body.role.value,
                "name": body.name,
                "hit": body.name == record.collision_partner,
            }
            for body, corners in zip(bodies, outlines, strict=True)
        ],
        "reach": axes.line(_across_up(footprint(scene.goal, grow_m=scene.task.reach_m, smooth=True)))
        if scene and not scene.task.refuse
        else "",
    }
