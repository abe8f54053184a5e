"""Let a policy drive, label what it meets, learn from it, and keep only the rounds that win against the one before."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.cli import run_command
from vla_sim.core.run_options import LearningRunOptions
from vla_sim.training.options import DaggerConfig

EPILOG = """A round: the policy drives in turns with the expert, the expert labels every state, the policy learns from
all of it, and is accepted if it succeeds in more worlds than the last accepted one (the same worlds for both, McNemar's
exact test); otherwise it is dropped. Worlds to learn from, to choose by and to compare by are different seeds, all
below 100000; the report at the end uses seeds from 100000 on. A run that goes on may have more --rounds.

examples:
  python -m vla_sim.dagger --init clip_lstm --rounds 5 --out runs/dagger
  python -m vla_sim.dagger --init runs/clone/policy/clip_lstm --data real=recordings --suite seed --out runs/seed
  python -m vla_sim.dagger --resume runs/dagger --rounds 8"""


@dataclass(frozen=True, kw_only=True)
class Options(LearningRunOptions, DaggerConfig):
    """What `vla_sim.dagger` is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG, remembers=lambda options: True)


def run(options: Options) -> int:
    """Run the rounds; returns the exit code."""
    from vla_sim.training.dagger_run import run_dagger

    assert options.out is not None
    run_dagger(options, options.out, workers=options.workers, threads=options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
