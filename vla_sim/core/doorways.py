"""Doorways: where they are and when something went through one. Used by scenes, the judge and the planner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Doorway:
    """An opening in an inner wall.

    Attributes:
        wall: name of the wall.
        posts: both ends of the opening on the middle line of the wall; world frame, metres.
    """

    wall: str
    posts: tuple[Point, Point]

    def __post_init__(self) -> None:
        if not self.width_m > 0:
            raise ValueError(f"doorway of {self.wall}: the posts must be apart, got {self.posts}")

    @property
    def width_m(self) -> float:
        """From post to post."""
        return math.dist(*self.posts)

    @property
    def middle(self) -> Point:
        """Halfway between the posts."""
        (x0, y0), (x1, y1) = self.posts
        return (x0 + x1) / 2, (y0 + y1) / 2

    def seen(self, point: Sequence[float]) -> Point:
        """A world point as metres along the wall from the first post, and to the left of that direction."""
        (x0, y0), (x1, y1) = self.posts
        cos, sin = (x1 - x0) / self.width_m, (y1 - y0) / self.width_m
        dx, dy = point[0] - x0, point[1] - y0
        return cos * dx + sin * dy, cos * dy - sin * dx

    def point(self, along_m: float, aside_m: float) -> Point:
        """The world point that is seen there."""
        (x0, y0), (x1, y1) = self.posts
        cos, sin = (x1 - x0) / self.width_m, (y1 - y0) / self.width_m
        return x0 + cos * along_m - sin * aside_m, y0 + sin * along_m + cos * aside_m

    def apart(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether two world points are on different sides of the line through the posts."""
        return (self.seen(one)[1] < 0) is not (self.seen(other)[1] < 0)

    def passed(self, before: Sequence[float], after: Sequence[float]) -> bool:
        """Whether a straight move between two world points goes through, in either direction."""
        if not self.apart(before, after):
            return False
        (along, aside), (along_after, aside_after) = self.seen(before), self.seen(after)
        crossing = along + (along_after - along) * aside / (aside - aside_after)
        return 0 <= crossing <= self.width_m
