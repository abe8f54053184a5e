"""Folders that remember the command line they were begun with, so that `--resume DIR` goes on with it.

For commands whose options have `out` and `resume`. The engines check that a folder belongs to their plan; this only
saves users from repeating the line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from vla_sim.core.command_lines import command_line, fresh_folder
from vla_sim.core.errors import UserError
from vla_sim.core.files import LOCK_FILE, clear_errors
from vla_sim.core.options import Command, parse

Options = TypeVar("Options")

FILE = ".command.json"
MAX_BYTES = 1_000_000


def resumed(options: type[Options], given: Sequence[str], command: Command) -> Options:
    """The options of a command line; with `--resume DIR` those that DIR was begun with, but for what is given now.

    Raises:
        UserError: see `parse`; or DIR was not begun by this command.
    """
    folder = _named(given)
    if folder is None:
        return parse(options, given, command)
    if any(argument.partition("=")[0] == "--out" for argument in given):
        raise UserError("--resume names the folder: leave --out away")
    whole = parse(options, [*_remembered(folder, command), *given], command)
    return dataclasses.replace(whole, out=folder, resume=None)  # type: ignore[type-var]


def _named(given: Sequence[str]) -> Path | None:
    """The folder that `--resume` names; what was needed to begin need not be said again."""
    for argument, following in zip(given, [*given[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag == "--resume" and (value if equals else following):
            return Path(value if equals else following)
    return None


@contextlib.contextmanager
def remembering(options: Options, given: Sequence[str], command: Command, *, data_set: bool) -> Iterator[Options]:
    """Within, the command's folder remembers its command line; what fails at once leaves no trace.

    Args:
        options: with `out`, or None for a folder of the command's own.
        given: the arguments.
        command: which it is.
        data_set: the folder must hold nothing else, and is not gone on with once it is complete: what it remembers
            lies beside it and is removed in the end.
    """
    out: Path = options.out or fresh_folder(command.short_name)  # type: ignore[attr-defined]
    file = _beside(out) if data_set else out / FILE
    before = _names(out)
    with clear_errors(file):
        wrote = not file.exists()
        if wrote:
            file.parent.mkdir(parents=True, exist_ok=True)
            content = {"command": command.name, "arguments": list(given)}
            file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    try:
        yield dataclasses.replace(options, out=out)  # type: ignore[type-var]
    except (UserError, OSError):
        if wrote and _names(out) == before:
            _forget(file, out)
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: {command_line(command.short_name, '--resume', out)}") from None
    if data_set:
        file.unlink(missing_ok=True)


def _beside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{FILE}")


def _names(folder: Path) -> set[str]:
    """What lies in a folder; locks and what is remembered do not count."""
    return set(os.listdir(folder)) - {FILE, LOCK_FILE} if folder.is_dir() else set()


def _forget(file: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
        if not _names(folder):
            (folder / LOCK_FILE).unlink(missing_ok=True)
            folder.rmdir()


def _remembered(folder: Path, command: Command) -> list[str]:
    """The arguments that a folder was begun with."""
    try:
        place = folder / FILE if (folder / FILE).exists() else _beside(folder)
        with place.open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
        name, arguments = found["command"], found["arguments"]
    except OSError as error:
        raise UserError(f"--resume {folder}: nothing there to go on with; repeat the whole command") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"--resume {folder}: {FILE} is damaged ({error}); repeat the whole command") from error
    if not (isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments)):
        raise UserError(f"--resume {folder}: {FILE} is damaged (no list of words); repeat the whole command")
    if name != command.name:
        raise UserError(f"--resume {folder} was begun by {name}, not by {command.name}")
    return arguments
