"""Names of surfaces that scenes may use: the closed sets behind `Body.texture` and the textures of a `Look`.

Plain constants, so that scenario files can be checked without any renderer. `vla_sim.sim.materials` draws them.
"""

from __future__ import annotations

# "plain" on a body is the look of its kind: a carton, a slotted basket, a cup without any surface. A wall whose texture
# is "plain" wears the wall texture and wall colour of the scene's `Look`.
PLAIN = "plain"

BODY_TEXTURES = (
    "plain",
    "cardboard",
    "wood",
    "metal",
    "stripes",
    "checker",
    "fabric",
    "slots",
    "plaster",
    "brick",
    "panel",
)
FLOOR_TEXTURES = ("plain", "tiles", "wood", "carpet", "concrete")
WALL_TEXTURES = ("plain", "plaster", "brick", "panel", "concrete")
TEXTURES = tuple(dict.fromkeys((*BODY_TEXTURES, *FLOOR_TEXTURES, *WALL_TEXTURES)))
