"""What trainings are told, in the words of their commands: light to import, every field with its bounds.

`CloneConfig` is for `vla_sim.training.cloning.clone`, `DaggerConfig` for `vla_sim.training.dagger_run.run_dagger`,
`PpoConfig` for `vla_sim.training.ppo_run.run_ppo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from vla_sim.core.bounds import (
    Count,
    Fraction,
    NotNegative,
    Positive,
    PositiveFraction,
    PositiveInt,
    Range,
    Seed,
    Steps,
)
from vla_sim.core.options import Name, Names, OptionalName, named
from vla_sim.datasets.base import AS_IT_IS, ReadOptions

Minutes = Annotated[float, Range(0, 10**7, above=True)]
Data = Annotated[tuple[str, ...], named("[NAME=]DIR[:WEIGHT] ...")]


@dataclass(frozen=True, kw_only=True)
class CloneLearning:
    """How it learns."""

    steps: Steps = 2000
    """Updates of the weights; at most."""
    learning_rate: Positive = 1.5e-3
    """Step size of the optimiser; of the first steps after the warm-up."""
    batch_episodes: PositiveInt = 24
    """Episodes of a step."""
    augmentation: bool = True
    """No mirroring, shifts, colours, garbled words."""
    validation_share: Fraction = 0.1
    """Of each source, kept from learning."""
    keep_still: bool = False
    """Learn the still frame that recordings begin with."""


@dataclass(frozen=True, kw_only=True)
class CloneChecks:
    """When it stops."""

    suite: Names = ()
    """Whole suites (default: core)."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    check_every: Steps = 200
    """Steps between two checks in the closed loop."""
    check_episodes: PositiveInt = 10
    """Of each scenario."""
    patience: Count = 5
    """Checks without a new best before it ends; 0: never."""


@dataclass(frozen=True, kw_only=True)
class CloneConfig:
    """What `clone` is told."""

    data: Data
    """The data set, of any format; several are mixed by weight."""
    check_policy: OptionalName = None
    """Which of the trained policies the checks judge: of new weights clip_lstm (the default), clip_mlp or ensemble."""
    init: OptionalName = None
    """Learned policy to start from, a name or folder (default: new weights)."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    seed: Seed = 0
    """Of random numbers: weights and batches."""
    reading: ReadOptions = AS_IT_IS
    learning: CloneLearning = CloneLearning()
    checks: CloneChecks = CloneChecks()


@dataclass(frozen=True, kw_only=True)
class DaggerSteering:
    """Who steers while DAgger gathers."""

    episodes: Count = 200
    """How many; of each round; 0: none, a control that only trains longer."""
    beta: Annotated[str, named("SCHEDULE")] = "exponential:0.5"
    """The expert's share: exponential:BASE, linear, constant:B, or a list B1,B2,..."""
    mixing: Literal["step", "stretch", "episode"] = "step"
    """For how long it is drawn who steers."""
    noise: NotNegative = 0.0
    """Smooth noise on the steering in shares of full speed."""


@dataclass(frozen=True, kw_only=True)
class DaggerLearning:
    """How each round learns."""

    steps: Steps = 400
    """Updates of the weights; of each round."""
    check_every: Steps = 100
    """Steps between two checks in the closed loop."""
    patience: Count = 0
    """Checks without a new best before it ends; 0: never; of each round."""
    learning_rate: Positive = 7e-4
    """Step size of the optimiser; of the first steps after the warm-up."""
    batch_episodes: PositiveInt = 24
    """Episodes of a step."""
    gathered_share: PositiveFraction = 0.5
    """Of what is drawn; the rest are demonstrations."""
    forget_dropped: bool = False
    """Learn nothing from episodes of dropped rounds."""


@dataclass(frozen=True, kw_only=True)
class DaggerGate:
    """Which rounds are accepted."""

    gate_episodes: PositiveInt = 50
    """Worlds of each scenario."""
    check_episodes: PositiveInt = 10
    """Of each scenario; for the checks."""
    level: PositiveFraction = 0.05
    """Of the test."""
    report_episodes: Count = 34
    """Of each scenario at the end; 0: no report."""


@dataclass(frozen=True, kw_only=True)
class DaggerConfig:
    """What `dagger` is told."""

    init: Name = "clip_lstm"
    """Learned policy to start from, a name or folder."""
    data: Data = ()
    """The data set, of any format; several are mixed by weight (default: as many of the expert as a round has)."""
    rounds: PositiveInt = 5
    """How many."""
    suite: Names = ()
    """Whole suites (default: core)."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    seed: Seed = 0
    """Of random numbers: worlds, batches and mixing."""
    reading: ReadOptions = AS_IT_IS
    steering: DaggerSteering = DaggerSteering()
    learning: DaggerLearning = DaggerLearning()
    gate: DaggerGate = DaggerGate()


@dataclass(frozen=True, kw_only=True)
class PpoTuning:
    """How PPO learns; defaults depend on the kind (state; features)."""

    num_envs: PositiveInt | None = None
    """Worlds side by side (16; 8)."""
    rollout: PositiveInt | None = None
    """Steps of each world between two updates (64)."""
    batch: PositiveInt | None = None
    """Steps in a batch (256; 128)."""
    epochs: PositiveInt | None = None
    """Passes over each rollout (10; 5)."""
    learning_rate: Positive | None = None
    """Step size of the optimiser (3e-4; 1e-4)."""
    discount: PositiveFraction | None = None
    """Of rewards, each step (0.98)."""
    deviation: Positive | None = None
    """Spread of the first actions, share of full speed (0.6; 0.2)."""
    entropy: NotNegative | None = None
    """Bonus for spread actions (0)."""
    critic_first: Count | None = None
    """Steps in which only the critic learns (0; 4096)."""
    mirror: bool = True
    """State: learn left and right each for itself."""


@dataclass(frozen=True, kw_only=True)
class PpoConfig:
    """What `ppo` is told."""

    kind: Literal["state", "features"]
    """What is observed, see below."""
    scenario: Names = ()
    """Scenario names or TOML files."""
    suite: Names = ()
    """Whole suites."""
    init: OptionalName = None
    """Learned policy to start from, a name or folder (default: clip_mlp); --kind features: encoder and head."""
    embodiment: Name = "serbot"
    """Robot: a name or TOML file."""
    seed: Seed = 0
    """Of random numbers: worlds, weights and exploring."""
    control_steps: Steps = 1_000_000
    """Steps of all worlds in all, rounded up to rollouts; or until --minutes are over."""
    minutes: Minutes | None = None
    """Of wall clock in all (default: no limit)."""
    tuning: PpoTuning = PpoTuning()
