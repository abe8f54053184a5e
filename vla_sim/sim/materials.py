"""Surfaces drawn with numpy, by name: patterns that the colour of a body, floor or wall multiplies.

A pixel of a 224-pixel image that shows the floor half a metre ahead is 3 to 5 mm wide, and so are the texels here, so
that none shows as a block. Every image tiles, except that of cardboard, which holds four faces side by side.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

SIZE_PX = 512
VARIANTS = 4
SHADOW = "shadow"

# How many metres one repeat covers.
REPEAT_M = {
    "tiles": 1.2,
    "wood": 1.6,
    "carpet": 1.0,
    "concrete": 3.0,
    "plaster": 2.0,
    "brick": 1.5,
    "panel": 1.2,
    "ceiling": 1.2,
}

# Quarters of the cardboard image: lower left corner (u, v) of each, half a side wide.
PRINTED, TAPED_END, TAPED_TOP, BLANK = (0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)

Image = np.ndarray


@functools.cache
def material_pixels(name: str, variant: int = 0) -> np.ndarray:
    """The image of a surface: uint8 (N, N, 3) RGB top-down, read-only; the shadow has 4 channels.

    Args:
        name: as in `vla_sim.core.surfaces` except "plain", or "ceiling" or "shadow".
        variant: 0 to VARIANTS - 1, which grain.
    """
    rng = np.random.default_rng([sum(name.encode()), variant, SIZE_PX])
    pixels = np.clip(np.rint(_DRAW[name](rng) * 255), 0, 255).astype(np.uint8)
    pixels.setflags(write=False)
    return pixels


def _grid(size: int = SIZE_PX) -> tuple[Image, Image]:
    """Row and column of every pixel as a fraction of the side, at pixel centres."""
    fraction = (np.arange(size) + 0.5) / size
    rows, columns = np.meshgrid(fraction, fraction, indexing="ij")
    return rows, columns


def _noise(rng: np.random.Generator, strength: float, wide: tuple[float, float], size: int = SIZE_PX) -> Image:
    """Noise that tiles, of mean 0 and this standard deviation; blurred by (rows, columns) pixels."""
    noise = rng.standard_normal((size, size))
    f = np.fft.fftfreq(size)
    fall = np.exp(-2 * math.pi**2 * ((wide[0] * f[:, None]) ** 2 + (wide[1] * f[None]) ** 2))
    noise = np.fft.ifft2(np.fft.fft2(noise) * fall).real
    return strength * noise / noise.std()


def _clouds(rng: np.random.Generator, strength: float) -> Image:
    """Soft patches of several sizes."""
    return sum((_noise(rng, strength / 2**i, (40 / 2**i, 40 / 2**i)) for i in range(3)), np.zeros((SIZE_PX, SIZE_PX)))


def _grey(values: Image) -> Image:
    return np.repeat(values[..., None], 3, axis=2)


def _wood(rng: np.random.Generator) -> Image:
    """Laminate: eight rows of planks along u, two planks a row, each with its own tone and grain."""
    rows, columns = _grid()
    row = (rows * 8).astype(int)
    along = (columns + rng.random(8)[row]) % 1 * 2
    plank = row * 2 + along.astype(int)
    tone = rng.uniform(0.8, 1.0, 16)[plank]
    warm = rng.uniform(-0.025, 0.025, 16)[plank]
    grain = _noise(rng, 0.035, (1.2, 60)) + _noise(rng, 0.03, (5, 120)) + _noise(rng, 0.012, (0.6, 6))
    seam = (rows * 8 % 1 * 200 < 4) | (along % 1 * 800 < 4)
    value = np.where(seam, 0.55 * tone, tone + grain)
    return np.stack([value * (1 + warm), value, value * (1 - warm)], axis=2)


def _tiles(rng: np.random.Generator) -> Image:
    """Two by two large tiles with narrow joints."""
    rows, columns = _grid()
    tone = (0.93 + rng.uniform(-0.03, 0.03, (2, 2)))[(rows * 2).astype(int), (columns * 2).astype(int)]
    joint = (rows * 2 % 1 < 0.012) | (columns * 2 % 1 < 0.012)
    return _grey(np.where(joint, 0.68, tone + _clouds(rng, 0.02) + _noise(rng, 0.008, (0.7, 0.7))))


def _carpet(rng: np.random.Generator) -> Image:
    """Carpet tiles, laid a quarter turned to each other."""
    rows, columns = _grid()
    turned = (rows * 2).astype(int) ^ (columns * 2).astype(int)
    fibre = np.where(turned, _noise(rng, 0.075, (0.7, 2.5)), _noise(rng, 0.075, (2.5, 0.7)))
    edge = np.minimum(np.abs(rows * 2 % 1 - 0.5), np.abs(columns * 2 % 1 - 0.5)) > 0.494
    return _grey(np.where(edge, 0.76, 0.86 - 0.025 * turned) + fibre + _clouds(rng, 0.012))


def _concrete(rng: np.random.Generator) -> Image:
    """Polished screed: clouds and fine specks."""
    return _grey(0.88 + _clouds(rng, 0.035) + _noise(rng, 0.022, (0.7, 0.7)))


def _plaster(rng: np.random.Generator) -> Image:
    """Paint laid on with a roller."""
    return _grey(0.95 + _noise(rng, 0.008, (2, 2)) + _clouds(rng, 0.008))


def _brick(rng: np.random.Generator) -> Image:
    """Twenty courses in running bond, six bricks each, painted over lightly."""
    rows, columns = _grid()
    course = (rows * 20).astype(int)
    along = columns * 6 + 0.5 * (course % 2)
    tone = (0.82 + rng.uniform(-0.12, 0.12, (20, 6)))[course, along.astype(int) % 6]
    joint = (rows * 20 % 1 < 0.14) | (along % 1 < 0.045)
    brick = (tone + _noise(rng, 0.03, (1, 1)))[..., None] * np.array([1.0, 0.8, 0.72])
    return np.where(joint[..., None], 0.9, brick)


def _panel(rng: np.random.Generator) -> Image:
    """Upright boards of 15 cm with grooves."""
    _, columns = _grid()
    across = columns * 8 % 1
    groove = np.where(across < 0.04, 0.62, np.where(across < 0.07, 0.8, 0.93))
    return _grey(groove + _noise(rng, 0.02, (60, 1.5)))


def _ceiling(rng: np.random.Generator) -> Image:
    """Two by two mineral-fibre panels in a white grid, with specks."""
    rows, columns = _grid()
    rail = np.minimum(np.abs(rows * 2 % 1 - 0.5), np.abs(columns * 2 % 1 - 0.5)) > 0.482
    specks = np.where(rng.random((SIZE_PX, SIZE_PX)) < 0.02, 0.72, 0.9)
    return _grey(np.where(rail, 0.8, specks))


def _cardboard(rng: np.random.Generator) -> Image:
    """Four faces of a carton: printed side, end with the tape's tongue, top with seam and tape, blank."""
    image = np.ones((SIZE_PX, SIZE_PX, 3))
    for (u, v), draw in ((PRINTED, _print), (TAPED_END, _tongue), (TAPED_TOP, _seam), (BLANK, None)):
        half = SIZE_PX // 2
        rows, columns = _grid(half)
        board = 0.9 + 0.012 * np.sin(columns * 2 * math.pi * 40) + _noise(rng, 0.018, (3, 3), half)
        edge = np.minimum.reduce([rows, 1 - rows, columns, 1 - columns])
        # Creased edges: a pale fold, then a darker band.
        board = np.where(edge < 0.012, 1.0, np.where(edge < 0.035, 0.78, board))
        face = board[..., None] * np.array([0.97, 1.0, 1.06])
        if draw is not None:
            draw(face, rows, columns)
        top, left = round((0.5 - v) * SIZE_PX), round(u * SIZE_PX)
        image[top : top + half, left : left + half] = face
    return image


