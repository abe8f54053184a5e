"""Small procedural textures, drawn once per process from fixed seeds. uint8 RGB, row 0 at the top."""

from __future__ import annotations

import functools

import numpy as np

from vla_sim.errors import suggest

SIDE_PX = 64


def _grain(seed: int, strength: float) -> np.ndarray:
    """Grey value noise around 1, (SIDE, SIDE), soft enough not to flicker when it is drawn small."""
    noise = np.random.default_rng(seed).standard_normal((SIDE_PX, SIDE_PX))
    soft = sum(np.roll(noise, (i, j), (0, 1)) for i in (0, 1) for j in (0, 1)) / 2
    return 1 + strength * np.asarray(soft)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel."""
    rows, columns = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    return rows, columns


def _tiles() -> np.ndarray:
    rows, columns = _grid()
    joint = (rows % 32 < 2) | (columns % 32 < 2)
    checker = ((rows // 32 + columns // 32) % 2) * 0.12
    return np.where(joint, 0.55, 0.92 - checker) * _grain(1, 0.03)


def _wood() -> np.ndarray:
    rows, columns = _grid()
    plank = columns // 16
    rings = 0.06 * np.sin(rows * 0.35 + plank * 2.1 + 1.5 * np.sin(rows * 0.11 + plank))
    joint = (columns % 16 == 0) | ((rows + plank * 23) % 64 == 0)
    return np.where(joint, 0.55, 0.86 + rings + 0.05 * (plank % 3)) * _grain(2, 0.03)


def _brick() -> np.ndarray:
    rows, columns = _grid()
    course = rows // 8
    joint = (rows % 8 == 0) | ((columns + (course % 2) * 8) % 16 == 0)
    return np.where(joint, 0.95, 0.72 + 0.05 * ((course * 3 + columns // 16) % 3)) * _grain(3, 0.05)


def _panel() -> np.ndarray:
    _, columns = _grid()
    return np.where(columns % 32 < 2, 0.7, 0.95) * _grain(4, 0.02)


def _cardboard() -> np.ndarray:
    rows, columns = _grid()
    edge = np.minimum.reduce([rows, columns, SIDE_PX - 1 - rows, SIDE_PX - 1 - columns])
    tape = np.abs(columns - SIDE_PX / 2) < 5
    grey = np.where(edge < 2, 0.6, 0.9)
    return np.where(tape & (edge >= 2), 1.06, grey) * _grain(5, 0.04)


def _slots() -> np.ndarray:
    rows, columns = _grid()
    hole = (rows % 16 > 4) & (rows % 16 < 13) & (columns % 10 > 2) & (columns % 10 < 8) & (rows > 10) & (rows < 58)
    return np.where(hole, 0.35, 0.95) * _grain(6, 0.02)


def _stripes() -> np.ndarray:
    rows, _ = _grid()
    return np.where(rows % 16 < 8, 0.7, 1.0) * _grain(10, 0.02)


def _checker() -> np.ndarray:
    rows, columns = _grid()
    return np.where((rows // 16 + columns // 16) % 2, 0.72, 1.0) * _grain(11, 0.02)


def _metal() -> np.ndarray:
    rows, _ = _grid()
    return (0.85 + 0.1 * np.sin(rows * 0.2)) * _grain(12, 0.02)


_DRAW = {
    "metal": _metal,
    "stripes": _stripes,
    "checker": _checker,
    "fabric": lambda: 0.9 * _grain(13, 0.09),
    "plain": lambda: np.ones((SIDE_PX, SIDE_PX)),
    "cardboard": _cardboard,
    "slots": _slots,
    "tiles": _tiles,
    "wood": _wood,
    "carpet": lambda: 0.85 * _grain(7, 0.16),
    "concrete": lambda: 0.88 * _grain(8, 0.07),
    "plaster": lambda: 0.95 * _grain(9, 0.03),
    "brick": _brick,
    "panel": _panel,
}


@functools.cache
def texture(name: str) -> np.ndarray:
    """The texture of that name, uint8 (64, 64, 3); multiplied with a colour when drawn.

    Raises:
        ValueError: unknown name, with the nearest one.
    """
    if name not in _DRAW:
        raise ValueError(f"unknown texture {name!r}; {suggest(name, _DRAW)}")
    grey = np.clip(_DRAW[name]() * 240, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


@functools.cache
def blob() -> np.ndarray:
    """Soft shadow: opacity, uint8 (32, 32), dark in the middle and nothing at the rim."""
    rows, columns = (np.mgrid[0:32, 0:32] - 15.5) / 16
    radius = np.hypot(rows, columns)
    return (255 * np.clip(1 - radius, 0, 1) ** 0.8).astype(np.uint8)
