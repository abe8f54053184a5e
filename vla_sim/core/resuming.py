"""A folder that remembers the command line it was begun with, so that `--resume DIR` goes on with it.

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

from vla_sim.core.cli import command_line, fresh_folder
from vla_sim.core.errors import UserError
from vla_sim.core.files import clear_errors
from vla_sim.core.options import Command, parse

Options = TypeVar("Options")

FILE = ".command.json"
MAX_BYTES = 1_000_000


def resumed(options: type[Options], given: Sequence[str], command: Command) -> Options:
    """The options of a command line; with `--resume DIR` those that DIR was begun with, but for what is given now.

    Raises:
        UserError: see `parse`; or DIR was not begun by this command.
    """
    parsed = parse(options, given, command)
    folder: Path | None = parsed.resume  # type: ignore[attr-defined]
    if folder is None:
        return parsed
    if parsed.out is not None:  # type: ignore[attr-defined]
        raise UserError("--resume names the folder: leave --out away")
    whole = parse(options, [*_remembered(folder, command), *given], command)
    return dataclasses.replace(whole, out=folder, resume=None)  # type: ignore[type-var]


@contextlib.contextmanager
def remembering(options: Options, given: Sequence[str], command: Command) -> Iterator[Options]:
    """Within, the command's folder exists and remembers its command line; what fails at once leaves no trace."""
    out: Path = options.out or fresh_folder(command.short_name)  # type: ignore[attr-defined]
    file = out / FILE
    with clear_errors(out):
        new = not out.exists() or not any(out.iterdir())
        out.mkdir(parents=True, exist_ok=True)
        wrote = not file.exists()
        others = set(os.listdir(out))
        if wrote:
            content = {"command": command.name, "arguments": list(given)}
            file.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    try:
        yield dataclasses.replace(options, out=out)  # type: ignore[type-var]
    except UserError:
        with contextlib.suppress(OSError):
            if wrote and set(os.listdir(out)) - {FILE} == others:
                file.unlink()
                if new:
                    out.rmdir()
        raise
    except KeyboardInterrupt:
        print(f"\ninterrupted; go on with: {command_line(command.short_name, '--resume', out)}")
        raise


def _remembered(folder: Path, command: Command) -> list[str]:
    """The arguments that a folder was begun with."""
    try:
        with (folder / FILE).open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
        name, arguments = found["command"], found["arguments"]
    except OSError as error:
        raise UserError(f"--resume {folder}: no {FILE} in it ({error.strerror}); repeat the whole command") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"--resume {folder}: {FILE} is damaged ({error}); repeat the whole command") from error
    if not (isinstance(arguments, list) and all(isinstance(argument, str) for argument in arguments)):
        raise UserError(f"--resume {folder}: {FILE} is damaged (no list of words); repeat the whole command")
    if name != command.name:
        raise UserError(f"--resume {folder} was begun by {name}, not by {command.name}")
    return arguments
