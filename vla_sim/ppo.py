"""Learn to drive by trial and reward: PPO of Stable-Baselines3."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.bounds import Workers
from vla_sim.core.cli import run_command
from vla_sim.core.options import OptionalFolder
from vla_sim.core.run_options import RunFolderOptions
from vla_sim.training.options import PpoConfig

EPILOG = """\
--kind state: a small network learns from privileged state (places of goal and obstacles), without images. It is an
upper bound and an expert, not a policy for a robot; reports mark it as privileged.
--kind features: the action head of a learned policy (an MLP whole, of other heads the last layer) learns on, on top of
its frozen encoder, from the head's own weights. The result is an ordinary policy folder that sees images only.

DIR gets `policy`, the folder to evaluate, and `curve.json`. Training uses worlds of seeds below 92000. A run that
goes on may have more --control-steps and --minutes.

examples:
  python -m vla_sim.ppo --kind state --suite core --minutes 10 --control-steps 2000000 --out runs/ppo_state
  python -m vla_sim.ppo --resume runs/ppo_state --minutes 30
  python -m vla_sim.ppo --kind features --scenario obstacle_left obstacle_right --out runs/ppo_head --minutes 5
  python -m vla_sim.eval --policy runs/ppo_state/policy --suite core --episodes 50"""


@dataclass(frozen=True, kw_only=True)
class Options(RunFolderOptions, PpoConfig):
    """What `vla_sim.ppo` is told."""

    threads: Workers = 1
    """Threads that learn; more seldom pays."""
    publish: OptionalFolder = None
    """Copy the policy into this folder, as ppo_KIND."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG, remembers=lambda options: True)


def run(options: Options) -> int:
    """Train; returns the exit code."""
    from vla_sim.training.ppo_run import run_ppo

    assert options.out is not None
    run_ppo(options, options.out, threads=options.threads, publish=options.publish)
    return 0


if __name__ == "__main__":
    sys.exit(main())
