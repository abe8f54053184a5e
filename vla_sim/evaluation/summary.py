"""From results of episodes to the content of `summary.json` (format version 2).

What its figures mean is declared in `vla_sim.evaluation.figures` and listed in docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from vla_sim.core.types import USERS, Side
from vla_sim.evaluation import metrics
from vla_sim.evaluation.figures import mean, row_of, share
from vla_sim.evaluation.statistics import (
    Estimate,
    cluster_bootstrap,
    design_effect,
    mcnemar_exact,
    paired_difference,
    sign_flip_exact,
    stratified_bootstrap,
    wilson,
)
from vla_sim.rollout.result import EpisodeResult, in_order
from vla_sim.scenarios.library import family_of, suites_of

FORMAT = 2
BOOTSTRAP_SEED = 0
BOOTSTRAP_RESAMPLES = 2000

Row = dict[str, Any]


def summarise(
    records: Sequence[EpisodeResult],
    provenance: Mapping[str, Any],
    *,
    planned: Mapping[tuple[str, str], int] | None = None,
    floors: Sequence[EpisodeResult] = (),
) -> dict[str, Any]:
    """The content of `summary.json`: plain values that `json.dumps(..., allow_nan=False)` accepts.

    Args:
        records: episodes in any order; the result does not depend on it beyond the order of its rows.
        provenance: what ran where, passed through.
        planned: episodes that were asked for by (policy, scenario); pairs with fewer records are marked
            incomplete, and pairs without any get an empty row. Without it every pair counts as complete.
        floors: episodes of the floors (`vla_sim.evaluation.floors`) in the same worlds; they have rows of their own and
            are compared with nobody.
    """
    return {
        "format": FORMAT,
        "provenance": dict(provenance),
        "instruction": users_instruction(records),
        **_rows(records, planned),
        "paired": {"sides": _side_pairs(in_order(records)), "policies": _policy_pairs(in_order(records))},
        "floors": _rows(floors, None),
    }


def users_instruction(records: Sequence[EpisodeResult]) -> str | None:
    """What every episode was told in place of its scenario's sentence; None where those were told."""
    return next((r.instruction for r in records if r.phrasing == USERS), None)


# --- rows ---------------------------------------------------------------------------------------------------------


def _rows(records: Sequence[EpisodeResult], planned: Mapping[tuple[str, str], int] | None) -> dict[str, list[Row]]:
    """Rows of each policy and scenario, and of each policy and suite."""
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
    return {"results": results, "suites": _suites(records, order, planned)}


def _row(names: Row, cell: Sequence[EpisodeResult], planned: int | None) -> Row:
    """All figures of one group of episodes."""
    n = len(cell)
    complete = planned is None or n >= planned
    return {**names, "planned": n if planned is None else planned, "complete": complete, **row_of(cell)}


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
        row["success_rate_scenario_mean"] = mean(rates)
        row["worst_scenario"] = min(zip(rates, groups, strict=True))[1]
        row["worst_success_rate"] = min(rates)
        rows.append(row)
    return rows


def _bootstrap(method: Callable[..., Estimate], groups: list[list[float]]) -> list[float] | None:
    estimate = method(groups, np.random.default_rng(BOOTSTRAP_SEED), resamples=BOOTSTRAP_RESAMPLES)
    return None if estimate.interval is None else list(estimate.interval.pair)


# --- pairs --------------------------------------------------------------------------------------------------------


def _side_pairs(records: Sequence[EpisodeResult]) -> list[Row]:
    """Scenes that one policy met under both instructions: scenarios of one family on equal seeds."""
    families: dict[tuple[str, str, str], dict[Side, dict[int, EpisodeResult]]] = {}
    for r in records:
        if r.asked_side is not None:
            # Results of earlier versions do not know their family.
            family = str(r.extra.get("family") or family_of(r.scenario))
            sides = families.setdefault((r.policy, family, str(r.extra.get("family_hash", ""))), {})
            sides.setdefault(r.asked_side, {})[r.seed] = r
    rows = []
    for (policy, name, _), sides in families.items():
        left, right = sides.get(Side.LEFT, {}), sides.get(Side.RIGHT, {})
        seeds = sorted(set(left) & set(right))
        if seeds:
            rows.append(_side_pair(policy, name, [(left[s], right[s]) for s in seeds]))
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
        "both_sides_rate": share(both, n),
        "both_sides_ci95": list(wilson(both, n).pair),
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
        "difference_ci95": list(paired_difference(only_a, only_b, len(pairs), effect=effect).pair),
        "p_value": sign_flip_exact([round(sum(group)) for group in differences]),
        "mcnemar_p": mcnemar_exact(only_a, only_b),
        "seeds": len(groups),
        "design_effect": effect,
    }


# --- small ones ---------------------------------------------------------------------------------------------------


def _by(records: Iterable[EpisodeResult], key: Callable[[EpisodeResult], Any]) -> dict[Any, list[EpisodeResult]]:
    groups: dict[Any, list[EpisodeResult]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups
