"""The summary as aligned plain text, for a terminal. Which columns there are is declared in `figures.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vla_sim.evaluation.figures import columns, percent, percent_range
from vla_sim.evaluation.floors import FLOORS
from vla_sim.evaluation.statistics import FEWEST_SEEDS

Row = Mapping[str, Any]


def table_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the headline table: every policy and scenario, then each suite of several scenarios pooled."""
    return [*summary["results"], *_pooled(summary)]


def floor_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same of the floors; none in summaries of earlier versions."""
    return table_rows(summary["floors"]) if "floors" in summary else []


def _pooled(rows: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**row, "scenario": f"all {row['scenarios']}" + (f" of {row['suite']}" if row["suite"] else "")}
        for row in rows["suites"]
        if row["scenarios"] > 1
    ]


def shown_policy(row: Row) -> str:
    """The policy with a mark if it reads the simulator's privileged state, or does not look at all."""
    floor = " (floor)" if row["policy"] in FLOORS else ""
    return row["policy"] + (" (privileged)" if row["privileged"] else "") + floor


def p_value(pair: Row) -> str:
    """The p value, or why there is none: with few seeds even the clearest result could be chance."""
    if pair["seeds"] < FEWEST_SEEDS:
        return f"no test below {FEWEST_SEEDS} seeds"
    return "p < 0.0001" if pair["p_value"] < 0.0001 else f"p {pair['p_value']:.2g}"


def _cells(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    floors = floor_rows(summary)
    pooled = any("suite" in row for row in floors)
    rows = [*table_rows(summary), *(row for row in floors if "suite" in row or row["success_reach"] or not pooled)]
    shown = columns(rows)
    names = [[shown_policy(row), row["scenario"]] for row in rows]
    body = [[*start, *(figure.show(row) for figure in shown)] for start, row in zip(names, rows, strict=True)]
    return ["policy", "scenario", *(figure.head for figure in shown)], body


def console_table(summary: Mapping[str, Any]) -> str:
    """Aligned plain text: one line per policy and scenario, and a line for each scenario pair of both sides.

    Floors come last; where several scenarios are pooled, without those in which a floor reached nothing.
    """
    head, body = _cells(summary)
    lines = _aligned([head, *body])
    lines.insert(1, "-" * max(map(_width, lines)))
    if summary.get("instruction") is not None:
        lines.append(f"told in every episode, in place of the scenario's sentence: {summary['instruction']!r}")
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
                f"{pair['only_b']}, {p_value(pair)}, {pair['seeds']} seeds"
            )
    return "\n".join(lines)


def _scenarios(summary: Mapping[str, Any]) -> set[str]:
    return {row["scenario"] for row in summary["results"]}


_TEXT_COLUMNS = 2


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
