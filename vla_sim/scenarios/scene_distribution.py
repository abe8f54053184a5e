"""What a scenario file says, read and checked: objects, room, task and look as distributions. No randomness yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from vla_sim.core.surfaces import FLOOR_TEXTURES, WALL_TEXTURES
from vla_sim.core.types import Kind, Side, SuccessRule
from vla_sim.scenarios.distributions import Choice, Distribution, Uniform

# Role in a file of an object of which one, drawn for each world, becomes the goal and the others distractors.
CANDIDATE = "candidate"
ROLES = ("goal", "obstacle", "distractor", CANDIDATE)
# `aside_from`: the straight line from the start to the goal.
LINE = "line"


@dataclass(frozen=True)
class KindDefaults:
    """What a file need not say about a kind: full extents along, across and up in metres, mass, surface.

    None of the real objects was measured. Cups and bottles are larger than life, so that a 224-pixel wide-angle
    picture shows what they are from 4 m away.
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


@dataclass(frozen=True)
class ObjectPlan:
    """One object of a file.

    Attributes:
        ahead_m, aside_m: centre along the robot's first heading and to its left, from the start or, with
            `ahead_from` / `aside_from`, from the centre of another object ("line": from the straight way to the goal).
        depth_m, width_m, height_m: full extents along its own x, y, z; round kinds use depth_m as diameter.
        colors: names from the palette.
    """

    name: str
    role: str
    kinds: Choice
    ahead_m: Distribution
    aside_m: Distribution
    ahead_from: str | None
    aside_from: str | None
    yaw_deg: Distribution
    depth_m: Distribution | None
    width_m: Distribution | None
    height_m: Distribution | None
    mass_kg: Distribution | None
    colors: Choice
    textures: Choice | None


@dataclass(frozen=True)
class RoomPlan:
    """Four walls around the start: inner faces, metres."""

    ahead_m: Distribution
    behind_m: Distribution
    width_m: Distribution
    wall_height_m: Distribution


ROOM = RoomPlan(ahead_m=_fixed(5.2), behind_m=_fixed(0.8), width_m=_fixed(5.0), wall_height_m=Uniform(0.6, 1.0))


@dataclass(frozen=True)
class TaskPlan:
    """What is asked. `clearance_m` is the room beside the robot that a feasible way must leave."""

    side: Side | None = None
    success: SuccessRule = SuccessRule.REACHED
    reach_m: float = 0.3
    time_limit_s: float = 16.0
    collision_ends: bool = True
    clearance_m: float = 0.2


@dataclass(frozen=True)
class LookPlan:
    """How worlds differ to the eye; tint is a factor of the light, brightness lies in 0..1."""

    sun: Distribution
    ambient: Distribution
    sun_azimuth_deg: Distribution
    sun_elevation_deg: Distribution
    tint: Distribution
    floor_brightness: Distribution
    wall_brightness: Distribution
    camera_tilt_deg: Distribution
    floor_texture: Choice
    wall_texture: Choice


# Never so dark that a person could not see a dark object.
LOOK = LookPlan(
    sun=Uniform(0.35, 0.65),
    ambient=Uniform(0.40, 0.60),
    sun_azimuth_deg=Uniform(-180.0, 180.0),
    sun_elevation_deg=Uniform(30.0, 75.0),
    tint=Uniform(0.90, 1.10),
    floor_brightness=Uniform(0.40, 0.85),
    wall_brightness=Uniform(0.55, 0.95),
    camera_tilt_deg=Uniform(-2.0, 2.0),
    floor_texture=Choice(FLOOR_TEXTURES),
    wall_texture=Choice(WALL_TEXTURES),
)


@dataclass(frozen=True)
class LanguagePlan:
    """Share of each language, and the optional sets of sentences that belong to this family."""

    shares: dict[str, float] = field(default_factory=lambda: {"en": 0.7, "ko": 0.3})
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blueprint:
    """One fully decided way of building a scenario's worlds.

    Attributes:
        differ: what must differ between candidates: "kind", "color" or both.
    """

    objects: tuple[ObjectPlan, ...]
    room: RoomPlan
    task: TaskPlan
    look: LookPlan
    language: LanguagePlan
    differ: tuple[str, ...] = ()
