"""Command lines that we print for people to paste, and folders that commands leave their work in."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path

from vla_sim.core.errors import UserError


def command_line(name: str, *words: object) -> str:
    """A command line to paste, names in quotes where the shell needs them."""
    return shlex.join(["python", "-m", f"vla_sim.{name}", *map(str, words)])


def fresh_folder(name: str) -> Path:
    """A new folder runs/NAME-TIME for what a command leaves; no other run gets the same."""
    path = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in range(1, 10_000):
        place = path if number == 1 else path.with_name(f"{path.name}-{number}")
        with contextlib.suppress(FileExistsError):
            place.mkdir(parents=True)
            return place
    raise UserError(f"no free name for a folder like {path}; name one with --out")
