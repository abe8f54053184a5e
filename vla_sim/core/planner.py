"""Shortest paths on the instructed side: one definition for feasibility, the SPL reference and the expert.

The robot is a disc. Obstacles are its convex bodies grown by the disc's radius (and a margin); a path is a polyline
over their corners (a visibility graph) into the success region. Also home of the wrong-side rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from vla_sim.core.doorways import Doorway
from vla_sim.core.geometry import surface_distance
from vla_sim.core.legs import behind_doorway, doorway_ahead, next_target
from vla_sim.core.obstruction import CORNERS, EPS, Obstruction, corners_of, crossing, gates_of, grown, nearest_on
from vla_sim.core.types import Body, Pose2, Role, Scene, Side

# A start this far inside a grown body is moved straight out first: contacts overlap by millimetres.
_OVERLAP_M = 0.03
# Room beside the reach of a distractor, so that passing it is never taken for reaching it.
_DISTRACTOR_ROOM_M = 0.05
# Paths go on to this share of the reach, so that a follower does not stall at the border of the region.
_DEPTH = 0.5
# Targets on the way are planned to be approached to this share of the reach, so that a follower does not miss them.
_TOUCH = 0.85
# Doorways are planned to be gone through at one of so many places, and from this far before the middle of the wall.
_PLACES, _BEFORE_M = 9, 0.02
# Roles of bodies that stand in the way, walls apart.
SOLID = (Role.OBSTACLE, Role.DISTRACTOR, Role.FURNITURE)


class _Graph:
    """Cost to go from every corner into the success region."""

    def __init__(
        self,
        scene: Scene,
        *,
        robot_radius_m: float,
        margin_m: float,
        distractor_margin_m: float,
        onward: Callable[[float, float], float] | None = None,
    ) -> None:
        """`onward` is the length that is left from a point of the region; without it the path ends there."""
        self._goal, self._onward = scene.goal, onward
        self._within_m = robot_radius_m + scene.task.reach_m * (_TOUCH if onward else 1.0)
        self._depth_m = self._within_m if onward else robot_radius_m + scene.task.reach_m * _DEPTH
        by_m = dict.fromkeys(Role, robot_radius_m + margin_m)
        by_m[Role.DISTRACTOR] = robot_radius_m + distractor_margin_m
        self._limits, inner_walls = _limits(scene, robot_radius_m + margin_m)
        solid = [b for b in scene.bodies if b.role in SOLID] + inner_walls
        self._world = Obstruction([grown(b, by_m[b.role]) for b in solid], gates_of(scene), scene.start)
        nodes = np.concatenate([self._world.corners, self._region()])
        keep = self._world.free(nodes) & self._inside(nodes)
        self._nodes = nodes[keep]
        self._solve()

    def _region(self) -> np.ndarray:
        """Points (n, 2) at which a path may come into the success region."""
        return grown(self._goal, (self._within_m - EPS) * math.cos(math.pi / CORNERS))

    def _inside(self, points: np.ndarray) -> np.ndarray:
        low, high = self._limits
        within = (points >= low - EPS) & (points <= high + EPS)
        return within[:, 0] & within[:, 1]

    def _entries(self, points: np.ndarray, within_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Where straight moves at the goal come within `within_m` of it, (n, 2), and their lengths (n,)."""
        towards = nearest_on(self._goal, points) - points
        gap = np.linalg.norm(towards, axis=1)
        length = np.maximum(0.0, gap - within_m)
        return points + towards * (length / np.maximum(gap, EPS))[:, None], length

    def _direct(self, points: np.ndarray) -> np.ndarray:
        """Length of the straight move into the region, infinite where it is blocked; (n,)."""
        entries, lengths = self._entries(points, self._within_m)
        blocked = self._world.blocked(points, entries) | ~self._inside(entries)
        if self._onward is not None:
            lengths = lengths + np.array([self._onward(x, y) for x, y in entries.tolist()])
        return np.where(blocked & (lengths > 0), np.inf, lengths)

    def _solve(self) -> None:
        count = len(self._nodes)
        lengths = np.linalg.norm(self._nodes[:, None] - self._nodes[None], axis=2)
        rows, columns = np.nonzero(~np.eye(count, dtype=bool))
        blocked = self._world.blocked(self._nodes[rows], self._nodes[columns])
        lengths[rows[blocked], columns[blocked]] = np.inf
        np.fill_diagonal(lengths, np.inf)
        self._cost = self._direct(self._nodes)
        self._next = np.full(count, -1)
        for _ in range(count):
            via = lengths + self._cost
            best = via.argmin(axis=1)
            better = via[np.arange(count), best] < self._cost - EPS
            if not better.any():
                break
            self._cost = np.where(better, via[np.arange(count), best], self._cost)
            self._next = np.where(better, best, self._next)

    def _first(self, x_m: float, y_m: float) -> tuple[float, np.ndarray, int] | None:
        """Total length from a point, the free point it starts from and the first corner (-1: straight in)."""
        point = np.array((x_m, y_m))
        start = self._world.moved_out(np.clip(point, *self._limits), _OVERLAP_M)
        if start is None or math.dist(start, point) > _OVERLAP_M:
            return None
        cost = float(self._direct(start[None])[0])
        first = -1
        if cost > 0 and len(self._nodes):
            moves = np.linalg.norm(self._nodes - start, axis=1) + self._cost
            seen = np.flatnonzero(moves < cost)
            seen = seen[~self._world.blocked(np.broadcast_to(start, (len(seen), 2)), self._nodes[seen])]
            if len(seen):
                first = int(seen[np.argmin(moves[seen])])
                cost = float(moves[first])
        return (cost + math.dist(start, point), start, first) if math.isfinite(cost) else None

    def distance(self, x_m: float, y_m: float) -> float:
        found = self._first(x_m, y_m)
        return math.inf if found is None else found[0]

    def path(self, x_m: float, y_m: float) -> np.ndarray:
        found = self._first(x_m, y_m)
        if found is None:
            return np.zeros((0, 2))
        _, start, node = found
        points = [np.array((x_m, y_m))]
        if math.dist(start, points[0]) > EPS:
            points.append(start)
        while node >= 0:
            points.append(self._nodes[node])
            node = int(self._next[node])
        points += self._last(points[-1])
        return np.array(points)

    def _last(self, point: np.ndarray) -> list[np.ndarray]:
        """The stretch into the region, and on to its depth where nothing is in the way."""
        for within_m in (self._depth_m, self._within_m):
            entries, lengths = self._entries(point[None], within_m)
            if lengths[0] > EPS and not self._world.blocked(point[None], entries)[0] and self._inside(entries)[0]:
                return [entries[0]]
        return []


