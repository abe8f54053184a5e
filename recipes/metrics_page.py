"""Writes docs/metrics.md from the declarations of the figures: `python -m recipes.metrics_page`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vla_sim.evaluation.benchmark.files import MAIN, OFFLINE
from vla_sim.evaluation.benchmark.scores import DEFINITIONS
from vla_sim.evaluation.figures import FIGURES, PAIR_FIGURES, SIDE_FIGURES, SUITE_FIGURES

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"

HEAD = """# Metrics

Every figure that `summary.json`, a report, a table or a benchmark holds. This page is written by
`python -m recipes.metrics_page` from `vla_sim/evaluation/figures.py`, where each figure is declared; the functions
behind them are in `metrics.py` and `statistics.py` beside it, and are tested against published values.

Shares are from 0 to 1 in files and in percent in tables. A figure that is not defined (nothing to divide by, or an
older run without the fact) is `null` in files and `-` in tables. An episode that raised counts as not successful
everywhere.

S is success, 0 or 1; l the length of the shortest way of the robot's centre from the start to the goal's reach, around
everything and past each obstacle on the side that was asked for; p the length of the way driven; d what is left of the
shortest way.
"""


def page() -> str:
    """The text of the page."""
    rows = [(f"`{f.name}`", f.head or "", f.unit, f.meaning, f.source) for f in FIGURES]
    parts = [
        HEAD,
        "## One policy in one scenario, and in a suite",
        _table(("key", "column", "unit", "meaning", "source"), rows),
        "## Only in rows that pool the scenarios of a suite",
        _meanings(SUITE_FIGURES),
        "## The same scene under both instructions (`paired.sides`)",
        _meanings(SIDE_FIGURES),
        "## Two policies in the same scenes (`paired.policies`)",
        _meanings(PAIR_FIGURES),
        "## Benchmark",
        "Closed-loop columns are the figures above, pooled over all scenarios. Offline columns compare\n"
        "a policy's actions with the expert's in the states that the expert visits:",
        _meanings({**DEFINITIONS, **COLUMNS}),
        f"Columns: {', '.join(head for head, _ in (*MAIN, *OFFLINE))}.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


COLUMNS = {
    "rank": "1 for the highest closed-loop success; equal success, equal rank; none for policies that read the truth",
    "rank by MAE": "1 for the smallest `mae_mps`",
    "vx, vy, wz": "mean absolute error of that component, in m/s or rad/s",
    "ms p50, ms p95": "`inference_ms_p50` and `inference_ms_p95`",
    "parameters": "learned numbers of the policy and of all folders that it needs, each once",
    "size": "bytes of config, weights and tokenizer of these folders",
    "Spearman": "rank correlation of -MAE and success over policies, with a bootstrap interval",
    "MMRV": "mean over policies of the largest difference in success to one that MAE ranks the other way (SimplerEnv)",
}


def _meanings(entries: Mapping[str, str]) -> str:
    return _table(("name", "meaning"), [(f"`{name}`", text) for name, text in entries.items()])


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
