"""Worker processes under supervision: crashes, hangs and exceptions cost one episode, never the run."""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from vla_sim.core.errors import UserError
from vla_sim.rollout import worker
from vla_sim.rollout.plan import Job, Plan, Unit
from vla_sim.rollout.result import EpisodeResult

# Loading torch and a large policy on a busy machine takes a while; silence after that is a hang.
START_TIMEOUT_S = 600.0
POLL_S = 0.2


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    unit: Unit | None = None
    last_heard: float = field(default_factory=time.monotonic)
    done: set[tuple[str, str, int]] = field(default_factory=set)
    driving: bool = False

    def left(self) -> tuple[Job, ...]:
        """Jobs of its unit that gave no record yet."""
        return tuple(job for job in self.unit.jobs if job.key not in self.done) if self.unit else ()


class Pool:
    """Runs units on `workers` processes and hands records over as they come.

    An exception, a dead process or silence for `hang_timeout_s` makes the pool run the unit's open jobs one by one;
    a job that fails alone as well becomes an `error` record with the reason.

    Args:
        plan: see `Plan`.
        workers: number of processes.
        hang_timeout_s: seconds without a step after which a worker is killed.
        on_record: called in this process with each record.
        make_error: builds the record of an episode that could not be driven, from its job and the reason.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        workers: int,
        hang_timeout_s: float,
        on_record: Callable[[EpisodeResult], None],
        make_error: Callable[[Job, str], EpisodeResult],
    ) -> None:
        self._plan = plan
        self._count = workers
        self._hang_timeout_s = hang_timeout_s
        self._on_record = on_record
        self._make_error = make_error
        self._workers: list[_Worker] = []
        self._waiting: deque[Unit] = deque()

    def run(self, units: Iterable[Unit], *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Run all units.

        Args:
            units: what to run.
            meanwhile: called once while the first workers start, which takes them two seconds.

        Raises:
            UserError: a policy cannot be loaded or does not fit the embodiment.
            KeyboardInterrupt: as it comes; all processes are gone then.
        """
        self._waiting = deque(units)
        try:
            self._hand_out()
            meanwhile()
            while self._waiting or any(w.unit for w in self._workers):
                self._hand_out()
                self._listen()
                self._watch()
        finally:
            self._stop()

    def _hand_out(self) -> None:
        while self._waiting and len(self._workers) < self._count:
            self._workers.append(self._start())
        for member in self._workers:
            if self._waiting and member.unit is None:
                self._give(member, self._waiting.popleft())

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=worker.work, args=(theirs, self._plan), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _give(self, member: _Worker, unit: Unit) -> None:
        member.unit, member.done, member.driving = unit, set(), False
        member.last_heard = time.monotonic()
        try:
            member.connection.send(unit)
        except OSError:
            self._lost(member, "the worker process died before it could start")

    def _listen(self) -> None:
        members = {member.connection: member for member in self._workers}
        for connection in wait(list(members), timeout=POLL_S):
            self._read(members[connection])  # type: ignore[index]

    def _read(self, member: _Worker) -> None:
        try:
            while member.connection.poll():
                self._take(member, member.connection.recv())
        except (EOFError, OSError):
            member.process.join(timeout=5)
            code = member.process.exitcode
            self._lost(member, f"the worker process died with exit code {code}" + (" (killed)" if code == -9 else ""))

    def _take(self, member: _Worker, message: tuple[str, ...]) -> None:
        member.last_heard = time.monotonic()
        kind = message[0]
        if kind in (worker.ALIVE, worker.RECORD):
            member.driving = True
        if kind == worker.RECORD:
            record = EpisodeResult.from_json(message[1])
            member.done.add(record.key)
            self._on_record(record)
        elif kind == worker.DONE:
            member.unit = None
        elif kind == worker.RAISED:
            self._blame(member, message[1])
        elif kind == worker.REFUSED:
            raise UserError(message[1])

    def _watch(self) -> None:
        now = time.monotonic()
        for member in list(self._workers):
            limit = self._hang_timeout_s if member.driving else max(self._hang_timeout_s, START_TIMEOUT_S)
            if member.unit and now - member.last_heard > limit:
                self._lost(member, f"no step for {limit:g} s: the policy hangs; its process was killed")

    def _lost(self, member: _Worker, reason: str) -> None:
        if member in self._workers:
            self._workers.remove(member)
        _end(member)
        if member.unit:
            self._blame(member, reason)

    def _blame(self, member: _Worker, reason: str) -> None:
        """Of one job it is known that it failed; of several, try each alone."""
        unit, left = member.unit, member.left()
        member.unit = None
        assert unit is not None
        if len(unit.jobs) == 1:
            for job in left:
                self._on_record(self._make_error(job, reason))
        else:
            self._waiting.extendleft(Unit((job,), unit.lanes) for job in reversed(left))

    def _stop(self) -> None:
        for member in self._workers:
            _end(member)
        self._workers = []


def _end(member: _Worker) -> None:
    member.process.kill()
    member.process.join()
    member.connection.close()