class _DoorwayGraph(_Graph):
    """Cost to go from every corner through a doorway and on from there: its paths end just behind it."""

    def __init__(
        self,
        scene: Scene,
        doorway: Doorway,
        *,
        robot_radius_m: float,
        margin_m: float,
        distractor_margin_m: float,
        onward: Callable[[float, float], float],
    ) -> None:
        room_m = robot_radius_m + margin_m
        along = np.linspace(room_m, doorway.width_m - room_m, _PLACES if doorway.width_m >= 2 * room_m else 0)
        places = [doorway.point(x, aside) for aside in (_BEFORE_M, -_BEFORE_M) for x in along.tolist()]
        self._places = np.array(places).reshape(-1, 2)
        self._beyond, self._rest = np.roll(self._places, len(along), axis=0), onward
        super().__init__(
            scene,
            robot_radius_m=robot_radius_m,
            margin_m=margin_m,
            distractor_margin_m=distractor_margin_m,
            onward=onward,
        )

    def _region(self) -> np.ndarray:
        return self._places

    def _place(self, point: np.ndarray) -> int | None:
        apart = np.abs(self._places - point).max(axis=1, initial=0.0)
        found = np.flatnonzero(apart < EPS)
        return int(found[0]) if len(found) else None

    def _direct(self, points: np.ndarray) -> np.ndarray:
        """From the places in the doorway to the other side and on; infinite elsewhere; (n,)."""
        lengths = np.full(len(points), np.inf)
        for index, place in enumerate(map(self._place, points)):
            if place is not None:
                here, there = self._places[place], self._beyond[place]
                if not self._world.blocked(here[None], there[None])[0]:
                    lengths[index] = math.dist(here, there) + self._rest(*there.tolist())
        return lengths

    def _last(self, point: np.ndarray) -> list[np.ndarray]:
        place = self._place(point)
        return [] if place is None else [self._beyond[place]]


