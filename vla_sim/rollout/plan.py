"""What an evaluation runs: policies x scenarios x seeds, cut into units of work that never depend on the workers.

Inference is batched over the envs of a vector env, and floating-point results may depend on what shares a batch.
So the batch an episode runs in is fixed by the plan: a unit is always the same jobs in the same order.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, asdict, dataclass, fields

from vla_sim import __version__
from vla_sim.core.errors import UserError, shown, suggest
from vla_sim.core.run_folder import parse_json
from vla_sim.rollout.result import Key
from vla_sim.scenarios.languages import language_codes

FORMAT = 1
# More envs share a batch better; more than this no longer pay.
NUM_ENVS = 12
# Episodes of a unit: many, so that envs seldom wait for the last one, but fewer towards the end of a run, so that no
# worker waits long for the others.
MOST_EPISODES = 8 * NUM_ENVS
ENOUGH_UNITS = 6
MAX_JOBS = 10_000_000
MAX_SEED = 2**63 - 1
MAX_DELAY = 1000
MAX_INSTRUCTION = 256


@dataclass(frozen=True)
class Job:
    """One episode to run. `scenario` is a name or path; `suite` the suite it was asked for in, or ""."""

    policy: str
    scenario: str
    suite: str
    index: int
    seed: int

    @property
    def key(self) -> Key:
        """(policy, scenario, seed): names the episode within a run."""
        return self.policy, self.scenario, self.seed


@dataclass(frozen=True)
class Unit:
    """Jobs of one policy that run together in one vector env of `NUM_ENVS` envs.

    `earlier_error` is what the unit raised that they were part of before: they are driven again, one by one.
    """

    jobs: tuple[Job, ...]
    earlier_error: str | None = None

    @property
    def policy(self) -> str:
        """The policy of all its jobs."""
        return self.jobs[0].policy


@dataclass(frozen=True)
class Plan:
    """Everything that decides the result of an evaluation (and nothing that does not).

    Attributes:
        policies, scenarios: what to run; `suites` holds the suite of each scenario, or "" (left away: none).
        episodes: per policy and scenario, with seeds `seed`, `seed` + 1, ...
        instruction_set: "eval" (held-out phrasings) or "train"; language: None for the mix.
        delay: control steps by which actions arrive late.
        instruction: told in every episode in place of the scenario's sentence; None for those.
    """

    policies: tuple[str, ...]
    scenarios: tuple[str, ...]
    suites: tuple[str, ...] = ()
    episodes: int = 50
    seed: int = 100_000
    embodiment: str = "serbot"
    instruction_set: str = "eval"
    language: str | None = None
    renderer: str = "software"
    delay: int = 0
    instruction: str | None = None

    def __post_init__(self) -> None:
        self._check_names()
        for flag, value, least in (
            ("--episodes", self.episodes, 1),
            ("--first-seed", self.seed, 0),
            ("--delay", self.delay, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int):
                raise UserError(f"{flag} must be a whole number, got {shown(value)}")
            if value < least:
                said = f"at least {least}" if least else "zero or more (not negative)"
                raise UserError(f"{flag} must be {said}, got {value}")
        if self.delay > MAX_DELAY:
            raise UserError(f"--delay must be at most {MAX_DELAY} control steps, got {self.delay}")
        count = len(self.policies) * len(self.scenarios) * self.episodes
        if count > MAX_JOBS:
            raise UserError(
                f"--episodes {self.episodes} would be {count} episodes in all; at most {MAX_JOBS} can be run"
            )
        if self.seed + self.episodes - 1 > MAX_SEED:
            raise UserError(f"--first-seed must be so small that the last seed is at most {MAX_SEED}, got {self.seed}")
        for flag, choice, allowed in (
            ("--instruction-set", self.instruction_set, ("eval", "train")),
            ("--language", self.language, (None, *language_codes())),
            ("--renderer", self.renderer, ("software", "gpu", "tiny")),
        ):
            if choice not in allowed:
                names = [name for name in allowed if name is not None]
                raise UserError(f"{flag} must not be {shown(choice)}; {suggest(str(choice)[:60], names)}")

        self._check_instruction()

    def _check_instruction(self) -> None:
        text = self.instruction
        if text is None:
            return
        if not isinstance(text, str) or len(text) > MAX_INSTRUCTION or not (text.isprintable() or not text):
            raise UserError(
                f"--instruction must be one line of at most {MAX_INSTRUCTION} printable characters, got {text!r:.60}"
            )
        if self.language is not None:
            raise UserError(f"--instruction is told as it is: leave --language {self.language} away")

    def _check_names(self) -> None:
        for what, names in (("--policy", self.policies), ("--scenario", self.scenarios), ("--suite", self.suites)):
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise UserError(f"{what} must be a list of names, got {shown(names)}")
        for what, names in (("--policy", self.policies), ("--scenario", self.scenarios)):
            if not names or "" in names:
                raise UserError(f"{what} needs at least one name")
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise UserError(f"{what} names {twice[0]!r} twice")
        if not self.suites:
            object.__setattr__(self, "suites", ("",) * len(self.scenarios))
        if len(self.suites) != len(self.scenarios):
            raise UserError(f"{len(self.scenarios)} scenarios need as many suites, got {len(self.suites)}")
        if not isinstance(self.embodiment, str) or not self.embodiment:
            raise UserError(f"--embodiment must be a name, got {shown(self.embodiment)}")

    def jobs(self) -> list[Job]:
        """All episodes in their canonical order: policy, scenario, index."""
        return [job for policy in self.policies for job in self.jobs_of(policy)]

    def jobs_of(self, policy: str) -> list[Job]:
        """All episodes of one policy in their canonical order."""
        return [
            Job(policy, scenario, suite, index, self.seed + index)
            for scenario, suite in zip(self.scenarios, self.suites, strict=True)
            for index in range(self.episodes)
        ]

    def units(self) -> list[Unit]:
        """The jobs in groups of one policy each."""
        units = []
        for policy in self.policies:
            jobs = self.jobs_of(policy)
            least = NUM_ENVS if len(jobs) < 3 * MOST_EPISODES else 2 * NUM_ENVS
            while jobs:
                size = min(max(least, len(jobs) // ENOUGH_UNITS // NUM_ENVS * NUM_ENVS), MOST_EPISODES)
                units.append(Unit(tuple(jobs[:size])))
                jobs = jobs[size:]
        return units

    def to_json(self) -> str:
        """The content of run.json, with the version that wrote it."""
        written = {"format": FORMAT, "vla_sim": __version__, **asdict(self)}
        return json.dumps(written, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote, in this version or an earlier one.

        Raises:
            UserError: not such a file.
        """
        try:
            values = parse_json(text)
        except ValueError as error:
            raise UserError(f"run.json is damaged: {error!s:.200}") from error
        if not isinstance(values, dict):
            raise UserError(f"run.json must hold an object, got {type(values).__name__}")
        version = values.pop("format", None)
        values.pop("vla_sim", None)
        if isinstance(version, bool) or version != FORMAT:
            raise UserError(f"run.json has format {version!r:.60}, this version reads {FORMAT}")
        known = {f.name: f for f in fields(cls)}
        unknown = [name for name in values if name not in known]
        if unknown:
            raise UserError(
                f"run.json says {unknown[0]!r:.60}, which this version does not know: use the version that wrote it"
            )
        missing = [name for name, f in known.items() if name not in values and f.default is MISSING]
        if missing:
            raise UserError(f"run.json is damaged: {missing[0]} is missing")
        lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        try:
            return cls(**{**values, **lists})
        except UserError as error:
            raise UserError(f"run.json is damaged: {error}") from error
