"""Surfaces drawn with numpy, by name: grey or coloured patterns that the colour of a body, floor or wall multiplies.

Used by the renderers. Every image is small, tiles where it must, and is drawn once a process for each variant.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from vla_sim.core import surfaces
from vla_sim.core.errors import suggest
from vla_sim.core.types import Kind

SIZE_PX = 64
VARIANTS = 4
SHADOW = "shadow"

# How many metres one repeat of a tiled texture covers.
REPEAT_M = {"tiles": 0.8, "wood": 1.2, "carpet": 0.7, "concrete": 2.0, "plaster": 1.5, "brick": 0.8, "panel": 1.0}

# What "plain" means for each kind of body; what furnishes and what moves has colours and no surface.
PLAIN_LOOK = {
    Kind.BOX: "painted",
    Kind.BASKET: "slots",
    Kind.CUP: "glaze",
    Kind.BOTTLE: "glaze",
    Kind.POT: "glaze",
    Kind.WALL: "plaster",
}
# The same indoors: every box is a carton, and small things show no surface of their own.
INDOOR_LOOK = {**PLAIN_LOOK, Kind.BOX: "cardboard", Kind.CUP: "", Kind.BOTTLE: "", Kind.POT: ""}


def check_texture(name: str, allowed: tuple[str, ...], where: str) -> None:
    """Raise ValueError with the nearest name unless a surface is known."""
    if name not in allowed:
        raise ValueError(f"unknown texture {name!r} for {where}; {suggest(name, allowed, most=20)}")


def body_texture(kind: Kind, name: str, *, indoor: bool = False) -> str:
    """The image that a body of this kind with this `Body.texture` wears; "" for none, as on plain furniture."""
    check_texture(name, surfaces.TEXTURES, f"a {kind.value}")
    return (INDOOR_LOOK if indoor else PLAIN_LOOK).get(kind, "") if name == surfaces.PLAIN else name


@functools.cache
def texture_pixels(name: str, variant: int = 0) -> np.ndarray:
    """The image of a surface: uint8 (SIZE_PX, SIZE_PX, 3) RGB top-down, read-only; the shadow has 4 channels.

    Args:
        name: a surface, or one of the looks behind "plain".
        variant: 0 to VARIANTS - 1, which grain.
    """
    rng = np.random.default_rng([sum(name.encode()), variant])
    pixels = np.clip(np.rint(_DRAW[name](rng) * 255), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every pixel as a share of the side, at pixel centres."""
    share = (np.arange(SIZE_PX) + 0.5) / SIZE_PX
    rows, columns = np.meshgrid(share, share, indexing="ij")
    return rows, columns


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2)


def _noise(rng: np.random.Generator, strength: float, *, blur: int = 0) -> np.ndarray:
    """Noise of mean 0 that tiles; `blur` pixels wide, rescaled to the strength."""
    noise = rng.standard_normal((SIZE_PX, SIZE_PX))
    if blur:
        f = np.fft.fftfreq(SIZE_PX)
        fall = np.exp(-2 * (math.pi * blur) ** 2 * (f[:, None] ** 2 + f[None] ** 2))
        noise = np.fft.ifft2(np.fft.fft2(noise) * fall).real
        noise /= noise.std()
    return strength * noise


def _white(_: np.random.Generator) -> np.ndarray:
    return np.ones((SIZE_PX, SIZE_PX, 3))


def _painted(rng: np.random.Generator) -> np.ndarray:
    """A painted face with darker edges, so that a box of one colour shows its edges."""
    rows, columns = _grid()
    edge = np.minimum.reduce([rows, 1 - rows, columns, 1 - columns])
    return _grey(np.where(edge < 0.045, 0.68, 0.97) + _noise(rng, 0.012, blur=1))


def _cardboard(rng: np.random.Generator) -> np.ndarray:
    """Corrugated board: horizontal ripple, dark edges, a lighter strip of tape down the middle, a printed mark."""
    rows, columns = _grid()
    board = 0.9 + 0.02 * np.sin(rows * 2 * math.pi * 16) + _noise(rng, 0.02, blur=2)
    edge = np.minimum.reduce([rows, 1 - rows, columns, 1 - columns])
    board = np.where(edge < 0.04, 0.6, board)
    color = board[..., None] * np.array([1.0, 0.97, 0.93])
    tape = np.abs(columns - 0.5) < 0.07
    color[tape] = np.array([1.0, 1.0, 0.95])
    color[(np.abs(np.abs(columns - 0.5) - 0.075) < 0.009)] *= 0.72
    mark = (columns > 0.68) & (columns < 0.86) & (rows > 0.66) & (rows < 0.84)
    color[mark & ((rows * 22).astype(int) % 2 == 0)] *= 0.55
    return color


def _glaze(rng: np.random.Generator) -> np.ndarray:
    """A smooth round side with two soft highlights."""
    _, columns = _grid()
    return _grey(0.9 + 0.1 * np.cos((columns - 0.3) * 2 * math.pi) ** 8 + _noise(rng, 0.006, blur=2))


