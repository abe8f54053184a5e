"""Lets a new policy through only if it wins against the old one in the same worlds; says what it forgot.

Both drive the same scenarios and seeds, so only worlds in which exactly one of them succeeds say anything: McNemar's
exact test on those, and Bonett and Price's interval for the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vla_sim.evaluation.statistics import Interval, holm, mcnemar_exact, paired_difference, wilson
from vla_sim.learning.closed_loop import Successes

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two policies in the same worlds.

    Attributes:
        worlds: how many.
        new, old: successes of each.
        only_new, only_old: worlds in which exactly one succeeds.
    """

    worlds: int
    new: int
    old: int
    only_new: int
    only_old: int

    @classmethod
    def of(cls, new: Sequence[bool], old: Sequence[bool]) -> Comparison:
        """From the successes of both, world by world."""
        if len(new) != len(old) or not len(new):
            raise ValueError(f"a comparison needs equally many worlds, at least one; got {len(new)} and {len(old)}")
        pairs = list(zip(new, old, strict=True))
        return cls(
            len(pairs), sum(new), sum(old), sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        )

    @property
    def difference(self) -> float:
        """Success rate of the new one minus that of the old one."""
        return (self.only_new - self.only_old) / self.worlds

    @property
    def interval(self) -> Interval:
        """95 % interval of the difference."""
        return paired_difference(self.only_new, self.only_old, self.worlds)

    @property
    def p_value(self) -> float:
        """Of "both succeed equally often", two-sided and exact."""
        return mcnemar_exact(self.only_new, self.only_old)

    def wins(self, level: float = LEVEL) -> bool:
        """Whether the new one is better, and more so than chance explains."""
        return self.only_new > self.only_old and self.p_value < level

    def loses(self, level: float = LEVEL) -> bool:
        """Whether the new one is worse, and more so than chance explains."""
        return self.only_old > self.only_new and self.p_value < level

    def text(self) -> str:
        """For people."""
        low, high = self.interval.low, self.interval.high
        return (
            f"{rate(self.new, self.worlds)} against {rate(self.old, self.worlds)} in {self.worlds} worlds: "
            f"{100 * self.difference:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], "
            f"{self.only_new} won and {self.only_old} lost, p = {self.p_value:.3g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **vars(self),
            "difference": self.difference,
            "difference_ci95": [self.interval.low, self.interval.high],
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Verdict:
    """Whether a round is accepted, and why.

    Attributes:
        overall: over all scenarios.
        scenarios: one by one.
        forgotten: scenarios in which the new policy is significantly worse (Holm over all scenarios).
        level: of the tests.
    """

    overall: Comparison
    scenarios: Mapping[str, Comparison]
    forgotten: tuple[str, ...]
    level: float

    @property
    def accepted(self) -> bool:
        """A round passes if it wins over all; what it forgot is reported."""
        return self.overall.wins(self.level)

    def text(self) -> str:
        """For people."""
        lines = [f"{'accepted' if self.accepted else 'dropped'}: {self.overall.text()}"]
        for name in self.forgotten:
            lines.append(f"  worse than before in {name}: {self.scenarios[name].text()}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "accepted": self.accepted,
            "level": self.level,
            "test": "McNemar, exact, two-sided; interval of Bonett and Price",
            "overall": self.overall.to_json(),
            "scenarios": {name: found.to_json() for name, found in self.scenarios.items()},
            "forgotten": list(self.forgotten),
        }


def judge(new: Successes, old: Successes, *, level: float = LEVEL) -> Verdict:
    """Compare two policies that drove the same worlds.

    Raises:
        ValueError: the worlds differ.
    """
    if new.keys() != old.keys():
        raise ValueError(f"the worlds differ: {len(new.keys() ^ old.keys())} were driven by one policy only")
    keys = sorted(new)
    scenarios = {
        name: Comparison.of([new[k] for k in keys if k[0] == name], [old[k] for k in keys if k[0] == name])
        for name in dict.fromkeys(scenario for scenario, _ in keys)
    }
    adjusted = holm([found.p_value for found in scenarios.values()])
    forgotten = tuple(
        name for (name, found), p in zip(scenarios.items(), adjusted, strict=True) if found.loses(level) and p < level
    )
    return Verdict(Comparison.of([new[k] for k in keys], [old[k] for k in keys]), scenarios, forgotten, level)


def rate(successes: int, worlds: int) -> str:
    """A success rate with Wilson's 95 % interval."""
    interval = wilson(successes, worlds)
    return f"{successes / worlds:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
