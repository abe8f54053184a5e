"""Whether a LeRobot set is whole, and what killed writers left beside one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, discard_folder
from vla_sim.core.run_folder import check_same, read_object
from vla_sim.datasets.lerobot.format import PLAN_PATH


def clear_finished(root: Path) -> None:
    """Clear away the parts of a data set whose writer died after it had appeared whole under `root`."""
    part = root.resolve().with_name(f".{root.name}.part")
    if not root.exists():
        return
    if (part / "finished").exists():
        with FolderLock(part):
            discard_folder(part)
    elif not part.exists():
        discard_folder(part)  # what a killed removal left


def is_finished(root: Path, plan: Mapping[str, Any]) -> bool:
    """Whether a whole data set of this plan lies under `root`; what a killed writer left beside it is cleared away.

    Raises:
        UserError: something else lies there.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    clear_finished(root)
    path = root / PLAN_PATH
    if not path.is_file():
        raise UserError(f"{root} holds other files; choose a new or empty folder")
    check_same(root, read_object(path), plan)
    return True
