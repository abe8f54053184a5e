"""Writes a benchmark: `benchmark.json`, `.csv`, `.md` and `.png`, all from the values of the JSON document."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole
from vla_sim.evaluation.benchmark.plot import write_plot
from vla_sim.evaluation.figures import decimals, percent, percent_range

Document = Mapping[str, Any]
Line = Mapping[str, Any]
NAME = "benchmark"


def write_benchmark(document: Document, out: Path) -> list[Path]:
    """Write all four files into a folder; each appears whole or not at all.

    Args:
        document: from `benchmark_document`.
        out: an existing folder.

    Raises:
        UserError: the folder cannot be written.
    """
    texts = {
        ".json": json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        ".csv": csv_text(document["rows"]),
        ".md": markdown(document),
    }
    try:
        for ending, text in texts.items():
            write_whole(out / (NAME + ending), text.encode())
        write_plot(document, out / f"{NAME}.png")
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror or error}") from error
    return [out / (NAME + ending) for ending in (*texts, ".png")]


def csv_text(rows: Sequence[Line]) -> str:
    """The rows as comma-separated values with a header; an empty cell is a figure that does not exist."""
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


# --- tables -------------------------------------------------------------------------------------------------------

Columns = tuple[tuple[str, Callable[[Line], str]], ...]


def shown_name(row: Line) -> str:
    """The model with what must be known about it wherever it is named."""
    kind = {"baseline": " (offline baseline)", "floor": " (floor)"}.get(row["kind"], "")
    return row["model"] + (" (privileged)" if row["privileged"] else "") + kind


def _whole(value: int | None) -> str:
    return "-" if value is None else str(value)


def _success(row: Line) -> str:
    if row["success_rate"] is None:
        return "-"
    return f"{percent(row['success_rate'])} [{percent_range((row['success_rate_low'], row['success_rate_high']))}]"


def _mae(row: Line) -> str:
    low, high = row["mae_mps_low"], row["mae_mps_high"]
    return decimals(row["mae_mps"], 4) + ("" if low is None else f" [{low:.4f} .. {high:.4f}]")


def _millions(count: int | None) -> str:
    return "-" if not count else f"{count / 1e6:.2f} M"


def _megabytes(size: int | None) -> str:
    return "-" if size is None else "< 0.01 MB" if size < 1e4 else f"{size / 1e6:.2f} MB"


MAIN: Columns = (
    ("rank", lambda r: _whole(r["rank"])),
    ("rank by MAE", lambda r: _whole(r["mae_rank"])),
    ("model", shown_name),
    ("MAE (m/s)", lambda r: decimals(r["mae_mps"], 4)),
    ("success [95 %]", _success),
    ("SPL", lambda r: decimals(r["spl"])),
    ("collision", lambda r: percent(r["collision_rate"])),
    ("wrong side", lambda r: percent(r["wrong_side_rate"])),
    ("ms p50", lambda r: decimals(r["inference_p50_ms"], 2)),
    ("ms p95", lambda r: decimals(r["inference_p95_ms"], 2)),
    ("parameters", lambda r: _millions(r["parameters"])),
    ("size", lambda r: _megabytes(r["size_bytes"])),
)
OFFLINE: Columns = (
    ("rank by MAE", lambda r: _whole(r["mae_rank"])),
    ("model", shown_name),
    ("MAE (m/s) [95 %]", _mae),
    ("RMSE (m/s)", lambda r: decimals(r["rmse_mps"], 4)),
    ("vx (m/s)", lambda r: decimals(r["mae_vx_mps"], 4)),
    ("vy (m/s)", lambda r: decimals(r["mae_vy_mps"], 4)),
    ("wz (rad/s)", lambda r: decimals(r["mae_wz_radps"], 4)),
    ("MAE without frame 0", lambda r: decimals(r["mae_mps_without_first"], 4)),
    ("heading", lambda r: percent(r["heading_accuracy"])),
    ("9 classes", lambda r: percent(r["direction_accuracy"])),
    ("heading without frame 0", lambda r: percent(r["heading_accuracy_without_first"])),
    ("9 classes without frame 0", lambda r: percent(r["direction_accuracy_without_first"])),
)


def table(rows: Sequence[Line], columns: Columns) -> list[list[str]]:
    """Head and body as texts; a column without any value is left out."""
    body = [[show(row) for _, show in columns] for row in rows]
    kept = [i for i in range(len(columns)) if any(cells[i] != "-" for cells in body)]
    return [[columns[i][0] for i in kept], *([cells[i] for i in kept] for cells in body)]


def console(rows: Sequence[Line]) -> str:
    """The main table in aligned columns, for a terminal."""
    cells = table(rows, MAIN)
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    left = cells[0].index("model")
    lines = [
        "  ".join(c.ljust(w) if i == left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])


def markdown(document: Document) -> str:
    """The benchmark as GitHub Markdown: the users' table with closed-loop success first, and how to read it."""
    rows = document["rows"]
    with_features: Columns = (*MAIN, ("features", lambda r: r["description"]))
    by_error = sorted(rows, key=lambda r: (r["mae_mps"] is None, r["mae_mps"]))
    return "\n".join(
        [
            "# Benchmark of policies, ranked by closed-loop success",
            "",
            escaped(_setting(document)),
            "",
            *_markdown_table(table(rows, with_features)),
            "",
            *[f"- {escaped(line)}" for line in notes(document)],
            "",
            "## Offline errors, smallest first",
            "",
            *_markdown_table(table(by_error, OFFLINE)),
            "",
            *[f"- {name}: {escaped(words)}." for name, words in document["definitions"].items()],
            "",
            f"![offline error against closed-loop success]({NAME}.png)",
            "",
        ]
    )


