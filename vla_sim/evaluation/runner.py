"""An evaluation from plan to files: run what is missing, keep every record, write summary, videos and report."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole
from vla_sim.core.types import Outcome
from vla_sim.envs.sampling import SceneSource
from vla_sim.evaluation.provenance import provenance
from vla_sim.evaluation.summary import summarise
from vla_sim.policies.registry import policy_hash
from vla_sim.rollout.evaluating import identity_of
from vla_sim.rollout.plan import Job, Plan, Unit
from vla_sim.rollout.pool import Pool
from vla_sim.rollout.result import EpisodeResult, read_results, write_results

EPISODES_FILE, SUMMARY_FILE, REPORT_FILE, PLAN_FILE = "episodes.jsonl", "summary.json", "report.html", "run.json"

log = logging.getLogger(__name__)

Progress = Callable[[int, int, int], None]


@dataclass(frozen=True)
class Result:
    """What `evaluate` leaves: records in canonical order, the summary, whether all episodes ran."""

    records: list[EpisodeResult]
    summary: dict[str, Any]
    complete: bool


def evaluate(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    hang_timeout_s: float = 60.0,
    on_progress: Progress = lambda done, total, successes: None,
) -> Result:
    """Run a plan into a folder; a folder that holds part of the same plan is completed.

    Ctrl-C ends the run early: what ran is written as a complete set of files, and the result says so.

    Args:
        plan: what to run.
        out: folder for episodes.jsonl, summary.json and run.json.
        workers: processes. Results are the same bit for bit for any number.
        hang_timeout_s: a policy that takes longer for a step is killed; the episode is an error.
        on_progress: told (episodes done, of how many, successes) after each.

    Raises:
        UserError: unknown names, another plan in the folder, a folder that cannot be written.
    """
    fresh = not (out / PLAN_FILE).exists()
    try:
        return _evaluate(plan, out, workers, hang_timeout_s, on_progress)
    except UserError:
        if fresh:
            _leave_nothing(out)
        raise


def _evaluate(plan: Plan, out: Path, workers: int, hang_timeout_s: float, on_progress: Progress) -> Result:
    with _writable(out):
        records = _started(plan, out)
        already = len(records)
        begin = time.perf_counter()
        interrupted = False
        write_results(out / EPISODES_FILE, records)
        with (out / EPISODES_FILE).open("a", encoding="utf-8") as file:
            keeper = _Keeper(plan, records, file, on_progress)
            pool = Pool(
                plan,
                workers=workers,
                hang_timeout_s=hang_timeout_s,
                on_record=keeper.keep,
                make_error=ErrorResults(plan),
            )
            try:
                pool.run(keeper.open_units(), meanwhile=_import_what_comes_after)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                write_results(out / EPISODES_FILE, in_plan_order(plan, keeper.records))
        records = in_plan_order(plan, keeper.records)
        facts = {
            **provenance(),
            "plan": json.loads(plan.to_json()),
            "policy_hashes": {policy: policy_hash(policy) for policy in plan.policies},
            "scenario_hashes": {s: keeper.source(s).scenario.hash for s in plan.scenarios},
            "embodiment_hash": keeper.source(plan.scenarios[0]).embodiment.content_hash,
            "seeds": [plan.seed, plan.seed + plan.episodes - 1],
            "complete": not interrupted,
            **_sittings(out, workers, time.perf_counter() - begin, already, len(records)),
        }
        planned = {(policy, scenario): plan.episodes for policy in plan.policies for scenario in plan.scenarios}
        summary = summarise(records, facts, planned=planned)
        write_whole(out / SUMMARY_FILE, (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())
    return Result(records, summary, not interrupted)


def _sittings(out: Path, workers: int, seconds: float, before: int, after: int) -> dict[str, Any]:
    """Workers and wall time: of this and of earlier sittings that this one went on with."""
    earlier: dict[str, Any] = {}
    if before:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            earlier = dict(json.loads((out / SUMMARY_FILE).read_text("utf-8"))["provenance"])
    if after == before and "workers" in earlier:
        workers, seconds = earlier["workers"], 0.0
    return {"workers": workers, "wall_time_s": round(seconds + (earlier.get("wall_time_s") or 0.0), 3)}


def _leave_nothing(out: Path) -> None:
    """An evaluation that could not even start leaves no folder behind."""
    with contextlib.suppress(OSError):
        if not (out / EPISODES_FILE).stat().st_size:
            (out / EPISODES_FILE).unlink()
            (out / PLAN_FILE).unlink()
            out.rmdir()


def _import_what_comes_after() -> None:
    """What summary and report load when they are first used."""
    import scipy.special

    from vla_sim.evaluation.reporting.report import template

    template()
    del scipy


class _writable:
    """Turns what goes wrong with the output folder into one sentence."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def __enter__(self) -> None:
        try:
            self._out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write to {self._out}: {error.strerror}") from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise UserError(f"cannot write to {self._out}: {error.strerror or error}") from error


