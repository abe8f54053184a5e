"""Drive in the simulator and keep the episodes as a data set: images, actions, sentences, outcomes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.cli import run_command
from vla_sim.core.run_options import RecordingRunOptions
from vla_sim.rollout.collection import CollectConfig

EPILOG = """Scenarios take turns; world, noise and habits follow from the seed, so the same command gives the same
files for any number of workers. Seeds lie below 100000: no world of an
evaluation is seen.

examples:
  python -m vla_sim.collect --policy expert --suite seed --episodes 200 --out data/expert --format hdf5
  python -m vla_sim.collect --scenario obstacle_left obstacle_right --episodes 100 --noise 0.5 --out data/noisy
  python -m vla_sim.collect --suite seed --episodes 200 --out data/lerobot --format lerobot
  python -m vla_sim.collect --resume data/lerobot

results: DIR with one HDF5 file an episode and manifest.jsonl (scenario, seed, outcome, sha256 of each), or with a
LeRobotDataset v3.0. Formats, columns and channel order: docs/data.md"""


@dataclass(frozen=True, kw_only=True)
class Options(RecordingRunOptions, CollectConfig):
    """What `vla_sim.collect` is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG, remembers=lambda options: True, data_set=True)


def run(options: Options) -> int:
    """Collect; returns the exit code."""
    from vla_sim.rollout.collection import collect_set

    assert options.out is not None
    collect_set(options, options.out, workers=options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
