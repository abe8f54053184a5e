"""The regression gate: recorded outcomes of the shipped policies, compared episode by episode.

A baseline is a small JSON file (format version 1) with one line an episode, so that a change of it reads
well in a diff. Outcomes are compared exactly; steps are reported but do not fail the gate.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_sim.core.errors import UserError
from vla_sim.core.files import write_whole
from vla_sim.core.run_folder import parse_json
from vla_sim.core.types import USERS, Outcome
from vla_sim.rollout.result import EpisodeResult, Key, replay_command

FORMAT = 1
# What decides how an episode ends, by its key in the file; files of earlier versions do not name the robot.
IDENTITIES = {"policies": "policy", "scenarios": "scenario", "embodiments": "robot"}
LISTED = 20  # so many episodes that did not run, or are new, are named one by one; changed outcomes all are


@dataclass(frozen=True)
class Ending:
    """How an episode of the baseline ended."""

    outcome: Outcome
    steps: int


@dataclass(frozen=True)
class Change:
    """An episode that ended otherwise than recorded."""

    record: EpisodeResult
    before: Ending

    def text(self, folder: str) -> str:
        """What changed and how to see it."""
        r = self.record
        return (
            f"  {r.policy} / {r.scenario} / seed {r.seed}: was {self.before.outcome.value} after {self.before.steps} "
            f"steps, now {r.outcome.value} after {r.steps}\n    {replay_command(r, folder)}"
        )


@dataclass(frozen=True)
class BaselineReport:
    """What differs from a baseline.

    Attributes:
        compared: episodes that both have.
        changed: other outcome than recorded.
        slower: same outcome after another number of steps; does not fail.
        missing: in the baseline, but did not run.
        new: ran, but not in the baseline.
        reasons: policies, scenarios and robots whose hash is not the recorded one, in words.
    """

    compared: int
    changed: tuple[Change, ...] = ()
    slower: tuple[Change, ...] = ()
    missing: tuple[Key, ...] = ()
    new: tuple[Key, ...] = ()
    reasons: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether exactly the recorded episodes ran, under the recorded identities, and each ended as recorded."""
        return not (self.changed or self.missing or self.new or self.reasons)

    def text(self, folder: str = "DIR") -> str:
        """The report for people; `folder` is where the run was written, for the replay commands."""
        better = sum(c.record.success for c in self.changed)
        worse = sum(c.before.outcome.succeeded for c in self.changed)
        lines = [f"baseline {'passed' if self.passed else 'FAILED'}: {self.compared} episodes compared"]
        if self.changed:
            lines.append(f"{len(self.changed)} changed outcomes ({worse} lost, {better} gained):")
            lines += [c.text(folder) for c in self.changed]
        if self.missing:
            lines.append(f"{len(self.missing)} episodes of the baseline did not run:")
            lines += _listed([f"  {_named(key)}" for key in self.missing])
        if self.new:
            lines.append(f"{len(self.new)} episodes are not in the baseline:")
            lines += _listed([f"  {_named(key)}" for key in self.new])
        if self.slower:
            lines.append(f"{len(self.slower)} episodes ended alike after another number of steps (no failure)")
        if self.reasons:
            lines += ["not the same as was recorded:", *(f"  {reason}" for reason in self.reasons)]
        if not self.passed:
            lines.append("if this is meant, record again with --update-baseline FILE")
        return "\n".join(lines)


def _named(key: Key) -> str:
    return f"{key[0]} / {key[1]} / seed {key[2]}"


def _listed(lines: Sequence[str]) -> list[str]:
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"  ... and {more} more"] if more > 0 else [])]


def record_baseline(records: Sequence[EpisodeResult], path: str | Path) -> None:
    """Write the outcomes of a run as the baseline; equal runs give equal files.

    Raises:
        ValueError: no results, an episode twice, two delays, or a policy, scenario or robot with two hashes.
        UserError: the file cannot be written; what was there stays.
    """
    if not records:
        raise ValueError("a baseline needs at least one episode")
    by_key = _by_key(records)
    head = {
        "format": FORMAT,
        **{what: _hashes(pairs) for what, pairs in _identities(records).items() if pairs},
    }
    if delay := _delay(records):
        head["delay_steps"] = delay
    if (told := _instruction(records)) is not None:
        head["instruction"] = told
    rows = [
        json.dumps([*key, by_key[key].outcome.value, by_key[key].steps], ensure_ascii=False) for key in sorted(by_key)
    ]
    opening = json.dumps(head, ensure_ascii=False, indent=1)[:-2]
    write_whole(Path(path), (opening + ',\n "episodes": [\n  ' + ",\n  ".join(rows) + "\n ]\n}\n").encode())


