"""Learn from a mixture of demonstrations, stopped by success in the closed loop."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.cli import run_command
from vla_sim.core.run_options import LearningRunOptions
from vla_sim.training.options import CloneConfig

EPILOG = """Demonstrations are a folder of recordings (HDF5), a LeRobot data set, or simulated rounds (OUT/data of
recipes.train_shipped or vla_sim.dagger). The weight says how often they are drawn, whatever their size.
Every --check-every steps the policy drives through worlds of its own (seeds 92000 to 95999, never those of training
or of evaluations); the best state is kept. Validation loss is recorded beside it.
The folder OUT gets policy/ (clip_lstm and clip_mlp on one encoder, and their ensemble), best.json, training.jsonl and
tensorboard/.

examples:
  python -m vla_sim.clone --data real=recordings:0.5 synthetic=data/expanded:0.5 --suite seed --out runs/clone
  python -m vla_sim.clone --data real=recordings --init clip_lstm --steps 500 --learning-rate 3e-4
  python -m vla_sim.clone --resume runs/clone"""


@dataclass(frozen=True, kw_only=True)
class Options(LearningRunOptions, CloneConfig):
    """What `vla_sim.clone` is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG, remembers=lambda options: True)


def run(options: Options) -> int:
    """Train; returns the exit code."""
    from vla_sim.training.cloning import clone

    assert options.out is not None
    clone(options, options.out, workers=options.workers, threads=options.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
