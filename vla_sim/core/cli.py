"""What all commands share: errors of the user become one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

from vla_sim.core.command_lines import command_line as command_line
from vla_sim.core.command_lines import fresh_folder as fresh_folder
from vla_sim.core.errors import FULL_DISK, UserError
from vla_sim.core.terminal import printable, printable_output, shortened, shown_messages

BAD_INPUT, INTERRUPTED = 2, 130


def counted(number: int, one: str, many: str = "") -> str:
    """'1 episode', '2 episodes'."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def run_command(
    run: Callable[[Any], int],
    options: type[Any],
    arguments: Sequence[str] | None = None,
    *,
    epilog: str = "",
    remembers: Callable[[Any], bool] | None = None,
    data_set: bool = False,
) -> int:
    """Parse, run, and return the exit code.

    Args:
        run: what the command does with its options.
        options: dataclass of them, see `vla_sim.core.options`; its module's docstring begins with what the command
            is for.
        arguments: the command line; None for the program's own.
        epilog: notes and examples below the help.
        remembers: of a command that goes on with `--resume` by the command line that its folder remembers
            (`vla_sim.core.resuming`): whether options begin a folder.
        data_set: of such a command: the folder is a data set, with nothing else in it.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    from vla_sim.core.options import Command, parse

    module = sys.modules[options.__module__]
    name = module.__spec__.name if module.__spec__ else options.__module__
    command = Command(name.removesuffix(".__main__"), (module.__doc__ or "").partition("\n")[0], epilog)
    if remembers is None:
        return guarded(command.prog, lambda: run(parse(options, given, command)))
    from vla_sim.core.resuming import remembering, resumed

    def begun() -> int:
        parsed: Any = resumed(options, given, command)
        if not remembers(parsed):
            return run(parsed)
        with remembering(parsed, given, command, data_set=data_set) as with_folder:
            return run(with_folder)

    return guarded(command.prog, begun)


def guarded(prog: str, work: Callable[[], int]) -> int:
    """The exit code of some work; what the user can mend is one sentence on stderr.

    SIGTERM ends it as Ctrl-C does, and what it prints is shown as far as the terminal can.
    """
    try:
        with _sure_interrupts(), printable_output(), shown_messages():
            code = work()
            sys.stdout.flush()
            return code
    except UserError as error:
        _complain(f"{prog}: {error}")
        return BAD_INPUT
    except KeyboardInterrupt as error:
        _complain(f"\n{prog}: interrupted" + (f"; {error}" if str(error) else ""))
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return INTERRUPTED
    except OSError as error:
        text = _fault(error)
        if not text:
            raise
        _complain(f"{prog}: {text}")
        return BAD_INPUT


# What the user's files and folders cause, not this program.
_FAULTS = {
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOENT: "no such file or folder",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "cannot be written to",
    errno.ENOTDIR: "is a file, not a folder",
    errno.EISDIR: "is a folder, not a file",
    errno.ELOOP: "links go round in a circle",
}


def _fault(error: OSError) -> str:
    """What to tell of an error of the system; "" if it is not the user's to mend."""
    place = f"{shortened(os.fsdecode(error.filename))}: " if error.filename else ""
    if error.errno in FULL_DISK:
        return f"{place}no space left on the disk; what was complete is kept"
    known = _FAULTS.get(error.errno or 0, "")
    return place + known if place and known else ""


def _complain(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(printable(text, sys.stderr.encoding), file=sys.stderr)


def _forget_output() -> None:
    """Nobody reads any more; the interpreter must not try again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Python drops an exception that is raised in these, after printing it.
_DROPPING_FILES, _DROPPING_FUNCTIONS = ("weakref.py", "_weakrefset.py"), ("__del__",)
_PATIENCE_S = 0.01


@contextlib.contextmanager
def _sure_interrupts() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM come through: where Python would drop them, they are sent again a moment later."""
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    in_main = threading.current_thread() is threading.main_thread()
    ours = [number for number, handler in usual.items() if in_main and signal.getsignal(number) is handler]
    for number in ours:
        signal.signal(number, _interrupted)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, usual[number])


def _interrupted(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        code = frame.f_code
        if code.co_name in _DROPPING_FUNCTIONS or os.path.basename(code.co_filename) in _DROPPING_FILES:
            threading.Timer(_PATIENCE_S, os.kill, (os.getpid(), number)).start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt
