"""An evaluation from plan to files: run what is missing, keep every result, write the summary."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vla_sim import __version__
from vla_sim.core.errors import UserError
from vla_sim.core.files import LOCK_FILE, FolderLock, sweep_aside, write_whole
from vla_sim.core.pool import START_TIMEOUT_S, Pool
from vla_sim.core.run_folder import check_same, read_object
from vla_sim.evaluation.floors import FLOORS_FILE, FloorProgress, drive_floors
from vla_sim.evaluation.provenance import provenance
from vla_sim.evaluation.run_results import EPISODES_FILE, IDENTITY_FILE, Progress, RunResults
from vla_sim.evaluation.summary import summarise
from vla_sim.rollout.execution import Execution
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult
from vla_sim.rollout.worker import EvaluationWorker

MOST_WORKERS = 10_000  # that a summary is believed to have had
SUMMARY_FILE, REPORT_FILE, PLAN_FILE = "summary.json", "report.html", "run.json"


@dataclass(frozen=True)
class Result:
    """What `evaluate` leaves.

    Attributes:
        records: the results in the order of the plan.
        summary: the content of `summary.json`.
        complete: whether every episode of the plan is there, once (one that raised is), and the floors if asked for.
        floors: the results of the floors, see `vla_sim.evaluation.floors`.
    """

    records: list[EpisodeResult]
    summary: dict[str, Any]
    complete: bool
    floors: list[EpisodeResult] = field(default_factory=list)


def evaluate(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    hang_timeout_s: float = 60.0,
    start_timeout_s: float = START_TIMEOUT_S,
    on_progress: Progress = lambda done, total, successes: None,
    on_begin: Callable[[], None] = lambda: None,
    floors: bool = False,
    on_floors: FloorProgress = lambda done, total: None,
) -> Result:
    """Run a plan into a folder; a folder that holds part of the same plan is completed.

    Ctrl-C ends the run early: what ran is written as a complete set of files, and the result says so.

    Args:
        plan: what to run.
        out: folder for episodes.jsonl, summary.json and run.json.
        workers: processes. Results are the same bit for bit for any number: each process serves one policy.
        hang_timeout_s: a policy that takes longer for a step is killed; the episode is an error.
        start_timeout_s: a policy that takes longer to load is killed; all its episodes are errors.
        on_progress: told (episodes done, of how many, successes) after each.
        on_begin: told when nothing is refused any more, before the first episode.
        floors: drive the floors too, once all episodes are there.
        on_floors: told (episodes of floors done, of how many) after each.

    Raises:
        UserError: unknown names, another plan in the folder, a folder that cannot be written or in which another
            process is writing, no policy that can be started.
    """
    with FolderLock(out):
        fresh = not (out / PLAN_FILE).exists()
        try:
            sweep_aside(out)
            _bind(plan, out)
            results = RunResults(plan, out, on_progress)
            on_begin()
            driven = _drive(plan, results, workers, (hang_timeout_s, start_timeout_s))
            return _summarised(plan, out, workers, driven, on_floors if floors else None)
        except UserError:
            if fresh:
                _leave_nothing(out)
            raise


def _bind(plan: Plan, out: Path) -> None:
    """Mark a new folder with its plan; refuse one of another plan."""
    if (out / PLAN_FILE).exists():
        check_same(out, asdict(read_plan(out)), asdict(plan))
        begun_with = read_object(out / PLAN_FILE).get("vla_sim", __version__)
        if begun_with != __version__:
            raise UserError(
                f"{out} was begun with vla_sim {begun_with!s:.40}, this is {__version__}: their results do not mix; "
                "go on with that version, or choose another folder"
            )
    elif (out / EPISODES_FILE).exists():
        raise UserError(f"{out} holds {EPISODES_FILE} but no {PLAN_FILE}: choose an empty folder")
    else:
        write_whole(out / PLAN_FILE, plan.to_json().encode("utf-8", "backslashreplace"))


@dataclass(frozen=True)
class _Driven:
    """What was driven, now and before; for so long."""

    results: RunResults
    already: int
    seconds: float
    complete: bool


def _drive(plan: Plan, results: RunResults, workers: int, timeouts_s: tuple[float, float]) -> _Driven:
    """Run what is missing."""
    already, begin, interrupted = len(results), time.perf_counter(), False
    hang_s, start_s = timeouts_s
    factory = EvaluationWorker(plan)
    with results, Pool(factory, workers=workers, hang_timeout_s=hang_s, start_timeout_s=start_s) as pool:
        execution = Execution(
            pool, on_result=results.keep, on_files=results.identities.add_files, make_error=results.error
        )
        try:
            execution.submit(results.open_units())
            pool.start()
            _import_what_comes_after()
            execution.run()
        except KeyboardInterrupt:
            interrupted = True
    return _Driven(results, already, time.perf_counter() - begin, results.complete and not interrupted)


def _summarised(plan: Plan, out: Path, workers: int, driven: _Driven, on_floors: FloorProgress | None) -> Result:
    """Put the files in order and write the summary; with the floors, unless nobody is to be told of them."""
    results, complete = driven.results, driven.complete
    floors: list[EpisodeResult] = []
    records = results.write()
    if complete and on_floors:
        try:
            floors = drive_floors(plan, out / FLOORS_FILE, workers=workers, on_progress=on_floors)
        except KeyboardInterrupt:
            complete = False
    source = results.scenes.source(plan.scenarios[0])
    facts = {
        **provenance(),
        "plan": json.loads(plan.to_json()),
        "policy_hashes": {policy: results.identities[policy].hash for policy in plan.policies},
        "scenario_hashes": {name: results.scenes.source(name).scenario.hash for name in plan.scenarios},
        "embodiment_hash": source.embodiment.content_hash,
        "seeds": [plan.seed, plan.seed + plan.episodes - 1],
        "complete": complete,
        **_sittings(out, workers, driven.seconds, driven.already, len(records)),
    }
    planned = {(policy, scenario): plan.episodes for policy in plan.policies for scenario in plan.scenarios}
    summary = summarise(records, facts, planned=planned, floors=floors)
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    write_whole(out / SUMMARY_FILE, text.encode("utf-8", "backslashreplace"))
    return Result(records, summary, complete, floors)


def _sittings(out: Path, workers: int, seconds: float, before: int, after: int) -> dict[str, Any]:
    """Workers and wall time: of this and of earlier sittings that this one went on with."""
    earlier: dict[str, Any] = {}
    if before:
        with contextlib.suppress(UserError, KeyError, TypeError, ValueError, OverflowError):
            told = dict(read_object(out / SUMMARY_FILE)["provenance"])
            count, taken = int(told["workers"]), float(told["wall_time_s"])
            if 1 <= count <= MOST_WORKERS and 0 <= taken < math.inf:
                earlier = {"workers": count, "wall_time_s": taken}
    if after == before and earlier:
        workers, seconds = earlier["workers"], 0.0
    return {"workers": workers, "wall_time_s": round(seconds + earlier.get("wall_time_s", 0.0), 3)}


def _leave_nothing(out: Path) -> None:
    """An evaluation that could not even start leaves no folder behind."""
    with contextlib.suppress(OSError):
        if not (out / EPISODES_FILE).exists() or not (out / EPISODES_FILE).stat().st_size:
            for name in (EPISODES_FILE, IDENTITY_FILE, PLAN_FILE, LOCK_FILE):
                (out / name).unlink(missing_ok=True)
            out.rmdir()


def _import_what_comes_after() -> None:
    """What summary and report load when they are first used."""
    import scipy.special

    from vla_sim.evaluation.reporting.report import report_template

    report_template()
    del scipy


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
