"""Lets a new policy through only if it wins against the old one in the same worlds; says what it forgot.

Both drive the same scenarios and seeds, so only worlds in which exactly one of them succeeds say anything. Scenarios
place things alike from one seed, and all worlds of a seed are asked for in one language: worlds of one seed are no
independent witnesses. So the test flips the signs of seeds, not of worlds (with one scenario it is McNemar's exact
test), and Bonett and Price's interval is widened by the design effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from vla_sim.evaluation.statistics import Interval, design_effect, holm, paired_difference, sign_flip_exact, wilson
from vla_sim.training.closed_loop import Successes

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Two policies in the same worlds.

    Attributes:
        worlds: how many.
        new, old: successes of each.
        only_new, only_old: worlds in which exactly one succeeds.
        by_seed: of each seed, worlds that only the new one won minus those that only the old one won.
        effect: design effect of worlds that share a seed; 1 where none do.
    """

    worlds: int
    new: int
    old: int
    only_new: int
    only_old: int
    by_seed: tuple[int, ...]
    effect: float

    @classmethod
    def of(cls, new: Successes, old: Successes) -> Comparison:
        """From the successes of both in the same worlds.

        Raises:
            ValueError: there are none, or the worlds differ.
        """
        if new.keys() != old.keys() or not new:
            raise ValueError(f"the worlds differ: {len(new.keys() ^ old.keys())} were driven by one policy only")
        differences: dict[int, list[int]] = {}
        for world in sorted(new):
            differences.setdefault(world[1], []).append(int(new[world]) - int(old[world]))
        values = [value for group in differences.values() for value in group]
        return cls(
            len(new),
            sum(new.values()),
            sum(old.values()),
            values.count(1),
            values.count(-1),
            tuple(sum(group) for group in differences.values()),
            design_effect(list(differences.values())),
        )

    @property
    def difference(self) -> float:
        """Success rate of the new one minus that of the old one."""
        return (self.only_new - self.only_old) / self.worlds

    @property
    def interval(self) -> Interval:
        """95 % interval of the difference."""
        return paired_difference(self.only_new, self.only_old, self.worlds, effect=self.effect)

    @property
    def p_value(self) -> float:
        """Of "both succeed equally often", two-sided and exact."""
        return sign_flip_exact(self.by_seed)

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
            f"{self.only_new} won and {self.only_old} lost, p = {self.p_value:.3g} over {len(self.by_seed)} seeds"
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Comparison:
        """What `to_json` gave."""
        own = {field.name: values[field.name] for field in fields(cls)}
        return cls(**{**own, "by_seed": tuple(own["by_seed"])})

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **vars(self),
            "by_seed": list(self.by_seed),
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
            "test": "signs of seeds flipped, exact, two-sided; interval of Bonett and Price with design effect",
            "overall": self.overall.to_json(),
            "scenarios": {name: found.to_json() for name, found in self.scenarios.items()},
            "forgotten": list(self.forgotten),
        }


def judge(new: Successes, old: Successes, *, level: float = LEVEL) -> Verdict:
    """Compare two policies that drove the same worlds.

    Raises:
        ValueError: the worlds differ.
    """
    overall = Comparison.of(new, old)
    scenarios = {
        name: Comparison.of(*({k: won for k, won in driven.items() if k[0] == name} for driven in (new, old)))
        for name in dict.fromkeys(scenario for scenario, _ in sorted(new))
    }
    adjusted = holm([found.p_value for found in scenarios.values()])
    forgotten = tuple(
        name for (name, found), p in zip(scenarios.items(), adjusted, strict=True) if found.loses(level) and p < level
    )
    return Verdict(overall, scenarios, forgotten, level)


def rate(successes: int, worlds: int) -> str:
    """A success rate with Wilson's 95 % interval."""
    interval = wilson(successes, worlds)
    return f"{successes / worlds:.1%} [{interval.low:.1%}, {interval.high:.1%}]"
