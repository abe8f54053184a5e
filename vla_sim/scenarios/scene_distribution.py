"""What a scenario file may say: the keys of its tables, their limits and usual values. No randomness yet.

`vla_sim.scenarios.reading` fills these; `scenarios/README.md` and `scenarios/scenario.schema.json` are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated

from vla_sim.core.config import KeyForEach, ListOf, Name, Number, Table
from vla_sim.core.surfaces import FLOOR_TEXTURES, INDOOR, STYLES, TEXTURES, WALL_TEXTURES
from vla_sim.core.types import MOVING_KINDS, Kind, Reaction, Side, SuccessRule
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import Choice, Distribution, Names, Numbers, Points, Uniform
from vla_sim.scenarios.languages import language_codes, usual_shares

# Role in a file of an object of which one, drawn for each world, becomes the goal and the others distractors.
CANDIDATE = "candidate"
KINDS = tuple(kind.value for kind in Kind if kind is not Kind.WALL)
ROLES = ("goal", "obstacle", "distractor", "furniture", CANDIDATE)
ENLARGED, REAL = "enlarged", "real"
# Frames in which `ahead_m` and `aside_m` of an object count.
FRAMES = ("start", "room")
REACTIONS = tuple(reaction.value for reaction in Reaction)
# Roles of objects that a sentence may name as the one to go to.
NAMED_ROLES = ("goal", "distractor", CANDIDATE)
# `aside_from`: the straight line from the start to the goal.
LINE = "line"


class Refusal(str, Enum):
    """Why standing still is the right answer."""

    ABSENT = "absent"
    AMBIGUOUS = "ambiguous"
    CONTRADICTION = "contradiction"
    STOP = "stop"
    NOTHING = "nothing"

    @property
    def section(self) -> str:
        """Its sentences in a language's file; "": they are the usual ones, and the scene makes them wrong."""
        return "" if self in (Refusal.ABSENT, Refusal.AMBIGUOUS) else self.value


@dataclass(frozen=True)
class LaterSentence:
    """Another sentence in the middle of an episode.

    Attributes:
        at_s: simulated time at which it is said, at the end of the control step that reaches it.
        say: "stop": to stop or to wait, to be obeyed at once: the robot may come at most the way of one control step.
            "again": the first sentence once more.
    """

    at_s: Annotated[Distribution, Numbers(0.1, 600)]
    say: Annotated[str, Name(("stop", "again"))] = "stop"


@dataclass(frozen=True)
class LegRule:
    """One of several things to do, in this order; the last one is something to go to.

    Attributes:
        to: name of a candidate to come within reach of.
        past: name of an obstacle to pass, on the side of `task.side`; the next object to go to stands behind it.
    """

    to: str | None = None
    past: str | None = None

    def __post_init__(self) -> None:
        if (self.to is None) == (self.past is None):
            raise ValueError("each of legs says either to or past")

    @property
    def name(self) -> str:
        """Of the object."""
        return self.to or self.past or ""


@dataclass(frozen=True)
class KindDefaults:
    """What a file need not say about a kind: full extents along, across and up in metres, mass, surface.

    None of the real objects was measured. In `DEFAULTS` cups and bottles are larger than life, so that a 224-pixel
    wide-angle image shows what they are from 4 m away; in `REAL_SIZES` they are a large mug and a 1.5-litre bottle,
    which are 5 and 16 pixels high there.
    """

    depth_m: Distribution
    width_m: Distribution
    height_m: Distribution
    mass_kg: Distribution
    textures: Choice


def _fixed(value: float) -> Choice:
    return Choice((value,))


_PLAIN = Choice(("plain",))

