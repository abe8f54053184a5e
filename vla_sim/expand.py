"""Fill a set of recordings up with simulated episodes, balanced over side, distance and scenario."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.cli import run_command
from vla_sim.core.run_options import RecordingRunOptions
from vla_sim.rollout.expanding import ExpandConfig

EPILOG = """Recordings are HDF5 files or folders of images as serbot has them. They are kept as they are (hard
links where the disk allows, else copies). The simulated ones have their image size, channel order and still first
frame. A cell is a scenario, its side and a distance; episodes are added to the emptiest cells, mirrored scenarios
included.

examples:
  python -m vla_sim.expand --data recordings --target-episodes 200 --plan
  python -m vla_sim.expand --data recordings --target-episodes 200 --out data/expanded
  python -m vla_sim.expand --resume data/expanded

results: OUT with all episodes and manifest.jsonl, which says what was recorded and what simulated; see docs/data.md"""


@dataclass(frozen=True, kw_only=True)
class Options(RecordingRunOptions, ExpandConfig):
    """What `vla_sim.expand` is told."""

    plan: bool = False
    """Show what would be added to which cell, and end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(
        run, Options, arguments, epilog=EPILOG, remembers=lambda options: not options.plan, data_set=True
    )


def run(options: Options) -> int:
    """Plan, and fill; returns the exit code."""
    from vla_sim.rollout.expanding import expand

    expand(options, None if options.plan else options.out, workers=options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
