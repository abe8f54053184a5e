"""Every figure of a group of episodes, declared once: how it is computed, what it means, where it is shown.

A row of `summary.json` holds all of them; those with a `head` are columns of the tables on the terminal and in the
report; those with a `benchmark` name stand in `benchmark.json` and `.csv`; docs/metrics.md lists them all. To add a
metric, add a line to `FIGURES`, and a fact to `vla_sim.rollout.facts` if the results do not hold what it needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from vla_sim.core.types import Outcome
from vla_sim.evaluation import metrics
from vla_sim.evaluation.statistics import clopper_pearson, wilson
from vla_sim.rollout.result import EpisodeResult

Cell = Sequence[EpisodeResult]
OWN_FACTS = (
    "expert_path",
    "closest_distance_m",
    "reached_object",
    "reached_goal",
    "sentences",
    "obeyed_s",
    "legs",
    "legs_done",
)
Row = Mapping[str, Any]

# A robot that moved less than this has not set out.
STILL_M = 0.1
# Of nDTW and CLS; the same for every scenario and control rate, so that their figures can be compared.
FIDELITY_RADIUS_M, SPACING_M = 0.3, 0.1


# --- how figures are written --------------------------------------------------------------------------------------


def percent(share: float | None) -> str:
    """'97.5 %', or '-' for nothing to divide."""
    return "-" if share is None else f"{100 * share:.1f} %"


def percent_range(interval: Sequence[float] | None) -> str:
    """'94.2 .. 98.9', in percent."""
    return "-" if interval is None else f"{100 * interval[0]:.1f} .. {100 * interval[1]:.1f}"


def decimals(value: float | None, digits: int = 3) -> str:
    """The number with so many decimals, or '-'."""
    return "-" if value is None else f"{value:.{digits}f}"


def share(count: int, n: int) -> float | None:
    """The quotient, None for n = 0."""
    return count / n if n else None


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are known, None without any."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


# --- declarations -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """One figure of a group of episodes.

    Attributes:
        name: its key in `summary.json`.
        of: computes it; a plain JSON value, None where it is not defined.
        meaning: the definition in one sentence, with the formula.
        unit: "share" for 0 to 1, "m", "s", ...; "" for counts and texts.
        source: where the definition comes from; "" for our own.
        head: of its column in tables; "" where it stands in `summary.json` only.
        show: how a cell of that column is written, from the row.
        benchmark: its name in `benchmark.json`; "" where it is not in it.
        rare: the column is shown only where some row has a value that is not zero.
    """

    name: str
    of: Callable[[Cell], Any]
    meaning: str
    unit: str = ""
    source: str = ""
    head: str = ""
    show: Callable[[Row], str] = lambda row: ""
    benchmark: str = ""
    rare: bool = False


def row_of(cell: Cell) -> dict[str, Any]:
    """All figures of a group of episodes, by name."""
    return {figure.name: figure.of(cell) for figure in FIGURES}


def columns(rows: Sequence[Row]) -> list[Figure]:
    """The figures that a table of these rows shows."""
    return [f for f in FIGURES if f.head and (not f.rare or any(row[f.name] for row in rows))]


def further(rows: Sequence[Row]) -> list[Figure]:
    """The figures that are numbers and have no column of their own."""
    return [f for f in FIGURES if not f.head and any(_is_number(row[f.name]) for row in rows)]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# --- success ------------------------------------------------------------------------------------------------------


def _count(outcome: Outcome) -> Callable[[Cell], int]:
    return lambda cell: sum(r.outcome is outcome for r in cell)


def _rate(outcome: Outcome) -> Callable[[Cell], float | None]:
    return lambda cell: share(_count(outcome)(cell), len(cell))


_errors, _collisions = _count(Outcome.ERROR), _count(Outcome.COLLISION)


def _successes(cell: Cell) -> int:
    return sum(r.success for r in cell)


def _reached(cell: Cell) -> float | None:
    """None where some episode was recorded before it was known."""
    known = [r.extra.get("reached_goal") for r in cell]
    return None if None in known else share(sum(map(bool, known)), len(cell))


def _false_refusals(cell: Cell) -> int:
    """Standing still is a refusal whether the rule of success ends the episode early (stopped) or not (reached)."""
    given_up = (Outcome.STOPPED_SHORT, Outcome.TIMEOUT)
    return sum(r.outcome in given_up and r.path_length_m < STILL_M for r in cell)


def _outcomes(cell: Cell) -> dict[str, int]:
    counts = Counter(r.outcome for r in cell)
    return {outcome.value: counts[outcome] for outcome in Outcome}


def _of_all(row: Row) -> str:
    return f"{row['n']}" if row["complete"] else f"{row['n']} of {row['planned']}"


# --- efficiency ---------------------------------------------------------------------------------------------------


def _shortest(cell: Cell) -> np.ndarray:
    """Geodesic lengths; an episode that raised before its scene stood has none and scores 0, not left out."""
    never = [r.outcome is Outcome.ERROR and not r.expert_path_length_m for r in cell]
    return np.array([1.0 if n else r.expert_path_length_m for n, r in zip(never, cell, strict=True)], dtype=float)


def _left(cell: Cell) -> np.ndarray:
    return np.array([None if r.outcome is Outcome.ERROR else r.final_distance_m for r in cell], dtype=float)


def _taken(cell: Cell) -> list[float]:
    return [r.path_length_m for r in cell]


def _spl(cell: Cell) -> metrics.Mean:
    return metrics.spl([r.success for r in cell], _shortest(cell), _taken(cell))


def _soft_spl(cell: Cell) -> float | None:
    return metrics.soft_spl(_left(cell), _shortest(cell), _taken(cell)).value


def _progress(cell: Cell) -> float | None:
    progress = metrics.progress_final(_left(cell), _shortest(cell))
    return mean(progress[np.isfinite(progress)])


def _closest(result: EpisodeResult) -> float | None:
    value = result.extra.get("closest_distance_m")
    return float(value) if isinstance(value, (int, float)) else None


def _progress_best(cell: Cell) -> float | None:
    known = [r for r in cell if _closest(r) is not None]
    closest, shortest = ([_closest(r) for r in known], [r.expert_path_length_m for r in known])
    progress = metrics.progress_final(np.array(closest, dtype=float), np.array(shortest, dtype=float))
    return mean(progress[np.isfinite(progress)])


# --- likeness to the shortest path --------------------------------------------------------------------------------


def _fidelity(result: EpisodeResult) -> tuple[float, float] | None:
    """(nDTW, CLS) of an episode; zeros if it raised, None where its scene has no shortest path on record."""
    reference = result.extra.get("expert_path") or ()
    if result.outcome is Outcome.ERROR:
        return 0.0, 0.0
    if not reference or not result.path:
        return None
    return _scores(tuple((x, y) for x, y, _ in result.path), tuple((p[0], p[1]) for p in reference))


@lru_cache(maxsize=2**15)  # an episode is scored in the row of its scenario and in that of its suite
def _scores(path: tuple[tuple[float, float], ...], reference: tuple[tuple[float, float], ...]) -> tuple[float, float]:
    driven, wanted = (metrics.resample(line, SPACING_M) for line in (path, reference))
    return metrics.ndtw(driven, wanted, FIDELITY_RADIUS_M), metrics.cls(driven, wanted, FIDELITY_RADIUS_M)


def _ndtw(cell: Cell) -> float | None:
    return mean(scores[0] for r in cell if (scores := _fidelity(r)))


def _sdtw(cell: Cell) -> float | None:
    return mean(scores[0] * r.success for r in cell if (scores := _fidelity(r)))


def _cls(cell: Cell) -> float | None:
    return mean(scores[1] for r in cell if (scores := _fidelity(r)))


# --- contacts, language -------------------------------------------------------------------------------------------


def _clearances(cell: Cell) -> list[float]:
    return [r.min_clearance_m for r in cell if r.min_clearance_m is not None]


def _following(cell: Cell) -> metrics.Mean:
    return metrics.instruction_following_rate([r.asked_side for r in cell], [r.realised_side for r in cell])


# --- effort -------------------------------------------------------------------------------------------------------


def _commands(result: EpisodeResult) -> np.ndarray:
    """(T, 2) first two components of the commanded actions, zeros for what is missing."""
    array = np.nan_to_num(np.array(result.actions, dtype=float))
    return np.pad(array, ((0, 0), (0, max(0, 2 - array.shape[1]))))[:, :2]


def _switching(cell: Cell) -> float | None:
    headings = [metrics.direction_index(_commands(r)) for r in cell if len(r.actions) > 1]
    return mean(metrics.switching_rate(h) for h in headings)


def _flips(cell: Cell) -> float | None:
    drove = [r for r in cell if r.actions]
    return mean(metrics.sign_flips_per_metre(_commands(r)[:, 1], r.path_length_m) for r in drove)


def _jerk(cell: Cell) -> float | None:
    return mean(metrics.mean_jerk(np.array(r.path)[:, :2], r.step_s) for r in cell if r.path)


def _sparc(cell: Cell) -> float | None:
    return mean(metrics.sparc(_speeds(r), r.step_s) for r in cell if len(r.path) > 1)


def _speeds(result: EpisodeResult) -> np.ndarray:
    """(T,) mean speed of each control step, m/s."""
    return np.linalg.norm(np.diff(np.array(result.path)[:, :2], axis=0), axis=1) / result.step_s


def _latency(percentile: float) -> Callable[[Cell], float | None]:
    def of(cell: Cell) -> float | None:
        times = [r.inference_ms for r in cell if r.inference_ms is not None]
        return float(np.percentile(times, percentile)) if times else None

    return of


# --- what the policy says, and identity ---------------------------------------------------------------------------


def _diagnostics(cell: Cell) -> dict[str, dict[str, float | None]]:
    names = sorted({name for r in cell for name in r.diagnostics})
    return {
        name: {
            "successes": mean(_values(name, (r for r in cell if r.success))),
            "others": mean(_values(name, (r for r in cell if not r.success))),
        }
        for name in names
    }


def _values(name: str, results: Iterable[EpisodeResult]) -> list[float]:
    return [v for r in results for v in r.diagnostics.get(name, ()) if v is not None]


def _facts(cell: Cell) -> dict[str, dict[str, float | int | None]]:
    known: dict[str, list[float]] = {}
    for result in cell:
        for name, value in result.extra.items():
            if isinstance(value, (int, float)) and name not in OWN_FACTS:
                known.setdefault(name, []).append(float(value))
    return {name: {"mean": mean(values), "n": len(values)} for name, values in sorted(known.items())}


def _only(values: Iterable[str]) -> str | list[str] | None:
    distinct = sorted(set(values))
    return distinct[0] if len(distinct) == 1 else distinct or None


HABITAT = "habitat-lab, nav.py"
ANDERSON = "Anderson et al., arXiv 1807.06757"
DTW = "Magalhaes Ilharco et al., arXiv 1907.05446"
REFERENCE = f"to the planner's shortest path, both resampled every {SPACING_M} m; an episode that raised scores 0"

FIGURES: tuple[Figure, ...] = (
    Figure("n", len, "episodes of the row", head="n", show=_of_all, benchmark="episodes"),
    Figure(
        "successes",
        _successes,
        "episodes that did as told without touching anything, within the area and the time: stopped within reach of "
        'the right goal (where a scenario says success = "reached": came within reach) on the side that was asked '
        "for, or stood still where that is right",
        benchmark="successes",
    ),
    Figure(
        "success_rate",
        lambda c: share(_successes(c), len(c)),
        "successes / n; an episode that raised is none",
        "share",
        HABITAT + ", where an agent calls stop",
        head="success",
        show=lambda r: percent(r["success_rate"]),
        benchmark="success_rate",
    ),
    Figure(
        "success_ci95",
        lambda c: list(wilson(_successes(c), len(c)).pair),
        "95 % Wilson score interval of success_rate",
        "share",
        "Wilson 1927",
        head="95 % interval",
        show=lambda r: percent_range(r["success_ci95"]),
    ),
    Figure(
        "success_reach",
        _reached,
        "share of episodes that came within reach of the goal before any other object, stopped or not; never to be "
        "mixed with success_rate",
        "share",
        head="reached",
        show=lambda r: percent(r["success_reach"]),
        benchmark="success_reach",
    ),
    Figure(
        "spl",
        lambda c: _spl(c).value,
        "success weighted by path length: mean of S · l / max(p, l), l the shortest way to the goal's reach, p the way "
        "driven",
        "share",
        ANDERSON,
        head="SPL",
        show=lambda r: decimals(r["spl"]),
        benchmark="spl",
    ),
    Figure("soft_spl", _soft_spl, "mean of max(0, 1 - d / l) · l / max(p, l), d the way left", "share", HABITAT),
    Figure("spl_excluded", lambda c: _spl(c).excluded, "episodes left out of spl: no way to the goal"),
    Figure("progress_final", _progress, "mean of clip(1 - d / l, 0, 1), d the way left at the end", "share"),
    Figure("progress_best", _progress_best, "the same with the smallest d of the episode", "share"),
    Figure(
        "final_distance_m",
        lambda c: mean(r.final_distance_m for r in c),
        "mean way left at the end along the shortest path (navigation error)",
        "m",
        "VLN-CE, measures.py",
    ),
    Figure(
        "closest_distance_m",
        lambda c: mean(map(_closest, c)),
        "mean of the smallest way left in an episode (oracle navigation error); oracle success is not shown: an "
        "episode ends when the goal is reached, so it equals success",
        "m",
        "VLN-CE, measures.py",
    ),
    Figure(
        "ndtw",
        _ndtw,
        f"mean of exp(-DTW / (|R| · {FIDELITY_RADIUS_M} m)), exact DTW {REFERENCE}",
        "share",
        DTW,
    ),
    Figure("sdtw", _sdtw, "mean of success · nDTW", "share", DTW),
    Figure(
        "cls",
        _cls,
        f"mean coverage weighted by length score with radius {FIDELITY_RADIUS_M} m {REFERENCE}",
        "share",
        "Jain et al., arXiv 1905.12255",
    ),
    Figure(
        "collision_rate",
        _rate(Outcome.COLLISION),
        "share of episodes that ended with something touched",
        "share",
        head="collision",
        show=lambda r: percent(r["collision_rate"]),
        benchmark="collision_rate",
    ),
    Figure(
        "wrong_side_rate",
        _rate(Outcome.WRONG_SIDE),
        "share of episodes that passed an obstacle on the side that was not asked for",
        "share",
        head="wrong side",
        show=lambda r: percent(r["wrong_side_rate"]),
        benchmark="wrong_side_rate",
    ),
    Figure(
        "wrong_goal_rate",
        _rate(Outcome.WRONG_GOAL),
        "share of episodes that reached another object than the one named",
        "share",
        head="wrong goal",
        show=lambda r: percent(r["wrong_goal_rate"]),
        rare=True,
    ),
    Figure(
        "stopped_short_rate",
        _rate(Outcome.STOPPED_SHORT),
        "share of episodes in which the robot stood still for good before it had reached the goal",
        "share",
        head="stopped short",
        show=lambda r: percent(r["stopped_short_rate"]),
        rare=True,
    ),
    Figure(
        "false_refusal_rate",
        lambda c: share(_false_refusals(c), len(c)),
        "share of episodes in which the robot never set out (less than 0.1 m) though it should have",
        "share",
        head="false refusal",
        show=lambda r: percent(r["false_refusal_rate"]),
        rare=True,
    ),
    Figure(
        "legs_done",
        lambda c: mean(r.extra["legs_done"] / r.extra["legs"] if r.extra.get("legs") else None for r in c),
        "share of the legs that were done in their order, of tasks of several legs",
        "share",
        head="legs done",
        show=lambda r: percent(r["legs_done"]),
        rare=True,
    ),
    Figure(
        "obeyed_s",
        lambda c: mean(r.extra.get("obeyed_s") for r in c),
        "mean time from being told to stop until the robot stood still for good, of the episodes in which it did",
        "s",
        head="obeyed after",
        show=lambda r: "-" if r["obeyed_s"] is None else f"{r['obeyed_s']:.2f} s",
        rare=True,
    ),
    Figure(
        "out_of_bounds_rate",
        _rate(Outcome.OUT_OF_BOUNDS),
        "share of episodes in which the robot left the area",
        "share",
        head="out",
        show=lambda r: percent(r["out_of_bounds_rate"]),
    ),
    Figure(
        "timeout_rate",
        _rate(Outcome.TIMEOUT),
        "share of episodes that ran out of time",
        "share",
        head="timeout",
        show=lambda r: percent(r["timeout_rate"]),
        benchmark="timeout_rate",
    ),
    Figure(
        "collision_ci95",
        lambda c: list(clopper_pearson(_collisions(c), len(c)).pair),
        "95 % Clopper-Pearson interval of collision_rate",
        "share",
        "Clopper and Pearson 1934",
    ),
    Figure(
        "error_count",
        _errors,
        "episodes whose policy or simulator raised, hung or crashed",
        head="errors",
        show=lambda r: str(r["error_count"]),
        benchmark="error_count",
    ),
    Figure(
        "success_rate_without_errors",
        lambda c: share(_successes(c), len(c) - _errors(c)),
        "successes / (n - errors)",
        "share",
    ),
    Figure(
        "success_rate_if_errors_succeeded",
        lambda c: share(_successes(c) + _errors(c), len(c)),
        "(successes + errors) / n",
        "share",
    ),
    Figure("outcomes", _outcomes, "episodes by outcome; each episode has exactly one"),
    Figure(
        "contact_episode_rate",
        lambda c: metrics.collision_episode_rate([r.collision_events for r in c]),
        "share of episodes with at least one contact of the robot with anything but the floor; an episode ends with "
        "its first contact, so there is no time in contact",
        "share",
    ),
    Figure(
        "contacts_per_m",
        lambda c: metrics.collision_events_per_metre([r.collision_events for r in c], _taken(c)),
        "contacts of all episodes / metres of all episodes",
        "1/m",
    ),
    Figure(
        "min_clearance_m",
        lambda c: min(_clearances(c), default=None),
        "smallest gap between the robot's body and anything it must not touch, over all episodes",
        "m",
        head="clearance",
        show=lambda r: "-" if r["min_clearance_m"] is None else f"{r['min_clearance_m']:.2f} m",
    ),
    Figure(
        "min_clearance_p5_m",
        lambda c: metrics.clearance(_clearances(c))[1],
        "5th percentile over episodes of the smallest gap",
        "m",
    ),
    Figure(
        "clearance_p5_mean_m",
        lambda c: mean(r.clearance_p5_m for r in c),
        "mean over episodes of the 5th percentile of the gap along the path",
        "m",
    ),
    Figure(
        "instruction_following_rate",
        lambda c: _following(c).value,
        "share of episodes that passed on the side that was asked for, of those that ask for one",
        "share",
    ),
    Figure("instruction_following_n", lambda c: _following(c).n, "episodes that ask for a side"),
    Figure("path_length_m", lambda c: mean(_taken(c)), "mean way driven", "m"),
    Figure("expert_path_length_m", lambda c: mean(r.expert_path_length_m for r in c), "mean shortest way, l", "m"),
    Figure("sim_time_s", lambda c: mean(r.sim_time_s for r in c), "mean simulated time", "s"),
    Figure("steps", lambda c: mean(r.steps for r in c), "mean number of control steps"),
    Figure(
        "switching_rate",
        _switching,
        "mean share of steps whose heading (eight, or stop) differs from the one before",
        "share",
        "Kress-Gazit et al., arXiv 2409.09491",
    ),
    Figure(
        "sign_flips_per_m",
        _flips,
        "mean changes of sign of the second action component (sideways, or turning) per metre driven",
        "1/m",
    ),
    Figure("mean_jerk_m_s3", _jerk, "mean size of the third derivative of the position", "m/s³"),
    Figure(
        "sparc",
        _sparc,
        "mean spectral arc length of the speed; below 0, nearer to 0 is smoother",
        "",
        "Balasubramanian et al. 2015",
    ),
    Figure(
        "inference_ms_p50",
        _latency(50),
        "median over episodes of the median time of one decision; the only kind of figure that differs between equal "
        "runs",
        "ms",
        head="ms",
        show=lambda r: decimals(r["inference_ms_p50"], 1),
        benchmark="inference_p50_ms",
    ),
    Figure(
        "inference_ms_p95",
        _latency(95),
        "95th percentile over episodes of the same",
        "ms",
        benchmark="inference_p95_ms",
    ),
    Figure(
        "retried_count",
        lambda c: sum(r.earlier_error is not None for r in c),
        "episodes that ran after a first try raised",
    ),
    Figure(
        "diagnostics", _diagnostics, "what the policy says of its decisions: mean over steps of successes, of others"
    ),
    Figure("facts", _facts, "of each further fact of the results that is a number: mean, and over how many episodes"),
    Figure(
        "privileged", lambda c: any(r.privileged for r in c), "whether the policy read the simulator's privileged state"
    ),
    Figure("policy_hash", lambda c: _only(r.policy_hash for r in c), "identifies code, weights and settings"),
    Figure("scenario_hash", lambda c: _only(r.scenario_hash for r in c), "identifies the scenario's description"),
)

# Figures of rows that pool the scenarios of a suite, of both instructions in one scene, and of two policies.
SUITE_FIGURES = {
    "scenarios": "number of scenarios",
    "success_ci95_stratified": "95 % bootstrap interval over other seeds of these scenarios",
    "success_ci95_scenarios": "95 % bootstrap interval over other scenarios like these",
    "success_rate_scenario_mean": "mean of the scenarios' success rates",
    "worst_scenario": "the scenario with the lowest success rate",
    "worst_success_rate": "its success rate",
}
SIDE_FIGURES = {
    "n": "seeds driven under both instructions",
    "both": "seeds with success under both",
    "only_left": "seeds with success under left alone",
    "only_right": "seeds with success under right alone",
    "neither": "seeds without success",
    "both_sides_rate": "both / n",
    "both_sides_ci95": "95 % Wilson interval of both_sides_rate",
    "ignore_rate": "share of seeds passed on the same side under both instructions",
    "ignore_n": "seeds in which something was passed both times",
    "failed_seeds": "seeds without success under both",
}
PAIR_FIGURES = {
    "n": "scenes that both policies met",
    "only_a": "scenes that only a solved",
    "only_b": "scenes that only b solved",
    "difference": "success rate of a minus that of b",
    "difference_ci95": "95 % interval of the difference (Bonett and Price 2012), widened by the design effect",
    "p_value": "exact two-sided sign-flip test over seeds",
    "mcnemar_p": "exact two-sided McNemar test over scenes, as if all were independent",
    "seeds": "seeds, which are the independent units",
    "design_effect": "variance of the difference over seeds / variance over scenes",
}
