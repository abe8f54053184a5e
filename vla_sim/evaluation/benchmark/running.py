"""A benchmark from plan to files: the closed loop, the offline part, the tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_sim.core.files import FolderLock
from vla_sim.core.progress import progress_bar
from vla_sim.evaluation.benchmark.entries import benchmark_entry
from vla_sim.evaluation.benchmark.files import agreement_line, console, write_benchmark
from vla_sim.evaluation.benchmark.table import benchmark_document, benchmark_rows, misbehaving
from vla_sim.evaluation.open_loop import OFFLINE_FILE, ExpertEpisode, run_expert
from vla_sim.evaluation.reporting.report import write_report
from vla_sim.evaluation.runner import REPORT_FILE, Result, evaluate
from vla_sim.rollout.plan import Plan

log = logging.getLogger(__name__)

CLOSED_LOOP = "closed_loop"


def run_benchmark(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    left_out: Mapping[str, str] | None = None,
    floors: bool = True,
    on_begin: Callable[[], None] = lambda: None,
) -> dict[str, Any] | None:
    """Drive and ask all policies of a plan, write the tables; goes on with what the folder holds already.

    Args:
        plan: what to run.
        out: folder; `CLOSED_LOOP` in it becomes that of an evaluation.
        workers: processes.
        left_out: by name, why a policy takes no part.
        floors: add those that the plan lacks (`vla_sim.evaluation.floors`).
        on_begin: told when nothing is refused any more, before the first episode.

    Returns:
        The content of benchmark.json; None if Ctrl-C ended it early.

    Raises:
        UserError: the folder belongs to another plan or another process is writing there, or a policy cannot be used.
    """
    with FolderLock(out):
        try:
            result = _drive(plan, out / CLOSED_LOOP, workers, floors, on_begin)
            expert_episodes = _ask(plan, result, out, workers) if result.complete else None
        except KeyboardInterrupt:
            return None
        return None if expert_episodes is None else _tables(plan, result, expert_episodes, out, left_out or {})


def _tables(
    plan: Plan, result: Result, expert_episodes: Sequence[ExpertEpisode], out: Path, left_out: Mapping[str, str]
) -> dict[str, Any]:
    """Write and say what came out; the content of benchmark.json."""
    records = [*result.records, *result.floors]
    rows = benchmark_rows([benchmark_entry(name) for name in _everyone(plan, result)], records, expert_episodes)
    document = benchmark_document(rows, expert_episodes, result.summary["provenance"], left_out=dict(left_out))
    written = write_benchmark(document, out)
    log.info(console(document["rows"]))
    for name, found in document["agreement"].items():
        log.info(agreement_line(name, found))
    log.info("written: " + ", ".join(map(str, written)))
    return document


def _everyone(plan: Plan, result: Result) -> list[str]:
    """The policies of the plan, then the floors that were driven beside them."""
    return [*plan.policies, *dict.fromkeys(record.policy for record in result.floors)]


def _drive(plan: Plan, folder: Path, workers: int, floors: bool, on_begin: Callable[[], None]) -> Result:
    """The closed loop, with the report that every evaluation gets."""
    with progress_bar("driving", len(plan.jobs())) as bar:
        result = evaluate(
            plan,
            folder,
            workers=workers,
            on_progress=lambda done, total, successes: bar(done, ""),
            on_begin=on_begin,
            floors=floors,
            on_floors=lambda done, total: bar(len(plan.jobs()), f"floors {done} of {total}"),
        )
    write_report(result.summary, result.records, [], folder / REPORT_FILE)
    return result


def _ask(plan: Plan, result: Result, out: Path, workers: int) -> Sequence[ExpertEpisode]:
    """The offline part; a policy that broke down while driving is not asked."""
    broken = misbehaving(result.records)
    asked = [name for name in _everyone(plan, result) if name not in broken]
    with progress_bar("asking", len(plan.scenarios) * plan.episodes) as bar:
        return run_expert(
            plan, asked, out / OFFLINE_FILE, workers=workers, on_progress=lambda done, total: bar(done, "")
        )