# Round kinds take their diameter from depth_m.
DEFAULTS: dict[Kind, KindDefaults] = {
    Kind.BOX: KindDefaults(
        depth_m=Uniform(0.3, 0.5),
        width_m=Uniform(0.3, 0.5),
        height_m=Uniform(0.3, 0.5),
        mass_kg=Uniform(2.0, 8.0),
        textures=Choice(("cardboard", "plain")),
    ),
    Kind.CUP: KindDefaults(
        depth_m=Uniform(0.20, 0.26),
        width_m=_fixed(0.23),
        height_m=Uniform(0.24, 0.32),
        mass_kg=_fixed(0.4),
        textures=_PLAIN,
    ),
    Kind.BOTTLE: KindDefaults(
        depth_m=Uniform(0.14, 0.18),
        width_m=_fixed(0.16),
        height_m=Uniform(0.40, 0.50),
        mass_kg=_fixed(0.8),
        textures=_PLAIN,
    ),
    Kind.POT: KindDefaults(
        depth_m=Uniform(0.30, 0.36),
        width_m=_fixed(0.33),
        height_m=Uniform(0.26, 0.32),
        mass_kg=_fixed(1.5),
        textures=_PLAIN,
    ),
    Kind.BASKET: KindDefaults(
        depth_m=Uniform(0.28, 0.34),
        width_m=Uniform(0.38, 0.46),
        height_m=Uniform(0.28, 0.36),
        mass_kg=_fixed(1.2),
        textures=Choice(("slots", "plain")),
    ),
}


def _furniture(depth_m: Distribution, width_m: Distribution, height_m: Distribution, mass_kg: float) -> KindDefaults:
    return KindDefaults(depth_m, width_m, height_m, _fixed(mass_kg), _PLAIN)


DEFAULTS |= {
    Kind.TABLE: _furniture(Uniform(0.6, 0.8), Uniform(1.0, 1.6), Uniform(0.70, 0.76), 0.0),
    Kind.CHAIR: _furniture(Uniform(0.44, 0.52), Uniform(0.42, 0.50), Uniform(0.78, 0.90), 4.0),
    Kind.SHELF: _furniture(Uniform(0.28, 0.36), Uniform(0.7, 1.1), Uniform(1.4, 1.9), 0.0),
    Kind.CABINET: _furniture(Uniform(0.40, 0.50), Uniform(0.7, 1.1), Uniform(0.7, 1.3), 0.0),
    Kind.SOFA: _furniture(Uniform(0.75, 0.90), Uniform(1.4, 1.9), Uniform(0.72, 0.85), 0.0),
    Kind.PLANT: _furniture(Uniform(0.40, 0.55), _fixed(0.5), Uniform(0.8, 1.4), 6.0),
    # People and doors are not pushed by a robot of 8 kg.
    Kind.PERSON: _furniture(Uniform(0.42, 0.52), _fixed(0.5), Uniform(1.50, 1.90), 0.0),
    Kind.CART: _furniture(Uniform(0.7, 0.9), Uniform(0.45, 0.55), Uniform(0.8, 1.0), 15.0),
    Kind.ROBOT: _furniture(Uniform(0.32, 0.44), _fixed(0.4), Uniform(0.7, 1.1), 20.0),
    Kind.DOOR: _furniture(_fixed(0.9), _fixed(0.06), _fixed(2.0), 0.0),
}
REAL_SIZES: dict[Kind, KindDefaults] = {
    **DEFAULTS,
    Kind.CUP: replace(DEFAULTS[Kind.CUP], depth_m=Uniform(0.10, 0.13), height_m=Uniform(0.10, 0.13)),
    Kind.BOTTLE: replace(DEFAULTS[Kind.BOTTLE], depth_m=Uniform(0.09, 0.11), height_m=Uniform(0.30, 0.34)),
    Kind.POT: replace(DEFAULTS[Kind.POT], depth_m=Uniform(0.24, 0.30), height_m=Uniform(0.22, 0.28)),
}


def usual(kind: Kind, sizes: str) -> KindDefaults:
    """What a file need not say about a kind, by its key `sizes`."""
    return (REAL_SIZES if sizes == REAL else DEFAULTS)[kind]