def _tape(face: Image, where: Image) -> None:
    """Brown packing tape: smoother, a little darker and warmer than the board, with a bright reflection."""
    face[where] = np.array([0.8, 0.68, 0.5])


def _tongue(face: Image, rows: Image, columns: Image) -> None:
    _tape(face, (np.abs(columns - 0.5) < 0.085) & (rows < 0.3))


def _seam(face: Image, rows: Image, columns: Image) -> None:
    _tape(face, np.abs(columns - 0.5) < 0.085)
    face[np.abs(columns - 0.5) < 0.008] *= 0.55


def _print(face: Image, rows: Image, columns: Image) -> None:
    """Two arrows that point up over a bar, a block of text and a white address label."""
    ink = np.zeros(rows.shape, bool)
    for middle in (0.72, 0.86):
        head = (rows > 0.12) & (rows < 0.2) & (np.abs(columns - middle) < (rows - 0.12) * 0.6)
        ink |= head | ((rows >= 0.2) & (rows < 0.31) & (np.abs(columns - middle) < 0.018))
    ink |= (rows > 0.335) & (rows < 0.355) & (columns > 0.66) & (columns < 0.92)
    for line in range(3):
        ink |= (rows > 0.7 + 0.07 * line) & (rows < 0.74 + 0.07 * line) & (columns > 0.1) & (columns < 0.45)
    face[ink] *= 0.35
    label = (rows > 0.2) & (rows < 0.46) & (columns > 0.12) & (columns < 0.46)
    face[label] = 1.0
    face[label & (rows > 0.25) & (rows < 0.42) & ((rows * 24).astype(int) % 2 == 0) & (columns < 0.4)] = 0.45


