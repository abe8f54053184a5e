"""Success in the closed loop while learning goes on: small evaluations, and a training that stops by them.

Validation loss is recorded beside it, but does not decide: a policy can imitate better and drive worse.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.errors import UserError
from vla_sim.core.files import sweep_aside, whole_folder, write_whole
from vla_sim.training.tensorboard_log import TensorBoardLog

if TYPE_CHECKING:
    from vla_sim.datasets.demonstrations import Demonstrations
    from vla_sim.rollout.plan import Plan
    from vla_sim.training.behaviour_cloning import Trainer

log = logging.getLogger(__name__)

# (scenario, seed) of an episode: whether it succeeded.
Successes = Mapping[tuple[str, int], bool]

STAGE = "fit"
BEST, CHECKS, POLICY = "best.json", "checks", "policy"


@dataclass(frozen=True)
class ValidationSuite:
    """Worlds that policies are driven through.

    Attributes:
        scenarios: names.
        seeds: the same ones for each scenario.
        embodiment: who drives.
        instruction_set: "train", or "eval" for held-out phrasings.
    """

    scenarios: tuple[str, ...]
    seeds: range
    embodiment: str = "serbot"
    instruction_set: str = "train"

    def drive(self, policy: Path, out: Path, *, workers: int = 1) -> Successes:
        """Drive a policy through all worlds; a folder that has results of this suite and policy is completed.

        Args:
            policy: folder.
            out: gets run.json, episodes.jsonl and summary.json.
            workers: processes; they do not change the result.

        Raises:
            KeyboardInterrupt: it was interrupted.
            UserError: the folder has results of other worlds or of another policy.
        """
        from vla_sim.evaluation.runner import PLAN_FILE, evaluate, read_plan
        from vla_sim.rollout.plan import Plan

        plan = Plan(
            policies=(str(policy),),
            scenarios=self.scenarios,
            suites=("",) * len(self.scenarios),
            episodes=len(self.seeds),
            seed=self.seeds[0],
            embodiment=self.embodiment,
            instruction_set=self.instruction_set,
        )
        if (out / PLAN_FILE).exists() and _was_moved(read_plan(out), plan):
            shutil.rmtree(out)  # what one process wrote, by a name that leads nowhere now, is driven again
        result = evaluate(plan, out, workers=workers)
        if not result.complete:
            raise KeyboardInterrupt
        return {(record.scenario, record.seed): record.success for record in result.records}


def _was_moved(found: Plan, plan: Plan) -> bool:
    """Whether a plan is the same one, of a policy that has lain elsewhere: the whole training was moved."""
    before, now = found.policies[0], plan.policies[0]
    there = Path(before)
    return (
        before != now
        and replace(found, policies=plan.policies) == plan
        and there.name == Path(now).name
        and not there.exists()
    )


def by_scenario(successes: Successes) -> dict[str, float]:
    """Share of successes of each scenario."""
    found: dict[str, list[bool]] = {}
    for (scenario, _), success in successes.items():
        found.setdefault(scenario, []).append(success)
    return {scenario: sum(values) / len(values) for scenario, values in found.items()}


@dataclass(frozen=True)
class FitPlan:
    """How long to train, and when to check.

    Attributes:
        steps: at most.
        check_every: steps between two checks at the closed loop.
        patience: checks without a new best after which training stops; 0 trains to the end.
        suite: what a check drives.
        driver: which of the trained policies drives.
    """

    steps: int
    check_every: int
    patience: int
    suite: ValidationSuite
    driver: str = "clip_lstm"

    def __post_init__(self) -> None:
        for name in ("steps", "check_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        if self.patience < 0:
            raise UserError(f"patience must not be negative, got {self.patience}")

    @property
    def checks(self) -> list[int]:
        """Steps after which to check; the last one is the end."""
        return [*range(self.check_every, self.steps, self.check_every), self.steps]


@dataclass(frozen=True)
class Check:
    """What was seen after so many steps.

    Attributes:
        step: of the training.
        successes, episodes: in the closed loop.
        scenarios: share of successes of each.
        losses: on validation episodes; empty where there are none.
    """

    step: int
    successes: int
    episodes: int
    scenarios: Mapping[str, float]
    losses: Mapping[str, float]

    @property
    def success(self) -> float:
        """Share of successes."""
        return self.successes / self.episodes

    def curves(self) -> dict[str, float]:
        """Points of TensorBoard's curves."""
        values = {"closed_loop/success": self.success}
        values |= {f"closed_loop/{scenario}": share for scenario, share in self.scenarios.items()}
        return values | {f"validation/{name}": value for name, value in self.losses.items()}

    def line(self) -> str:
        """For people."""
        losses = ", ".join(f"{name} {value:.3g}" for name, value in self.losses.items())
        validation = f"; validation: {losses}" if losses else ""
        return f"step {self.step}: success {self.success:.1%} ({self.successes} of {self.episodes}){validation}"