@dataclass(frozen=True)
class ObjectDistribution:
    """One object of a file.

    Attributes:
        role: what it is for. A file needs one goal, or several candidates of which each scene draws one as its goal.
            Obstacles are passed on the side that is asked for; reaching a distractor is a mistake; furniture only
            stands in the way.
        kind: shape and model. All obstacles of a scene are of one kind, so that a sentence can name them together.
        ahead_m: centre along the robot's first heading, from the start or from the object of `ahead_from`.
        aside_m: centre to the left of that heading, from its line or from the object of `aside_from`.
        ahead_from: name of another object from whose centre `ahead_m` counts.
        aside_from: name of another object from whose centre `aside_m` counts, or "line": the straight way from the
            start to the goal.
        frame: "start": `ahead_m` and `aside_m` count from the robot's start along its first heading; "room": they are
            x and y of the room, wherever the robot starts.
        yaw_deg: rotation, counter-clockwise, in that frame.
        size_m: in place of depth, width and height where they are drawn from the same numbers.
        depth_m: full extent along its own heading; the diameter of cups, bottles and pots. Each kind has a usual size.
        width_m: full extent across.
        height_m: full extent upwards.
        mass_kg: 0 means that it cannot be moved. Each kind has a usual mass.
        color: name of a colour.
        texture: of its surface. Each kind has a usual one.
    """

    name: str
    role: Annotated[str, Name(ROLES)]
    kind: Annotated[Choice, Names(KINDS, Kind)]
    ahead_m: Annotated[Distribution, Numbers(-20, 20)]
    aside_m: Annotated[Distribution, Numbers(-20, 20)] = _fixed(0.0)
    ahead_from: str | None = None
    aside_from: str | None = None
    frame: Annotated[str, Name(FRAMES)] = "start"
    yaw_deg: Annotated[Distribution, Numbers(-360, 360)] = _fixed(0.0)
    size_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    depth_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    width_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    height_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    mass_kg: Annotated[Distribution | None, Numbers(0, 200)] = None
    color: Annotated[Choice, Names(tuple(PALETTE))] = Choice(tuple(PALETTE))
    texture: Annotated[Choice | None, Names(TEXTURES)] = None


@dataclass(frozen=True)
class StartDistribution:
    """Where the robot starts, in the room: x ahead and y to the left of the usual start.

    Attributes:
        x_m, y_m: its centre.
        yaw_deg: its first heading, counter-clockwise from x.
    """

    x_m: Annotated[Distribution, Numbers(-30, 30)] = _fixed(0.0)
    y_m: Annotated[Distribution, Numbers(-30, 30)] = _fixed(0.0)
    yaw_deg: Annotated[Distribution, Numbers(-360, 360)] = _fixed(0.0)


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
    thickness_m: Annotated[Distribution, Numbers(0.02, 1)] = _fixed(0.1)
    door_at_m: Annotated[Distribution | None, Numbers(0, 60)] = None
    door_width_m: Annotated[Distribution, Numbers(0.3, 10)] = Uniform(0.9, 1.1)


@dataclass(frozen=True)
class MoverDistribution:
    """Something that moves by itself, along a path at a steady speed. Touching it is a collision.

    Attributes:
        kind: what it is.
        path_m: points of its path, in the room; it starts at the first one.
        speed_mps: along the path.
        start_s: how long it stands at the first point before it sets off.
        starts_within_m: it sets off only when the robot is first nearer than this; without it at once.
        repeat: whether it goes back and forth along the path until the end.
        reacts: what it does when the robot is near and ahead of it: "none", "stop" until the way is free, or step
            "aside".
        react_m: gap to the robot that is near.
        yaw_deg: which way it faces; without it the way it goes. A door leaf needs it.
        depth_m, width_m, height_m: full extents; each kind has usual ones.
        color: name of a colour.
    """

    name: str
    kind: Annotated[Choice, Names(tuple(kind.value for kind in MOVING_KINDS), Kind)]
    path_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30, 2, 12)]
    speed_mps: Annotated[Distribution, Numbers(0.05, 3)] = Uniform(0.4, 0.8)
    start_s: Annotated[Distribution, Numbers(0, 600)] = _fixed(0.0)
    starts_within_m: Annotated[Distribution | None, Numbers(0.05, 30)] = None
    repeat: bool = False
    reacts: Annotated[Choice, Names(REACTIONS, Reaction)] = Choice((Reaction.NONE,))
    react_m: Annotated[Distribution, Numbers(0.05, 10)] = _fixed(0.8)
    yaw_deg: Annotated[Distribution | None, Numbers(-360, 360)] = None
    depth_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    width_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    height_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    color: Annotated[Choice, Names(tuple(PALETTE))] = Choice(tuple(PALETTE))


# Full extents of what moves where a file says nothing; discs take depth_m.
MOVER_SIZES = {kind: (DEFAULTS[kind].depth_m, DEFAULTS[kind].width_m, DEFAULTS[kind].height_m) for kind in MOVING_KINDS}


