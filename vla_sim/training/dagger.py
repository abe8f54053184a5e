"""DAgger: gather what the policy meets, learn from all of it, and let the result through only if it wins.

Every file is complete or absent, and what is complete is not done again: a run that was killed goes on when it is
started again. Used by `vla_sim.dagger`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.files import sweep_aside, whole_folder, write_whole
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.registry import policy_hash
from vla_sim.training.aggregation import Gathering, Schedule, gather
from vla_sim.training.batches import Sampler
from vla_sim.training.closed_loop import FitPlan, Successes, ValidationSuite, fit
from vla_sim.training.config import TrainConfig
from vla_sim.training.gate import LEVEL, Verdict, judge
from vla_sim.training.seeds import CHOOSING, COMPARING, LEARNING, seeds_within
from vla_sim.training.warm_start import Beginning, begin_with, for_robot

log = logging.getLogger(__name__)

START = "round_00"
POLICY, VERDICT, GATE = "policy", "verdict.json", "gate"
GATHERED, DEMONSTRATED = "gathered", "demonstrations"
# Runs 0, 1 and 2 see different worlds; run 3 those of run 0 again.
SEED_STRIDE = 30_000
HALVED = Schedule("exponential", (0.5,))


@dataclass(frozen=True)
class RoundsPlan:
    """Everything that decides a run but its data.

    Attributes:
        policy: name or folder that it starts from.
        rounds: how many.
        scenarios: driven in turns.
        episodes: gathered in each round; 0: none, which is the control that only trains longer.
        schedule, mixing, noise: who steers; see `vla_sim.training.aggregation`.
        steps, check_every, patience: of the learning of each round.
        choosing, comparing: seeds per scenario by which states of a training, and then rounds, are compared.
        level: of the gate's test.
        gathered_share: how often a step draws from what was gathered, against the demonstrations.
        frames: images that each round gathers, no more and no fewer; empty: as many as its episodes have.
        stride: seeds from the first of a round to the first of the next; 0: as many as it has episodes.
        keep_dropped: learn from the episodes of dropped rounds too; their labels are the expert's all the same.
        seed: number of the run: of worlds, batches and mixing.
    """

    policy: str
    rounds: int
    scenarios: tuple[str, ...]
    episodes: int = 200
    schedule: Schedule = HALVED
    mixing: str = "step"
    noise: float = 0.0
    steps: int = 400
    check_every: int = 100
    patience: int = 0
    choosing: int = 10
    comparing: int = 50
    level: float = LEVEL
    gathered_share: float = 0.5
    frames: tuple[int, ...] = ()
    stride: int = 0
    keep_dropped: bool = True
    seed: int = 0
    embodiment: str = "serbot"

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("episodes", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.level < 1:
            raise UserError(f"level must lie between 0 and 1, got {self.level}")
        if not 0 < self.gathered_share <= 1:
            raise UserError(f"gathered share must lie in 0..1 and not be 0, got {self.gathered_share}")
        if self.episodes:
            self.worlds(self.rounds)

    def worlds(self, number: int) -> range:
        """Seeds of a round; round 0 are demonstrations."""
        first = self.seed * SEED_STRIDE % (3 * SEED_STRIDE) + number * (self.stride or self.episodes)
        return seeds_within(LEARNING, first, self.episodes, f"the worlds of round {number} (seed {self.seed})")

    def suite(self) -> ValidationSuite:
        """By which the best state of a training is chosen."""
        seeds = seeds_within(CHOOSING, 0, self.choosing, "the worlds of the checks")
        return ValidationSuite(self.scenarios, seeds, self.embodiment)

    def gate(self) -> ValidationSuite:
        """By which two rounds are compared."""
        return ValidationSuite(
            self.scenarios, seeds_within(COMPARING, 0, self.comparing, "the worlds of the gate"), self.embodiment
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


class Rounds:
    """A run in a folder.

    Args:
        plan: what to do.
        out: the folder.
        demonstrations: what to learn from beside what is gathered; empty: the expert drives a round first.
        weights: how often each group of the demonstrations is drawn; their names must not be those of rounds.
        config: how to learn.
        workers: processes that drive.
    """

    def __init__(
        self,
        plan: RoundsPlan,
        out: Path,
        demonstrations: Sequence[Demonstrations],
        weights: dict[str, float],
        config: TrainConfig,
        *,
        workers: int = 1,
    ) -> None:
        if GATHERED in weights:
            raise UserError(f"no source may be named {GATHERED!r}: that is what rounds gather; write NAME=DIR")
        self.plan, self.out, self.config = plan, out, config
        self._demonstrations, self._weights = list(demonstrations), dict(weights)
        self._workers = workers
        self._image_px = 0
        self._action_names: tuple[str, ...] = ()
        self.driver = ""

    def run(self) -> list[dict[str, Any]]:
        """All rounds; what each came to, in order.

        Raises:
            UserError: the folder holds another run, or a policy or scenario cannot be used.
        """
        self.driver = driver = self._start()
        if not self._demonstrations:
            if not self.plan.episodes:
                raise UserError("nothing to learn from: without demonstrations, rounds must gather some episodes")
            self._demonstrate()
        accepted = START
        entries: list[dict[str, Any]] = []
        for number in range(1, self.plan.rounds + 1):
            entry = self._round(number, accepted, entries, driver)
            entries.append(entry)
            if entry["accepted"]:
                accepted = entry["round"]
        return entries

    def policy_of(self, name: str) -> Path:
        """The folder with the policies of a round."""
        return self.out / name / POLICY

    def _start(self) -> str:
        """A copy of the policy to start with; which of its policies drives."""
        begun = self._begun(self.plan.policy)
        self._image_px, self._action_names = begun.image_px, begun.action_names
        record = self.out / START / "start.json"
        if not record.exists():
            sweep_aside(self.out / START)
            if not self.policy_of(START).exists():
                self._copy_start()
            write_whole(record, _text({"policy": self.plan.policy, "policy_hash": begun.policy_hash}))
        elif json.loads(record.read_text("utf-8"))["policy_hash"] != begun.policy_hash:
            raise UserError(f"{self.out}: was begun with another {self.plan.policy}; choose another folder")
        return begun.driver

    def _begun(self, policy: str) -> Beginning:
        robot = load_embodiment(self.plan.embodiment)
        return for_robot(begin_with(policy, seed=self.plan.seed), robot)

    def _copy_start(self) -> None:
        from vla_sim.training.behaviour_cloning import Trainer

        begun = self._begun(self.plan.policy)
        trainer = Trainer(begun, self._config(begun), self.out / START)
        with whole_folder(self.policy_of(START)) as aside:
            trainer.export(aside)

    def _config(self, begun: Beginning, number: int = 0) -> TrainConfig:
        seed = self.plan.seed * 1000 + number
        return replace(self.config, action_names=begun.action_names, action_scale=begun.action_scale, seed=seed)

    def _demonstrate(self) -> None:
        gathering = self._gathering(0, DEMONSTRATED, 1.0, None)
        parts = gather(gathering, self.out / "data" / DEMONSTRATED, workers=self._workers)
        self._demonstrations = [replace(part, groups=[DEMONSTRATED] * len(part.mask)) for part in parts]
        self._weights = {DEMONSTRATED: 1.0}

    def _gathering(self, number: int, name: str, beta: float, learner: Path | None) -> Gathering:
        plan = self.plan
        return Gathering(
            name=name,
            scenarios=plan.scenarios,
            seeds=plan.worlds(number),
            beta=beta,
            mixing=plan.mixing,
            noise=plan.noise,
            learner=str(learner) if learner else "",
            learner_hash=policy_hash(str(learner)) if learner else "",
            embodiment=plan.embodiment,
            image_px=self._image_px,
            action_names=self._action_names,
            frames=plan.frames[number - 1] if plan.frames and number else 0,
        )

    def _round(self, number: int, accepted: str, entries: Sequence[dict[str, Any]], driver: str) -> dict[str, Any]:
        name = f"round_{number:02}"
        folder = self.out / name
        if (folder / VERDICT).exists():
            found: dict[str, Any] = json.loads((folder / VERDICT).read_text("utf-8"))
            log.info(f"{name}: {'accepted' if found['accepted'] else 'dropped'} already")
            return found
        teacher = self.policy_of(accepted) / driver
        beta = self.plan.schedule.beta(number, self.plan.rounds)
        fresh: list[Demonstrations] = []
        if self.plan.episodes:
            gathering = self._gathering(number, name, beta, teacher)
            fresh = gather(gathering, self.out / "data" / name, workers=self._workers)
        self._learn(number, accepted, driver, [*self._gathered_before(entries), *fresh])
        verdict = self._judge(name, accepted, driver)
        entry = {
            "format": 2,
            "round": name,
            "against": accepted,
            "beta": beta,
            "policy_hash": policy_hash(str(self.policy_of(name) / driver)),
            "against_hash": policy_hash(str(teacher)),
            **verdict.to_json(),
        }
        write_whole(folder / VERDICT, _text(entry))
        log.info(f"{name} {verdict.text()}")
        return entry

    def _gathered_before(self, entries: Sequence[dict[str, Any]]) -> list[Demonstrations]:
        from vla_sim.training.aggregation import read_parts

        if not self.plan.episodes:
            return []
        kept = [entry["round"] for entry in entries if entry["accepted"] or self.plan.keep_dropped]
        return [part for name in kept for part in read_parts(self.out / "data" / name)]

    def _learn(self, number: int, accepted: str, driver: str, gathered: Sequence[Demonstrations]) -> None:
        from vla_sim.training.behaviour_cloning import Trainer

        plan, folder = self.plan, self.out / f"round_{number:02}"
        begun = self._begun(str(self.policy_of(accepted) / driver))
        config = self._config(begun, number)
        trainer = Trainer(begun, config, folder, self._sampler(config, gathered))
        fitting = FitPlan(plan.steps, plan.check_every, plan.patience, plan.suite(), driver)
        fit(trainer, fitting, workers=self._workers)

    def _sampler(self, config: TrainConfig, gathered: Sequence[Demonstrations]) -> Sampler:
        share, total = self.plan.gathered_share if gathered else 0.0, sum(self._weights.values())
        weights = {group: (1 - share) * weight / total for group, weight in self._weights.items()}
        sampler = Sampler(config, {**weights, **({GATHERED: share} if gathered else {})})
        for part in self._demonstrations:
            sampler.add(part)
        for part in gathered:
            sampler.add(replace(part, groups=[GATHERED] * len(part.mask)))
        return sampler

    def _judge(self, name: str, accepted: str, driver: str) -> Verdict:
        gate = self.plan.gate()

        def drive(of: str) -> Successes:
            sweep_aside(self.out / of)
            return gate.drive(self.policy_of(of) / driver, self.out / of / GATE, workers=self._workers)

        return judge(drive(name), drive(accepted), level=self.plan.level)


def _text(values: Any) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()