def compare_baseline(records: Sequence[EpisodeResult], path: str | Path) -> BaselineReport:
    """Hold a run against a recorded baseline.

    Raises:
        UserError: the file cannot be read or is no baseline of this format.
        ValueError: the run has an episode twice, or two delays.
    """
    content = _read(Path(path))
    expected = {(p, s, seed): Ending(Outcome(outcome), steps) for p, s, seed, outcome, steps in content["episodes"]}
    found = _by_key(records)
    common = [key for key in sorted(found) if key in expected]
    other = [Change(found[k], expected[k]) for k in common if (found[k].outcome, found[k].steps) != _pair(expected[k])]
    return BaselineReport(
        compared=len(common),
        changed=tuple(c for c in other if c.record.outcome is not c.before.outcome),
        slower=tuple(c for c in other if c.record.outcome is c.before.outcome),
        missing=tuple(key for key in sorted(expected) if key not in found),
        new=tuple(key for key in sorted(found) if key not in expected),
        reasons=tuple(_reasons(records, content)),
    )


def _pair(ending: Ending) -> tuple[Outcome, int]:
    return ending.outcome, ending.steps


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is not a baseline: it is not UTF-8") from error
    try:
        content = parse_json(text)
        version = content["format"]
        if isinstance(version, bool) or version != FORMAT:
            raise ValueError(f"format must be {FORMAT}, got {version!r:.60}")
        for episode in content["episodes"]:
            policy, scenario, seed, outcome, steps = episode
            Outcome(outcome)
            if not (isinstance(policy, str) and isinstance(scenario, str) and type(seed) is type(steps) is int):
                raise ValueError(f"not an episode: {episode!r:.120}")
        delay = content.setdefault("delay_steps", 0)
        if type(delay) is not int or delay < 0:
            raise ValueError(f"delay_steps must be a whole number, zero or more, got {delay!r:.60}")
        told = content.setdefault("instruction", None)
        if not (told is None or isinstance(told, str)):
            raise ValueError(f"instruction must be a text, got {told!r:.60}")
        for what in IDENTITIES:
            names = content.setdefault(what, {}) if what == "embodiments" else content[what]
            if not all(isinstance(value, str) for value in names.values()):
                raise ValueError(f"{what} must give a hash for each name")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path} is not a baseline: {error!s:.200}") from error
    keys = [tuple(episode[:3]) for episode in content["episodes"]]
    if len(set(keys)) != len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise UserError(f"{path} is not a baseline: episode {_named(twice)} is there twice")
    return content


def _by_key(records: Sequence[EpisodeResult]) -> dict[Key, EpisodeResult]:
    by_key = {r.key: r for r in records}
    if len(by_key) != len(records):
        seen: set[Key] = set()
        twice = next(r.key for r in records if r.key in seen or seen.add(r.key))  # type: ignore[func-returns-value]
        raise ValueError(f"episode {_named(twice)} is there twice")
    return by_key


def _hashes(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    hashes: dict[str, str] = {}
    for name, value in sorted(set(pairs)):
        if name in hashes:
            raise ValueError(f"{name!r} ran in two versions ({hashes[name]} and {value}): record one run only")
        hashes[name] = value
    return hashes


def _identities(results: Sequence[EpisodeResult]) -> dict[str, set[tuple[str, str]]]:
    """By kind of thing, what ran: name and hash."""
    return {
        "policies": {(r.policy, r.policy_hash) for r in results},
        "scenarios": {(r.scenario, r.scenario_hash) for r in results},
        "embodiments": {(r.embodiment, r.embodiment_hash) for r in results if r.embodiment_hash},
    }


def _delay(results: Sequence[EpisodeResult]) -> int:
    """How late actions were, in control steps; the same in all episodes of a run."""
    delays = sorted({result.delay_steps for result in results})
    if len(delays) > 1:
        raise ValueError(f"episodes ran with delays of {' and '.join(map(str, delays))} steps: record one run only")
    return delays[0]


def _said(told: str | None) -> str:
    return "none" if told is None else f"{told!r:.80}"


def _instruction(results: Sequence[EpisodeResult]) -> str | None:
    """The user's own sentence, the same in all episodes of a run; None where they have those of their scenarios."""
    told = {result.instruction if result.phrasing == USERS else None for result in results}
    if len(told) > 1:
        raise ValueError("episodes ran with several instructions of the user's: record one run only")
    return told.pop()


def _reasons(results: Sequence[EpisodeResult], content: Mapping[str, Any]) -> list[str]:
    """What changed since the baseline was recorded."""
    now = _identities(results)
    before, delay = content["delay_steps"], _delay(results) if results else content["delay_steps"]
    reasons = [f"another --delay: was {before} steps, is {delay}"] if before != delay else []
    told = _instruction(results) if results else content["instruction"]
    if told != content["instruction"]:
        reasons.append(f"another --instruction: was {_said(content['instruction'])}, is {_said(told)}")
    for what, word in IDENTITIES.items():
        for name, value in sorted(now[what]):
            before = content[what].get(name)
            if before is not None and before != value:
                reasons.append(f"{word} {name} has changed (was {before[:12]}, is {value[:12]})")
        strange = sorted({name for name, _ in now[what]} - set(content[what])) if content[what] else []
        if what == "embodiments" and strange:
            reasons.append(f"another {word}: was {', '.join(content[what])}, is {', '.join(strange)}")
    return reasons
