"""The benchmark as one picture: offline error against closed-loop success. matplotlib loads when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = Mapping[str, Any]
Box = tuple[float, float, float, float]

COLORS = {"learned": "#1f5fa8", "custom": "#7a3fa0", "scripted": "#666666", "baseline": "#b04a2f"}
DPI, FONT_PT = 130, 10
# Of a label: a letter's width and a line's height in points; generous, so that no font makes labels touch.
LETTER_PT, LINE_PT = 6.4, 13.0
# Where a label may stand beside its point, in points; tried in turn.
PLACES = [(side, -15.0 * k * sign) for k in range(12) for sign in (1, -1) for side in (12.0, 26.0)]


def write_plot(document: Mapping[str, Any], path: Path) -> None:
    """Scatter of offline error (m/s) and closed-loop success (%), with 95 % intervals and names, as PNG.

    Args:
        document: from `benchmark_document`.
        path: the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=DPI)
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.1, top=0.89)
    axes = figure.add_subplot()
    rows = document["rows"]
    points = [row for row in rows if row["success_rate"] is not None and row["mae_mps"] is not None]
    baselines = [row for row in rows if row["kind"] == "baseline"]
    reach = max([row["mae_mps_high"] or row["mae_mps"] for row in (*points, *baselines)], default=1.0) or 1.0
    axes.set(
        xlabel="offline: mean absolute error against the expert (m/s); left is better",
        ylabel="closed loop: success (%); up is better",
        xlim=(-0.03 * reach, 1.2 * reach),
        ylim=(-7, 107),
    )
    axes.set_title(_title(document), fontsize=FONT_PT)
    axes.grid(alpha=0.3)
    for row in points:
        _draw_point(axes, row)
    _draw_baselines(axes, baselines)
    _draw_names(axes, points)
    figure.savefig(path, format="png")


def _title(document: Mapping[str, Any]) -> str:
    found = document["agreement"]["all"]
    value = "not defined" if found["spearman"] is None else f"{found['spearman']:+.2f}"
    episodes = max((row["episodes"] or 0) for row in document["rows"])
    return (
        f"{episodes} driven episodes per policy, bars are 95 % intervals, hollow: reads ground truth\n"
        f"Spearman of the two ranks {value} ({found['words']})"
    )


def _draw_point(axes: Axes, row: Line) -> None:
    x, y, color = row["mae_mps"], 100 * row["success_rate"], COLORS[row["kind"]]
    axes.errorbar(
        x,
        y,
        xerr=None if row["mae_mps_low"] is None else _lengths(x, row["mae_mps_low"], row["mae_mps_high"]),
        yerr=_lengths(y, 100 * row["success_rate_low"], 100 * row["success_rate_high"]),
        fmt="o",
        color=color,
        markerfacecolor="white" if row["privileged"] else color,
        capsize=3,
        linewidth=1.2,
    )


def _lengths(value: float, low: float, high: float) -> list[list[float]]:
    """Error bars below and above a value; rounding may have put it outside its own interval."""
    return [[max(0.0, value - low)], [max(0.0, high - value)]]


def _draw_baselines(axes: Axes, rows: Sequence[Line]) -> None:
    for row in rows:
        color = COLORS[row["kind"]]
        axes.axvline(row["mae_mps"], color=color, linestyle="--", linewidth=1)
        axes.annotate(
            row["model"],
            (row["mae_mps"], 0.5),
            (2, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            va="center",
            color=color,
            fontsize=FONT_PT,
        )


def _draw_names(axes: Axes, rows: Sequence[Line]) -> None:
    """Each point's name beside it, at the first place where it covers no other name and no point."""
    spots = [_spot(axes, row["mae_mps"], row) for row in rows]
    taken = [_bar_box(axes, row) for row in rows]
    for row, (x, y) in zip(rows, spots, strict=True):
        name = row["model"] + (" (privileged)" if row["privileged"] else "")
        width = LETTER_PT * len(name)
        boxes = [(x + dx, y + dy - LINE_PT / 2, x + dx + width, y + dy + LINE_PT / 2) for dx, dy in PLACES]
        choice = next((i for i, box in enumerate(boxes) if not any(_overlap(box, other) for other in taken)), 0)
        taken.append(boxes[choice])
        color = COLORS[row["kind"]]
        axes.annotate(
            name,
            (row["mae_mps"], 100 * row["success_rate"]),
            PLACES[choice],
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=FONT_PT,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5},
        )


def _spot(axes: Axes, mae_mps: float, row: Line) -> tuple[float, float]:
    """Where an error at the height of a row lies on the page, in points."""
    x, y = axes.transData.transform((mae_mps, 100 * row["success_rate"])) * 72 / DPI
    return float(x), float(y)


def _bar_box(axes: Axes, row: Line) -> Box:
    """What a point and its horizontal bar cover, in points."""
    left, y = _spot(axes, row["mae_mps"] if row["mae_mps_low"] is None else row["mae_mps_low"], row)
    right, _ = _spot(axes, row["mae_mps"] if row["mae_mps_high"] is None else row["mae_mps_high"], row)
    return left - 5, y - 5, right + 5, y + 5


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
