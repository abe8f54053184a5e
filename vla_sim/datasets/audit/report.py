"""The audit as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.pages import Axes, page
from vla_sim.datasets.audit.examine import Audit
from vla_sim.datasets.audit.findings import Severity
from vla_sim.datasets.audit.images import Look
from vla_sim.datasets.audit.table import STILL, ActionTable

TEMPLATE = Path(__file__).with_name("report.html.j2")
# Rows of the table of sequences, steps of each, and images shown.
MOST_SEQUENCES, MOST_STEPS, MAX_IMAGES = 24, 60, 12
IMAGE_PX = (224, 126)
# Headings counter-clockwise from straight ahead, in eighths of a turn.
HEADINGS = ("F", "FL", "L", "BL", "B", "BR", "R", "FR")
ARROWS = {"F": "↑", "FL": "↖", "L": "←", "BL": "↙", "B": "↓", "BR": "↘", "R": "→", "FR": "↗"}
STOP, TURN_LEFT, TURN_RIGHT, OTHER = "S", "TL", "TR", "O"
SIGNS = {**ARROWS, STOP: "·", TURN_LEFT: "↺", TURN_RIGHT: "↻", OTHER: "•"}


def render(audit: Audit) -> str:
    """The page as text."""
    bad = [f for f in audit.findings if f.severity is not Severity.GOOD]
    return page(
        TEMPLATE,
        audit=audit,
        bad=bad,
        good=[f for f in audit.findings if f.severity is Severity.GOOD],
        counts=Counter(f.severity.value for f in bad),
        cards=_cards(audit),
        sequences=_sequences(audit),
        sequences_left_out=max(0, len(audit.groups) - MOST_SEQUENCES),
        clock=_clock_plot(audit),
        balance=_balance(audit.table) if audit.table else [],
        scatter=_scatter(audit.table) if audit.table else None,
        images=_images(audit),
        swapped=any(f.code == "channel_order" and f.severity is not Severity.GOOD for f in audit.findings),
        signs=SIGNS,
    )


def _figures(audit: Audit, code: str) -> dict[str, Any]:
    return dict(next((f.figures for f in audit.findings if f.code == code), {}))


def _cards(audit: Audit) -> list[tuple[str, str, str]]:
    """(name, figure, explanation) of what matters most."""
    if audit.table is None:
        return []
    same, clock = _figures(audit, "duplicate_sequences"), _figures(audit, "clock_determinism")
    told, sides = _figures(audit, "instruction_information"), _figures(audit, "side_balance")
    cards = [("episodes", f"{len(audit.table)}", f"{int(audit.table.lengths.sum())} steps")]
    if audit.evaluation:
        cards.append(("for evaluation", f"{audit.evaluation}", "episodes, judged by what training knows of them"))
    cards.append(("different sequences", f"{same['distinct']}", f"of {same['episodes']} episodes"))
    if sides:
        cards.append(("left : right", f"{sides['left']} : {sides['right']}", f"{sides['unknown']} unknown"))
    if clock:
        cards.append(("told by the clock", f"{clock['frame_and_side']:.0%}", "of actions, without an image"))
    if "bits" in told:
        cards.append(
            (
                "told by the words",
                f"{told['bits']:.2f} bits",
                f"of {told['instruction_entropy_bits']:.2f}, p = {told['p_value']:.2g}",
            )
        )
    return cards


def _sequences(audit: Audit) -> list[dict[str, Any]]:
    """The commonest action sequences, one cell a step."""
    if audit.table is None:
        return []
    table, rows = audit.table, []
    for group in audit.groups[:MOST_SEQUENCES]:
        first = int(group[0])
        length = int(table.lengths[first])
        steps = heading_words(table, first)[: min(length, MOST_STEPS)]
        rows.append(
            {
                "count": len(group),
                "share": len(group) / len(table),
                "sides": dict(Counter(table.sides[int(i)] or "unknown" for i in group)),
                "steps": steps,
                "more": max(0, length - MOST_STEPS),
                "example": table.recorded[first].name,
            }
        )
    return rows


def heading_words(table: ActionTable, episode: int) -> list[str]:
    """One of SIGNS for each step of an episode."""
    names = table.recorded[episode].action_names
    actions = table.actions[episode][: table.lengths[episode]]
    if "vx" not in names:
        still = (np.abs(actions) < STILL * table.scale).all(axis=1)
        return [STOP if s else OTHER for s in still]
    forward = actions[:, names.index("vx")]
    left = actions[:, names.index("vy")] if "vy" in names else np.zeros(len(actions))
    turn = actions[:, names.index("wz")] if "wz" in names else np.zeros(len(actions))
    words = []
    for x, y, w in zip(forward, left, turn, strict=True):
        if np.hypot(x, y) >= STILL * table.scale:
            words.append(HEADINGS[round(np.arctan2(y, x) / (np.pi / 4)) % 8])
        elif abs(w) >= STILL * table.scale:
            words.append(TURN_LEFT if w > 0 else TURN_RIGHT)
        else:
            words.append(STOP)
    return words


PLOT_PX = (520, 170)


def _clock_plot(audit: Audit) -> dict[str, Any] | None:
    """Curves of what the frame number tells."""
    curves = {name: curve for name, curve in audit.clock_by_name.items() if len(curve) > 1}
    if not curves:
        return None
    longest = max(map(len, curves.values()))
    axes = Axes(
        *PLOT_PX,
        across=(0, max(longest - 1, 1)),
        up=(0.0, 1.0),
        across_ticks=[(str(t), t) for t in range(0, longest, max(1, longest // 8))],
        up_ticks=[(f"{share:.0%}", share) for share in (0.0, 0.5, 0.8, 1.0)],
        margin=44,
    )
    lines = [{"side": side, "points": axes.line(list(enumerate(curve)))} for side, curve in curves.items()]
    return {"axes": axes, "lines": lines, "legend": [(side, side) for side in curves]}


def _balance(table: ActionTable) -> list[dict[str, Any]]:
    """Bars of scenarios (or sides), split by side."""
    cells: dict[str, Counter[str]] = {}
    for recorded, side in zip(table.recorded, table.sides, strict=True):
        name = str(recorded.labels.get("scenario") or "no scenario named")
        cells.setdefault(name, Counter())[side or "unknown"] += 1
    most = max(sum(c.values()) for c in cells.values())
    rows = sorted(cells.items(), key=lambda item: -sum(item[1].values()))
    return [
        {
            "name": name,
            "note": sum(counts.values()),
            "parts": [
                {"kind": side, "count": counts[side], "width": 100 * counts[side] / most, "title": side}
                for side in ("left", "right", "unknown")
                if counts[side]
            ],
        }
        for name, counts in rows[:30]
    ]


SCATTER_PX = 220


def _scatter(table: ActionTable) -> dict[str, Any] | None:
    """Where actions lie in the plane of the first two components, binned."""
    names = table.recorded[0].action_names
    if len(names) < 2:
        return None
    across = names.index("vy") if "vy" in names else 1
    ahead = names.index("vx") if "vx" in names else 0
    steps = table.actions[table.mask]
    limit = max(float(np.abs(steps[:, [ahead, across]]).max()), 1e-9) * 1.1
    bins = 41
    cells = np.floor((steps[:, [across, ahead]] / limit + 1) / 2 * bins).astype(int).clip(0, bins - 1)
    kinds, counts = np.unique(cells, axis=0, return_counts=True)
    # Left is left: positive sideways speed to the left, forward up.
    axes = Axes(SCATTER_PX, SCATTER_PX, (bins, 0), (0, bins), [("", bins / 2)], [("", bins / 2)])
    return {
        "axes": axes,
        "limit": limit,
        "ahead": names[ahead],
        "across": names[across],
        "dots": [
            {
                "at": axes.px(c[0] + 0.5, c[1] + 0.5),
                "r": round(1.5 + 9 * float(np.sqrt(n / counts.max())), 1),
                "n": int(n),
            }
            for c, n in zip(kinds, counts, strict=True)
        ],
    }


def _images(audit: Audit) -> list[dict[str, Any]]:
    """First images, those of episodes that findings name first."""
    named = {name for f in audit.findings if f.code in ("channel_order", "pictures") for name in f.episodes}
    looks = sorted(audit.looks, key=lambda look: look.recorded.name not in named)
    spread = [looks[i] for i in np.unique(np.linspace(0, len(looks) - 1, min(len(looks), MAX_IMAGES)).astype(int))]
    return [_image(look) for look in spread] if looks else []


def _image(look: Look) -> dict[str, Any]:
    image = look.recorded.image(0)
    return {
        "name": look.recorded.name,
        "instruction": look.recorded.instruction,
        "stored": _jpeg(image),
        "swapped": _jpeg(image[..., ::-1]),
        "brownness": look.brownness,
    }


def _jpeg(image: np.ndarray) -> str:
    from PIL import Image

    shown = Image.fromarray(np.ascontiguousarray(image))
    shown.thumbnail(IMAGE_PX)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