def _slots(rng: np.random.Generator) -> Image:
    """Two rows of upright holes, as in a plastic laundry basket; few and wide, to be seen from afar."""
    rows, columns = _grid(256)
    across, down = np.abs(columns * 6 % 1 - 0.5), np.abs((rows - 0.05) / 0.45 % 1 - 0.5)
    hole = (across < 0.22) & (down < 0.36) & (rows > 0.05) & (rows < 0.95)
    rim = (across < 0.28) & (down < 0.4) & (rows > 0.05) & (rows < 0.95)
    return _grey(np.where(hole, 0.25, np.where(rim, 0.82, 0.97)) + _noise(rng, 0.008, (1, 1), 256))


def _fabric(rng: np.random.Generator) -> Image:
    rows, columns = _grid(256)
    weave = 0.05 * np.sin(rows * 2 * math.pi * 48) * np.sin(columns * 2 * math.pi * 48)
    return _grey(0.88 + weave + _noise(rng, 0.02, (1, 1), 256))


def _metal(rng: np.random.Generator) -> Image:
    """Brushed along u, lighter half way up."""
    rows, _ = _grid()
    return _grey(0.88 + 0.08 * np.sin(rows * math.pi) + _noise(rng, 0.02, (0.7, 60)))


def _stripes(rng: np.random.Generator) -> Image:
    rows, _ = _grid(256)
    return _grey(np.where((rows * 6).astype(int) % 2 == 0, 1.0, 0.6) + _noise(rng, 0.01, (1, 1), 256))


def _checker(_: np.random.Generator) -> Image:
    rows, columns = _grid(256)
    return _grey(np.where(((rows * 4).astype(int) + (columns * 4).astype(int)) % 2 == 0, 1.0, 0.6))


def _shadow(_: np.random.Generator) -> Image:
    """A soft rounded square: colour 0, opacity falls from the middle to nothing at the rim."""
    rows, columns = _grid(64)
    x, y = np.abs(2 * columns - 1), np.abs(2 * rows - 1)
    reach = (x**4 + y**4) ** 0.25
    fall = np.clip((1 - reach) / 0.5, 0, 1)
    alpha = fall * fall * (3 - 2 * fall)
    return np.concatenate([np.zeros((*alpha.shape, 3)), alpha[..., None]], axis=2)


_DRAW: dict[str, Callable[[np.random.Generator], Image]] = {
    "wood": _wood,
    "tiles": _tiles,
    "carpet": _carpet,
    "concrete": _concrete,
    "plaster": _plaster,
    "brick": _brick,
    "panel": _panel,
    "ceiling": _ceiling,
    "cardboard": _cardboard,
    "slots": _slots,
    "fabric": _fabric,
    "metal": _metal,
    "stripes": _stripes,
    "checker": _checker,
    SHADOW: _shadow,
}
