"""The benchmark's table: offline and closed-loop figures of every policy side by side, ranked, as plain values.

Ranked by closed-loop success; the rank by offline error stands beside it, and how well the two orders agree.
Used by `vla_sim.benchmark` and `benchmark_files`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vla_sim.core.types import Outcome
from vla_sim.evaluation.benchmark.entries import CUSTOM, FLOOR, LEARNED, BenchmarkEntry
from vla_sim.evaluation.benchmark.scores import (
    DEFINITIONS,
    HEADING_TOLERANCE_DEG,
    STANDING_MPS,
    UNITS,
    Errors,
    OfflineScore,
    constant_guess,
    copy_last_guess,
    offline_score,
    policy_score,
)
from vla_sim.evaluation.figures import FIGURES
from vla_sim.evaluation.open_loop import ExpertEpisode
from vla_sim.evaluation.statistics import mmrv, spearman
from vla_sim.evaluation.summary import summarise
from vla_sim.rollout.result import EpisodeResult

FORMAT = 1
BASELINE = "baseline"
BASELINES = {
    "constant": "always the mean expert action; offline only",
    "copy_last": "the expert's action of the step before; offline only: driven, it would never start to move",
}
BOOTSTRAP_SEED = 0
# Below this many policies a bootstrap over them is rough.
ROUGH_BELOW = 20


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: name of the policy or baseline.
        kind: "learned", "scripted", "custom", "floor" (see `BenchmarkEntry`) or "baseline" (offline only).
        description: one line.
        privileged: it reads privileged state; it has no rank.
        offline: its errors, None where there are none; `offline_failure` says why.
        closed: its pooled row of `summary.json` (see `summarise`); None for a baseline.
        benchmark_entry: its size; None for a baseline.
        rank: 1 is the highest closed-loop success; equal success, equal rank; None if it has no rank.
        mae_rank: 1 is the smallest offline error, over the policies that have a rank.
    """

    model: str
    kind: str
    description: str
    privileged: bool
    offline: OfflineScore | None
    offline_failure: str
    closed: Mapping[str, Any] | None
    benchmark_entry: BenchmarkEntry | None
    rank: int | None = None
    mae_rank: int | None = None

    @property
    def success_rate(self) -> float | None:
        """Share of closed-loop episodes that succeeded."""
        return None if self.closed is None else self.closed["success_rate"]

    @property
    def mae_mps(self) -> float | None:
        """Mean absolute error over vx and vy at every step, m/s."""
        return None if self.offline is None else self.offline.every_step.mae_mps


def benchmark_rows(
    benchmark_entries: Sequence[BenchmarkEntry],
    records: Sequence[EpisodeResult],
    expert_episodes: Sequence[ExpertEpisode],
) -> list[Row]:
    """All rows, ranked: policies by success (then SPL, then name), the two baselines last.

    Args:
        benchmark_entries: the policies.
        records: their closed-loop episodes.
        expert_episodes: the expert's episodes that they were asked in.
    """
    closed = pooled_rows(records)
    rows = [_policy_row(one, closed[one.name], expert_episodes) for one in benchmark_entries]
    baselines = [
        Row(name, BASELINE, BASELINES[name], False, offline_score(guess, expert_episodes), "", None, None)
        for name, guess in (
            ("constant", constant_guess(expert_episodes)),
            ("copy_last", copy_last_guess(expert_episodes)),
        )
    ]
    return ranked([*rows, *baselines])


def _policy_row(one: BenchmarkEntry, closed: Mapping[str, Any], expert_episodes: Sequence[ExpertEpisode]) -> Row:
    score = policy_score(one.name, expert_episodes)
    known = isinstance(score, OfflineScore)
    return Row(
        model=one.name,
        kind=one.kind,
        description=one.description,
        privileged=bool(closed["privileged"]),
        offline=score if isinstance(score, OfflineScore) else None,
        offline_failure="" if known else str(score),
        closed=closed,
        benchmark_entry=one,
    )


