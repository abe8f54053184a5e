"""`vla-sim COMMAND ...`: the same as `python -m vla_sim.COMMAND ...`."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

# Commands of earlier versions: where their work is done now.
MOVED = {
    "train": "shipped weights are made by python -m recipes.train_shipped (in the source), your own by vla-sim clone",
    "train_rows": "the zoo is trained by python -m recipes.train_zoo (in the source), your own by vla-sim clone",
}


def commands() -> dict[str, str]:
    """All commands, each with what it is for: the files beside this one, and the first lines of their docstrings."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if not path.name.startswith("_"))
    return {path.stem: _first_line(path) for path in files if path.stem not in MOVED}


def _first_line(path: Path) -> str:
    told = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    return told.partition("\n")[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command by name; returns its exit code."""
    from vla_sim.core.cli import guarded

    given = list(sys.argv[1:] if arguments is None else arguments)
    known = commands()
    if given and given[0] in known:
        code: int = importlib.import_module(f"vla_sim.{given[0]}").main(given[1:])
        return code
    return guarded("vla-sim", lambda: _help(given, known))


def moved(name: str) -> int:
    """What `python -m vla_sim.NAME` of an earlier version answers."""
    from vla_sim.core.cli import guarded

    return guarded(f"python -m vla_sim.{name}", lambda: _help([name], {}))


def _help(given: Sequence[str], known: dict[str, str]) -> int:
    """What commands there are.

    Raises:
        UserError: one was named that is none.
    """
    from vla_sim import __version__
    from vla_sim.core.errors import UserError, suggest

    if given and given[0] == "--version":
        print(f"vla-sim {__version__}")
        return 0
    if given and given[0] in MOVED:
        raise UserError(f"{given[0]} is no command any more: {MOVED[given[0]]}")
    if given and given[0] not in ("-h", "--help"):
        raise UserError(f"unknown command {given[0]!r}; {suggest(given[0], known, most=len(known))}")
    print("usage: vla-sim COMMAND ...\n\n" + "\n".join(f"  {name:10} {what}" for name, what in known.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
