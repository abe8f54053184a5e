"""What runs inside a worker process of a pool: makes its work once, does tasks, sends results and signs of life."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal

from vla_sim.core.errors import UserError

ALIVE_EVERY_S = 0.5

# Why a task ended early.
How = Literal["raised", "refused", "died", "hung"]
# Messages of a worker are pairs of one of these and a value.
READY, ALIVE, RESULT, DONE = "ready", "alive", "result", "done"
RAISED: How = "raised"
REFUSED: How = "refused"

Emit = Callable[[Any], None]
# What a worker does with the payload of a task; it hands each result to `emit`.
Work = Callable[[Any, Emit], None]
# Makes a worker's work, in its process, from the group that it serves. Picklable, as are payloads and results.
Factory = Callable[[Any], Work]


class _Gone(BaseException):
    """Who started this process is no longer there."""


class _Home:
    """The way from a worker process to who started it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._process = os.getpid()
        self._last_sign = 0.0

    def send(self, kind: str, value: Any = None) -> None:
        """Send a message; a process that the work has forked off and let come here ends instead."""
        if os.getpid() != self._process:
            os._exit(1)
        try:
            self._connection.send((kind, value))
        except OSError as error:
            raise _Gone from error

    def receive(self) -> Any:
        """The payload of the next task."""
        try:
            return self._connection.recv()
        except (OSError, EOFError) as error:
            raise _Gone from error

    def beat(self) -> None:
        """Say that work goes on, from time to time."""
        now = time.monotonic()
        if now - self._last_sign > ALIVE_EVERY_S:
            self._last_sign = now
            self.send(ALIVE)


_home: _Home | None = None


def heartbeat() -> None:
    """Called by work that takes long: tells the pool that it does not hang. Outside of a worker it does nothing."""
    if _home is not None:
        _home.beat()


def parent_is_gone(parent: int) -> bool:
    """Whether the process that started this one has ended."""
    return os.getppid() != parent


def serve(connection: Connection, factory: Factory, group: Any, parent: int) -> None:
    """Serve a group: do the tasks that come through the connection until it ends."""
    global _home
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.setsid()  # what the work starts can be killed with it
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    _home = _Home(connection)
    with contextlib.suppress(_Gone):
        _work_on(factory, group, _home, parent)


def _work_on(factory: Factory, group: Any, home: _Home, parent: int) -> None:
    def emit(value: Any) -> None:
        if parent_is_gone(parent):
            os._exit(1)
        home.send(RESULT, value)

    work: Work | None = None
    while True:
        payload = home.receive()
        try:
            if work is None:
                work = factory(group)
                home.send(READY)
            work(payload, emit)
            home.send(DONE)
        except UserError as error:
            work = None
            home.send(REFUSED, str(error))
        except Exception:
            work = None  # it may be in any state: it is made afresh for the next task
            home.send(RAISED, traceback.format_exc())


def _end_with(parent: int) -> None:
    """End this process when the one that started it has ended, whatever the work is doing."""
    while not parent_is_gone(parent):
        time.sleep(1.0)
    os._exit(1)
