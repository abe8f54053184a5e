"""Runs the units of a plan on an executor: whatever goes wrong costs episodes, never the run.

A unit whose batch raises, dies or hangs is run again episode by episode; one that fails alone as well becomes an
`error` result with the reason. A policy that cannot be started is not tried again; the others are driven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from vla_sim.core.errors import UserError
from vla_sim.core.pool import Event, Executor, Failed, Finished, Result, Task
from vla_sim.rollout.plan import Job, Unit
from vla_sim.rollout.result import EpisodeResult, Key
from vla_sim.rollout.worker import FilesSeen

KEPT_ERROR = 4000  # characters of an exception that episodes keep which were driven again


class Execution:
    """Units on their way.

    Args:
        executor: runs `EvaluationWorker`.
        on_result: told each result, as it comes.
        on_files: told which files a policy has read: its name, sha256 by path.
        make_error: the result of an episode that could not be driven, from its job and the reason.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        on_result: Callable[[EpisodeResult], None],
        on_files: Callable[[str, dict[str, str]], None],
        make_error: Callable[[Job, str], EpisodeResult],
    ) -> None:
        self._executor = executor
        self._on_result = on_result
        self._on_files = on_files
        self._make_error = make_error
        self._done: set[Key] = set()
        self._undriven: dict[str, list[Job]] = {}
        self._cannot_start: dict[str, Failed] = {}
        self._drove = False

    def submit(self, units: Iterable[Unit]) -> None:
        """Hand units to the executor."""
        for unit in units:
            self._executor.submit(Task(unit, unit.policy))

    def run(self) -> None:
        """Run all units to their end.

        Raises:
            UserError: no policy at all could be started.
        """
        for event in self._executor.events():
            self._take(event, event.task.payload)
        if self._cannot_start and not self._drove:
            raise UserError(next(_sentence(policy, why) for policy, why in self._cannot_start.items()))
        for policy, jobs in self._undriven.items():
            for job in jobs:
                self._on_result(self._make_error(job, _sentence(policy, self._cannot_start[policy])))

    def _take(self, event: Event, unit: Unit) -> None:
        if isinstance(event, Result) and isinstance(event.value, FilesSeen):
            self._on_files(unit.policy, event.value.files)
        elif isinstance(event, Result):
            self._keep(unit, EpisodeResult.from_json(event.value))
        elif isinstance(event, Finished) and self._left(unit):
            self._blame(unit, "the worker said that it was done, but gave no result")
        elif isinstance(event, Failed) and event.starting:
            self._give_up(unit, event)
        elif isinstance(event, Failed):
            self._blame(unit, event.reason)

    def _left(self, unit: Unit) -> list[Job]:
        """Jobs of a unit that gave no result yet."""
        return [job for job in unit.jobs if job.key not in self._done]

    def _keep(self, unit: Unit, result: EpisodeResult) -> None:
        if result.key in {job.key for job in self._left(unit)}:
            self._drove = True
            self._done.add(result.key)
            self._on_result(replace(result, earlier_error=unit.earlier_error) if unit.earlier_error else result)

    def _blame(self, unit: Unit, reason: str) -> None:
        """Of one job it is known that it failed; of several, try each alone."""
        self._drove = True
        if len(unit.jobs) == 1:
            for job in self._left(unit):
                self._done.add(job.key)
                self._on_result(self._make_error(job, reason))
            return
        for job in reversed(self._left(unit)):
            alone = Unit((job,), earlier_error=reason[-KEPT_ERROR:])
            self._executor.submit(Task(alone, unit.policy), first=True)

    def _give_up(self, unit: Unit, why: Failed) -> None:
        """One failed start is final."""
        self._cannot_start.setdefault(unit.policy, why)
        units = [unit, *(task.payload for task in self._executor.drop(unit.policy))]
        self._undriven.setdefault(unit.policy, []).extend(job for one in units for job in self._left(one))


def _sentence(policy: str, why: Failed) -> str:
    """Why a policy could not be started."""
    if why.how == "refused":
        return why.reason if policy in why.reason else f"policy {policy!r}: {why.reason}"
    return f"policy {policy!r} cannot be started: {why.reason}"