def _slots(rng: np.random.Generator) -> np.ndarray:
    """Two rows of upright dark slots, as in a plastic laundry basket; few and wide, to be seen from afar."""
    rows, columns = _grid()
    across, down = np.abs(columns * 6 % 1 - 0.5), np.abs((rows - 0.04) / 0.46 % 1 - 0.5)
    hole = (across < 0.25) & (down < 0.38) & (rows > 0.04) & (rows < 0.96)
    return _grey(np.where(hole, 0.28, 1.0) + _noise(rng, 0.01, blur=1))


def _wood(rng: np.random.Generator) -> np.ndarray:
    """Planks along u with grain and joints."""
    rows, columns = _grid()
    plank = (rows * 4).astype(int)
    tone = np.array([0.92, 0.82, 0.97, 0.87])[rng.permutation(4)][plank]
    grain = np.repeat(rng.standard_normal((SIZE_PX, 1)), SIZE_PX, axis=1) * 0.03 + _noise(rng, 0.015, blur=1)
    seam = ((rows * 4) % 1 < 0.07) | (np.abs(columns - rng.random(4)[plank]) < 0.01)
    return np.where(seam, 0.55, tone + grain)[..., None] * np.array([1.0, 0.93, 0.84])


def _tiles(rng: np.random.Generator) -> np.ndarray:
    """Two by two square tiles with joints."""
    rows, columns = _grid()
    tone = (0.95 + rng.uniform(-0.05, 0.05, (2, 2)))[(rows * 2).astype(int), (columns * 2).astype(int)]
    joint = ((rows * 2) % 1 < 0.06) | ((columns * 2) % 1 < 0.06)
    return _grey(np.where(joint, 0.66, tone + _noise(rng, 0.012, blur=2)))


def _carpet(rng: np.random.Generator) -> np.ndarray:
    return _grey(0.85 + _noise(rng, 0.07, blur=1))


def _concrete(rng: np.random.Generator) -> np.ndarray:
    return _grey(0.9 + _noise(rng, 0.04, blur=6) + _noise(rng, 0.015))


def _plaster(rng: np.random.Generator) -> np.ndarray:
    return _grey(0.95 + _noise(rng, 0.018, blur=3) + _noise(rng, 0.008))


def _brick(rng: np.random.Generator) -> np.ndarray:
    """Six courses in running bond."""
    rows, columns = _grid()
    course = (rows * 6).astype(int)
    along = columns * 3 + 0.5 * (course % 2)
    tone = (0.8 + rng.uniform(-0.12, 0.12, (6, 3)))[course, along.astype(int) % 3]
    joint = ((rows * 6) % 1 < 0.14) | (along % 1 < 0.07)
    body = (tone + _noise(rng, 0.02))[..., None] * np.array([1.0, 0.72, 0.62])
    return np.where(joint[..., None], 0.92, body)


def _panel(rng: np.random.Generator) -> np.ndarray:
    """Upright boards with grooves."""
    _, columns = _grid()
    across = (columns * 4) % 1
    return _grey(np.where(across < 0.07, 0.62, 0.93 + 0.03 * across) + _noise(rng, 0.008, blur=1))


def _metal(rng: np.random.Generator) -> np.ndarray:
    rows, _ = _grid()
    brushed = np.repeat(rng.standard_normal((SIZE_PX, 1)), SIZE_PX, axis=1) * 0.03
    return _grey(0.88 + 0.08 * np.sin(rows * math.pi) + brushed)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    rows, _ = _grid()
    return _grey(np.where((rows * 6).astype(int) % 2 == 0, 1.0, 0.6) + _noise(rng, 0.01, blur=1))


def _checker(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    return _grey(np.where(((rows * 4).astype(int) + (columns * 4).astype(int)) % 2 == 0, 1.0, 0.6))


def _fabric(rng: np.random.Generator) -> np.ndarray:
    rows, columns = _grid()
    weave = 0.05 * np.sin(rows * 2 * math.pi * 16) * np.sin(columns * 2 * math.pi * 16)
    return _grey(0.88 + weave + _noise(rng, 0.03, blur=1))


def _shadow(_: np.random.Generator) -> np.ndarray:
    """A soft rounded square: colour 0, opacity falls from the middle to nothing at the rim."""
    rows, columns = _grid()
    x, y = np.abs(2 * columns - 1), np.abs(2 * rows - 1)
    reach = (x**4 + y**4) ** 0.25
    fall = np.clip((1 - reach) / 0.5, 0, 1)
    alpha = fall * fall * (3 - 2 * fall)
    return np.concatenate([np.zeros((SIZE_PX, SIZE_PX, 3)), alpha[..., None]], axis=2)


_DRAW: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "plain": _white,
    "painted": _painted,
    "glaze": _glaze,
    "cardboard": _cardboard,
    "slots": _slots,
    "wood": _wood,
    "tiles": _tiles,
    "carpet": _carpet,
    "concrete": _concrete,
    "plaster": _plaster,
    "brick": _brick,
    "panel": _panel,
    "metal": _metal,
    "stripes": _stripes,
    "checker": _checker,
    "fabric": _fabric,
    SHADOW: _shadow,
}