def _setting(document: Document) -> str:
    plan, offline = document["provenance"]["plan"], document["offline"]
    last = plan["seed"] + plan["episodes"] - 1
    return (
        f"{len(plan['scenarios'])} scenarios ({', '.join(plan['scenarios'])}) x {plan['episodes']} episodes, seeds "
        f"{plan['seed']}..{last}, {plan['instruction_set']} phrasings, robot {plan['embodiment']}. Offline: the same "
        f"worlds, {offline['drives']} episodes of the expert ({offline['expert_successes']} reached the goal), "
        f"{offline['steps']} steps."
    )


def notes(document: Document) -> list[str]:
    """What a reader of the table must know."""
    unranked = [row["model"] for row in document["rows"] if row["privileged"]]
    lines = [agreement_line(name, found) for name, found in document["agreement"].items()]
    lines += _against_baselines(document["rows"])
    lines.append("Success, collision and wrong side are shares of driven episodes; intervals are Wilson's.")
    lines.append("ms: one decision on one core, in batches of up to 12; p50 and p95 over the medians of the episodes.")
    lines.append(
        "The expert keeps another clearance in each episode, which nobody can see: no policy gets an error of 0."
    )
    floors = [row["model"] for row in document["rows"] if row["kind"] == "floor"]
    if floors:
        lines.append(f"{', '.join(floors)}: do not look (floor); what a policy must beat, shown without a rank.")
    if unranked:
        lines.append(f"{', '.join(unranked)}: reads privileged state (privileged), shown without a rank.")
    lines += [
        f"{row['model']} has no offline figures: {row['offline_failure']}"
        for row in document["rows"]
        if row["offline_failure"]
    ]
    lines += [f"{name} is left out: {reason}" for name, reason in document["left_out"].items()]
    return lines + _size_lines(document["sizes"])


def agreement_line(name: str, found: Line) -> str:
    """The rank correlation in one sentence."""
    if found["spearman"] is None:
        return f"Offline rank against closed-loop rank, {name} policies: {found['words']}."
    interval = found["interval"]
    limits = f" [{interval[0]:+.2f} .. {interval[1]:+.2f}]" if interval else ""
    return (
        f"Offline rank against closed-loop rank, {name} policies: Spearman {found['spearman']:+.2f}{limits}, "
        f"{found['words']}; mean maximum rank violation {100 * found['mmrv']:.1f} points of success."
    )


def _against_baselines(rows: Sequence[Line]) -> list[str]:
    """Which policies a baseline beats that has learned nothing, over all steps and without the first ones."""
    ranked = [row for row in rows if row["mae_rank"] is not None]
    lines = []
    for baseline in (row for row in rows if row["kind"] == "baseline"):
        for key, where in (("mae_mps", ""), ("mae_mps_without_first", " without frame 0")):
            known = [row for row in ranked if None not in (row[key], baseline[key])]
            worse = [row["model"] for row in known if row[key] > baseline[key]]
            named = f": {', '.join(worse)}" if worse else ""
            lines.append(f"{baseline['model']} has a smaller MAE{where} than {len(worse)} of {len(known)}{named}.")
    return lines


def _size_lines(sizes: Mapping[str, Any]) -> list[str]:
    lines = []
    for part, users in sizes["shared"].items():
        folder = sizes["folders"][part]
        size = f"{_millions(folder['parameters'])} parameters, {_megabytes(folder['size_bytes'])}"
        lines.append(f"{part} ({size}) serves {', '.join(users)}: counted once in the row of each.")
    total = f"All policies together, each folder once: {_millions(sizes['parameters'])} parameters"
    return [*lines, f"{total}, {_megabytes(sizes['size_bytes'])} of config, weights and tokenizer."]


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line: no HTML, link, image, emphasis or control code in it."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return re.sub(r"([\\`*\[\]!~|])", r"\\\1", html.escape(line, quote=False))


def _markdown_table(cells: Sequence[Sequence[str]]) -> list[str]:
    texts = ("model", "features")
    rule = "|".join(" :--- " if name in texts else " ---: " for name in cells[0])
    lines = ["| " + " | ".join(map(escaped, line)) + " |" for line in cells]
    return [lines[0], f"|{rule}|", *lines[1:]]
