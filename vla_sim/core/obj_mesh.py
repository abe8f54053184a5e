"""Triangles from a Wavefront .obj file: what a scenario's `mesh` names. Strict, so that no broken file becomes a world.

Read are corners, faces and, from the .mtl files that it names, the colour `Kd` of each material. x is the front, y the
left and z up, in metres.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.files import inside
from vla_sim.core.values import shown

MAX_BYTES = 8_000_000
MAX_TRIANGLES = 10_000
# What may follow a material or be beside the faces, and changes nothing here.
_IGNORED = frozenset("mtllib vn vt vp o g s l p mg cstype deg bmat step curv curv2 surf parm trim hole scrv sp".split())
_LARGEST_M = 1e6
Color = tuple[float, float, float]
Corner = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """The triangles of a file; two are equal where their files are, byte by byte.

    Attributes:
        name: of the file.
        digest: sha256 of the file and of those with its materials.
        triangles: float64 (n, 3, 3), corners counter-clockwise seen from outside, metres, as in the file.
        colors: float64 (n, 3), 0..1; NaN where no material says one.
    """

    name: str
    digest: str
    triangles: np.ndarray = field(repr=False)
    colors: np.ndarray = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjMesh) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @property
    def size_m(self) -> tuple[float, float, float]:
        """Extents along x, y and z."""
        x, y, z = np.ptp(self.triangles.reshape(-1, 3), axis=0).tolist()
        return x, y, z

    @property
    def colored(self) -> bool:
        """Whether its materials say any colour."""
        return bool(np.isfinite(self.colors).any())


def read_obj(path: Path) -> ObjMesh:
    """The mesh of a file.

    Raises:
        UserError: it is missing, too large or no such file; names file and line.
    """
    content = _content(path)
    names = [name for _, words in _lines(content) if words[0] == "mtllib" for name in words[1:]]
    materials = tuple((name, _content(file_below(path.parent, name))) for name in names)
    return _parsed(path.name, content, materials)


def file_below(folder: Path, name: str) -> Path:
    """A file that another one names, which must lie in its folder or below it, links followed.

    Raises:
        UserError: it leads elsewhere.
    """
    path = inside(folder, name)
    try:
        within = path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder}: {shown(name)} names no file: {error}") from error
    if not within:
        raise UserError(f"{folder}: names a file {shown(name)}, which does not lie in this folder")
    return path


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path.name} is larger than {MAX_BYTES / 1e6:g} MB, the most that works: reduce the mesh")
    return content


def _lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Numbers of the lines that say something, and their words."""
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
        words = line.partition("#")[0].split()
        if words:
            yield number, words


@functools.lru_cache(maxsize=32)
def _parsed(name: str, content: bytes, materials: tuple[tuple[str, bytes], ...]) -> ObjMesh:
    known: dict[str, Color] = {}
    for file, text in materials:
        known |= _materials(file, text)
    reader = _Reader(name, known)
    for number, words in _lines(content):
        reader.read(number, words)
    parts = [content, *(text for _, text in materials)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
    return reader.mesh(digest)


def _materials(name: str, content: bytes) -> dict[str, Color]:
    """Colour by material of a .mtl file."""
    found: dict[str, Color] = {}
    material = ""
    for number, words in _lines(content):
        if words[0] == "newmtl":
            material = " ".join(words[1:])
        elif words[0] == "Kd":
            red, green, blue = _numbers(f"{name}, line {number}", words, 3)
            if not all(0 <= part <= 1 for part in (red, green, blue)):
                raise UserError(f"{name}, line {number}: a colour's parts lie between 0 and 1, got {shown(words[1:4])}")
            found[material] = (red, green, blue)
    return found


def _numbers(where: str, words: list[str], count: int) -> list[float]:
    """The first numbers behind a keyword."""
    try:
        found = [float(word) for word in words[1 : count + 1]]
    except ValueError:
        found = []
    if len(found) < count or not all(math.isfinite(one) and abs(one) <= _LARGEST_M for one in found):
        raise UserError(f"{where}: {words[0]} needs {count} finite numbers, got {shown(' '.join(words[1:]))}")
    return found


class _Reader:
    """Takes a file line by line."""

    def __init__(self, name: str, materials: dict[str, Color]) -> None:
        self._name, self._materials = name, materials
        self._corners: list[Corner] = []
        self._triangles: list[tuple[int, int, int]] = []
        self._colors: list[Color] = []
        self._color: Color = (math.nan, math.nan, math.nan)

    def read(self, number: int, words: list[str]) -> None:
        """One line."""
        where, keyword = f"{self._name}, line {number}", words[0]
        if keyword == "v":
            x, y, z = _numbers(where, words, 3)
            self._corners.append((x, y, z))
        elif keyword == "f":
            self._face(where, words[1:])
        elif keyword == "usemtl":
            self._color = self._materials.get(" ".join(words[1:]), (math.nan, math.nan, math.nan))
        elif keyword not in _IGNORED:
            raise UserError(f"{where}: {shown(keyword)} is nothing that an .obj file says")

    def _face(self, where: str, words: list[str]) -> None:
        """A polygon of three or more corners, as a fan."""
        if len(words) < 3:
            raise UserError(f"{where}: a face needs three corners or more, got {shown(' '.join(words))}")
        corners = [self._corner(where, word) for word in words]
        fan = [(corners[0], b, c) for b, c in itertools.pairwise(corners[1:])]
        self._triangles += fan
        self._colors += [self._color] * len(fan)
        if len(self._triangles) > MAX_TRIANGLES:
            raise UserError(f"{where}: more than {MAX_TRIANGLES} triangles, the most that works: reduce the mesh")

    def _corner(self, where: str, word: str) -> int:
        """Index of a corner such as "7", "7/1/3" or, counted from the last one, "-1"."""
        try:
            index = int(word.partition("/")[0])
        except ValueError:
            index = 0
        if not 1 <= abs(index) <= len(self._corners):
            raise UserError(f"{where}: a face names corner {shown(word)}, but there are {len(self._corners)} so far")
        return index - 1 if index > 0 else len(self._corners) + index

    def mesh(self, digest: str) -> ObjMesh:
        """All of it, without triangles of no area."""
        if not self._triangles:
            raise UserError(f"{self._name}: it holds no faces")
        triangles = np.array(self._corners)[np.array(self._triangles)]
        area = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
        kept = area > 1e-12
        mesh = ObjMesh(self._name, digest, triangles[kept], np.array(self._colors)[kept])
        if not kept.any() or min(mesh.size_m) <= 1e-6:
            raise UserError(f"{self._name}: it is flat; a mesh needs some depth, width and height")
        return mesh
