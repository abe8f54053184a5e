"""What a finished evaluation leaves for people: the table, the report, then the films and the report with them.

The order is a promise: nothing that goes wrong with films can cost the table, the report or the exit code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from vla_sim.core.errors import UserError
from vla_sim.core.types import Scene
from vla_sim.envs.sampling import SceneSource
from vla_sim.evaluation.reporting.films import earlier_films, make_films, wanted_films
from vla_sim.evaluation.reporting.report import VideoRef, write_report
from vla_sim.evaluation.runner import REPORT_FILE, Result
from vla_sim.evaluation.tables import console_table, floor_rows
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult

log = logging.getLogger(__name__)

FILM_FOLDER = "videos"
MAX_SCENES = 60

Watch = Callable[[Sequence[EpisodeResult]], Iterable[EpisodeResult]]


def finish_run(
    result: Result,
    plan: Plan,
    out: Path,
    *,
    video: str = "none",
    watch: Watch = lambda records: records,
) -> None:
    """Log the table, write the report and film.

    Args:
        result: of `evaluate`.
        plan: what was run.
        out: folder of the run.
        video: which episodes to film, as for `wanted_films`.
        watch: wraps the episodes while they are filmed, e.g. in a progress bar.

    Raises:
        UserError: `video` means nothing, or the report cannot be written.
    """
    wanted = wanted_films(result.records, video)
    log.info(console_table(result.summary))
    if floor_rows(result.summary):
        log.info("(floor): a policy that does not look, in the same worlds; all scenarios in the report")
    log.info("SPL: success weighted by path length; ms: median time of a decision; more in the report")
    for line in raised(result.records):
        log.info(line)
    folder, scenes = out / FILM_FOLDER, _scenes_of_failures(result, plan)
    films = earlier_films(result.records, [], folder)
    _write(result, out, films, scenes, [])
    log.info(f"report: {out / REPORT_FILE}")
    if wanted:
        made, failed = make_films(plan, watch(wanted), folder)
        films = [*made, *earlier_films(result.records, wanted, folder)]
        _write(result, out, films, scenes, failed)
        for record, reason in failed[:1]:
            name = "/".join(map(str, record.key))
            log.warning(
                f"{len(failed)} of {len(wanted)} films could not be made ({name}: {reason}); more in the report"
            )
    if films:
        log.info(f"videos: {len(films)} in {folder}")


def _write(
    result: Result,
    out: Path,
    films: Sequence[VideoRef],
    scenes: dict[tuple[str, int], Scene],
    unfilmed: Sequence[tuple[EpisodeResult, str]],
) -> None:
    try:
        write_report(result.summary, result.records, films, out / REPORT_FILE, scenes=scenes, unfilmed=unfilmed)
    except OSError as error:
        raise UserError(f"cannot write {out / REPORT_FILE}: {error.strerror or error}") from error


def raised(records: Sequence[EpisodeResult]) -> list[str]:
    """For each policy with episodes that raised: how many, what the first of them said, and what a second try hid."""
    lines = []
    for policy in dict.fromkeys(record.policy for record in records):
        own = [record for record in records if record.policy == policy]
        errors = [_last_line(record.error) for record in own if record.error]
        if errors:
            lines.append(
                f"{len(errors)} of {len(own)} episodes of {policy} raised: {errors[0]} (tracebacks in the report)"
            )
        earlier = [_last_line(record.earlier_error) for record in own if record.earlier_error]
        hidden = [line for line in earlier if line not in errors]
        if hidden:
            lines.append(
                f"{len(hidden)} of {len(own)} episodes of {policy} were driven again alone, for their batch raised: "
                f"{hidden[0]} (traceback in episodes.jsonl, earlier_error)"
            )
    return lines


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def _scenes_of_failures(result: Result, plan: Plan) -> dict[tuple[str, int], Scene]:
    """Scenes of the first failures, so that the report can show what stood there."""

    def scene(record: EpisodeResult) -> Scene:
        return SceneSource(record.scenario, plan.embodiment, plan.instruction_set, plan.language).scene(record.seed)

    failures = [record for record in result.records if not record.success and record.path]
    return {(record.scenario, record.seed): scene(record) for record in failures[:MAX_SCENES]}
