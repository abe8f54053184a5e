"""From episode records to `summary.json` (format version 1) and to tables for people.

Every rate has its denominator beside it. An episode that raised counts as not successful and is shown apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from vla_sim.core.types import Outcome
from vla_sim.evaluation import metrics
from vla_sim.evaluation.statistics import (
    Estimate,
    Interval,
    clopper_pearson,
    cluster_bootstrap,
    design_effect,
    mcnemar_exact,
    paired_difference,
    sign_flip_exact,
    stratified_bootstrap,
    wilson,
)
from vla_sim.rollout.result import EpisodeResult, in_order
from vla_sim.scenarios.library import suites_of

FORMAT = 2
BOOTSTRAP_SEED = 0
BOOTSTRAP_RESAMPLES = 2000

References = Mapping[tuple[str, int], ArrayLike]
Row = dict[str, Any]


def summarise(
    records: Sequence[EpisodeResult],
    provenance: Mapping[str, Any],
    *,
    planned: Mapping[tuple[str, str], int] | None = None,
    references: References | None = None,
    reach_m: float = 0.3,
    reference_spacing_m: float = 0.1,
) -> dict[str, Any]:
    """The content of `summary.json`: plain values that `json.dumps(..., allow_nan=False)` accepts.

    Args:
        records: episodes in any order; the result does not depend on it beyond the order of its rows.
        provenance: what ran where, passed through.
        planned: episodes that were asked for by (policy, scenario); pairs with fewer records are marked
            incomplete, and pairs without any get an empty row. Without it every pair counts as complete.
        references: (m, 2) reference positions by (scenario, seed); rows get `ndtw` and `sdtw` where all
            their episodes have one.
        reach_m: scale of nDTW.
        reference_spacing_m: spacing to which references are resampled before nDTW.
    """
    records = in_order(records)  # sums of floats depend on their order
    cells = _by(records, lambda r: (r.policy, r.scenario))
    order = list(dict.fromkeys([*(planned or {}), *cells]))
    results = [
        _row(
            {"policy": policy, "scenario": scenario},
            cells.get((policy, scenario), []),
            (planned or {}).get((policy, scenario)),
        )
        for policy, scenario in order
    ]
    if references is not None:
        for row in results:
            cell = cells.get((row["policy"], row["scenario"]), [])
            row.update(_path_fidelity(cell, references, reach_m, reference_spacing_m))
    return {
        "format": FORMAT,
        "provenance": dict(provenance),
        "results": results,
        "suites": _suites(records, order, planned),
        "paired": {"sides": _side_pairs(records), "policies": _policy_pairs(records)},
    }


# --- rows ---------------------------------------------------------------------------------------------------------


def _row(names: Row, cell: Sequence[EpisodeResult], planned: int | None) -> Row:
    """All figures of one group of episodes."""
    n = len(cell)
    outcomes = Counter(r.outcome for r in cell)
    successes = outcomes[Outcome.SUCCESS]
    return {
        **names,
        "n": n,
        "planned": n if planned is None else planned,
        "complete": planned is None or n >= planned,
        "successes": successes,
        "success_rate": _share(successes, n),
        "success_ci95": _pair(wilson(successes, n)),
        **_efficiency(cell),
        **{f"{o.value}_rate": _share(outcomes[o], n) for o in _RATES},
        "collision_ci95": _pair(clopper_pearson(outcomes[Outcome.COLLISION], n)),
        "error_count": outcomes[Outcome.ERROR],
        "success_rate_without_errors": _share(successes, n - outcomes[Outcome.ERROR]),
        "success_rate_if_errors_succeeded": _share(successes + outcomes[Outcome.ERROR], n),
        "outcomes": {o.value: outcomes[o] for o in Outcome},
        **_contacts(cell),
        **_language(cell),
        **_effort(cell),
        **_latency(cell),
        "diagnostics": _diagnostics(cell),
        "facts": _facts(cell),
        "retried_count": sum(r.earlier_error is not None for r in cell),
        "privileged": any(r.privileged for r in cell),
        "policy_hash": _only(r.policy_hash for r in cell),
        "scenario_hash": _only(r.scenario_hash for r in cell),
    }


_RATES = (Outcome.COLLISION, Outcome.OUT_OF_BOUNDS, Outcome.WRONG_SIDE, Outcome.WRONG_GOAL, Outcome.TIMEOUT)


def _efficiency(cell: Sequence[EpisodeResult]) -> Row:
    # An episode that raised before its world stood has no geodesic length; it scores 0 rather than being excluded.
    shortest = [
        1.0 if r.outcome is Outcome.ERROR and not r.expert_path_length_m else r.expert_path_length_m for r in cell
    ]
    left = [None if r.outcome is Outcome.ERROR else r.final_distance_m for r in cell]
    taken = [r.path_length_m for r in cell]
    weighted = metrics.spl([r.success for r in cell], np.array(shortest, dtype=float), taken)
    soft = metrics.soft_spl(np.array(left, dtype=float), np.array(shortest, dtype=float), taken)
    progress = metrics.progress_final(np.array(left, dtype=float), np.array(shortest, dtype=float))
    return {
        "spl": weighted.value,
        "soft_spl": soft.value,
        "spl_excluded": weighted.excluded,
        "progress_final": _mean(progress[np.isfinite(progress)]),
        "final_distance_m": _mean(r.final_distance_m for r in cell),
    }


def _contacts(cell: Sequence[EpisodeResult]) -> Row:
    events, metres = [r.collision_events for r in cell], [r.path_length_m for r in cell]
    clearances = [r.min_clearance_m for r in cell if r.min_clearance_m is not None]
    return {
        "contact_episode_rate": metrics.collision_episode_rate(events),
        "contacts_per_m": metrics.collision_events_per_metre(events, metres),
        "min_clearance_m": min(clearances, default=None),
        "min_clearance_p5_m": metrics.clearance(clearances)[1],
        "clearance_p5_mean_m": _mean(r.clearance_p5_m for r in cell),
    }


def _language(cell: Sequence[EpisodeResult]) -> Row:
    following = metrics.instruction_following_rate([r.asked_side for r in cell], [r.realised_side for r in cell])
    return {"instruction_following_rate": following.value, "instruction_following_n": following.n}


def _effort(cell: Sequence[EpisodeResult]) -> Row:
    headings = [metrics.direction_index(_numbers(r.actions)) for r in cell if len(r.actions) > 1]
    return {
        "path_length_m": _mean(r.path_length_m for r in cell),
        "expert_path_length_m": _mean(r.expert_path_length_m for r in cell),
        "sim_time_s": _mean(r.sim_time_s for r in cell),
        "steps": _mean(r.steps for r in cell),
        "switching_rate": _mean(metrics.switching_rate(h) for h in headings),
        "mean_jerk_m_s3": _mean(metrics.mean_jerk(np.array(r.path)[:, :2], r.step_s) for r in cell if r.path),
    }


def _latency(cell: Sequence[EpisodeResult]) -> Row:
    times = [r.inference_ms for r in cell if r.inference_ms is not None]
    p50, p95 = np.percentile(times, [50, 95]).tolist() if times else (None, None)
    return {"inference_ms_p50": p50, "inference_ms_p95": p95}


def _diagnostics(cell: Sequence[EpisodeResult]) -> dict[str, Row]:
    """What the policy said of its own decisions: the mean over the steps of successes, and of other episodes."""
    names = sorted({name for r in cell for name in r.diagnostics})
    return {
        name: {
            "successes": _mean(_said(name, (r for r in cell if r.success))),
            "others": _mean(_said(name, (r for r in cell if not r.success))),
        }
        for name in names
    }


def _facts(cell: Sequence[EpisodeResult]) -> dict[str, Row]:
    """Of each extra fact that is a number: the mean, and over how many episodes, for others may lack it."""
    known: dict[str, list[float]] = {}
    for r in cell:
        for name, value in r.extra.items():
            if isinstance(value, (int, float)):
                known.setdefault(name, []).append(float(value))
    return {name: {"mean": _mean(values), "n": len(values)} for name, values in sorted(known.items())}


def _said(name: str, records: Iterable[EpisodeResult]) -> list[float]:
    return [v for r in records for v in r.diagnostics.get(name, ()) if v is not None]


def _path_fidelity(cell: Sequence[EpisodeResult], references: References, reach_m: float, spacing_m: float) -> Row:
    if not cell or any((r.scenario, r.seed) not in references or not r.path for r in cell):
        return {}
    scores = []
    for r in cell:
        reference = metrics.resample(references[r.scenario, r.seed], spacing_m)
        scores.append(metrics.ndtw(np.array(r.path)[:, :2], reference, reach_m))
    return {"ndtw": _mean(scores), "sdtw": _mean(s * r.success for s, r in zip(scores, cell, strict=True))}


def _numbers(actions: Sequence[Sequence[float | None]]) -> np.ndarray:
    array = np.nan_to_num(np.array(actions, dtype=float))
    return array if array.shape[1] >= 2 else np.pad(array, ((0, 0), (0, 2 - array.shape[1])))


# --- pooled -------------------------------------------------------------------------------------------------------


def _suites(
    records: Sequence[EpisodeResult], order: Iterable[tuple[str, str]], planned: Mapping[tuple[str, str], int] | None
) -> list[Row]:
    """One pooled row per policy and suite: rates with Wilson and with bootstrap intervals over its scenarios."""
    rows = []
    pools: dict[tuple[str, str], list[EpisodeResult]] = {}
    for r in records:
        for suite in suites_of(r.suite):
            pools.setdefault((r.policy, suite), []).append(r)
    for (policy, suite), pooled in pools.items():
        groups = _by(pooled, lambda r: r.scenario)
        expected = sum((planned or {}).get(pair, 0) for pair in order if pair[0] == policy and pair[1] in groups)
        row = _row({"policy": policy, "suite": suite, "scenarios": len(groups)}, pooled, expected or None)
        samples = [[float(r.success) for r in group] for group in groups.values()]
        row["success_ci95_stratified"] = _bootstrap(stratified_bootstrap, samples)
        row["success_ci95_scenarios"] = _bootstrap(cluster_bootstrap, samples)
        rates = [float(np.mean(s)) for s in samples]
        row["success_rate_scenario_mean"] = _mean(rates)
        row["worst_scenario"] = min(zip(rates, groups, strict=True))[1]
        row["worst_success_rate"] = min(rates)
        rows.append(row)
    return rows


def _bootstrap(method: Callable[..., Estimate], groups: list[list[float]]) -> list[float] | None:
    estimate = method(groups, np.random.default_rng(BOOTSTRAP_SEED), resamples=BOOTSTRAP_RESAMPLES)
    return None if estimate.interval is None else _pair(estimate.interval)


# --- pairs --------------------------------------------------------------------------------------------------------


def side_family(scenario: str) -> tuple[str, str] | None:
    """("obstacle_*", "left") for "obstacle_left"; None for a name without exactly one side in it."""
    parts = scenario.split("_")
    sides = [i for i, part in enumerate(parts) if part in ("left", "right")]
    if len(sides) != 1:
        return None
    family = [*parts[: sides[0]], "*", *parts[sides[0] + 1 :]]
    return "_".join(family), parts[sides[0]]


def _side_pairs(records: Sequence[EpisodeResult]) -> list[Row]:
    """Worlds that one policy met under both instructions: scenario pairs X_left, X_right on equal seeds."""
    families: dict[tuple[str, str], dict[str, dict[int, EpisodeResult]]] = {}
    for r in records:
        family = side_family(r.scenario)
        if family is not None:
            sides = families.setdefault((r.policy, family[0]), {"left": {}, "right": {}})
            sides[family[1]][r.seed] = r
    rows = []
    for (policy, name), sides in families.items():
        seeds = sorted(set(sides["left"]) & set(sides["right"]))
        if seeds:
            rows.append(_side_pair(policy, name, [(sides["left"][s], sides["right"][s]) for s in seeds]))
    return rows


def _side_pair(policy: str, family: str, pairs: Sequence[tuple[EpisodeResult, EpisodeResult]]) -> Row:
    n = len(pairs)
    both = sum(a.success and b.success for a, b in pairs)
    ignored = metrics.ignore_rate([a.realised_side for a, _ in pairs], [b.realised_side for _, b in pairs])
    return {
        "policy": policy,
        "scenarios": family,
        "n": n,
        "both": both,
        "only_left": sum(a.success and not b.success for a, b in pairs),
        "only_right": sum(b.success and not a.success for a, b in pairs),
        "neither": sum(not a.success and not b.success for a, b in pairs),
        "both_sides_rate": _share(both, n),
        "both_sides_ci95": _pair(wilson(both, n)),
        "ignore_rate": ignored.value,
        "ignore_n": ignored.n,
        "failed_seeds": [a.seed for a, b in pairs if not (a.success and b.success)],
    }


def _policy_pairs(records: Sequence[EpisodeResult]) -> list[Row]:
    """Every two policies on the worlds that both met: over all scenarios and scenario by scenario."""
    by_policy = {p: {(r.scenario, r.seed): r for r in rs} for p, rs in _by(records, lambda r: r.policy).items()}
    rows = []
    for a, b in combinations(by_policy, 2):
        common = [key for key in by_policy[a] if key in by_policy[b]]
        scenarios = list(dict.fromkeys(scenario for scenario, _ in common))
        for scenario in [None, *scenarios] if len(scenarios) > 1 else scenarios:
            keys = [key for key in common if scenario is None or key[0] == scenario]
            by_seed: dict[int, list[tuple[bool, bool]]] = {}
            for key in keys:
                by_seed.setdefault(key[1], []).append((by_policy[a][key].success, by_policy[b][key].success))
            rows.append(_policy_pair(a, b, scenario, list(by_seed.values())))
    return rows


def _policy_pair(a: str, b: str, scenario: str | None, groups: Sequence[Sequence[tuple[bool, bool]]]) -> Row:
    """Two policies; the worlds of one seed, which are alike in several scenarios, are one group."""
    pairs = [pair for group in groups for pair in group]
    differences = [[float(x) - float(y) for x, y in group] for group in groups]
    effect = design_effect(differences)
    only_a = sum(x and not y for x, y in pairs)
    only_b = sum(y and not x for x, y in pairs)
    return {
        "a": a,
        "b": b,
        "scenario": scenario,
        "n": len(pairs),
        "only_a": only_a,
        "only_b": only_b,
        "difference": (only_a - only_b) / len(pairs),
        "difference_ci95": _pair(paired_difference(only_a, only_b, len(pairs), effect=effect)),
        "p_value": sign_flip_exact([round(sum(group)) for group in differences]),
        "mcnemar_p": mcnemar_exact(only_a, only_b),
        "seeds": len(groups),
        "design_effect": effect,
    }


# --- tables -------------------------------------------------------------------------------------------------------

_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("policy", lambda r: r["policy"] + (" (privileged)" if r["privileged"] else "")),
    ("scenario", lambda r: r["scenario"]),
    ("n", lambda r: f"{r['n']}" if r["complete"] else f"{r['n']} of {r['planned']}"),
    ("success", lambda r: percent(r["success_rate"])),
    ("95 % interval", lambda r: percent_range(r["success_ci95"])),
    ("SPL", lambda r: decimals(r["spl"])),
    ("collision", lambda r: percent(r["collision_rate"])),
    ("wrong side", lambda r: percent(r["wrong_side_rate"])),
    ("wrong goal", lambda r: percent(r["wrong_goal_rate"])),
    ("out", lambda r: percent(r["out_of_bounds_rate"])),
    ("timeout", lambda r: percent(r["timeout_rate"])),
    ("errors", lambda r: str(r["error_count"])),
    ("ms", lambda r: decimals(r["inference_ms_p50"], 1)),
)
_TEXT_COLUMNS = 2


def percent(share: float | None) -> str:
    """'97.5 %', or '-' for nothing to divide."""
    return "-" if share is None else f"{100 * share:.1f} %"


def percent_range(interval: Sequence[float] | None) -> str:
    """'94.2 .. 98.9', in percent."""
    return "-" if interval is None else f"{100 * interval[0]:.1f} .. {100 * interval[1]:.1f}"


def decimals(value: float | None, digits: int = 3) -> str:
    """The number with so many decimals, or '-'."""
    return "-" if value is None else f"{value:.{digits}f}"


def table_rows(summary: Mapping[str, Any]) -> list[Row]:
    """Rows of the headline table: every policy and scenario, then each suite of several scenarios pooled."""
    pooled = [
        {**row, "scenario": f"all {row['scenarios']}" + (f" of {row['suite']}" if row["suite"] else "")}
        for row in summary["suites"]
        if row["scenarios"] > 1
    ]
    return [*summary["results"], *pooled]


def _cells(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    rows = table_rows(summary)
    columns = [c for c in _COLUMNS if c[0] != "wrong goal" or any(r["wrong_goal_rate"] for r in rows)]
    return [name for name, _ in columns], [[show(row) for _, show in columns] for row in rows]


def console_table(summary: Mapping[str, Any]) -> str:
    """Aligned plain text: one line per policy and scenario, and a line for each scenario pair of both sides."""
    head, body = _cells(summary)
    lines = _aligned([head, *body])
    lines.insert(1, "-" * max(map(_width, lines)))
    for pair in summary["paired"]["sides"]:
        lines.append(
            f"{pair['policy']}: {pair['scenarios']} solved under both instructions in {pair['both']} of {pair['n']} "
            f"worlds, {percent(pair['both_sides_rate'])} [{percent_range(pair['both_sides_ci95'])}]"
        )
    for pair in summary["paired"]["policies"]:
        if pair["scenario"] is None or len(_scenarios(summary)) == 1:
            lines.append(
                f"{pair['a']} against {pair['b']} on {pair['n']} equal worlds: {100 * pair['difference']:+.1f} points "
                f"[{percent_range(pair['difference_ci95'])}], only {pair['a']} {pair['only_a']}, only {pair['b']} "
                f"{pair['only_b']}, p {pair['p_value']:.2g} over {pair['seeds']} seeds"
            )
    return "\n".join(lines)


def _scenarios(summary: Mapping[str, Any]) -> set[str]:
    return {row["scenario"] for row in summary["results"]}


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(_width(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [
            _pad(cell, width, left=i < _TEXT_COLUMNS) for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _pad(text: str, width: int, *, left: bool) -> str:
    gap = " " * (width - _width(text))
    return text + gap if left else gap + text


def _width(text: str) -> int:
    """Columns on a terminal; Hangul and other wide characters take two."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def markdown_table(summary: Mapping[str, Any]) -> str:
    """The headline table as GitHub Markdown."""
    head, body = _cells(summary)
    rule = [" :--- " if i < _TEXT_COLUMNS else " ---: " for i in range(len(head))]
    lines = ["| " + " | ".join(map(_escape, row)) + " |" for row in [head, *body]]
    return "\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]]) + "\n"


def _escape(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


# --- small ones ---------------------------------------------------------------------------------------------------


def _by(records: Iterable[EpisodeResult], key: Callable[[EpisodeResult], Any]) -> dict[Any, list[EpisodeResult]]:
    groups: dict[Any, list[EpisodeResult]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def _share(count: int, n: int) -> float | None:
    return count / n if n else None


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def _only(values: Iterable[str]) -> str | list[str] | None:
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else distinct or None


def _pair(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