@dataclass(frozen=True)
class RoomDistribution:
    """The outer walls, measured to their inner faces: four around the usual start, or any outline of right angles.

    Attributes:
        ahead_m: from the usual start to the front wall.
        behind_m: from the usual start to the back wall.
        width_m: from the left to the right wall; the usual start is in the middle.
        wall_height_m: of all walls, where there is no ceiling.
        ceiling_m: height of a ceiling, and of the walls that carry it; none without it.
        outline_m: in place of the first three: the corners of the room, each at right angles to the last.
    """

    ahead_m: Annotated[Distribution, Numbers(0.5, 30)] = _fixed(5.2)
    behind_m: Annotated[Distribution, Numbers(0.3, 30)] = _fixed(0.8)
    width_m: Annotated[Distribution, Numbers(1, 30)] = _fixed(5.0)
    wall_height_m: Annotated[Distribution, Numbers(0.1, 4)] = Uniform(0.6, 1.0)
    ceiling_m: Annotated[Distribution | None, Numbers(1.0, 6)] = Uniform(2.4, 3.0)
    outline_m: Annotated[tuple[tuple[Distribution, Distribution], ...], Points(-30, 30, 4, 24)] = ()


@dataclass(frozen=True)
class TaskRules:
    """What is asked and what counts as done.

    Attributes:
        side: side on which every obstacle must be passed; without it any side will do.
        success: "reached": within reach of the goal; "stopped": within reach and commanded to stand still.
        reach_m: largest gap between the robot and the goal's surface that counts as reached.
        time_limit_s: simulated time after which an episode ends without success.
        collision_ends: whether touching anything ends an episode.
        clearance_m: room beside the robot that a feasible way must leave; scenes without one are not used.
        stop_steps: consecutive control steps of commanded standstill that count as having stopped.
        give_up_s: commanded standstill of so many seconds elsewhere is stopping for good and ends an episode.
        refuse: why standing still is the right answer, where it is: "absent": the object that is named is not there;
            "ambiguous": two or more fit the description; "contradiction": the sentence contradicts itself; "stop": it
            says to stop or to wait; "nothing": it is empty or asks for nothing.
        stay_m: where it is, how far from the place where it was told the robot may come.
    """

    side: Side | None = None
    success: SuccessRule = SuccessRule.STOPPED
    reach_m: Annotated[float, Number(0.02, 2)] = 0.3
    time_limit_s: Annotated[float, Number(0.5, 600)] = 16.0
    collision_ends: bool = True
    clearance_m: Annotated[float, Number(0, 1)] = 0.2
    stop_steps: Annotated[int, Number(1, 100)] = 2
    give_up_s: Annotated[float, Number(0.1, 60)] = 4.0
    refuse: Refusal | None = None
    stay_m: Annotated[float, Number(0.01, 5)] = 0.3


