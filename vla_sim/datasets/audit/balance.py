"""What a data set holds much and little of: sides, scenarios, standstill, lengths, values of actions."""

from __future__ import annotations

from collections import Counter

import numpy as np

from vla_sim.datasets.audit.findings import Finding, Severity, some
from vla_sim.datasets.audit.table import ActionTable

# Share of the rarer side below which a policy learns the other, or leans to it.
SIDE_CRITICAL, SIDE_WARNING = 0.1, 1 / 3
# The commonest scenario against the rarest.
SCENARIO_RATIO = 3.0
# Standstill: share of all steps that is much, share of episodes whose first (last) step stands.
STOP_WARNING, FIRST_WARNING = 0.2, 0.5
# Share of episodes that end with a stop below which stopping is learned badly; outcomes of those that did their task.
STOPPED_WARNING = 0.5
ENDED_WELL = ("success", "refused", "")
# Episodes in which robot and label go to different sides.
MISMATCH_WARNING, MISMATCH_CRITICAL = 0.02, 0.2
# Sideways sum, in steps at full speed, that counts as swinging out.
SWING = 0.5
# Share of failed episodes that matters.
FAILED_WARNING = 0.1
# Fewer episodes than this are few, for one scenario.
FEW_PER_SCENARIO = 10


def sides(table: ActionTable) -> Finding:
    """Left against right."""
    counts = {side: table.sides.count(side) for side in ("left", "right")}
    known, unknown = sum(counts.values()), table.sides.count("")
    figures = {**counts, "unknown": unknown}
    if not known:
        return Finding(
            "side_balance",
            Severity.NOTE,
            "no label and no instruction names a side",
            text="Sides are taken from labels, else from the words left and right (왼쪽, 오른쪽) of the instruction.",
            figures=figures,
        )
    rare, common = sorted(counts, key=lambda side: counts[side])
    share = counts[rare] / known
    severity = (
        Severity.CRITICAL if share < SIDE_CRITICAL else Severity.WARNING if share < SIDE_WARNING else Severity.GOOD
    )
    title = f"{counts['left']} left and {counts['right']} right demonstrations"
    if not counts[rare]:
        title = f"all {known} demonstrations go {common}, none {rare}"
    return Finding(
        "side_balance",
        severity,
        title,
        text=""
        if severity is Severity.GOOD
        else f"A policy that always goes {common} is right {1 - share:.0%} of the time.",
        advice=""
        if severity is Severity.GOOD
        else f"Record or synthesise {counts[common] - counts[rare]} more {rare}.",
        weight=1 - share,
        figures=figures,
    )


def side_mismatch(table: ActionTable) -> Finding | None:
    """Episodes whose largest excursion is away from the side that is asked for."""
    first = _way_around(table)
    judged = [i for i, side in enumerate(table.sides) if side and first[i]]
    if not judged:
        return None
    wrong = [i for i in judged if (first[i] > 0) != (table.sides[i] == "left")]
    share = len(wrong) / len(judged)
    severity = Severity.GOOD
    if share >= MISMATCH_WARNING:
        severity = Severity.CRITICAL if share >= MISMATCH_CRITICAL else Severity.WARNING
    return Finding(
        "side_mismatch",
        severity,
        f"{len(wrong)} of {len(judged)} demonstrations swing out to the other side than their label says"
        if wrong
        else f"all {len(judged)} demonstrations swing out to the side that their label says",
        text="Positive lateral speed is left. Labels may be wrong, or the sign of the column, or its meaning.",
        advice="Watch these episodes; check sign and order of the action columns.",
        weight=share,
        figures={"wrong": len(wrong), "judged": len(judged)},
        episodes=some(table.names(np.array(wrong, dtype=int))),
    )


