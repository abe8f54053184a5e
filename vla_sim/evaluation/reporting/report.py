"""The report of a run: one HTML file that needs nothing but itself, for people who were not there.

Written by the eval command from the summary and the records. Text of policies, instructions and tracebacks
is escaped by the template; what is embedded is limited, so the file stays small for any number of episodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from vla_sim.core.files import write_whole
from vla_sim.core.pages import page, template
from vla_sim.core.types import Outcome
from vla_sim.evaluation.figures import columns, decimals, further, percent, percent_range
from vla_sim.evaluation.floors import FLOORS
from vla_sim.evaluation.reporting.path_plots import Scenes, close_ups, plots
from vla_sim.evaluation.statistics import wilson
from vla_sim.evaluation.tables import floor_rows, p_value, table_rows
from vla_sim.rollout.result import EpisodeResult, replay_command

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("report.html.j2")
MAX_FAILURES = 200
MAX_TRACEBACKS = 20
MAX_TRACEBACK_CHARACTERS = 4000
MAX_VIDEOS = 60
# Fewer episodes, or worlds more alike than this, are not split by difficulty.
MIN_FOR_THIRDS, MIN_SPREAD = 9, 0.1

OUTCOME_LABELS = {
    Outcome.SUCCESS: "success",
    Outcome.REFUSED: "refused",
    Outcome.STOPPED_SHORT: "stopped short",
    Outcome.COLLISION: "collision",
    Outcome.WRONG_SIDE: "wrong side",
    Outcome.WRONG_GOAL: "wrong goal",
    Outcome.OUT_OF_BOUNDS: "out of bounds",
    Outcome.TIMEOUT: "timeout",
    Outcome.ERROR: "error",
}


@dataclass(frozen=True)
class VideoRef:
    """The film of an episode."""

    record: EpisodeResult
    path: Path


def write_report(
    summary: Mapping[str, Any],
    records: Sequence[EpisodeResult],
    videos: Sequence[VideoRef],
    path: str | Path,
    *,
    scenes: Scenes | None = None,
    unfilmed: Sequence[tuple[EpisodeResult, str]] = (),
) -> None:
    """Write the report; the file is replaced at once or not at all.

    Args:
        summary: as `summarise` made it.
        records: the episodes behind it.
        videos: films to show, in this order; one outside the report's folder is named but not shown.
        path: the .html file.
        scenes: worlds by (scenario, seed); close-ups of failures show the obstacles of those that are there.
        unfilmed: episodes that could not be filmed, each with the reason.

    Raises:
        OSError: the file cannot be written; what was there stays.
    """
    path = Path(path)
    html = render_report(summary, records, videos, path.parent, scenes=scenes, unfilmed=unfilmed)
    write_whole(path, html.encode("utf-8", "backslashreplace"))


def render_report(
    summary: Mapping[str, Any],
    records: Sequence[EpisodeResult],
    videos: Sequence[VideoRef],
    folder: Path,
    *,
    scenes: Scenes | None = None,
    unfilmed: Sequence[tuple[EpisodeResult, str]] = (),
) -> str:
    """The report as text; arguments as `write_report`, `folder` is where it will stand."""
    failures = _failures_first(records)
    rows = [*table_rows(summary), *floor_rows(summary)]
    return page(
        TEMPLATE,
        _filters(),
        rows=rows,
        floors=FLOORS,
        columns=columns(rows),
        further=further(rows),
        headline=_headline(summary, records),
        incomplete=_incomplete(summary),
        policies=_policy_cards(summary, records),
        stacks=[_stack(row) for row in summary["results"] if row["n"]],
        by_difficulty=_by_difficulty(records),
        outcomes=_seen_outcomes(records),
        all_outcomes=[outcome.value for outcome in OUTCOME_LABELS],
        sides=summary["paired"]["sides"],
        doubts=_doubts(rows),
        pairs_overall=_overall(summary["paired"]["policies"]),
        pairs_detail=[p for p in summary["paired"]["policies"] if p not in _overall(summary["paired"]["policies"])],
        plots=plots(records),
        close_ups=close_ups(failures, scenes or {}),
        videos=[_video(v, folder) for v in videos[:MAX_VIDEOS]],
        videos_left_out=max(0, len(videos) - MAX_VIDEOS),
        unfilmed=[{"record": record, "reason": reason[:300]} for record, reason in unfilmed[:MAX_VIDEOS]],
        failures=[_failure(r, folder) for r in failures[:MAX_FAILURES]],
        failure_count=len(failures),
        tracebacks=_tracebacks(records, folder),
        provenance=_flat(summary["provenance"]),
    )


def report_template() -> Template:
    """The report's template; compiled when it is first asked for."""
    return template(TEMPLATE, _filters())


