"""Demonstrations that repeat each other: exactly, nearly, or by the clock."""

from __future__ import annotations

import numpy as np

from vla_sim.datasets.audit.findings import Finding, Severity, some
from vla_sim.datasets.audit.table import ActionTable

# Share of a side's episodes in one identical sequence from which on the side is memorised, or may be.
DUPLICATES_CRITICAL, DUPLICATES_WARNING = 0.5, 0.1
# The fewest different sequences that are worth training on (the seed project's own gate).
FEWEST_DISTINCT = 10
# Nearly the same: after a shift of at most so many steps, so much of the overlap is within this share of top speed.
NEAR_SHIFT, NEAR_STEPS, NEAR_ACTION = 2, 0.9, 0.05
# Share of the different sequences that are nearly equal to another; scenes may differ where sequences do not.
NEAR_NOTE, NEAR_WARNING = 0.25, 0.75
# Sequences compared with each other at most; a larger set is sampled evenly.
MOST_COMPARED = 1500
# How well the frame number alone tells the action (leave one episode out).
CLOCK_CRITICAL, CLOCK_WARNING = 0.95, 0.8
# Episodes below which nothing is said about repetition.
FEWEST_EPISODES = 5
# Training share of the random split whose leakage is worked out.
SPLIT = 0.8


