"""What all commands share: errors of the user become one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

BAD_INPUT, INTERRUPTED = 2, 130


def counted(number: int, one: str, many: str = "") -> str:
    """'1 episode', '2 episodes'."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def run_command(
    run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> int:
    """Parse, run, and return the exit code."""
    options = parser.parse_args(arguments)
    from vla_sim.errors import UserError

    try:
        return run(options)
    except UserError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print(f"\n{parser.prog}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return INTERRUPTED
    except OSError as error:
        from vla_sim.data.writing import FULL_DISK

        if error.errno not in FULL_DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"{parser.prog}: {place}no space left on the disk; what was complete is kept", file=sys.stderr)
        return BAD_INPUT