def pooled_rows(records: Sequence[EpisodeResult]) -> dict[str, Mapping[str, Any]]:
    """For each policy, the row that `summarise` makes of all its episodes, whatever their suites."""
    together = summarise([replace(record, suite="") for record in records], {})
    return {row["policy"]: row for row in together["suites"]}


def misbehaving(records: Sequence[EpisodeResult]) -> list[str]:
    """Policies with an episode that raised, hung or ended its process: they are not asked offline."""
    return sorted({record.policy for record in records if record.outcome is Outcome.ERROR})


def ranked(rows: Sequence[Row]) -> list[Row]:
    """The rows in order, with their ranks; privileged policies, floors and baselines have a place but no rank."""
    order = sorted(rows, key=_place)
    eligible = [row for row in order if row.closed is not None and not row.privileged and row.kind != FLOOR]
    success = _ranks({row.model: -row.success_rate for row in eligible if row.success_rate is not None})
    error = _ranks({row.model: row.mae_mps for row in eligible if row.mae_mps is not None})
    return [replace(row, rank=success.get(row.model), mae_rank=error.get(row.model)) for row in order]


def _place(row: Row) -> tuple[float, float, float, str]:
    if row.closed is None:
        return 1.0, 0.0, row.mae_mps or 0.0, row.model
    return -(row.success_rate or 0.0), -(row.closed["spl"] or 0.0), 0.0, row.model


def _ranks(values: Mapping[str, float]) -> dict[str, int]:
    """1 for the smallest; equal values share the better rank."""
    return {name: 1 + sum(other < value for other in values.values()) for name, value in values.items()}


