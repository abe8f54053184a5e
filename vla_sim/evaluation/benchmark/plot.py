"""The benchmark as one image: offline error against closed-loop success. matplotlib loads when one is drawn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.core.font import FILE, font_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = Mapping[str, Any]
Box = tuple[float, float, float, float]

COLORS = {"learned": "#1f5fa8", "custom": "#7a3fa0", "scripted": "#666666", "floor": "#9a9a9a", "baseline": "#b04a2f"}
MARKS, PRIVILEGED = {"floor": " (floor)"}, " (privileged)"
DPI, FONT_PT = 130, 10
MAX_NAME = 80
# Of a number beside a point: width of a digit and height in points; generous, so that no font makes them touch.
LETTER_PT, LINE_PT = 7.0, 12.0
# Where it may stand beside its point, in points; tried in turn.
PLACES = [(side, -13.0 * k * sign) for k in range(12) for sign in (1, -1) for side in (9.0, -22.0, 24.0, -40.0)]
# The close-up shows those that succeed at least so often, with an error of at most so many times their median.
NEAR_SUCCESS, NEAR_MEDIANS = 0.5, 2.0


def write_plot(document: Mapping[str, Any], path: Path) -> None:
    """Scatter of offline error (m/s) and closed-loop success (%), with 95 % intervals, as PNG.

    All policies on the left; on the right a close-up of the good ones, where there are several. Points bear numbers,
    which the key explains.

    Args:
        document: from `benchmark_document`.
        path: the file.
    """
    from matplotlib.figure import Figure

    rows = document["rows"]
    points = [row for row in rows if row["success_rate"] is not None and row["mae_mps"] is not None]
    baselines = [row for row in rows if row["kind"] == "baseline"]
    numbers = {row["model"]: number for number, row in enumerate(points, 1)}
    near = _near(points)
    figure = Figure(figsize=(13 if near else 9, max(6, 0.26 * len(points))), dpi=DPI)
    figure.suptitle(_title(document), fontsize=FONT_PT)
    widths = [1.0, 1.0, 0.55] if near else [1.0, 0.45]
    panels = figure.subplots(1, len(widths), gridspec_kw={"width_ratios": widths})
    figure.subplots_adjust(left=0.06 if near else 0.09, right=0.99, bottom=0.1, top=0.87, wspace=0.16)
    reach = max([row["mae_mps_high"] or row["mae_mps"] for row in (*points, *baselines)], default=1.0) or 1.0
    far = [row for row in points if row not in near] if near else points
    _draw(panels[0], points, baselines)
    panels[0].set(xlim=(-0.08 * reach, 1.1 * reach), ylim=(-5, 105), ylabel="closed loop: success (%); up is better")
    if near:
        _draw(panels[1], near, baselines)
        panels[1].set(**_window(near), title="close-up")
    for panel in panels[:-1]:
        panel.set_xlabel("offline: mean absolute error against the expert (m/s); left is better", fontsize=FONT_PT - 1)
    _draw_key(panels[-1], points, baselines, numbers)
    # Numbers are placed when the axes have their limits.
    _draw_numbers(panels[0], far, numbers)
    if near:
        _draw_numbers(panels[1], near, numbers)
    figure.savefig(path, format="png")


def _near(points: Sequence[Line]) -> list[Line]:
    """Those of the close-up; none where there are too few to need one."""
    good = [row for row in points if row["success_rate"] >= NEAR_SUCCESS and not row["privileged"]]
    if len(good) < 4:
        return []
    limit = NEAR_MEDIANS * statistics.median(row["mae_mps"] for row in good)
    return [row for row in good if row["mae_mps"] <= limit]


def _window(near: Sequence[Line]) -> dict[str, tuple[float, float]]:
    """Limits of the close-up: all of these with their bars, and some room."""
    lows = [row["mae_mps"] if row["mae_mps_low"] is None else row["mae_mps_low"] for row in near]
    highs = [row["mae_mps"] if row["mae_mps_high"] is None else row["mae_mps_high"] for row in near]
    wide = (max(highs) - min(lows)) or 0.01
    bottom = 100 * min(row["success_rate_low"] for row in near)
    high = 100 - bottom or 1.0
    return {
        "xlim": (min(lows) - 0.08 * wide, max(highs) + 0.12 * wide),
        "ylim": (bottom - 0.04 * high, 100 + 0.04 * high),
    }


def _draw(axes: Axes, points: Sequence[Line], baselines: Sequence[Line]) -> None:
    axes.grid(alpha=0.3)
    for row in points:
        _draw_point(axes, row)
    for row in baselines:
        axes.axvline(row["mae_mps"], color=COLORS[row["kind"]], linestyle="--", linewidth=1)


def _draw_key(axes: Axes, points: Sequence[Line], baselines: Sequence[Line], numbers: Mapping[str, int]) -> None:
    """What the numbers mean, and the lines."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(fname=str(FILE), size=FONT_PT)
    axes.set_axis_off()
    lines = [
        (
            f"{numbers[row['model']]:>2}  {row['model']}{MARKS.get(row['kind'], '')}{PRIVILEGED * row['privileged']}",
            row["kind"],
        )
        for row in points
    ]
    lines += [(f"- -  {row['model']}: {row['mae_mps']:.3f} m/s", "baseline") for row in baselines]
    for number, (text, kind) in enumerate(lines):
        height = 1 - (number + 0.5) / max(len(lines), 20)
        shown = font_for(text[:MAX_NAME], FONT_PT)[1]
        place: dict[str, Any] = {"va": "center", "transform": axes.transAxes, "parse_math": False}
        axes.text(0.0, height, shown, color=COLORS[kind], fontproperties=font, **place)


def _title(document: Mapping[str, Any]) -> str:
    found = document["agreement"]["all"]
    value = "not defined" if found["spearman"] is None else f"{found['spearman']:+.2f}"
    episodes = max((row["episodes"] or 0) for row in document["rows"])
    return (
        f"{episodes} driven episodes per policy, bars are 95 % intervals, hollow: reads privileged state\n"
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


def _draw_numbers(axes: Axes, rows: Sequence[Line], numbers: Mapping[str, int]) -> None:
    """Each point's number beside it, at the first place where it covers no other number and no point."""
    spots = [_spot(axes, row["mae_mps"], row) for row in rows]
    taken = [_bar_box(axes, row) for row in rows]
    for row, (x, y) in zip(rows, spots, strict=True):
        number = str(numbers[row["model"]])
        width = LETTER_PT * len(number)
        boxes = [(x + dx, y + dy - LINE_PT / 2, x + dx + width, y + dy + LINE_PT / 2) for dx, dy in PLACES]
        choice = next((i for i, box in enumerate(boxes) if not any(_overlap(box, other) for other in taken)), 0)
        taken.append(boxes[choice])
        color = COLORS[row["kind"]]
        axes.annotate(
            number,
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
