"""What a scenario file may say around its objects: the robot's start, the room and its inner walls, what moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vla_sim.core.types import MOVING_KINDS, Kind, Reaction
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import Choice, Distribution, Names, Numbers, Points, Uniform, fixed

REACTIONS = tuple(reaction.value for reaction in Reaction)


@dataclass(frozen=True)
class StartDistribution:
    """Where the robot starts, in the room: x ahead and y to the left of the usual start.

    Attributes:
        x_m, y_m: its centre.
        yaw_deg: its first heading, counter-clockwise from x.
    """

    x_m: Annotated[Distribution, Numbers(-30, 30)] = fixed(0.0)
    y_m: Annotated[Distribution, Numbers(-30, 30)] = fixed(0.0)
    yaw_deg: Annotated[Distribution, Numbers(-360, 360)] = fixed(0.0)


@dataclass(frozen=True)
class RoomDistribution:
    """The outer walls, measured to their inner faces: four around the usual start, or any outline of right angles.

    Attributes:
        ahead_m: from the usual start to the front wall.
        behind_m: from the usual start to the back wall.
        width_m: from the left to the right wall; the usual start is in the middle.
        ceiling_m: height of the ceiling, and of all walls, which carry it.
        outline_m: in place of the first three: the corners of the room, each at right angles to the last.
    """

    ahead_m: Annotated[Distribution, Numbers(0.5, 30)] = fixed(5.2)
    behind_m: Annotated[Distribution, Numbers(0.3, 30)] = fixed(0.8)
    width_m: Annotated[Distribution, Numbers(1, 30)] = fixed(5.0)
    ceiling_m: Annotated[Distribution, Numbers(1.0, 6)] = Uniform(2.4, 3.0)
    outline_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30, 4, 24)] = ()


@dataclass(frozen=True)
class WallDistribution:
    """An inner wall, straight, with a doorway where `door_at_m` is given.

    Attributes:
        from_m, to_m: its ends, in the room.
        thickness_m: half of it on each side of the line between the ends.
        door_at_m: from the first end to the middle of the doorway.
        door_width_m: of the doorway.
    """

    name: str
    from_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30)]
    to_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30)]
    thickness_m: Annotated[Distribution, Numbers(0.02, 1)] = fixed(0.1)
    door_at_m: Annotated[Distribution | None, Numbers(0, 60)] = None
    door_width_m: Annotated[Distribution, Numbers(0.3, 10)] = Uniform(0.9, 1.1)


@dataclass(frozen=True)
class MoverDistribution:
    """Something that moves by itself, along a path or about a hinge, at a steady speed. Touching it is a collision.

    Attributes:
        kind: what it is.
        path_m: points of its path, in the room; it starts at the first one.
        hinge_m: in place of a path: where a door is hung, at one end of its depth; it starts along `yaw_deg`.
        swing_deg: how far it turns about its hinge, counter-clockwise.
        speed_mps: along the path; of the far edge of a door that swings.
        start_s: how long it stands before it sets off.
        starts_within_m: it sets off only when the robot is first nearer than this; without it at once.
        repeat: whether it goes back and forth until the end.
        reacts: what it does when the robot is near and ahead of it: "none", "stop" until the way is free, or step
            "aside".
        react_m: gap to the robot that is near.
        yaw_deg: which way it faces; without it the way it goes. A door leaf needs it.
        depth_m, width_m, height_m: full extents; each kind has usual ones.
        color: name of a colour.
    """

    name: str
    kind: Annotated[Choice, Names(tuple(kind.value for kind in MOVING_KINDS), Kind)]
    path_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30, 2, 12)] = ()
    hinge_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30)] = ()
    swing_deg: Annotated[Distribution, Numbers(-180, 180)] = fixed(90.0)
    speed_mps: Annotated[Distribution, Numbers(0.05, 3)] = Uniform(0.4, 0.8)
    start_s: Annotated[Distribution, Numbers(0, 600)] = fixed(0.0)
    starts_within_m: Annotated[Distribution | None, Numbers(0.05, 30)] = None
    repeat: bool = False
    reacts: Annotated[Choice, Names(REACTIONS, Reaction)] = Choice((Reaction.NONE,))
    react_m: Annotated[Distribution, Numbers(0.05, 10)] = fixed(0.8)
    yaw_deg: Annotated[Distribution | None, Numbers(-360, 360)] = None
    depth_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    width_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    height_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    color: Annotated[Choice, Names(tuple(PALETTE))] = Choice(tuple(PALETTE))

    def __post_init__(self) -> None:
        if bool(self.path_m) == bool(self.hinge_m):
            raise ValueError(f"movers.{self.name} needs either path_m or, for a door that swings, hinge_m")
        if self.hinge_m and (set(self.kind.values) != {Kind.DOOR} or self.yaw_deg is None):
            raise ValueError(f"movers.{self.name}.hinge_m is for kind = 'door' with yaw_deg, the way it is shut")
