"""What an evaluation runs: policies x scenarios x seeds, cut into units of work that never depend on the workers.

Inference is batched over the lanes of a vector env, and floating-point results may depend on what shares a batch.
So the batch an episode runs in is fixed by the plan: a unit is always the same jobs in the same order.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from vla_sim.core.errors import UserError

FORMAT = 1
# More lanes share a batch better; more than this no longer pay.
LANES = 12
# Episodes of a unit: many, so that lanes seldom wait for the last one, but fewer towards the end of a run, so that no
# worker waits long for the others.
MOST_EPISODES = 8 * LANES
ENOUGH_UNITS = 6


@dataclass(frozen=True)
class Job:
    """One episode to run. `scenario` is a name or path; `suite` the suite it was asked for in, or ""."""

    policy: str
    scenario: str
    suite: str
    index: int
    seed: int

    @property
    def key(self) -> tuple[str, str, int]:
        """(policy, scenario, seed): names the episode within a run."""
        return self.policy, self.scenario, self.seed


@dataclass(frozen=True)
class Unit:
    """Jobs of one policy that run together in one vector env of `lanes` lanes."""

    jobs: tuple[Job, ...]
    lanes: int = LANES

    @property
    def policy(self) -> str:
        """The policy of all its jobs."""
        return self.jobs[0].policy


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result of an evaluation (and nothing that does not).

    Attributes:
        policies, scenarios: what to run; `suites` holds the suite of each scenario, or "".
        episodes: per policy and scenario, with seeds `seed`, `seed` + 1, ...
        instruction_set: "eval" (held-out phrasings) or "train"; language: None for the mix, "en" or "ko".
    """

    policies: tuple[str, ...]
    scenarios: tuple[str, ...]
    suites: tuple[str, ...]
    episodes: int
    seed: int
    embodiment: str
    instruction_set: str = "eval"
    language: str | None = None
    renderer: str = "software"

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise UserError(f"--episodes must be at least 1, got {self.episodes}")
        if self.seed < 0:
            raise UserError(f"--seed must not be negative, got {self.seed}")
        for what, names in (("--policy", self.policies), ("--scenario", self.scenarios)):
            if not names:
                raise UserError(f"{what} needs at least one name")
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise UserError(f"{what} names {twice[0]!r} twice")

    def jobs(self) -> list[Job]:
        """All episodes in their canonical order: policy, scenario, index."""
        return [
            Job(policy, scenario, suite, index, self.seed + index)
            for policy in self.policies
            for scenario, suite in zip(self.scenarios, self.suites, strict=True)
            for index in range(self.episodes)
        ]

    def units(self) -> list[Unit]:
        """The jobs in groups of one policy each."""
        units = []
        for policy in self.policies:
            jobs = [job for job in self.jobs() if job.policy == policy]
            least = LANES if len(jobs) < 3 * MOST_EPISODES else 2 * LANES
            while jobs:
                size = min(max(least, len(jobs) // ENOUGH_UNITS // LANES * LANES), MOST_EPISODES)
                units.append(Unit(tuple(jobs[:size])))
                jobs = jobs[size:]
        return units

    def to_json(self) -> str:
        """The content of run.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            UserError: not such a file.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            if values.get("format") != FORMAT:
                raise UserError(f"run.json has format {values.get('format')!r}, this version reads {FORMAT}")
            known: dict[str, Any] = {f.name: values[f.name] for f in fields(cls)}
        except (ValueError, KeyError, AttributeError) as error:
            raise UserError(f"run.json is not one of ours or is damaged: {error}") from error
        known |= {key: tuple(value) for key, value in known.items() if isinstance(value, list)}
        return cls(**known)
