"""What a scenario file may say: the keys of its tables, their limits and usual values. No randomness yet.

`vla_sim.scenarios.reading` fills these; `scenarios/README.md` and `scenarios/scenario.schema.json` are made from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from vla_sim.core.config import KeyForEach, ListOf, Name, Number, Table
from vla_sim.core.obj_mesh import ObjMesh
from vla_sim.core.surfaces import FLOOR_TEXTURES, TEXTURES, WALL_TEXTURES
from vla_sim.core.types import Kind
from vla_sim.scenarios.colors import PALETTE
from vla_sim.scenarios.distributions import Choice, Distribution, Names, Numbers, Uniform, fixed
from vla_sim.scenarios.languages import language_codes, usual_shares
from vla_sim.scenarios.mesh_keys import MeshFile
from vla_sim.scenarios.surroundings import MoverDistribution, RoomDistribution, StartDistribution, WallDistribution
from vla_sim.scenarios.task_rules import LaterSentence, LegRule, TaskRules
from vla_sim.scenarios.usual_sizes import ENLARGED, REAL

# Role in a file of an object of which one, drawn for each world, becomes the goal and the others distractors.
CANDIDATE = "candidate"
KINDS = tuple(kind.value for kind in Kind if kind is not Kind.WALL)
ROLES = ("goal", "obstacle", "distractor", "furniture", CANDIDATE)
# Frames in which `ahead_m` and `aside_m` of an object count.
FRAMES = ("start", "room")
# Roles of objects that a sentence may name as the one to go to.
NAMED_ROLES = ("goal", "distractor", CANDIDATE)
# `aside_from`: the straight line from the start to the goal.
LINE = "line"


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
        mesh: file in the folder of this one or below it that says what it looks like; `kind` says what it is called.
            Its x is the front and z is up. Extents that are not said are those of the file in metres; what is solid is
            the cuboid around it. Colours are those of its materials (Kd in .mtl files), or else `color`.
    """

    name: str
    role: Annotated[str, Name(ROLES)]
    kind: Annotated[Choice, Names(KINDS, Kind)]
    ahead_m: Annotated[Distribution, Numbers(-20, 20)]
    aside_m: Annotated[Distribution, Numbers(-20, 20)] = fixed(0.0)
    ahead_from: str | None = None
    aside_from: str | None = None
    frame: Annotated[str, Name(FRAMES)] = "start"
    yaw_deg: Annotated[Distribution, Numbers(-360, 360)] = fixed(0.0)
    size_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    depth_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    width_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    height_m: Annotated[Distribution | None, Numbers(0.02, 3)] = None
    mass_kg: Annotated[Distribution | None, Numbers(0, 200)] = None
    color: Annotated[Choice, Names(tuple(PALETTE))] = Choice(tuple(PALETTE))
    texture: Annotated[Choice | None, Names(TEXTURES)] = None
    mesh: Annotated[ObjMesh | None, MeshFile()] = None


@dataclass(frozen=True)
class AppearanceDistribution:
    """How scenes differ to the eye and in nothing else.

    Attributes:
        sun: strength of the light that casts shades; `sun` and `ambient` together near 1 are exposed well.
        ambient: strength of the light that comes from everywhere.
        sun_azimuth_deg: where the light comes from, counter-clockwise from ahead.
        sun_elevation_deg: its height above the horizon.
        tint: factor of the light for each of red, green and blue.
        floor_brightness: of the floor's colour; without it, a colour that such floors have.
        wall_brightness: of the walls' colour; without it, a colour that walls have.
        camera_tilt_deg: extra roll, pitch and yaw of the camera, each drawn by itself.
        floor_texture: of the floor.
        wall_texture: of the walls.
        exposure: factor of all light.
        vignette: share of light that the corners of the image lose.
        haze: share of white that stray light in the lens lays over the image.
        noise: standard deviation of the sensor's noise, in grey levels of 255.
        shutter_s: time in which a moving camera blurs the image.
        lens: what each world adds to the camera's `distortion`, in steps of 0.005; negative bends lines outward, as
            wide-angle lenses do.
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
    # Real images of the users' robot have a cast of colour: about (110, 137, 132) on average in one room.
    exposure: Annotated[Distribution, Numbers(0.3, 2)] = Uniform(0.85, 1.15)
    vignette: Annotated[Distribution, Numbers(0, 0.8)] = Uniform(0.0, 0.3)
    haze: Annotated[Distribution, Numbers(0, 0.5)] = Uniform(0.0, 0.12)
    noise: Annotated[Distribution, Numbers(0, 30)] = Uniform(1.0, 4.0)
    shutter_s: Annotated[Distribution, Numbers(0, 0.2)] = Uniform(0.0, 0.03)
    lens: Annotated[Distribution, Numbers(-0.5, 0.5)] = fixed(0.0)


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
