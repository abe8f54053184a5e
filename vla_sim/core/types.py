"""Values that cross layers: what stands in a world, what is asked, how it ended.

Everything here is frozen, checks itself and needs numpy at most, so every layer may import it.
World frame: that of the room, with x forward from the usual start, y left, z up; metres, seconds, radians; yaw
counter-clockwise.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import Enum

from vla_sim.core.doorways import Doorway
from vla_sim.core.obj_mesh import ObjMesh

Vec3 = tuple[float, float, float]


class Kind(str, Enum):
    """What an object is; each has a shape for physics and a model for the camera."""

    BOX = "box"
    CUP = "cup"
    BOTTLE = "bottle"
    POT = "pot"
    BASKET = "basket"
    TABLE = "table"
    CHAIR = "chair"
    SHELF = "shelf"
    CABINET = "cabinet"
    SOFA = "sofa"
    PLANT = "plant"
    PERSON = "person"
    CART = "cart"
    ROBOT = "robot"
    DOOR = "door"
    WALL = "wall"

    @property
    def round(self) -> bool:
        """Whether its footprint is a disc."""
        return self in (Kind.CUP, Kind.BOTTLE, Kind.POT, Kind.PLANT, Kind.PERSON, Kind.ROBOT)


# Kinds that sentences name; the only ones that can be goals.
NAMED_KINDS = (Kind.BOX, Kind.CUP, Kind.BOTTLE, Kind.POT, Kind.BASKET)
# Kinds of things that can move by themselves.
MOVING_KINDS = (Kind.PERSON, Kind.CART, Kind.ROBOT, Kind.DOOR)


class Role(str, Enum):
    """What an object is for in its scene; no sentence is about FURNITURE, which only stands there."""

    GOAL = "goal"
    OBSTACLE = "obstacle"
    DISTRACTOR = "distractor"
    FURNITURE = "furniture"
    WALL = "wall"
    MOVER = "mover"


class Side(str, Enum):
    """A side as the robot sees it from its start, along its first heading."""

    LEFT = "left"
    RIGHT = "right"

    @property
    def sign(self) -> int:
        """+1 for left (positive y), -1 for right."""
        return 1 if self is Side.LEFT else -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.RIGHT if self is Side.LEFT else Side.LEFT


class SuccessRule(str, Enum):
    """REACHED: within reach of the goal. STOPPED: within reach and commanded to stand still, for some control steps."""

    REACHED = "reached"
    STOPPED = "stopped"


class Outcome(str, Enum):
    """How an episode ended; exactly one each.

    Order of precedence when several hold after the same control step: the order below, so a robot
    that hits a box while it comes within reach of the goal has collided. REFUSED, standing still where
    that is the right answer, is a success; STOPPED_SHORT is standing still for good where it is not.
    """

    ERROR = "error"
    COLLISION = "collision"
    OUT_OF_BOUNDS = "out_of_bounds"
    WRONG_SIDE = "wrong_side"
    WRONG_GOAL = "wrong_goal"
    SUCCESS = "success"
    REFUSED = "refused"
    STOPPED_SHORT = "stopped_short"
    TIMEOUT = "timeout"

    @property
    def succeeded(self) -> bool:
        """Whether the robot did what was right."""
        return self in (Outcome.SUCCESS, Outcome.REFUSED)


@dataclass(frozen=True)
class Pose2:
    """A planar pose in the world frame."""

    x_m: float
    y_m: float
    yaw_rad: float = 0.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.x_m, self.y_m, self.yaw_rad))):
            raise ValueError(f"pose must be finite, got {self}")

    def seen_from(self, x_m: float, y_m: float) -> tuple[float, float]:
        """A world point as metres ahead of this pose and to its left."""
        dx, dy, cos, sin = x_m - self.x_m, y_m - self.y_m, math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return cos * dx + sin * dy, cos * dy - sin * dx

    def point(self, ahead_m: float, aside_m: float) -> tuple[float, float]:
        """The world point so far ahead of this pose and to its left."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return self.x_m + cos * ahead_m - sin * aside_m, self.y_m + sin * ahead_m + cos * aside_m