def _filters() -> dict[str, Callable[..., str]]:
    return {
        "percent": percent,
        "percent_range": percent_range,
        "decimals": decimals,
        "p_value": p_value,
        "label": _label,
        "figure": _figure,
        "sentence": _sentence,
    }


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _label(outcome: str) -> str:
    return OUTCOME_LABELS[Outcome(outcome)]


# --- top ----------------------------------------------------------------------------------------------------------


def _headline(summary: Mapping[str, Any], records: Sequence[EpisodeResult]) -> dict[str, Any]:
    """What was run, in figures."""
    seeds = [r.seed for r in records]
    return {
        "policies": list(dict.fromkeys(row["policy"] for row in summary["results"])),
        "scenarios": list(dict.fromkeys(row["scenario"] for row in summary["results"])),
        "episodes": len(records),
        "worlds": len({(r.scenario, r.seed) for r in records}),
        "embodiments": sorted({r.embodiment for r in records}),
        "seeds": f"{min(seeds)} to {max(seeds)}" if seeds else "none",
        "delay_steps": max((r.delay_steps for r in records), default=0),
        "languages": sorted({r.language for r in records} - {""}),
        "instruction": summary.get("instruction"),
        "driven_m": sum(r.path_length_m for r in records),
        "driven_s": sum(r.sim_time_s for r in records),
    }


def _incomplete(summary: Mapping[str, Any]) -> bool:
    return summary["provenance"].get("complete") is False or not all(row["complete"] for row in summary["results"])