def _started(plan: Plan, out: Path) -> list[EpisodeResult]:
    """Records already in the folder; marks a new folder with its plan."""
    if (out / PLAN_FILE).exists():
        found = read_plan(out)
        if found != plan:
            raise UserError(
                f"{out} holds another evaluation: choose an empty folder, or --resume {out} to go on with it"
            )
        return planned_results(plan, out / EPISODES_FILE, on_left_out=log.warning)
    if (out / EPISODES_FILE).exists():
        raise UserError(f"{out} holds {EPISODES_FILE} but no {PLAN_FILE}: choose an empty folder")
    write_whole(out / PLAN_FILE, plan.to_json().encode())
    return []


def planned_results(plan: Plan, path: Path, *, on_left_out: Callable[[str], None]) -> list[EpisodeResult]:
    """What a file holds of a plan's episodes, each once; those that are left out are to be driven again.

    Args:
        plan: see `Plan`.
        path: an `episodes.jsonl`, or where it would be.
        on_left_out: told of each line that is damaged, repeats an episode, or is of no episode of the plan.
    """
    if not path.exists():
        return []
    jobs = {job.key: job for job in plan.jobs()}
    results = []
    for result in read_results(path, on_damaged=on_left_out):
        job = jobs.get(result.key)
        if job is None or (job.index, plan.embodiment) != (result.index, result.embodiment):
            on_left_out(f"{path}: episode {'/'.join(map(str, result.key))} is not in the plan; left out")
        elif result.outcome is not Outcome.ERROR:
            results.append(result)
    return results


def read_plan(folder: Path) -> Plan:
    """The plan of a folder that an evaluation wrote.

    Raises:
        UserError: there is none.
    """
    try:
        return Plan.from_json((folder / PLAN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"{folder} is not the folder of an evaluation: no readable {PLAN_FILE} ({reason})") from error
    except UserError as error:
        raise UserError(f"{folder}: {error}") from error


def in_plan_order(plan: Plan, records: list[EpisodeResult]) -> list[EpisodeResult]:
    """The records in the order of the plan's jobs."""
    rank = {job.key: number for number, job in enumerate(plan.jobs())}
    return sorted(records, key=lambda record: rank[record.key])


class _Keeper:
    """Keeps each record: in memory, and at once in the file, so that a crash loses nothing that was finished."""

    def __init__(self, plan: Plan, records: list[EpisodeResult], file: Any, on_progress: Progress) -> None:
        self._plan = plan
        self._jobs = {job.key: job for job in plan.jobs()}
        self._sources: dict[str, SceneSource] = {}
        self.records = list(records)
        self._check_same(self.records)
        self._seen = {record.key for record in self.records}
        self._successes = sum(record.success for record in self.records)
        self._file = file
        self._on_progress = on_progress

    def source(self, scenario: str) -> SceneSource:
        """Scenes of one of the plan's scenarios."""
        if scenario not in self._sources:
            plan = self._plan
            self._sources[scenario] = SceneSource(scenario, plan.embodiment, plan.instruction_set, plan.language)
        return self._sources[scenario]

    def open_units(self) -> list[Unit]:
        """Units with at least one episode missing; run whole, so that each batch is what it always is."""
        return [unit for unit in self._plan.units() if any(job.key not in self._seen for job in unit.jobs)]

    def keep(self, record: EpisodeResult) -> None:
        """Take a record; one that is already there (a unit run again after an interruption) is dropped."""
        if record.key in self._seen:
            return
        self._seen.add(record.key)
        self.records.append(record)
        self._file.write(record.to_json() + "\n")
        self._file.flush()
        self._successes += record.success
        self._on_progress(len(self.records), len(self._jobs), self._successes)

    def _check_same(self, records: list[EpisodeResult]) -> None:
        """Never mix results of two versions of a policy or scenario."""
        hashes = {policy: policy_hash(policy) for policy in self._plan.policies}
        for record in records:
            if record.policy_hash != hashes[record.policy]:
                raise UserError(
                    f"policy {record.policy!r} has changed since these results were made: start a new folder"
                )
            if record.scenario_hash != self.source(record.scenario).scenario.hash:
                raise UserError(
                    f"scenario {record.scenario!r} has changed since these results were made: start a new folder"
                )
            if record.embodiment_hash not in ("", self.source(record.scenario).embodiment.content_hash):
                raise UserError(
                    f"robot {record.embodiment!r} has changed since these results were made: start a new folder"
                )


class ErrorResults:
    """Makes the record of an episode that could not be driven."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __call__(self, job: Job, reason: str) -> EpisodeResult:
        """An `error` record without path, with the reason in `error`."""
        plan = self._plan
        source = SceneSource(job.scenario, plan.embodiment, plan.instruction_set, plan.language)
        known = identity_of(job, source.scene(job.seed), source, plan)
        return EpisodeResult.of(
            {**known, "policy_hash": policy_hash(job.policy), "outcome": Outcome.ERROR, "error": reason}
        )
