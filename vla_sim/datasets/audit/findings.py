"""A finding of the audit, and how bad it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Severity(str, Enum):
    """How bad a finding is.

    CRITICAL: a policy trained on the set will not do the task, or nobody can tell whether it does. WARNING: it costs
    success. NOTE: good to know. GOOD: checked and fine.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    NOTE = "note"
    GOOD = "good"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: stable word for programs, e.g. "duplicate_sequences".
        severity: how bad.
        title: one sentence with the figure that matters.
        text: what it means.
        advice: what to do about it.
        weight: orders findings of one severity, larger first; a share in 0..1 mostly.
        figures: what was measured, plain values.
        episodes: names of the episodes meant, not necessarily all.
    """

    code: str
    severity: Severity
    title: str
    text: str = ""
    advice: str = ""
    weight: float = 0.5
    figures: Mapping[str, Any] = field(default_factory=dict)
    episodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.severity is Severity.GOOD:  # nothing to explain or to do
            object.__setattr__(self, "text", "")
            object.__setattr__(self, "advice", "")


def ranked(findings: list[Finding]) -> list[Finding]:
    """The worst first."""
    return sorted(findings, key=lambda f: (f.severity.rank, -f.weight, f.code))


SHOWN = 12


def some(names: list[str] | tuple[str, ...], limit: int = SHOWN) -> tuple[str, ...]:
    """The first names."""
    return tuple(names[:limit])
