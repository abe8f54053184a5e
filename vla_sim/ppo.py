"""`python -m vla_sim.ppo`: learn to drive by trial and reward (PPO of Stable-Baselines3), as a policy for `eval`."""

from __future__ import annotations

import argparse
import importlib.util
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.training.ppo import PpoPlan

EPILOG = """\
--kind state: a small network learns from ground truth (places of goal and obstacles), without pictures. It is an
upper bound and an expert, not a policy for a robot; reports mark it as privileged.
--kind features: the action head of a trained policy (type clip, head mlp) learns on, on top of its frozen encoder,
from the head's own weights. The result is an ordinary policy folder that sees pictures only.

DIR gets `policy`, the folder to evaluate, and `curve.json`. Training uses worlds of seeds below 92000. Interrupted, it
goes on when started again; --steps and --minutes may then be larger. Going on reads Stable-Baselines3's checkpoint in
DIR, which is a pickle: go on only in folders that you made. Driving and evaluating never read it.

examples:
  python -m vla_sim.ppo --kind state --suite core --minutes 10 --steps 2000000 --out runs/ppo_state
  python -m vla_sim.ppo --kind features --scenario obstacle_left obstacle_right --steps 50000 --out runs/ppo_head
  python -m vla_sim.eval --policy runs/ppo_state/policy --suite core --episodes 50"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.ppo`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.ppo",
        description="Learn to drive by trial and reward: PPO of Stable-Baselines3.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--kind", required=True, metavar="KIND", help="what is observed: state or features (see below)")
    made.add_argument("--scenario", nargs="+", default=[], metavar="NAME", help="scenarios to drive, names or files")
    made.add_argument("--suite", nargs="+", default=[], metavar="NAME", help="suites to drive")
    made.add_argument("--embodiment", default="serbot", help="default %(default)s")
    made.add_argument("--policy", help="features: whose encoder and head to start from (default clip_mlp)")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="working folder")
    made.add_argument("--publish", type=Path, metavar="DIR", help="copy the policy into this folder, as ppo_KIND")
    made.add_argument("--seed", type=int, default=0, help="number of the run (default %(default)s)")
    made.add_argument("--threads", type=int, default=1, help="of torch (default %(default)s; more seldom pays)")
    ends = made.add_argument_group("how long; whatever comes first")
    ends.add_argument(
        "--steps", type=int, default=1_000_000, help="control steps in all, rounded up to rollouts (%(default)s)"
    )
    ends.add_argument("--minutes", type=float, default=math.inf, help="of wall clock in all (default: no limit)")
    tuning = made.add_argument_group("learning (defaults depend on the kind)")
    tuning.add_argument("--lanes", type=int, help="worlds side by side (16; features 8)")
    tuning.add_argument("--rollout", type=int, help="steps of each world between two updates (64)")
    tuning.add_argument("--batch", type=int, help="steps in a batch (256; features 128)")
    tuning.add_argument("--epochs", type=int, help="passes over each rollout (10; features 5)")
    tuning.add_argument("--learning-rate", type=float, help="3e-4; features 1e-4")
    tuning.add_argument("--discount", type=float, help="of rewards, each step (0.98)")
    tuning.add_argument("--deviation", type=float, help="spread of the first actions, share of full speed (0.6; 0.2)")
    tuning.add_argument("--entropy", type=float, help="bonus for spread actions (0)")
    tuning.add_argument("--critic-first", type=int, help="steps in which only the critic learns (0; features 4096)")
    tuning.add_argument(
        "--no-mirror", dest="mirror", action="store_false", help="state: learn left and right each for itself"
    )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.errors import UserError

    if importlib.util.find_spec("stable_baselines3") is None:
        raise UserError("reinforcement learning needs Stable-Baselines3: pip install 'vla-sim[rl]'")
    import torch

    from vla_sim.core.files import FolderLock
    from vla_sim.training.ppo import Reinforcement, line

    _check(options)
    torch.set_num_threads(options.threads)
    plan = _plan(options)
    options.out = options.out.resolve()
    with FolderLock(options.out), Reinforcement(plan, options.out) as run:
        run.train(options.steps, options.minutes, _say)
        folder = run.export()
        if run.curve:
            _say(line(run.curve[-1]))
        _say(f"{run.model.num_timesteps:,} steps in {run.seconds / 60:.1f} min; the policy is {folder}")
        if options.publish:
            _publish(options.out, folder, options.publish / f"ppo_{plan.kind}")
    return 0


def _check(options: argparse.Namespace) -> None:
    from vla_sim.core.errors import UserError

    for name in ("steps", "threads"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if not options.minutes > 0:
        raise UserError(f"--minutes must be positive, got {options.minutes:g}")
    if options.policy and options.kind == "state":
        raise UserError(f"--policy {options.policy} is for --kind features; a network on ground truth begins untrained")


def _plan(options: argparse.Namespace) -> PpoPlan:
    from vla_sim.core.errors import UserError
    from vla_sim.scenarios import load_scenario, load_suite
    from vla_sim.training.ppo import PpoPlan

    names = [scenario.name for suite in options.suite for scenario in load_suite(suite)]
    for name in options.scenario:
        load_scenario(name)
        names.append(name)
    if not names:
        raise UserError("name what to drive with --suite or --scenario")
    tuned = ("lanes", "rollout", "batch", "epochs", "learning_rate", "discount", "deviation", "entropy", "critic_first")
    return PpoPlan.usual(
        options.kind,
        tuple(dict.fromkeys(names)),
        embodiment=options.embodiment,
        policy=options.policy,
        seed=options.seed,
        mirror=options.mirror,
        **{name: getattr(options, name) for name in tuned},
    )


def _publish(out: Path, folder: Path, target: Path) -> None:
    """Copy the policy, and the encoder it needs where that lies beside it and not yet beside the copy."""
    from vla_sim.policies.folders import PolicyFolder

    shutil.copytree(folder, target, dirs_exist_ok=True)
    for name in PolicyFolder.read(folder).needs():
        if (out / name).is_dir() and not (target.parent / name).exists():
            shutil.copytree(out / name, target.parent / name)
    _say(f"published as {target}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