def fit(
    trainer: Trainer,
    plan: FitPlan,
    *,
    validation: Sequence[Demonstrations] = (),
    workers: int = 1,
    curves: bool = True,
) -> Path:
    """Train, check at the closed loop now and then, keep the best; started again, it goes on where it was.

    Args:
        trainer: with its data; its folder gets everything.
        plan: how long, and when to check.
        validation: episodes that are not learned from; their loss is recorded.
        workers: processes that drive.
        curves: whether to write them for TensorBoard.

    Returns:
        The folder of the best policies, complete: `policy` in the trainer's folder.
    """
    out = trainer.out_dir
    if (out / BEST).exists():
        return out / POLICY
    if trainer.checkpoint.exists():
        trainer.load()
    for folder in (out, out / CHECKS):
        sweep_aside(folder)
    # What an interrupted run drew beyond its checkpoint is drawn anew.
    board = TensorBoardLog(out / "tensorboard", first_step=trainer.step + 1) if curves else None
    try:
        return _fit(trainer, plan, validation, workers, board)
    finally:
        if board:
            board.close()


def _fit(
    trainer: Trainer,
    plan: FitPlan,
    validation: Sequence[Demonstrations],
    workers: int,
    board: TensorBoardLog | None,
) -> Path:
    out = trainer.out_dir
    checks: list[Check] = []
    for step in plan.checks:
        record = out / CHECKS / f"{step:06}.json"
        new = not record.exists()
        if new:
            trainer.run(STAGE, steps=plan.steps, until=step, decay=True, log=board.curve if board else None)
            check = _check(trainer, plan, step, validation, workers)
            write_whole(record, (json.dumps(vars(check), indent=1) + "\n").encode())
            log.info(check.line())
            if board:
                board.add(check.curves(), check.step)
        checks.append(Check(**json.loads(record.read_text("utf-8"))))
        # Among equals the last: its learning rate has fallen furthest.
        best = max(checks, key=lambda found: (found.successes, found.step))
        if new:  # only then are all checks known
            _forget_all_but(out / CHECKS, best.step)
        first_best = min(found.step for found in checks if found.successes == best.successes)
        if plan.patience and sum(found.step > first_best for found in checks) >= plan.patience:
            log.info(f"no better for {plan.patience} checks: stopped after {step} steps")
            break
    return _keep(out, best, checks)


def _check(trainer: Trainer, plan: FitPlan, step: int, validation: Sequence[Demonstrations], workers: int) -> Check:
    folder = trainer.out_dir / CHECKS / f"{step:06}"
    # Left by a run that was killed before its check was complete.
    shutil.rmtree(folder, ignore_errors=True)
    with whole_folder(folder) as aside:
        trainer.export(aside / POLICY)
    found = plan.suite.drive(folder / POLICY / plan.driver, folder / "drives", workers=workers)
    return Check(step, sum(found.values()), len(found), by_scenario(found), _losses(trainer, validation))


def _losses(trainer: Trainer, validation: Sequence[Demonstrations]) -> dict[str, float]:
    """Means over all frames."""
    frames = [int(part.mask.sum()) for part in validation]
    found = [trainer.validate(part) for part in validation]
    return {
        name: round(sum(n * losses[name] for n, losses in zip(frames, found, strict=True)) / sum(frames), 6)
        for name in (found[0] if found else ())
    }


def _forget_all_but(folder: Path, step: int) -> None:
    for path in folder.glob("[0-9]*"):
        if path.is_dir() and path.name != f"{step:06}":
            shutil.rmtree(path)


def _keep(out: Path, best: Check, checks: Sequence[Check]) -> Path:
    shutil.rmtree(out / POLICY, ignore_errors=True)
    with whole_folder(out / POLICY) as aside:
        shutil.copytree(out / CHECKS / f"{best.step:06}" / POLICY, aside, dirs_exist_ok=True)
    document = {"format": 1, "best_step": best.step, "looks": [vars(check) for check in checks]}
    write_whole(out / BEST, (json.dumps(document, indent=1) + "\n").encode())
    return out / POLICY
