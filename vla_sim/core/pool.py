"""Work on several supervised processes: a crash, a hang or an exception costs one task, never the run.

Who has tasks submits them to an `Executor` and iterates over its events; `Pool` is the one for processes of this
machine. `run_units` is the short way for work where any failure ends the run. Used by everything that runs in parallel.
"""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
import signal
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

from vla_sim.core.errors import UserError
from vla_sim.core.pool_worker import DONE, RAISED, READY, REFUSED, RESULT, Emit, Factory, How, Work, serve

# Loading torch and a large policy on a busy machine takes a while; silence after that is a hang.
START_TIMEOUT_S = 600.0
POLL_S = 0.2

# The same for `run_units`: makes, once for each worker, the function that turns a unit into results.
UnitFactory = Callable[[], Callable[[Any], Iterator[Any]]]


@dataclass(frozen=True, eq=False)
class Task:
    """A piece of work. A process serves one group only, so what one group does to it touches no other."""

    payload: Any
    group: Hashable = None


@dataclass(frozen=True)
class Event:
    """Something that became of a task."""

    task: Task


@dataclass(frozen=True)
class Result(Event):
    """One of the task's results."""

    value: Any


@dataclass(frozen=True)
class Finished(Event):
    """The task is done; nothing more comes of it."""


@dataclass(frozen=True)
class Failed(Event):
    """The task ended early; nothing more comes of it.

    Attributes:
        reason: a traceback, or a sentence.
        how: "raised" an exception; "refused": a `UserError`; "died": the process ended; "hung": it was killed.
        starting: the work could not even be made; a fresh process would fail alike.
    """

    reason: str
    how: How
    starting: bool = False


class Executor(Protocol):
    """Whoever runs tasks: `Pool`, or an adaptor to a cluster."""

    def submit(self, task: Task, *, first: bool = False) -> None:
        """Take a task, to be run after all that wait, or before them; also while events are iterated over."""

    def events(self) -> Iterator[Event]:
        """What becomes of the tasks, as it happens, until nothing is left to do."""

    def drop(self, group: Hashable) -> list[Task]:
        """Take back the tasks of a group that have not been begun."""

    def close(self) -> None:
        """End all work."""


@dataclass(eq=False)
class _Member:
    """A worker process, seen from outside."""

    process: BaseProcess
    connection: Connection
    group: Hashable
    task: Task | None = None
    making: bool = True  # its work, which is also made anew after an exception
    served: bool = False  # its work has been made once
    last_heard: float = field(default_factory=time.monotonic)


