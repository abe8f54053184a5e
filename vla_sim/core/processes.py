"""Units of work on several processes, with results as they come. Used by collecting data sets.

Every worker talks through a pipe of its own, so it notices at its next message when the process that started it is
gone, however that ended.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from vla_sim.core.errors import UserError

# What a worker is made by, once: it gives the function that turns a unit into results. It must be picklable.
Factory = Callable[[], Callable[[Any], Iterator[Any]]]

_RESULT, _DONE, _REFUSED, _RAISED = "result", "done", "refused", "raised"


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    busy: bool = False


def run_units(units: Sequence[Any], factory: Factory, *, workers: int) -> Iterator[Any]:
    """Results of all units, in the order in which they come; one worker works in this process.

    Args:
        units: picklable pieces of work, handed out in order.
        factory: see `Factory`.
        workers: number of processes.

    Raises:
        UserError: as the work raises it, or a worker died.
    """
    if workers == 1 or len(units) <= 1:
        work = factory()
        for unit in units:
            yield from work(unit)
        return
    waiting = deque(units)
    crew = [_start(factory) for _ in range(min(workers, len(units)))]
    try:
        for member in crew:
            _give(member, waiting)
        while any(member.busy for member in crew):
            by_connection = {member.connection: member for member in crew if member.busy}
            for connection in wait(list(by_connection)):
                yield from _heard(by_connection[connection], waiting)  # type: ignore[index]
    finally:
        for member in crew:
            member.process.kill()
            member.process.join()
            member.connection.close()


def _start(factory: Factory) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, factory, os.getpid()), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _give(member: _Worker, waiting: deque[Any]) -> None:
    member.busy = bool(waiting)
    if waiting:
        with contextlib.suppress(OSError):  # its end is heard of when it is listened to
            member.connection.send(waiting.popleft())


def _heard(member: _Worker, waiting: deque[Any]) -> Iterator[Any]:
    try:
        kind, value = member.connection.recv()
    except (EOFError, OSError) as error:
        member.process.join(timeout=5)
        raise UserError(
            f"a worker process died with exit code {member.process.exitcode} (out of memory?); "
            "what was complete is kept: start again to go on, perhaps with fewer --workers"
        ) from error
    if kind == _RESULT:
        yield value
    elif kind == _DONE:
        _give(member, waiting)
    elif kind == _REFUSED:
        raise UserError(value)
    else:
        raise RuntimeError(f"a worker process raised:\n{value}")


def parent_is_gone(parent: int) -> bool:
    """Whether the process that started this one has ended."""
    return os.getppid() != parent


def _serve(connection: Connection, factory: Factory, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    with contextlib.suppress(BrokenPipeError, EOFError, ConnectionError):
        try:
            work = factory()
            while True:
                for result in work(connection.recv()):
                    if parent_is_gone(parent):
                        return
                    connection.send((_RESULT, result))
                connection.send((_DONE, None))
        except (EOFError, BrokenPipeError):
            raise
        except UserError as error:
            connection.send((_REFUSED, str(error)))
        except Exception:
            connection.send((_RAISED, traceback.format_exc()))