# --- agreement of the two orders ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """How well the offline order of policies agrees with their closed-loop order.

    Attributes:
        policies: which were compared; privileged ones, floors and baselines never are.
        n: how many.
        spearman: rank correlation of -MAE and success, +1 for the same order, -1 for the opposite one.
        interval: 95 % bootstrap interval over the policies; None where it is not determined.
        too_few: whether n is too small for the figures to mean anything.
        mmrv: mean maximum rank violation in success rate (SimplerEnv), 0 for the same order.
        words: how far to trust it.
    """

    policies: tuple[str, ...]
    n: int
    spearman: float | None
    interval: tuple[float, float] | None
    too_few: bool
    mmrv: float | None
    words: str


def agreements(rows: Sequence[Row]) -> dict[str, Agreement]:
    """Over all ranked policies ("all") and over those that have learned ("learned": learned and custom ones)."""
    both = [row for row in rows if row.rank is not None and row.mae_rank is not None]
    return {"all": _agreement(both), "learned": _agreement([row for row in both if row.kind in (LEARNED, CUSTOM)])}


def _agreement(rows: Sequence[Row]) -> Agreement:
    score = np.array([-(row.mae_mps or 0.0) for row in rows])
    success = np.array([row.success_rate or 0.0 for row in rows])
    found = spearman(score, success, np.random.default_rng(BOOTSTRAP_SEED))
    return Agreement(
        policies=tuple(row.model for row in rows),
        n=found.n,
        spearman=found.value,
        interval=None if found.interval is None else (found.interval.low, found.interval.high),
        too_few=found.too_few,
        mmrv=mmrv(score, success) if rows else None,
        words=_words(found.n, found.value, found.too_few),
    )


def _words(n: int, value: float | None, too_few: bool) -> str:
    counted = f"n = {n} {'policy' if n == 1 else 'policies'}"
    if n < 2:
        return f"{counted}: there is no order to compare"
    if value is None:
        return f"{counted} with equal success or equal error: the correlation is not defined"
    if too_few:
        return f"{counted}: the interval says nothing"
    return f"{counted}: the interval is rough" if n < ROUGH_BELOW else counted


# --- plain values -------------------------------------------------------------------------------------------------


def plain_row(row: Row) -> dict[str, Any]:
    """The row as flat plain values for JSON and CSV, the unit at the end of each name; None is "not known"."""
    every = row.offline.every_step if row.offline else None
    later = row.offline.without_first if row.offline else None
    size = row.benchmark_entry
    return {
        "rank": row.rank,
        "mae_rank": row.mae_rank,
        "model": row.model,
        "kind": row.kind,
        "privileged": row.privileged,
        **_plain_errors(every, ""),
        **_plain_errors(later, "_without_first"),
        "offline_failure": row.offline_failure or None,
        **_plain_closed(row.closed),
        "parameters": size.parameters if size else None,
        "size_bytes": size.size_bytes if size else None,
        "parts": None if size is None else " ".join(size.parts) or None,
        "description": row.description,
    }


def _plain_errors(errors: Errors | None, ending: str) -> dict[str, Any]:
    low, high = _limits(errors)
    by_axis = errors.mae_by_axis if errors else {}
    return {
        f"mae_mps{ending}": errors.mae_mps if errors else None,
        f"mae_mps_low{ending}": low,
        f"mae_mps_high{ending}": high,
        f"rmse_mps{ending}": errors.rmse_mps if errors else None,
        **{f"mae_{name}_{unit}{ending}": by_axis.get(name) for name, unit in UNITS.items()},
        f"heading_accuracy{ending}": errors.heading_accuracy if errors else None,
        f"direction_accuracy{ending}": errors.direction_accuracy if errors else None,
        f"offline_steps{ending}": errors.steps if errors else None,
    }


def _limits(errors: Errors | None) -> tuple[float | None, float | None]:
    interval = errors.mae_interval_mps if errors else None
    return (interval.low, interval.high) if interval else (None, None)


def _plain_closed(closed: Mapping[str, Any] | None) -> dict[str, Any]:
    low, high = closed["success_ci95"] if closed else (None, None)
    interval = {"success_rate_low": low, "success_rate_high": high}
    return interval | {f.benchmark: closed[f.name] if closed else None for f in FIGURES if f.benchmark}


def benchmark_document(
    rows: Sequence[Row],
    expert_episodes: Sequence[ExpertEpisode],
    provenance: Mapping[str, Any],
    *,
    left_out: Mapping[str, str],
) -> dict[str, Any]:
    """The content of `benchmark.json` (format version 1): plain values that `json.dumps(allow_nan=False)` accepts.

    Args:
        rows: from `benchmark_rows`.
        expert_episodes: the expert's episodes of the offline part.
        provenance: of the closed-loop run.
        left_out: policies that cannot take part, and why.
    """
    return {
        "format": FORMAT,
        "provenance": dict(provenance),
        "definitions": DEFINITIONS,
        "heading_tolerance_deg": HEADING_TOLERANCE_DEG,
        "standing_mps": STANDING_MPS,
        "offline": {
            "drives": len(expert_episodes),
            "steps": sum(len(expert_episode.labels) for expert_episode in expert_episodes),
            "expert_successes": sum(Outcome(expert_episode.outcome).succeeded for expert_episode in expert_episodes),
            "action_names": list(expert_episodes[0].action_names),
            "policy_hash_expert": expert_episodes[0].policy_hashes["expert"],
        },
        "rows": [plain_row(row) for row in rows],
        "agreement": {name: _plain_agreement(found) for name, found in agreements(rows).items()},
        "sizes": _sizes(rows),
        "left_out": dict(left_out),
    }


def _plain_agreement(found: Agreement) -> dict[str, Any]:
    return {
        **asdict(found),
        "policies": list(found.policies),
        "interval": None if found.interval is None else list(found.interval),
    }


def _sizes(rows: Sequence[Row]) -> dict[str, Any]:
    """All folders with weights once, which of them several policies share, and the sum over all."""
    sized = [row.benchmark_entry for row in rows if row.benchmark_entry and row.kind != FLOOR]
    parts = {name: size for one in sized for name, size in one.parts.items()}
    users = {name: [one.name for one in sized if name in one.parts] for name in parts}
    return {
        "folders": {name: {"parameters": p, "size_bytes": b} for name, (p, b) in parts.items()},
        "shared": {name: by for name, by in users.items() if len(by) > 1 and parts[name][0]},
        "parameters": sum(parameters for parameters, _ in parts.values()),
        "size_bytes": sum(size for _, size in parts.values()),
    }