def _way_around(table: ActionTable) -> np.ndarray:
    """Where each episode swings out the furthest: sign of the extreme of the summed sideways speed, else of the turn.

    The sum over the steps forgives noise and a correction at the start, which the sign of one action does not. What is
    sideways is told at the heading of the start: a robot that turns moves sideways by driving ahead.
    """
    names = table.recorded[0].action_names if len(table) else ()
    part = {name: table.actions[:, :, names.index(name)] for name in names}
    paths = []
    if "wz" in names:
        step_s = np.array([recorded.step_s for recorded in table.recorded])
        heading_rad = (part["wz"].cumsum(axis=1) - part["wz"] / 2) * step_s[:, None]
        zero = np.zeros_like(part["wz"])
        sideways = part.get("vx", zero) * np.sin(heading_rad) + part.get("vy", zero) * np.cos(heading_rad)
        paths = [sideways.cumsum(axis=1), part["wz"].cumsum(axis=1)]
    elif "vy" in names:
        paths = [part["vy"].cumsum(axis=1)]
    sign = np.zeros(len(table))
    for path in paths:
        furthest = np.take_along_axis(path, np.abs(path).argmax(axis=1)[:, None], axis=1)[:, 0]
        sign = np.where((sign == 0) & (np.abs(furthest) >= SWING * table.scale), np.sign(furthest), sign)
    return sign


def scenarios(table: ActionTable) -> Finding | None:
    """Counts of scenarios (and distances) that labels name."""
    counts = Counter(r.labels["scenario"] for r in table.recorded if r.labels.get("scenario"))
    distances = Counter(r.labels["distance"] for r in table.recorded if r.labels.get("distance"))
    if not counts:
        return None
    (common, most), (rare, least) = counts.most_common()[0], counts.most_common()[-1]
    uneven, few = most > SCENARIO_RATIO * least, least < FEW_PER_SCENARIO
    severity = Severity.WARNING if uneven else Severity.NOTE if few else Severity.GOOD
    title = f"{len(counts)} scenarios of {least} to {most} episodes"
    if least == most:
        title = f"{len(counts)} scenarios of {most} episode{'s' if most != 1 else ''} each"
    if len(counts) == 1:
        title = f"one scenario: {common} ({most} episodes)"
    elif uneven:
        title = f"scenarios are uneven: {most} episodes of {common}, {least} of {rare}"
    empty = ""
    if distances and len(distances) > 1:
        cells = Counter((r.labels.get("scenario"), r.labels.get("distance")) for r in table.recorded)
        missing = [f"{s} {d}" for s in counts for d in distances if not cells[s, d]]
        empty = f"No episode of: {', '.join(missing[:10])}." if missing else ""
    return Finding(
        "scenario_balance",
        severity,
        title,
        text=empty,
        advice="Fill up the rare ones (python -m vla_sim.expand), or weight them in training." if uneven else "",
        weight=1 - least / most,
        figures={"scenarios": dict(counts.most_common()), "distances": dict(distances.most_common())},
    )


def outcomes(table: ActionTable) -> Finding | None:
    """Drives that did not end well."""
    counts = Counter(r.labels["outcome"] for r in table.recorded if r.labels.get("outcome"))
    if not counts:
        return None
    judged, failed = sum(counts.values()), sum(counts.values()) - counts["success"]
    share = failed / judged
    names = [r.name for r in table.recorded if r.labels.get("outcome", "success") != "success"]
    said = ", ".join(f"{n} {what.replace('_', ' ')}" for what, n in counts.most_common() if what != "success")
    return Finding(
        "outcomes",
        Severity.WARNING if share >= FAILED_WARNING else Severity.NOTE if failed else Severity.GOOD,
        f"{failed} of {judged} episodes failed ({said})" if failed else f"all {judged} judged episodes succeeded",
        text="Imitating what was done in them teaches failing; what an expert would have done there is worth much.",
        advice="Train on the expert's labels where there are some, else leave these episodes out.",
        weight=share,
        figures=dict(counts.most_common()),
        episodes=some(names),
    )


def standstill(table: ActionTable) -> list[Finding]:
    """Stop share, zeros in the first frame, stops at the end."""
    still, episodes = table.still, np.arange(len(table))
    share = float(still.sum() / table.mask.sum())
    first = still[:, 0]
    last = still[episodes, table.lengths - 1]
    inner = still & (np.arange(still.shape[1]) > 0) & (np.arange(still.shape[1]) < table.lengths[:, None] - 1)
    figures = {
        "stop_share": share,
        "first": int(first.sum()),
        "last": int(last.sum()),
        "between": int(inner.sum()),
        "episodes": len(table),
    }
    found = [
        Finding(
            "stop_share",
            Severity.WARNING if share >= STOP_WARNING else Severity.GOOD,
            f"{share:.1%} of all steps stand still",
            text="Much standstill teaches standing still: a policy that stops once sees the same image again.",
            advice="Cut standstill at both ends, keep one or two stops at the goal.",
            weight=share,
            figures=figures,
        )
    ]
    begins = float(first.mean())
    if begins >= FIRST_WARNING and table.lengths.max() > 1:
        found.append(
            Finding(
                "first_frame_zeros",
                Severity.WARNING,
                f"the first action of {int(first.sum())} of {len(table)} demonstrations is zero",
                text="It records that nobody had pressed a key, not what to do. A policy that starts as it was shown "
                "does not start."
                + (" All stops of the set are such first frames." if not inner.any() and not last.any() else ""),
                advice="Leave the first frame out of training, or give it the action that follows.",
                weight=begins,
                figures={"episodes": int(first.sum()), "share": begins},
                episodes=some(table.names(np.flatnonzero(first))),
            )
        )
    return [*found, *_final_stops(table, last)]