def duplicates(table: ActionTable) -> tuple[Finding, list[np.ndarray]]:
    """Identical action sequences, and the groups of episode numbers that share one, the largest first."""
    numbers = table.sequences()
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    groups = [np.flatnonzero(inverse == i) for i in np.argsort(-counts, kind="stable")]
    per_side = {side: _largest(numbers[index]) for side, index in table.groups().items()}
    judged = {side: top for side, top in per_side.items() if top[1] >= FEWEST_EPISODES} or per_side
    worst = max((same / total for same, total in judged.values() if same > 1), default=0.0)
    # A random split puts a copy of most repeated episodes on the training side.
    leaked = float(np.mean([1 - (1 - SPLIT) ** (len(g) - 1) for g in groups for _ in g])) if groups else 0.0
    distinct = len(groups)
    few = distinct < min(FEWEST_DISTINCT, len(table) // 2)
    enough = len(table) >= FEWEST_EPISODES
    severity = Severity.GOOD
    if enough and (worst >= DUPLICATES_CRITICAL or few):
        severity = Severity.CRITICAL
    elif enough and worst >= DUPLICATES_WARNING:
        severity = Severity.WARNING
    elif distinct < len(table):
        severity = Severity.NOTE
    other = "other" if len(judged) > 1 else ""
    repeated = " and ".join(
        f"{same} of {total} {(side or other) + ' ' if side or other else ''}demonstrations"
        for side, (same, total) in sorted(judged.items(), key=lambda item: -item[1][0] / item[1][1])
        if same / total >= DUPLICATES_WARNING and same > 1
    )
    if severity in (Severity.CRITICAL, Severity.WARNING) and repeated:
        each = "each " if " and " in repeated else ""
        title = f"{repeated} {each}repeat one identical action sequence"
    elif distinct < len(table):
        title = f"{len(table)} demonstrations hold {distinct} different action sequences"
    else:
        title = f"all {len(table)} action sequences differ"
    finding = Finding(
        "duplicate_sequences",
        severity,
        title,
        text=f"{distinct} different sequences in {len(table)} episodes. A random 80/20 split would put a copy of "
        f"{leaked:.0%} of the evaluation episodes into training, so a low validation error would say nothing."
        if distinct < len(table)
        else "",
        advice="Record again with obstacle, goal and start moved each time; keep one copy of each sequence."
        if severity is not Severity.NOTE
        else "",
        weight=1 + worst,
        figures={
            "episodes": len(table),
            "distinct": distinct,
            "largest_share": worst,
            "per_side": {
                side or "unknown": {"identical": same, "episodes": total} for side, (same, total) in per_side.items()
            },
            "leaked_by_random_split": leaked,
            "group_sizes": [len(g) for g in groups[:20]],
        },
        episodes=some(table.names(groups[0])) if groups and len(groups[0]) > 1 else (),
    )
    return finding, groups


def _largest(numbers: np.ndarray) -> tuple[int, int]:
    """The size of the largest group of equal numbers, and of all."""
    return int(np.bincount(numbers).max(initial=0)), len(numbers)


def near_duplicates(table: ActionTable, groups: list[np.ndarray]) -> Finding | None:
    """Different sequences that are nearly the same, perhaps some steps early or late."""
    firsts = np.array([int(g[0]) for g in groups])
    if len(firsts) < FEWEST_EPISODES:
        return None
    chosen = firsts[np.linspace(0, len(firsts) - 1, min(len(firsts), MOST_COMPARED)).astype(int)]
    families = _families(table.rows(chosen))
    effective = len(set(families.tolist()))
    share = 1 - effective / len(chosen)
    severity = Severity.GOOD if share < NEAR_NOTE else Severity.NOTE if share < NEAR_WARNING else Severity.WARNING
    if effective < FEWEST_DISTINCT <= len(table):
        severity = Severity.WARNING
    largest = np.bincount(families).max()
    return Finding(
        "near_duplicates",
        severity,
        f"of {len(chosen)} different sequences {effective} are left when nearly equal ones count once",
        text=f"Two are nearly equal when, shifted by at most {NEAR_SHIFT} steps, {NEAR_STEPS:.0%} of their steps agree "
        f"within {NEAR_ACTION:.0%} of top speed. The largest family has {largest}.",
        advice="Vary where things stand rather than how the same episode is keyed."
        if severity is Severity.WARNING
        else "",
        weight=share,
        figures={"compared": len(chosen), "families": effective, "largest_family": int(largest)},
    )


def _families(table: ActionTable) -> np.ndarray:
    """For each episode the number of the first one that it is nearly equal to (leaders, so nothing chains)."""
    leaders: list[int] = []
    family = np.empty(len(table), dtype=int)
    for i in range(len(table)):
        if leaders:
            near = nearly_equal(table, i, np.array(leaders))
            if near.any():
                family[i] = int(near.argmax())
                continue
        family[i] = len(leaders)
        leaders.append(i)
    return family


def nearly_equal(table: ActionTable, i: int, others: np.ndarray) -> np.ndarray:
    """Which of the others are nearly equal to episode i."""
    own, theirs = table.actions[i], table.actions[others]
    length, lengths = table.lengths[i], table.lengths[others]
    limit, width = NEAR_ACTION * table.scale, table.actions.shape[1]
    result = np.zeros(len(others), dtype=bool)
    for shift in range(-NEAR_SHIFT, NEAR_SHIFT + 1):
        here = slice(max(0, shift), min(width, width + shift))
        there = slice(max(0, -shift), min(width, width - shift))
        steps = np.arange(width)
        valid = (steps[here] < length) & (steps[there][None] < lengths[:, None])
        agree = (np.abs(own[here] - theirs[:, there]) <= limit).all(axis=2) & valid
        longest = np.maximum(length, lengths)
        # Steps that hang over count as disagreeing, but for those that the shift itself costs.
        result |= agree.sum(axis=1) >= NEAR_STEPS * (longest - abs(shift))
    return result


def clock(table: ActionTable) -> tuple[Finding | None, dict[str, list[float]]]:
    """How much of the action the frame number tells, without any image; and that share per frame and side."""
    if len(table) < FEWEST_EPISODES:
        return None, {}
    symbols = table.symbols()
    hits = np.zeros(symbols.shape)
    curves = {}
    for side, index in table.groups().items():
        if len(index) < 2:
            continue
        hits[index] = _told_by_others(symbols[index])
        alive = (symbols[index] >= 0).sum(axis=0)
        told = hits[index].sum(axis=0)
        curves[side] = [float(t / a) for t, a in zip(told, alive, strict=True) if a >= max(2, 0.1 * len(index))]
    steps = symbols >= 0
    by_side = float(hits[steps].mean())
    alone = float(_told_by_others(symbols)[steps].mean())
    counts = np.unique(symbols[steps], return_counts=True)[1]
    always = float(counts.max() / counts.sum())
    sided = any(table.groups()) and any(table.sides)
    # A set in which one action is nearly always right tells little by its clock.
    severity = Severity.GOOD
    if by_side >= CLOCK_CRITICAL and by_side - always > 0.05:
        severity = Severity.CRITICAL
    elif by_side >= CLOCK_WARNING and by_side - always > 0.05:
        severity = Severity.WARNING
    what = "the frame number and the side" if sided else "the frame number"
    finding = Finding(
        "clock_determinism",
        severity,
        f"{what} alone predict{'' if sided else 's'} {by_side:.0%} of the actions",
        text=f"Each episode was predicted by the most common action of the others at the same frame. The frame number "
        f"without the side tells {alone:.0%}, always the same action {always:.0%}. "
        "A policy with memory can count frames instead of looking, has a low validation error and still drives past "
        "the goal.",
        advice="Move obstacle and start so that the same frame needs different actions.",
        weight=by_side,
        figures={"frame_and_side": by_side, "frame": alone, "most_common_action": always},
    )
    return finding, curves


def _told_by_others(symbols: np.ndarray) -> np.ndarray:
    """Which actions are the most common one of the other episodes at the same frame: float (E, T), ties shared."""
    hits = np.zeros(symbols.shape)
    for t in range(symbols.shape[1]):
        here = np.flatnonzero(symbols[:, t] >= 0)
        if len(here) < 2:
            continue
        kinds, inverse, counts = np.unique(symbols[here, t], return_inverse=True, return_counts=True)
        # Leaving oneself out lowers one's own kind by one.
        others = np.tile(counts, (len(kinds), 1)) - np.eye(len(kinds), dtype=int)
        best = others.max(axis=1)
        score = np.where(others.diagonal() == best, 1 / (others == best[:, None]).sum(axis=1), 0.0)
        hits[here, t] = score[inverse]
    return hits
