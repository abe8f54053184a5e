"""The audit itself: all checks over all recordings, ranked, with a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vla_sim.datasets.audit import balance, information, leakage, sequences
from vla_sim.datasets.audit import images as images
from vla_sim.datasets.audit.findings import SHOWN, Finding, Severity, ranked, some
from vla_sim.datasets.audit.images import Look
from vla_sim.datasets.audit.recorded import Broken, Recorded, RecordedSet
from vla_sim.datasets.audit.table import ActionTable
from vla_sim.datasets.serbot.actions import unknown_parts

FORMAT = 1
UNFIT, CARE, FIT, EMPTY = "unfit", "usable with care", "no fault found", "empty"
# Share of files that cannot be read from which on the set is not the one that was meant.
BROKEN_CRITICAL = 0.2


@dataclass(frozen=True)
class Audit:
    """What was found in a data set.

    Attributes:
        sources: folders.
        kinds: their formats.
        table: actions of the readable episodes to learn from, without the evaluation split; None when there are none.
        evaluation: readable episodes of the evaluation split.
        findings: the worst first; those of severity GOOD were checked and are fine.
        broken: what could not be read.
        groups: numbers of episodes that share one action sequence, the largest first.
        clock: per side, share of actions that the frame number tells, frame by frame.
        looks: images that were looked at.
    """

    sources: tuple[str, ...]
    kinds: tuple[str, ...]
    table: ActionTable | None
    findings: tuple[Finding, ...]
    broken: tuple[Broken, ...] = ()
    groups: tuple[np.ndarray, ...] = ()
    clock: Mapping[str, list[float]] = field(default_factory=dict)
    looks: tuple[Look, ...] = ()
    evaluation: int = 0

    @property
    def verdict(self) -> str:
        """One of UNFIT, CARE, FIT, EMPTY."""
        if self.table is None:
            return EMPTY
        worst = min((f.severity.rank for f in self.findings), default=Severity.GOOD.rank)
        return UNFIT if worst == Severity.CRITICAL.rank else CARE if worst == Severity.WARNING.rank else FIT

    @property
    def reasons(self) -> list[str]:
        """The titles that the verdict rests on, the worst first."""
        level = {UNFIT: Severity.CRITICAL, CARE: Severity.WARNING, EMPTY: Severity.CRITICAL}.get(self.verdict)
        return [f.title for f in self.findings if f.severity is level]

    @property
    def clock_by_name(self) -> dict[str, list[float]]:
        """`clock` with a word for the episodes without a side: "all" where no side is known, else "unknown"."""
        return {side or ("unknown" if len(self.clock) > 1 else "all"): curve for side, curve in self.clock.items()}

    @property
    def headline(self) -> str:
        """Verdict and first reason in one line."""
        first = self.reasons[:1] or [f"{len(self.table) if self.table else 0} demonstrations passed every check"]
        return f"{self.verdict.upper()}: {first[0]}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for programs; `format` tells their meaning."""
        return {
            "format": FORMAT,
            "sources": list(self.sources),
            "kinds": list(self.kinds),
            "verdict": {"level": self.verdict, "headline": self.headline, "reasons": self.reasons},
            "episodes": len(self.table) if self.table else 0,
            "evaluation_episodes": self.evaluation,
            "steps": int(self.table.lengths.sum()) if self.table else 0,
            "findings": [
                {
                    "code": f.code,
                    "severity": f.severity.value,
                    "title": f.title,
                    "text": f.text,
                    "advice": f.advice,
                    "figures": dict(f.figures),
                    "episodes": list(f.episodes),
                }
                for f in self.findings
            ],
            "broken": [{"name": b.name, "reason": b.reason} for b in self.broken],
            "clock": {name: [round(v, 4) for v in curve] for name, curve in self.clock_by_name.items()},
        }


