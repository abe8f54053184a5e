"""What was fitted, as a table, as JSON, and as a plot of the ranges: the scenario's own and those that are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path

from vla_sim.core.files import write_whole
from vla_sim.evaluation.fitting.ranges import WIDE, Fit

SHORT = {
    "goal_ahead_m": "goal ahead",
    "goal_aside_m": "goal aside",
    "obstacle_ahead_m": "obstacle ahead",
    "obstacle_aside_m": "obstacle aside",
    "obstacle_width_m": "obstacle width",
}
ROW_PX, NAME_PX, PLOT_PX, GAP_PX = 26, 260, 130, 24


def table(fits: Sequence[Fit]) -> str:
    """A Markdown table, metres; ranges that do not meet the scenario's own are bold."""
    head = ["drive", "scenario", "m/s", "ends at", "succeeds as it is", "misses by", *SHORT.values(), "succeeds then"]
    lines = [head, ["---"] * len(head)]
    for one in fits:
        cells = [one.drive, one.scenario, f"{one.speed_mps:.2f}", "{:.2f}, {:.2f}".format(*one.end_m)]
        cells += [f"{100 * one.share_as_is:.0f} %", f"{one.residual_as_is_m:.2f}"]
        cells += [_range(one, name) for name in SHORT]
        cells.append(f"{100 * one.share:.0f} %" if one.ranges else "never")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _range(one: Fit, name: str) -> str:
    if name not in one.ranges:
        return "any" if one.ranges else "-"
    low, high = one.ranges[name]
    text = f"{low:.2f} to {high:.2f}"
    return f"**{text}**" if name in one.outside else text


def write_fits(fits: Sequence[Fit], out: Path) -> None:
    """Write fit.md, fit.json and fit.svg.

    Raises:
        UserError: the disk refuses.
    """
    write_whole(out / "fit.md", f"{table(fits)}\n".encode())
    content = [{**asdict(one), "outside": one.outside} for one in fits]
    write_whole(out / "fit.json", (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    write_whole(out / "fit.svg", plot(fits).encode())


def plot(fits: Sequence[Fit]) -> str:
    """An SVG: a row for each fit, a column for each range; gray is the scenario's own, blue what is needed."""
    width = NAME_PX + len(SHORT) * (PLOT_PX + GAP_PX)
    height = ROW_PX * (len(fits) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="white"/>'
    ]
    for column, (name, label) in enumerate(SHORT.items()):
        parts.append(_axis(NAME_PX + column * (PLOT_PX + GAP_PX), f"{label}, m", WIDE[name], height))
    for row, one in enumerate(fits):
        y = ROW_PX * (row + 1)
        parts.append(f'<text x="6" y="{y + 16}">{escape(f"{one.drive} ({one.speed_mps:g} m/s)")}</text>')
        for column, name in enumerate(SHORT):
            x = NAME_PX + column * (PLOT_PX + GAP_PX)
            parts += _bar(x, y + 5, one.as_is.get(name), WIDE[name], "#b8bec6")
            parts += _bar(x, y + 13, one.ranges.get(name), WIDE[name], "#1f6feb")
    return "\n".join([*parts, "</svg>\n"])


def _axis(x: float, label: str, span: tuple[float, float], height: int) -> str:
    middle, low = x + PLOT_PX / 2, height - ROW_PX + 14
    return (
        f'<text x="{middle}" y="16" text-anchor="middle" font-weight="bold">{label}</text>'
        f'<path d="M{x} {ROW_PX}V{height - ROW_PX}M{x + PLOT_PX} {ROW_PX}V{height - ROW_PX}" stroke="#ddd"/>'
        f'<text x="{x}" y="{low}" text-anchor="middle">{span[0]:g}</text>'
        f'<text x="{x + PLOT_PX}" y="{low}" text-anchor="middle">{span[1]:g}</text>'
    )


def _bar(x: float, y: float, values: tuple[float, float] | None, span: tuple[float, float], color: str) -> list[str]:
    if values is None:
        return []
    left, right = (min(1.0, max(0.0, (v - span[0]) / (span[1] - span[0]))) * PLOT_PX for v in values)
    return [f'<rect x="{x + left:.1f}" y="{y}" width="{max(2.0, right - left):.1f}" height="6" fill="{color}"/>']
