"""Models of cartons, mugs and bottles of plastic. Used by `meshes`."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from vla_sim.sim.materials import BLANK, PRINTED, TAPED_END, TAPED_TOP
from vla_sim.sim.mesh_parts import FACES, Mesh, band, block, graded, inward, join, quad

CARTONS = 3
# Texels beside a quarter of the cardboard image belong to another face.
_INSET = 0.01


@functools.cache
def carton(variant: int) -> Mesh:
    """A cardboard box: closed with tape, closed and laid a quarter turned, or open with its flaps up."""
    if variant == CARTONS - 1:
        return _open_carton()
    around = (PRINTED, BLANK, TAPED_END, TAPED_END) if variant == 0 else (TAPED_END, TAPED_END, PRINTED, BLANK)
    sides = [_face(index, quarter) for index, quarter in enumerate(around)]
    top = _face(4, TAPED_TOP)
    if variant == 0:
        # The seam of the top runs to the ends that the tape's tongues hang from.
        top.uv[:] = np.roll(top.uv, 1, axis=0)
    bottom = quad([(-0.5, 0.5, -0.5), (0.5, 0.5, -0.5), (0.5, -0.5, -0.5), (-0.5, -0.5, -0.5)], color=(0.8,) * 3)
    return join([graded(join([*sides, top]), 0.84, 1.0), _in_quarter(bottom, TAPED_TOP)])


def _face(index: int, quarter: tuple[float, float]) -> Mesh:
    """One face of the unit cube that shows a quarter of the cardboard image."""
    normal, u_axis, v_axis = FACES[index]
    n, u, v = np.array(normal) / 2, np.array(u_axis) / 2, np.array(v_axis) / 2
    return _in_quarter(quad([tuple(c) for c in (n - u - v, n + u - v, n + u + v, n - u + v)]), quarter)


def _in_quarter(mesh: Mesh, quarter: tuple[float, float]) -> Mesh:
    mesh.uv[:] = np.array(quarter) + _INSET + mesh.uv * (0.5 - 2 * _INSET)
    return mesh


def _open_carton() -> Mesh:
    """Its body is a little narrower than its outline, which the flaps reach."""
    narrow, rim = 0.86, 0.3
    sides = []
    for index, quarter in enumerate((PRINTED, BLANK, BLANK, PRINTED)):
        side = _face(index, quarter)
        inside = inward(_face(index, BLANK), (0.6, 0.58, 0.55))
        for face in (side, inside):
            face.positions[:, :2] *= narrow
            face.positions[:, 2] = np.where(face.positions[:, 2] > 0, rim, -0.5)
        inside.positions[:, :2] *= 0.98
        sides += [side, inside, *_flap(index, narrow / 2, rim)]
    floor = quad([(-0.4, -0.4, -0.3), (0.4, -0.4, -0.3), (0.4, 0.4, -0.3), (-0.4, 0.4, -0.3)], color=(0.35,) * 3)
    return graded(join([*sides, _in_quarter(floor, BLANK)]), 0.84, 1.0)


def _flap(index: int, half: float, rim: float) -> list[Mesh]:
    """A flap that stands up and leans outward, both sides; those of two sides lean less."""
    normal, u_axis, _ = FACES[index]
    n, u = np.array(normal), np.array(u_axis)
    out, high = (0.5, 0.46) if index < 2 else (0.47, 0.5)
    low = n * half + np.array([0, 0, rim])
    top = n * out + np.array([0, 0, high])
    corners = [low - u * half, low + u * half, top + u * half * 0.96, top - u * half * 0.96]
    outside = _in_quarter(quad([tuple(c) for c in corners], color=(0.96,) * 3), BLANK)
    return [outside, inward(_in_quarter(quad([tuple(c) for c in corners]), BLANK), (1.02, 1.0, 0.97))]


@functools.cache
def mug() -> Mesh:
    """A straight mug with a round handle, white inside."""
    rim, foot, wall = 0.36, 0.34, 0.03
    parts = [
        graded(band((foot, -0.46), (rim, 0.5), segments=12), 0.82, 1.0),
        band((foot - 0.03, -0.5), (foot, -0.46), segments=12, color=(0.7,) * 3),
        band((rim, 0.5), (rim - wall, 0.5), segments=12, color=(1.15,) * 3),
        inward(band((foot - wall, -0.4), (rim - wall, 0.5), segments=12, color=(0.8,) * 3, tint=0), (1, 1, 1)),
        band((foot - wall, -0.3), (0.0, -0.3), segments=12, color=(0.28, 0.18, 0.12), tint=0),
        inward(band((foot, -0.5), (0.0, -0.5), segments=12), (0.6, 0.6, 0.6)),
    ]
    strap = [
        ((0.34, -0.05, 0.2), (0.47, 0.05, 0.32)),
        ((0.42, -0.05, -0.2), (0.495, 0.05, 0.26)),
        ((0.33, -0.05, -0.26), (0.47, 0.05, -0.14)),
    ]
    return join([*parts, *(block(low, high, color=(0.93,) * 3) for low, high in strap)])


@functools.cache
def pet_bottle() -> Mesh:
    """A drink bottle: ribbed foot, coloured body with a lighter label, tapering shoulder, white screw cap."""
    profile = [
        (0.4, -0.5, 0.55),
        (0.485, -0.47, 0.8),
        (0.49, -0.36, 0.95),
        (0.46, -0.34, 0.75),
        (0.49, -0.31, 0.95),
        (0.49, -0.16, 1.0),
        (0.49, 0.1, 1.0),
        (0.48, 0.16, 1.1),
        (0.36, 0.27, 1.2),
        (0.2, 0.37, 1.15),
        (0.15, 0.41, 1.05),
    ]
    rings = [
        band((r0, z0), (r1, z1), segments=12, color=(shade,) * 3)
        for (r0, z0, _), (r1, z1, shade) in itertools.pairwise(profile)
    ]
    label = band((0.497, -0.15), (0.497, 0.09), segments=12, color=(0.95, 0.95, 0.93), tint=0.1)
    stripe = band((0.5, -0.06), (0.5, 0.0), segments=12, color=(0.8,) * 3)
    cap = band((0.19, 0.41), (0.19, 0.5), segments=10, color=(0.93,) * 3, tint=0)
    top = band((0.19, 0.5), (0.0, 0.5), segments=10, color=(0.97,) * 3, tint=0)
    foot = inward(band((0.4, -0.5), (0.0, -0.5), segments=12), (0.6, 0.6, 0.6))
    return join([*rings, label, stripe, cap, top, foot])
