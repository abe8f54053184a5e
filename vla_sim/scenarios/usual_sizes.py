"""What a scenario file need not say of a kind of thing: its usual size, mass and surface."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vla_sim.core.types import MOVING_KINDS, Kind
from vla_sim.scenarios.distributions import Choice, Distribution, Uniform, fixed

ENLARGED, REAL = "enlarged", "real"


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
        width_m=fixed(0.23),
        height_m=Uniform(0.24, 0.32),
        mass_kg=fixed(0.4),
        textures=_PLAIN,
    ),
    Kind.BOTTLE: KindDefaults(
        depth_m=Uniform(0.14, 0.18),
        width_m=fixed(0.16),
        height_m=Uniform(0.40, 0.50),
        mass_kg=fixed(0.8),
        textures=_PLAIN,
    ),
    Kind.POT: KindDefaults(
        depth_m=Uniform(0.30, 0.36),
        width_m=fixed(0.33),
        height_m=Uniform(0.26, 0.32),
        mass_kg=fixed(1.5),
        textures=_PLAIN,
    ),
    Kind.BASKET: KindDefaults(
        depth_m=Uniform(0.28, 0.34),
        width_m=Uniform(0.38, 0.46),
        height_m=Uniform(0.28, 0.36),
        mass_kg=fixed(1.2),
        textures=Choice(("slots", "plain")),
    ),
}


def _furniture(depth_m: Distribution, width_m: Distribution, height_m: Distribution, mass_kg: float) -> KindDefaults:
    return KindDefaults(depth_m, width_m, height_m, fixed(mass_kg), _PLAIN)


DEFAULTS |= {
    Kind.TABLE: _furniture(Uniform(0.6, 0.8), Uniform(1.0, 1.6), Uniform(0.70, 0.76), 0.0),
    Kind.CHAIR: _furniture(Uniform(0.44, 0.52), Uniform(0.42, 0.50), Uniform(0.78, 0.90), 4.0),
    Kind.SHELF: _furniture(Uniform(0.28, 0.36), Uniform(0.7, 1.1), Uniform(1.4, 1.9), 0.0),
    Kind.CABINET: _furniture(Uniform(0.40, 0.50), Uniform(0.7, 1.1), Uniform(0.7, 1.3), 0.0),
    Kind.SOFA: _furniture(Uniform(0.75, 0.90), Uniform(1.4, 1.9), Uniform(0.72, 0.85), 0.0),
    Kind.PLANT: _furniture(Uniform(0.40, 0.55), fixed(0.5), Uniform(0.8, 1.4), 6.0),
    # People and doors are not pushed by a robot of 8 kg.
    Kind.PERSON: _furniture(Uniform(0.42, 0.52), fixed(0.5), Uniform(1.50, 1.90), 0.0),
    Kind.CART: _furniture(Uniform(0.7, 0.9), Uniform(0.45, 0.55), Uniform(0.8, 1.0), 15.0),
    Kind.ROBOT: _furniture(Uniform(0.32, 0.44), fixed(0.4), Uniform(0.7, 1.1), 20.0),
    Kind.DOOR: _furniture(fixed(0.9), fixed(0.06), fixed(2.0), 0.0),
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


# Full extents of what moves where a file says nothing; discs take depth_m.
MOVER_SIZES = {kind: (DEFAULTS[kind].depth_m, DEFAULTS[kind].width_m, DEFAULTS[kind].height_m) for kind in MOVING_KINDS}