@dataclass(frozen=True)
class Body:
    """One thing that stands in a scene (walls included, floor and robot not).

    Attributes:
        name: unique in its scene, e.g. "box_0", "goal", "wall_north".
        kind: shape and model.
        role: what it is for.
        size_m: full extents along its own x, y, z; round kinds have x == y == widest diameter.
        x_m, y_m: centre of its footprint in the world frame; it stands on the floor (z = 0).
        yaw_rad: rotation about z.
        color: RGB in 0..1, as displayed.
        texture: name of a surface, e.g. "plain", "cardboard", "wood", "plaster".
        mass_kg: 0 means that it cannot be moved.
        mesh: what it looks like in place of its kind's model; its footprint is a rectangle.
    """

    name: str
    kind: Kind
    role: Role
    size_m: Vec3
    x_m: float
    y_m: float
    yaw_rad: float = 0.0
    color: Vec3 = (0.6, 0.6, 0.6)
    texture: str = "plain"
    mass_kg: float = 0.0
    mesh: ObjMesh | None = None

    def __post_init__(self) -> None:
        if min(self.size_m) <= 0:
            raise ValueError(f"body {self.name}: size_m must be positive, got {self.size_m}")
        if self.mass_kg < 0:
            raise ValueError(f"body {self.name}: mass_kg must not be negative, got {self.mass_kg}")
        if not all(0 <= c <= 1 for c in self.color):
            raise ValueError(f"body {self.name}: color must lie in 0..1, got {self.color}")

    @functools.cached_property
    def round(self) -> bool:
        """Whether the footprint is a disc of diameter size_m[0] rather than a rectangle."""
        return self.kind.round and self.mesh is None


class Reaction(str, Enum):
    """What something that moves does when the robot is near and ahead of it."""

    NONE = "none"
    STOP = "stop"
    ASIDE = "aside"


@dataclass(frozen=True)
class Motion:
    """How a body moves by itself: through poses, each at a time of its own clock, straight in between.

    Its clock starts with the episode and stands still while the body waits for the robot.

    Attributes:
        name: of the body, which has Role.MOVER.
        times_s: of the poses, increasing from 0; it stays at the last one.
        poses: in the world frame.
        reaction: STOP: it waits while the robot is ahead and near; ASIDE: it steps out of the robot's way.
        react_m: near is a gap to the robot's rim of less than this.
        starts_within_m: where not None, its clock starts when the gap to the robot is first less than this.
    """

    name: str
    times_s: tuple[float, ...]
    poses: tuple[Pose2, ...]
    reaction: Reaction = Reaction.NONE
    react_m: float = 1.0
    starts_within_m: float | None = None

    def __post_init__(self) -> None:
        if not self.poses or len(self.times_s) != len(self.poses):
            raise ValueError(f"motion of {self.name}: needs a time for each of its poses, got {self.times_s}")
        if self.times_s[0] != 0 or any(b <= a for a, b in zip(self.times_s, self.times_s[1:], strict=False)):
            raise ValueError(f"motion of {self.name}: times_s must increase from 0, got {self.times_s}")


@dataclass(frozen=True)
class Look:
    """Everything about a scene that changes the image and nothing else.

    Attributes:
        sun_azimuth_rad, sun_elevation_rad: where the light comes from.
        sun, ambient: strengths, 0..1 each; their sum near 1 gives a well exposed image.
        tint: RGB factor of the light, around 1.
        floor_texture, wall_texture: names of surfaces.
        floor_color, wall_color: RGB 0..1 that the texture is multiplied with.
        camera_tilt_rad: extra (roll, pitch, yaw) of the camera mount; pitch positive looks down.
        texture_seed: seed of whatever the textures draw (grain, tile offsets) and what hangs on walls.
        ceiling_m: height of the ceiling.
        exposure: factor of all light.
        vignette: share of light that is lost in the corners of the image.
        haze: share of white that stray light lays over the image.
        noise: standard deviation of the sensor's noise, in grey levels of 255.
        shutter_s: time over which moving cameras blur; 0 for none.
        distortion: what the lens adds to a camera's distortion (k1); negative bends lines outward.
    """

    sun_azimuth_rad: float = 0.8
    sun_elevation_rad: float = 1.0
    sun: float = 0.55
    ambient: float = 0.5
    tint: Vec3 = (1.0, 1.0, 1.0)
    floor_texture: str = "tiles"
    floor_color: Vec3 = (0.75, 0.72, 0.68)
    wall_texture: str = "plaster"
    wall_color: Vec3 = (0.85, 0.85, 0.82)
    camera_tilt_rad: Vec3 = (0.0, 0.0, 0.0)
    texture_seed: int = 0
    ceiling_m: float = 2.5
    exposure: float = 1.0
    vignette: float = 0.0
    haze: float = 0.0
    noise: float = 0.0
    shutter_s: float = 0.0
    distortion: float = 0.0

    def __post_init__(self) -> None:
        if self.ceiling_m <= 0:
            raise ValueError(f"ceiling_m must be above 0, got {self.ceiling_m}")


@dataclass(frozen=True)
class Leg:
    """One of several things to do in order.

    Attributes:
        name: of the body that is to be reached or passed, or of the wall whose doorway is to be gone through.
        past: whether it is to be passed, on the side of the task.
        through: whether it is a wall with a doorway.
    """

    name: str
    past: bool = False
    through: bool = False

    @property
    def is_target(self) -> bool:
        """Whether the robot is to come within reach of it."""
        return not (self.past or self.through)