def _final_stops(table: ActionTable, last: np.ndarray) -> list[Finding]:
    """Whether demonstrations show that one stops at the goal.

    That is the task, also of recordings that do not say so. Only episodes of scenarios in which coming near is enough
    (success = "reached") and failed ones need not stop.
    """
    asked = np.array([r.labels.get("success") != "reached" for r in table.recorded])
    done = np.array([r.labels.get("outcome", "success") in ENDED_WELL for r in table.recorded])
    wanted = asked & done
    share = float(last[wanted].mean()) if wanted.any() else 0.0
    if share >= STOPPED_WARNING or (last.any() and not wanted.any()):
        return []
    severity = Severity.WARNING if share else Severity.CRITICAL if wanted.any() else Severity.NOTE
    missing = np.flatnonzero((wanted if wanted.any() else np.ones(len(table), dtype=bool)) & ~last)
    title = f"{len(missing)} of {int(wanted.sum())} demonstrations do not end with a stop"
    return [
        Finding(
            "no_final_stop",
            severity,
            title if share else "no demonstration ends with a stop",
            text="A policy does what it was shown: it drives on into the goal. Success is to reach it and stop there."
            if severity is not Severity.NOTE
            else "Nothing shows that one stops at the goal: success can only be reaching it, not stopping there.",
            advice="Record one or two stops at the goal before an episode ends, or drive the episodes again in "
            "simulation (vla_sim.augment, vla_sim.expand), where the expert stops.",
            weight=1 - share,
            figures={"last": int(last.sum()), "share": share},
            episodes=some(table.names(missing)),
        )
    ]


def lattice(table: ActionTable) -> Finding:
    """Whether actions take a few values only."""
    values, names = table.values, table.recorded[0].action_names
    said = "; ".join(
        f"{name} takes {', '.join(f'{v:.3g}' for v in own)}" for name, own in zip(names, values, strict=True)
    )
    dead = [name for name, own in zip(names, values, strict=True) if len(own) == 1 and own[0] == 0]
    figures = {name: [round(float(v), 4) for v in own[:50]] for name, own in zip(names, values, strict=True)}
    if not table.on_lattice:
        return Finding(
            "action_lattice",
            Severity.GOOD,
            f"actions vary continuously ({max(len(v) for v in values)} values of one component)",
            text=f"{', '.join(dead)} is always zero." if dead else "",
            figures=figures,
        )
    return Finding(
        "action_lattice",
        Severity.NOTE,
        f"actions take only {np.prod([len(v) for v in values])} combinations of a few values: {said}",
        text="Keys, not speeds: a regression averages between them, a classifier over the few actions does not."
        + (f" {', '.join(dead)} is always zero and teaches nothing." if dead else ""),
        weight=0.6,
        figures=figures,
    )


def lengths(table: ActionTable) -> Finding:
    """How long episodes are."""
    low, middle, high = (int(v) for v in np.percentile(table.lengths, [0, 50, 100]))
    short = np.flatnonzero(table.lengths < max(3, middle // 4))
    title = f"episodes have {low} to {high} steps, half of them at most {middle}"
    if low == high:
        title = f"all episodes have {low} steps"
    return Finding(
        "lengths",
        Severity.WARNING if len(short) else Severity.GOOD,
        f"{len(short)} demonstrations are much shorter than the others" if len(short) else title,
        text=f"Median {middle} steps, shortest {low}." if len(short) else "",
        advice="Look whether they were broken off." if len(short) else "",
        weight=len(short) / len(table),
        figures={"shortest": low, "median": middle, "longest": high},
        episodes=some(table.names(short)),
    )
