"""PPO into a folder, from config to policy. Used by `vla_sim.ppo`."""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.errors import UserError
from vla_sim.training.options import PpoConfig

if TYPE_CHECKING:
    from vla_sim.training.ppo_plan import PpoPlan

log = logging.getLogger(__name__)


def run_ppo(
    config: PpoConfig,
    out: Path,
    *,
    threads: int = 1,
    publish: Path | None = None,
) -> Path:
    """Train until the steps are done or the minutes are over; goes on where an earlier call ended.

    Args:
        config: what to learn, and for how long.
        out: folder of the run.
        threads: threads that learn.
        publish: folder to copy the policy into, as ppo_KIND.

    Returns:
        The folder of the policy.

    Raises:
        UserError: Stable-Baselines3 is missing, unknown names, or the folder belongs to another run.
    """
    if importlib.util.find_spec("stable_baselines3") is None:
        raise UserError("reinforcement learning needs Stable-Baselines3: pip install 'vla-sim[rl]'")
    if config.init and config.kind == "state":
        raise UserError(f"--init {config.init} is for --kind features; a network on privileged state begins untrained")
    import torch

    from vla_sim.core.files import FolderLock
    from vla_sim.training.ppo import Reinforcement, line

    torch.set_num_threads(threads)
    plan, out = _plan(config), out.resolve()
    with FolderLock(out), Reinforcement(plan, out) as run:
        run.train(config.control_steps, math.inf if config.minutes is None else config.minutes)
        folder = run.export()
        if run.curve:
            log.info(line(run.curve[-1]))
        log.info(f"{run.model.num_timesteps:,} steps in {run.seconds / 60:.1f} min; the policy is {folder}")
        if publish:
            target = publish / f"ppo_{plan.kind}"
            _publish(out, folder, target)
            log.info(f"published as {target}")
    return folder


def _plan(config: PpoConfig) -> PpoPlan:
    from vla_sim.scenarios import chosen_scenarios
    from vla_sim.training.ppo_plan import PpoPlan

    names = tuple(chosen_scenarios(config.scenario, config.suite))
    if not names:
        raise UserError("name what to drive with --suite or --scenario")
    tuned = dataclasses.asdict(config.tuning)
    return PpoPlan.usual(
        config.kind, names, embodiment=config.embodiment, policy=config.init, seed=config.seed, **tuned
    )


def _publish(out: Path, folder: Path, target: Path) -> None:
    """Copy the policy, and the encoder it needs where that lies beside it and not yet beside the copy."""
    from vla_sim.policies.folders import PolicyFolder

    shutil.copytree(folder, target, dirs_exist_ok=True)
    for name in PolicyFolder.read(folder).needs():
        if (out / name).is_dir() and not (target.parent / name).exists():
            shutil.copytree(out / name, target.parent / name)
