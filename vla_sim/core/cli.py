"""What all commands share: errors of the user become one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

BAD_INPUT, INTERRUPTED = 2, 130


def counted(number: int, one: str, many: str = "") -> str:
    """'1 episode', '2 episodes'."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def run_command(
    run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> int:
    """Parse, run, and return the exit code."""
    options = parser.parse_args(arguments)
    from vla_sim.core.errors import FULL_DISK, UserError

    try:
        with _sure_interrupts():
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
        if error.errno not in FULL_DISK:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"{parser.prog}: {place}no space left on the disk; what was complete is kept", file=sys.stderr)
        return BAD_INPUT


# Python drops an exception that is raised in these, after printing it.
_DROPPING_FILES, _DROPPING_FUNCTIONS = ("weakref.py", "_weakrefset.py"), ("__del__",)
_PATIENCE_S = 0.01


@contextlib.contextmanager
def _sure_interrupts() -> Iterator[None]:
    """Let Ctrl-C come through: where Python would drop it, it is sent again a moment later."""
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        code = frame.f_code
        if code.co_name in _DROPPING_FUNCTIONS or os.path.basename(code.co_filename) in _DROPPING_FILES:
            threading.Timer(_PATIENCE_S, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