def examine(
    sets: Iterable[RecordedSet],
    *,
    with_images: bool = True,
    max_images: int = images.MOST_EPISODES,
    thorough: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Look at everything.

    Args:
        sets: what to look at; splits are told by the recordings' labels. Whether a policy can learn from the set is
            asked of what is not for evaluation; of the rest, whether it can be read and what training knows of it.
        with_images: decode some images too; without, channel order, frozen images and shared images are not
            checked.
        max_images: episodes whose images are looked at.
        thorough: decode every image of every episode, to find damage in the middle.
        on_progress: called with what is done, how much of it, and of how many (0 when not known).
    """
    sets = list(sets)
    recorded, broken = _read(sets, on_progress)
    sources = tuple(str(s.source) for s in sets)
    kinds = tuple(dict.fromkeys(s.kind for s in sets))
    if not recorded:
        nothing = Finding("empty", Severity.CRITICAL, "no episode can be read", weight=9)
        return Audit(sources, kinds, None, (nothing, *_corrupt(broken, 0)), tuple(broken))
    everything = ActionTable.of(recorded)
    training, held_out = leakage.splits(everything)
    table = everything.rows(training) if len(training) else everything
    same, groups = sequences.duplicates(table)
    clocked, curves = sequences.clock(table)
    found: list[Finding | None] = [
        same,
        sequences.near_duplicates(table, groups),
        clocked,
        information.instruction_information(table),
        balance.sides(table),
        balance.side_mismatch(table),
        balance.scenarios(table),
        balance.outcomes(table),
        *balance.standstill(table),
        balance.lattice(table),
        balance.lengths(table),
        _other_parts(table),
    ]
    looks: list[Look] = []
    unseen: list[Broken] = []
    if with_images:

        def shown(done: int, total: int) -> None:
            if on_progress:
                on_progress("pictures", done, total)

        looks, unseen = images.look_at(recorded, most=max_images, thorough=thorough, on_progress=shown)
        broken += unseen
        sides = {id(one): side for one, side in zip(table.recorded, table.sides, strict=True)}
        learned_from = [look for look in looks if id(look.recorded) in sides]
        found += [
            images.channel_order(looks),
            images.damaged_images(looks),
            images.image_tells_side(learned_from, [sides[id(look.recorded)] for look in learned_from]),
        ]
    firsts = images.first_images(recorded, looks) if with_images and len(training) and len(held_out) else {}
    found += leakage.leakage(everything, firsts)
    found += _corrupt(broken, len(recorded) - len(unseen), len(recorded) if thorough else len(looks), thorough=thorough)
    kept = ranked([f for f in found if f is not None])
    held = len(held_out) if len(training) else 0
    return Audit(sources, kinds, table, tuple(kept), tuple(broken), tuple(groups), curves, tuple(looks), held)


def _read(
    sets: list[RecordedSet], on_progress: Callable[[str, int, int], None] | None
) -> tuple[list[Recorded], list[Broken]]:
    """Recordings with finite actions of one kind, and what is not."""
    recorded: list[Recorded] = []
    broken: list[Broken] = []
    for one in (item for own in sets for item in own):
        if isinstance(one, Broken):
            broken.append(one)
        elif (why := _fault(one, recorded)) is not None:
            broken.append(Broken(one.name, why))
        else:
            recorded.append(one)
        if on_progress:
            on_progress("episodes", len(recorded) + len(broken), 0)
    return recorded, broken


def _fault(one: Recorded, before: list[Recorded]) -> str | None:
    if one.actions.ndim != 2 or not len(one.actions):
        return f"actions have shape {one.actions.shape}"
    if not np.isfinite(one.actions).all():
        step = int(np.argwhere(~np.isfinite(one.actions))[0, 0])
        return f"the action of step {step} is not a finite number"
    if before and one.action_names != before[0].action_names:
        return f"actions are {', '.join(one.action_names)}, those of others {', '.join(before[0].action_names)}"
    return None


def _other_parts(table: ActionTable) -> Finding | None:
    """Components of the actions that other commands refuse, in their words."""
    problem = unknown_parts(table.recorded[0].action_names)
    if not problem:
        return None
    return Finding("other_actions", Severity.WARNING, problem.partition("; ")[0], advice=problem, weight=1.0)


def _corrupt(broken: list[Broken], readable: int, decoded: int = 0, *, thorough: bool = False) -> list[Finding]:
    if not broken:
        some_of = "every image" if thorough else f"up to {images.PER_EPISODE} images of {decoded} episodes"
        title = "every episode can be read" + (f", {some_of} decoded" if decoded else "")
        return [Finding("corrupt", Severity.GOOD, title, figures={"decoded": decoded, "thorough": thorough})]
    share = len(broken) / (len(broken) + readable)
    return [
        Finding(
            "corrupt",
            Severity.CRITICAL if share >= BROKEN_CRITICAL else Severity.WARNING,
            f"{len(broken)} of {len(broken) + readable} episodes cannot be read or used",
            text="; ".join(f"{b.name}: {b.reason}" for b in broken[:SHOWN]),
            advice=f"{_reasons(broken)}. Record them again or leave them out; the others were audited.",
            weight=share,
            figures={"broken": len(broken), "readable": readable},
            episodes=some([b.name for b in broken]),
        )
    ]


def _reasons(broken: Sequence[Broken], most: int = 2) -> str:
    """The first episodes with what is wrong with each."""
    told = "; ".join(one.reason if one.name in one.reason else f"{one.name}: {one.reason}" for one in broken[:most])
    return told + (f"; and {len(broken) - most} more" if len(broken) > most else "")