def _policy_cards(summary: Mapping[str, Any], records: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """For each policy its success over everything, as the first thing to see."""
    cards = []
    for policy in dict.fromkeys(row["policy"] for row in summary["results"]):
        own = [r for r in records if r.policy == policy]
        pairs = [p for p in summary["paired"]["sides"] if p["policy"] == policy]
        successes, worlds = sum(r.success for r in own), sum(p["n"] for p in pairs)
        both, interval = sum(p["both"] for p in pairs), wilson(successes, len(own))
        cards.append(
            {
                "policy": policy,
                "privileged": any(r.privileged for r in own),
                "n": len(own),
                "successes": successes,
                "rate": successes / len(own) if own else None,
                "ci": [interval.low, interval.high],
                "both_rate": both / worlds if worlds else None,
                "worlds": worlds,
                "errors": sum(r.outcome is Outcome.ERROR for r in own),
            }
        )
    return cards


def _doubts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What policies say of their own decisions: pooled rows where there are any."""
    pooled = [row for row in rows if "suite" in row] or list(rows)
    return [
        {**row, "what": name.replace("_mps", ", m/s").replace("_", " "), **means}
        for row in pooled
        for name, means in row["diagnostics"].items()
    ]


def _overall(pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """One row for every two policies: the pooled one, or that of the only scenario they share."""
    best: dict[tuple[str, str], Mapping[str, Any]] = {}
    for pair in pairs:
        if pair["scenario"] is None or (pair["a"], pair["b"]) not in best:
            best[pair["a"], pair["b"]] = pair
    return list(best.values())


def _seen_outcomes(records: Sequence[EpisodeResult]) -> list[tuple[str, str]]:
    """(value, label) of the outcomes that there were."""
    seen = {r.outcome for r in records}
    return [(outcome.value, label) for outcome, label in OUTCOME_LABELS.items() if outcome in seen]


def _stack(row: Mapping[str, Any]) -> dict[str, Any]:
    """A bar of outcomes, for the macro `stacks`."""
    return _bar(row["scenario"], row["policy"], {o: row["outcomes"][o.value] for o in OUTCOME_LABELS})


def _by_difficulty(records: Sequence[EpisodeResult]) -> list[dict[str, Any]]:
    """A bar of outcomes for each policy and third of difficulty; none where all worlds are much alike or unknown."""
    known = [(float(r.extra["difficulty"]), r) for r in records if r.extra.get("difficulty") is not None]
    levels = sorted(level for level, _ in known)
    if len(levels) < MIN_FOR_THIRDS or levels[-1] - levels[0] < MIN_SPREAD:
        return []
    cuts = [levels[0], levels[len(levels) // 3], levels[2 * len(levels) // 3], levels[-1] + 1e-9]
    bars = []
    for policy in dict.fromkeys(r.policy for _, r in known):
        for low, high in pairwise(cuts):
            counts = Counter(r.outcome for level, r in known if r.policy == policy and low <= level < high)
            if counts:
                bars.append(_bar(f"{low:.2f} to {high:.2f}", policy, counts))
    return bars


def _bar(name: str, note: str, counts: Mapping[Outcome, int]) -> dict[str, Any]:
    """A bar of outcomes, for the macro `stacks`."""
    n = sum(counts.values())
    parts = [
        {"kind": o.value, "count": k, "width": 100 * k / n, "title": f"{OUTCOME_LABELS[o]}: {k} of {n}"}
        for o in OUTCOME_LABELS
        if (k := counts.get(o, 0))
    ]
    return {"name": name, "note": note, "parts": parts}


# --- lists --------------------------------------------------------------------------------------------------------


def _failures_first(records: Sequence[EpisodeResult]) -> list[EpisodeResult]:
    """All that did not succeed: of policies that can succeed before others, the worst kinds first, else in order."""
    order = {outcome: i for i, outcome in enumerate(Outcome)}
    able = {record.policy for record in records if record.success}
    return sorted((r for r in records if not r.success), key=lambda r: (r.policy not in able, order[r.outcome]))


def _failure(record: EpisodeResult, folder: Path) -> dict[str, Any]:
    return {"record": record, "replay": replay_command(record, str(folder))}


def _tracebacks(records: Sequence[EpisodeResult], folder: Path) -> list[dict[str, Any]]:
    """Errors, equal tracebacks once with the number of episodes."""
    groups: dict[str, list[EpisodeResult]] = {}
    for record in records:
        if record.error is not None:
            groups.setdefault(record.error, []).append(record)
    most_first = sorted(groups.items(), key=lambda item: -len(item[1]))[:MAX_TRACEBACKS]
    return [
        {
            "text": _end_of(text),
            "last_line": (text.strip().splitlines() or ["no message"])[-1][:300],
            "count": len(own),
            "first": own[0],
            "replay": replay_command(own[0], str(folder)),
        }
        for text, own in most_first
    ]


def _end_of(text: str) -> str:
    cut = len(text) - MAX_TRACEBACK_CHARACTERS
    return text if cut <= 0 else f"... {cut} characters left out ...\n{text[cut:]}"


def _video(video: VideoRef, folder: Path) -> dict[str, Any]:
    """A film with its address relative to the report, or without one when it lies elsewhere."""
    try:
        inside = Path(video.path).resolve().relative_to(folder.resolve())
    except ValueError:
        return {"record": video.record, "src": None, "name": str(video.path)}
    return {"record": video.record, "src": "./" + quote(inside.as_posix()), "name": inside.name}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as lines: ("versions.numpy", "2.0.1")."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            rows.append((f"{prefix}{key}", ", ".join(str(part) for part in value if part != "") or "–"))
        else:
            rows.append((f"{prefix}{key}", _in_words(value)))
    return rows


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)