def _limits(scene: Scene, by_m: float) -> tuple[tuple[np.ndarray, np.ndarray], list[Body]]:
    """Lowest and highest (x, y) of the robot's centre between the outer walls, and the walls that stand inside."""
    x_min, x_max, y_min, y_max = scene.bounds_m
    low, high = np.array((x_min, y_min)), np.array((x_max, y_max))
    free_low, free_high, inner = low.copy(), high.copy(), []
    for wall in scene.with_role(Role.WALL):
        corners = corners_of(wall)
        least, most = corners.min(axis=0), corners.max(axis=0)
        below, above = most <= low + EPS, least >= high - EPS
        free_low = np.where(below, np.maximum(free_low, most + by_m), free_low)
        free_high = np.where(above, np.minimum(free_high, least - by_m), free_high)
        if not (below | above).any():
            inner.append(wall)
    return (free_low, free_high), inner


def crosses_gates(scene: Scene, here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Which straight moves here -> there, both (n, 2), pass an obstacle on the side that was not asked for; (n,)."""
    return crossing(gates_of(scene), scene.start, here, there)


class Planner:
    """Shortest paths of a round robot's centre through one scene; bodies stand where the scene put them."""

    def __init__(self, scene: Scene, robot_radius_m: float, margin_m: float = 0.0) -> None:
        """Distractors are given a wide berth (their reach and 0.05 m) wherever that leaves a path."""
        self._scene = scene
        self._radius_m = robot_radius_m
        self._margin_m = margin_m
        self._solid = [body for body in scene.bodies if body.role not in (Role.GOAL, Role.MOVER)]
        self._doorway = None if scene.task.refuse else doorway_ahead(scene)
        onward = None if scene.task.refuse else behind_doorway(scene) if self._doorway else next_target(scene)
        self._onward = None if onward is None else Planner(onward, robot_radius_m, margin_m)
        wide = max(margin_m, scene.task.reach_m + _DISTRACTOR_ROOM_M)
        self._berths = [wide, margin_m] if scene.with_role(Role.DISTRACTOR) else [margin_m]
        self._graphs = [] if scene.task.refuse else [self._graph(self._berths[0])]

    def _graph(self, berth_m: float) -> _Graph:
        if self._doorway is not None and self._onward is not None:
            return _DoorwayGraph(
                self._scene,
                self._doorway,
                robot_radius_m=self._radius_m,
                margin_m=self._margin_m,
                distractor_margin_m=berth_m,
                onward=self._onward.distance,
            )
        return _Graph(
            self._scene,
            robot_radius_m=self._radius_m,
            margin_m=self._margin_m,
            distractor_margin_m=berth_m,
            onward=self._onward.distance if self._onward else None,
        )

    def _levels(self) -> list[_Graph]:
        """All graphs, the widest berth first; the narrow one is built when it is first needed."""
        self._graphs += [self._graph(berth_m) for berth_m in self._berths[len(self._graphs) :]]
        return self._graphs

    def distance(self, x_m: float, y_m: float) -> float:
        """Length in metres of the shortest path from a point until the goal is reached; inf where there is none.

        Of a task of several legs until the last one is done, through all that are left.
        """
        if self._scene.task.refuse:
            return 0.0
        length = self._graphs[0].distance(x_m, y_m)
        if math.isinf(length) and len(self._berths) > 1:
            length = self._levels()[-1].distance(x_m, y_m)
        return length

    def path(self, x_m: float, y_m: float) -> np.ndarray:
        """Corners (n, 2) of that path from the point on; n = 0 where there is none.

        It ends not at the border of the success region but halfway to the goal's surface, if that is free. Of a task of
        several legs it leads through all that are left.
        """
        corners = self._first_part(x_m, y_m)
        return corners if self._onward is None else _joined(corners, self._onward.path)

    def leg_path(self, x_m: float, y_m: float) -> np.ndarray:
        """The part of that path that ends at the present goal; all of it where there are no more legs."""
        corners = self._first_part(x_m, y_m)
        if self._doorway is None or self._onward is None:
            return corners
        return _joined(corners, self._onward.leg_path)

    def _first_part(self, x_m: float, y_m: float) -> np.ndarray:
        """The part that ends at the present goal, or behind a doorway before it."""
        if self._scene.task.refuse:
            return np.array([(x_m, y_m)])
        corners = self._graphs[0].path(x_m, y_m)
        if not len(corners) and len(self._berths) > 1:
            corners = self._levels()[-1].path(x_m, y_m)
        return corners

    def nearest(self, x_m: float, y_m: float) -> tuple[str, float]:
        """Name of the body (but the goal) nearest to the robot's disc at a point, and the gap; ("", inf) if none."""
        gaps = [(surface_distance(body, x_m, y_m) - self._radius_m, body.name) for body in self._solid]
        gap, name = min(gaps, default=(math.inf, ""))
        return name, gap

    def clearance(self, x_m: float, y_m: float) -> float:
        """Gap in metres to that body; negative means overlap."""
        return self.nearest(x_m, y_m)[1]

    def goal_gap(self, x_m: float, y_m: float) -> float:
        """Gap in metres between the robot's disc at a point and the goal's surface; 0 where there is none."""
        if self._scene.task.refuse:
            return 0.0
        return surface_distance(self._scene.goal, x_m, y_m) - self._radius_m


def _joined(corners: np.ndarray, onward: Callable[[float, float], np.ndarray]) -> np.ndarray:
    """A path and the one that goes on from its end; empty where either is."""
    if not len(corners):
        return corners
    rest = onward(*corners[-1])
    return np.concatenate([corners, rest[1:]]) if len(rest) else rest


def _passing_m(start: Pose2, body: Body, before: Sequence[float], after: Sequence[float]) -> float | None:
    """How far to the left of a body's centre a move passes it, in metres; None when it does not.

    A body is passed when the centre of the robot crosses, forward, the line through the body's centre at right angles
    to the robot's first heading.
    """
    here, there = start.seen_from(before[0], before[1]), start.seen_from(after[0], after[1])
    ahead, aside = start.seen_from(body.x_m, body.y_m)
    if not here[0] < ahead <= there[0]:
        return None
    share = (ahead - here[0]) / (there[0] - here[0])
    return here[1] + share * (there[1] - here[1]) - aside


def crossed_wrong_side(scene: Scene, before_xy: Sequence[float], after_xy: Sequence[float]) -> bool:
    """Whether a move of the robot's centre passes an obstacle on the side that was not asked for.

    Several obstacles count one by one, so going between two that stand side by side is wrong on either instruction.
    Sides are those of the first heading, wherever the robot has turned.
    """
    side = scene.task.side
    if side is None:
        return False
    passed = (_passing_m(scene.start, body, before_xy, after_xy) for body in scene.with_role(Role.OBSTACLE))
    return any(aside is not None and aside * side.sign < 0 for aside in passed)


def passed_side(start: Pose2, body: Body, path_xy: np.ndarray) -> Side | None:
    """Side on which a path (n, 2) last passed a body; None when it never did."""
    points = np.asarray(path_xy, dtype=float).tolist()
    for before, after in zip(points[-2::-1], points[:0:-1], strict=True):
        aside = _passing_m(start, body, before, after)
        if aside is not None:
            return Side.LEFT if aside > 0 else Side.RIGHT
    return None


def realised_side(scene: Scene, path_xy: np.ndarray) -> Side | None:
    """Side on which a path (n, 2) passed the obstacles; None when it passed none, or not all on one side."""
    sides = {passed_side(scene.start, body, path_xy) for body in scene.with_role(Role.OBSTACLE)} - {None}
    return sides.pop() if len(sides) == 1 else None