@dataclass(frozen=True)
class AppearanceDistribution:
    """How scenes differ to the eye and in nothing else.

    Attributes:
        sun: strength of the light that casts shades; `sun` and `ambient` together near 1 are exposed well.
        ambient: strength of the light that comes from everywhere.
        sun_azimuth_deg: where the light comes from, counter-clockwise from ahead.
        sun_elevation_deg: its height above the horizon.
        tint: factor of the light for each of red, green and blue.
        floor_brightness: of the floor's colour; indoors, without it, a colour that such floors have.
        wall_brightness: of the walls' colour; indoors, without it, a colour that walls have.
        camera_tilt_deg: extra roll, pitch and yaw of the camera, each drawn by itself.
        floor_texture: of the floor.
        wall_texture: of the walls.
        style: "bare": walls in the open; "indoor": doors and windows on walls that are high enough, cartons, finer
            surfaces, softer light, shadows under everything, the robot's own included.
        exposure: factor of all light.
        vignette: share of light that the corners of the image lose.
        haze: share of white that stray light in the lens lays over the image.
        noise: standard deviation of the sensor's noise, in grey levels of 255.
        shutter_s: time in which a moving camera blurs the image.
    """

    sun: Annotated[Distribution, Numbers(0, 1)] = Uniform(0.35, 0.65)
    # Never so dark that a person could not see a dark object.
    ambient: Annotated[Distribution, Numbers(0.2, 1)] = Uniform(0.40, 0.60)
    sun_azimuth_deg: Annotated[Distribution, Numbers(-360, 360)] = Uniform(-180.0, 180.0)
    sun_elevation_deg: Annotated[Distribution, Numbers(5, 90)] = Uniform(30.0, 75.0)
    tint: Annotated[Distribution, Numbers(0.5, 1.5)] = Uniform(0.93, 1.07)
    floor_brightness: Annotated[Distribution | None, Numbers(0.1, 1)] = None
    wall_brightness: Annotated[Distribution | None, Numbers(0.1, 1)] = None
    camera_tilt_deg: Annotated[Distribution, Numbers(-20, 20)] = Uniform(-2.0, 2.0)
    floor_texture: Annotated[Choice, Names(FLOOR_TEXTURES)] = Choice(
        ("plain", "tiles", "wood", "wood", "carpet", "concrete")
    )
    # Most walls are painted, which is also the cheapest to draw.
    wall_texture: Annotated[Choice, Names(WALL_TEXTURES)] = Choice(
        ("plain", "plain", "plain", "plaster", "panel", "brick")
    )
    style: Annotated[str, Name(STYLES)] = INDOOR
    # Real images of the users' robot have a cast of colour: about (110, 137, 132) on average in one room.
    exposure: Annotated[Distribution, Numbers(0.3, 2)] = Uniform(0.85, 1.15)
    vignette: Annotated[Distribution, Numbers(0, 0.8)] = Uniform(0.0, 0.3)
    haze: Annotated[Distribution, Numbers(0, 0.5)] = Uniform(0.0, 0.12)
    noise: Annotated[Distribution, Numbers(0, 30)] = Uniform(1.0, 4.0)
    shutter_s: Annotated[Distribution, Numbers(0, 0.2)] = Uniform(0.0, 0.03)


@dataclass(frozen=True)
class LanguageMix:
    """Languages of the instructions, and extra sentences.

    Attributes:
        shares: share of the instructions in this language. Those that are given add up to 1; without any, each
            language has the share that its file says.
        sentences: names of optional sets of sentences that fit this scenario: "bottle", "pot", "basket".
        offset: seeds by which the cycle of languages is shifted, so that not all scenarios of a suite speak one
            language for the same seed: 0, 1, 2 and so on; without it drawn from the content.
    """

    shares: Annotated[tuple[tuple[str, float], ...], KeyForEach(language_codes, Number(0, 1))] = ()
    sentences: tuple[str, ...] = ()
    offset: Annotated[int | None, Number(0, 1000, whole=True)] = None

    def __post_init__(self) -> None:
        if self.shares and abs(sum(share for _, share in self.shares) - 1) > 1e-6:
            raise ValueError(f"the shares in language must add up to 1, got {dict(self.shares)}")

    @property
    def mix(self) -> dict[str, float]:
        """Share of each language that is spoken."""
        return {code: share for code, share in self.shares if share > 0} or usual_shares()


@dataclass(frozen=True)
class SceneDistribution:
    """One fully decided way of building a scenario's scenes.

    Attributes:
        objects: what stands there.
        movers: what moves there.
        walls: inside the room.
        start, room, task, look, language: see there.
        differ: what must differ between candidates.
        later: what else is said, in order of time.
        legs: what is to be done in order.
        sizes: usual sizes of kinds: "enlarged" cups, bottles and pots, or "real" ones.
    """

    objects: tuple[ObjectDistribution, ...]
    movers: tuple[MoverDistribution, ...] = ()
    walls: tuple[WallDistribution, ...] = ()
    start: StartDistribution = field(default_factory=StartDistribution)
    room: RoomDistribution = field(default_factory=RoomDistribution)
    task: TaskRules = field(default_factory=TaskRules)
    look: AppearanceDistribution = field(default_factory=AppearanceDistribution)
    language: LanguageMix = field(default_factory=LanguageMix)
    differ: Annotated[tuple[str, ...], ListOf(Name(("kind", "color")))] = ()
    later: Annotated[tuple[LaterSentence, ...], ListOf(Table(LaterSentence))] = ()
    sizes: Annotated[str, Name((ENLARGED, REAL))] = ENLARGED
    legs: Annotated[tuple[LegRule, ...], ListOf(Table(LegRule))] = ()