class Pool:
    """Worker processes of this machine. Use it as a context: at its end all of them are gone.

    Args:
        factory: see `Factory`.
        workers: most processes at a time.
        hang_timeout_s: seconds without a result or `heartbeat` after which a working process is killed.
        start_timeout_s: the same for a process whose work is still being made.

    Raises:
        UserError: less than one worker, or a timeout that is not positive.
    """

    def __init__(
        self,
        factory: Factory,
        *,
        workers: int,
        hang_timeout_s: float = math.inf,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        if workers < 1 or not (hang_timeout_s > 0 and start_timeout_s > 0):  # not a number is not positive either
            raise UserError(
                f"there must be at least one worker, and timeouts must be positive; got {workers} workers, "
                f"{hang_timeout_s:g} s and {start_timeout_s:g} s"
            )
        self._factory = factory
        self._count = workers
        self._hang_timeout_s = hang_timeout_s
        self._start_timeout_s = max(start_timeout_s, 0 if math.isinf(hang_timeout_s) else hang_timeout_s)
        self._members: list[_Member] = []
        self._waiting: deque[Task] = deque()
        # Groups of which fewer processes can be started than there are workers (a port, the memory of a GPU).
        self._most: dict[Hashable, int] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, task: Task, *, first: bool = False) -> None:
        """Take a task, to be run after all that wait, or before them; also while events are iterated over."""
        if first:
            self._waiting.appendleft(task)
        else:
            self._waiting.append(task)

    def start(self) -> None:
        """Start processes now rather than with the first event: they need seconds to import things."""
        self._hand_out()

    def events(self) -> Iterator[Event]:
        """What becomes of the tasks, as it happens, until nothing is left to do."""
        while self._waiting or any(member.task for member in self._members):
            self._hand_out()
            yield from self._listen()
            yield from self._watch()

    def drop(self, group: Hashable) -> list[Task]:
        """Take back the tasks of a group that have not been begun."""
        dropped = [task for task in self._waiting if task.group == group]
        self._waiting = deque(task for task in self._waiting if task.group != group)
        return dropped

    def close(self) -> None:
        """End all work."""
        for member in self._members:
            _end(member)
        self._members = []
        self._waiting.clear()

    def _hand_out(self) -> None:
        for member in list(self._members):
            if member.task is None:
                task = next((task for task in self._waiting if task.group == member.group), None)
                if task is not None:
                    self._give(member, task)
        for task in list(self._waiting):
            if self._count_of(task.group) >= self._most.get(task.group, self._count):
                continue
            idle = next((member for member in self._members if member.task is None), None)
            if idle is not None and len(self._members) >= self._count:
                self._forget(idle)
            if len(self._members) >= self._count:
                return
            self._give(self._start(task), task)

    def _count_of(self, group: Hashable) -> int:
        return sum(member.group == group for member in self._members)

    def _start(self, task: Task) -> _Member:
        """A process for the group of a task."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, self._factory, task.group, os.getpid()), daemon=True)
        with _main_left_alone(self._factory, task.group, task.payload):
            process.start()
        theirs.close()
        self._members.append(_Member(process, ours, task.group))
        return self._members[-1]

    def _give(self, member: _Member, task: Task) -> None:
        self._waiting.remove(task)
        member.task, member.last_heard = task, time.monotonic()
        with contextlib.suppress(OSError):  # it is gone, which is heard when it is listened to
            member.connection.send(task.payload)

    def _listen(self) -> Iterator[Event]:
        members = {end: m for m in self._members if m.task for end in (m.connection, m.process.sentinel)}
        heard = wait(list(members), timeout=POLL_S)
        for member in dict.fromkeys(members[end] for end in heard):  # type: ignore[index]
            yield from self._read(member)

    def _read(self, member: _Member) -> Iterator[Event]:
        while member in self._members:
            alive = member.process.is_alive()
            try:
                message = member.connection.recv() if member.connection.poll() else None
            except Exception:  # the pipe has ended, or holds what is no message
                message, alive = None, False
            if message is not None:
                member.last_heard = time.monotonic()
                yield from self._take(member, *message)
            elif alive:
                return
            else:
                member.process.join(timeout=5)
                code = member.process.exitcode
                killed = " (killed)" if code == -9 else ""
                yield from self._lost(member, f"the worker process died with exit code {code}{killed}", "died")

    def _take(self, member: _Member, kind: Any, value: Any) -> Iterator[Event]:
        task = member.task
        if task is None:
            return
        if kind == READY:
            member.making, member.served = False, True
        elif kind == RESULT:
            yield Result(task, value)
        elif kind == DONE:
            member.task = None
            yield Finished(task)
        elif kind in (RAISED, REFUSED):
            if member.making:
                yield from self._lost(member, value, kind)
            else:
                member.task, member.making = None, True
                yield Failed(task, value, kind)

    def _watch(self) -> Iterator[Event]:
        now = time.monotonic()
        for member in list(self._members):
            limit = self._start_timeout_s if member.making else self._hang_timeout_s
            if member.task and now - member.last_heard > limit:
                doing = "not ready" if member.making else "no step"
                yield from self._lost(member, f"{doing} for {limit:g} s: it hangs; its process was killed", "hung")

    def _lost(self, member: _Member, reason: str, how: How) -> Iterator[Event]:
        """A process that is of no more use, and what that means for its task."""
        self._forget(member)
        task, others = member.task, self._count_of(member.group)
        if task is None:
            return
        if not member.making:
            yield Failed(task, reason, how)
        elif member.served:
            self._waiting.appendleft(task)  # it could not be made a second time: a fresh process may do it
        elif others:
            self._most[member.group] = others  # there cannot be more of them at a time: the task waits for one
            self._waiting.appendleft(task)
        else:
            yield Failed(task, reason, how, starting=True)

    def _forget(self, member: _Member) -> None:
        self._members.remove(member)
        _end(member)


@contextlib.contextmanager
def _main_left_alone(*needed: Any) -> Iterator[None]:
    """Processes started now do not run the main script again, which takes time and would start everything anew.

    Unless it is the home of what they need.
    """
    main = sys.modules["__main__"]
    if b"__main__" in bytes(ForkingPickler.dumps(needed)):
        yield
        return
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end(member: _Member) -> None:
    """Kill a process and whatever it has started."""
    pid = member.process.pid
    if pid is not None and member.process.is_alive():
        with contextlib.suppress(OSError, AttributeError):  # some systems have no groups of processes
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
    member.process.kill()
    member.process.join()
    member.connection.close()


def run_units(units: Sequence[Any], factory: UnitFactory, *, workers: int, ordered: bool = False) -> Iterator[Any]:
    """Results of all units; one worker works in this process.

    Args:
        units: picklable pieces of work, handed out in order.
        factory: see `UnitFactory`; picklable.
        workers: number of processes.
        ordered: whether results come in the order of the units, rather than as soon as they are there.

    Raises:
        UserError: as the work raises it, or a worker died.
    """
    if workers == 1 or len(units) <= 1:
        work = factory()
        for unit in units:
            yield from work(unit)
        return
    with Pool(functools.partial(_iterating, factory), workers=min(workers, len(units))) as pool:
        tasks = deque(Task(unit) for unit in units)
        for task in tasks:
            pool.submit(task)
        yield from _in_order(_values(pool), tasks) if ordered else _as_they_come(_values(pool))


def _iterating(factory: UnitFactory, group: Any) -> Work:
    """The work of `run_units`, which gives its results as an iterator."""
    iterate = factory()

    def work(payload: Any, emit: Emit) -> None:
        for result in iterate(payload):
            emit(result)

    return work


def _values(pool: Executor) -> Iterator[tuple[Task, tuple[Any] | None]]:
    """Tasks, each with a result in a tuple, or None when it is done."""
    for event in pool.events():
        if isinstance(event, Result):
            yield event.task, (event.value,)
        elif isinstance(event, Finished):
            yield event.task, None
        elif isinstance(event, Failed):
            raise _error(event)


def _as_they_come(values: Iterator[tuple[Task, tuple[Any] | None]]) -> Iterator[Any]:
    for _, value in values:
        yield from value or ()


def _in_order(values: Iterator[tuple[Task, tuple[Any] | None]], tasks: deque[Task]) -> Iterator[Any]:
    found: dict[Task, list[Any]] = {task: [] for task in tasks}
    done = set()
    for task, value in values:
        found[task] += value or ()
        if value is None:
            done.add(task)
        while tasks and tasks[0] in done:
            yield from found.pop(tasks.popleft())


def _error(event: Failed) -> Exception:
    if event.how == "refused":
        return UserError(event.reason)
    if event.how == "raised":
        return RuntimeError(f"a worker process raised:\n{event.reason}")
    return UserError(
        f"{event.reason} (out of memory?); what was complete is kept: start again to go on, "
        "perhaps with fewer --workers"
    )
