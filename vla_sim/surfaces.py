"""Names of surfaces that scenario files may use and renderers draw. Shared by scenarios and sim."""

FLOOR_TEXTURES = ("tiles", "wood", "carpet", "concrete")
WALL_TEXTURES = ("plaster", "brick", "panel")
TEXTURES = ("plain", "cardboard", "slots", *FLOOR_TEXTURES, *WALL_TEXTURES)