@dataclass(frozen=True)
class Task:
    """What counts as done.

    Attributes:
        side: side on which every obstacle must be passed; None when any side will do.
        success: see SuccessRule.
        reach_m: largest gap between the robot's footprint and the goal's surface that counts as reached.
        time_limit_s: simulated seconds after which the episode is a timeout.
        collision_ends: whether touching anything ends the episode as a collision.
        stop_steps: consecutive control steps of commanded standstill that count as having stopped.
        give_up_s: seconds of commanded standstill after which the robot has stopped for good.
        refuse: whether standing still is the right answer.
        stay_m: where it is, how far from the place where it was told the robot may have come.
        legs: what is to be done in order, the last of it something to be reached; empty where the goal is all.
        leg: the one that the robot is on, counted from 0.
    """

    side: Side | None = None
    success: SuccessRule = SuccessRule.REACHED
    reach_m: float = 0.3
    time_limit_s: float = 16.0
    collision_ends: bool = True
    stop_steps: int = 2
    give_up_s: float = 4.0
    refuse: bool = False
    stay_m: float = 0.3
    legs: tuple[Leg, ...] = ()
    leg: int = 0

    def __post_init__(self) -> None:
        if self.legs and (not self.legs[-1].is_target or not 0 <= self.leg < len(self.legs)):
            raise ValueError(f"the last leg must be something to be reached, and leg one of them, got {self}")
        if self.stop_steps < 1:
            raise ValueError(f"stop_steps must be at least 1, got {self.stop_steps}")
        for field in ("reach_m", "time_limit_s", "give_up_s", "stay_m"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{field} must be positive, got {value}")


# In place of a template's id: the sentence is the user's own.
USERS = "user"


@dataclass(frozen=True)
class Instruction:
    """One sentence and where it comes from.

    Attributes:
        text: what the policy is told.
        language: its code, e.g. "en"; "" where it is not known.
        split: "train" or "eval", the set of phrasings it was drawn from.
        phrasing: id of the template, e.g. "pass_side.en.eval.2", or USERS.
    """

    text: str
    language: str = "en"
    split: str = "train"
    phrasing: str = ""


@dataclass(frozen=True)
class Change:
    """Another sentence within an episode.

    Attributes:
        at_s: simulated time; it is said at the end of the control step that reaches it.
        instruction: the sentence.
        task: by which the robot is judged from then on.
        at_once: whether the robot may come only the way of one control step at full speed, in place of `task.stay_m`.
    """

    at_s: float
    instruction: Instruction
    task: Task
    at_once: bool = False


@dataclass(frozen=True)
class Scene:
    """One sampled world with its task: plain data from which physics, images and judgement are built.

    Attributes:
        scenario: full name of the scenario, e.g. "obstacle_left".
        seed: the seed it was sampled from.
        start: where the robot starts.
        bodies: everything that stands in it; exactly one has Role.GOAL, or none where the task is to refuse.
        bounds_m: (x_min, x_max, y_min, y_max) that the robot's centre must not leave.
        task, look, instruction: see there.
        twin: name of the scenario that asks for the other side in the same worlds; "" for none.
        changes: what else is said later, in order of time.
        motions: of the bodies that move by themselves, one for each body with Role.MOVER.
        doorways: of the inner walls.
    """

    scenario: str
    seed: int
    start: Pose2
    bodies: tuple[Body, ...]
    bounds_m: tuple[float, float, float, float]
    task: Task
    look: Look
    instruction: Instruction
    twin: str = ""
    changes: tuple[Change, ...] = ()
    motions: tuple[Motion, ...] = ()
    doorways: tuple[Doorway, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"{self.scenario}: seed must lie between 0 and 2^63 - 1, got {self.seed}")
        names = [b.name for b in self.bodies]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.scenario}: body names must differ, got {names}")
        movers = [b.name for b in self.bodies if b.role is Role.MOVER]
        if sorted(movers) != sorted(m.name for m in self.motions):
            raise ValueError(f"{self.scenario}: each mover needs one motion, got {movers} and {self.motions}")
        goals = sum(b.role is Role.GOAL for b in self.bodies)
        if goals > 1 or (goals == 0 and not self.task.refuse):
            raise ValueError(f"{self.scenario}: a scene needs exactly one goal, got {names}")

    @property
    def goal(self) -> Body:
        """The body to reach.

        Raises:
            ValueError: there is none.
        """
        for body in self.bodies:
            if body.role is Role.GOAL:
                return body
        raise ValueError(f"{self.scenario}: nothing is to be reached here")

    @property
    def has_goal(self) -> bool:
        """Whether some object is to be reached: none need be where the task is to refuse."""
        return any(body.role is Role.GOAL for body in self.bodies)

    def with_role(self, role: Role) -> tuple[Body, ...]:
        """The bodies that play a role, in order."""
        return tuple(b for b in self.bodies if b.role is role)


def wrap_angle(angle_rad: float) -> float:
    """The same angle in (-pi, pi]."""
    wrapped = math.remainder(angle_rad, 2 * math.pi)
    return math.pi if wrapped == -math.pi else wrapped
