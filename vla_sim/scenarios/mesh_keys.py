"""The key `mesh` of an object in a scenario file: where its file is, what it holds, what it is in a hash."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_sim.core.config import Place, Value, shown
from vla_sim.core.errors import UserError
from vla_sim.core.obj_mesh import ObjMesh, file_below, read_obj


@dataclass(frozen=True)
class MeshFile(Value):
    """A .obj file."""

    def parse(self, value: Any) -> ObjMesh:
        """See `Value`."""
        if not isinstance(value, str) or not value.lower().endswith(".obj"):
            raise ValueError(f"must be the name of an .obj file, got {shown(value)}")
        try:
            return read_obj(Path(value))
        except UserError as error:
            raise ValueError(f"cannot be used: {error}") from error

    @property
    def words(self) -> str:
        """See `Value`."""
        return "name of an .obj file"

    def schema(self) -> dict[str, Any]:
        """See `Value`."""
        return {"type": "string", "pattern": "\\.(obj|OBJ)$"}


def with_mesh_paths(table: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """A scenario file with its meshes as paths: the names count from its own folder, and lead nowhere else.

    Raises:
        UserError: of the kind that `place` names: a mesh elsewhere.
    """
    folder = Path(place.source).parent

    def path(name: Any, here: Place) -> Any:
        if not isinstance(name, str):
            return name
        try:
            return str(file_below(folder, name))
        except UserError as error:
            raise here.wrong(f"cannot be used: {error}") from error

    return _changed(table, path, place)


def with_mesh_contents(table: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The same with what meshes hold in place of their paths, for hashes.

    Raises:
        UserError: of the kind that `place` names: a file that cannot be used.
    """
    return _changed(table, lambda value, here: f"sha256:{MeshFile().read(value, here).digest}", place)


def _changed(table: Mapping[str, Any], change: Callable[[Any, Place], Any], place: Place) -> dict[str, Any]:
    """A table whose key `mesh` of each object, in choices of the matrix as well, is changed."""
    result = dict(table)
    objects, matrix = result.get("objects"), result.get("matrix")
    if isinstance(objects, Mapping):
        result["objects"] = {
            name: {**item, "mesh": change(item["mesh"], place.at("objects").at(name).at("mesh"))}
            if isinstance(item, Mapping) and "mesh" in item
            else item
            for name, item in objects.items()
        }
    if isinstance(matrix, Mapping):
        here = place.at("matrix")
        result["matrix"] = {
            axis: {
                choice: _changed(over, change, here.at(axis).at(choice)) if isinstance(over, Mapping) else over
                for choice, over in choices.items()
            }
            if isinstance(choices, Mapping)
            else choices
            for axis, choices in matrix.items()
        }
    return result
