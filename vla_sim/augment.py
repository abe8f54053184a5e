"""Make altered copies of recordings as a data set: mirrored, in another light, redrawn."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.augmentation.augmenting import AugmentConfig
from vla_sim.core.cli import run_command
from vla_sim.core.run_options import RecordingRunOptions

EPILOG = """A recipe names augmentations between commas; each copy goes through all of them in this order. Some take a
value, as in light=0.5. Several --recipe make copies each. What drives or draws a world again (perturb, then rerender)
comes first.

{kinds}

What is drawn follows from the seed, the recording's place and the copy: the same command gives the same files for any
number of workers.

examples:
  python -m vla_sim.augment --data data/expert --out data/more --recipe mirror,light,colour --copies 1
  python -m vla_sim.augment --data data/expert --out data/more --recipe rerender,noise=0.5 --recipe perturb --copies 3
  python -m vla_sim.augment --data recordings --out data/all --recipe mirror --with-originals
  python -m vla_sim.augment --resume data/all"""


@dataclass(frozen=True, kw_only=True)
class Options(RecordingRunOptions, AugmentConfig):
    """What `vla_sim.augment` is told."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    from vla_sim.augmentation.recipe import KINDS

    listed = "\n".join(
        f"  {name:10} {kind.help}" + (f" (value: {kind.value})" if kind.value else "") for name, kind in KINDS.items()
    )
    epilog = EPILOG.format(kinds=listed)
    return run_command(run, Options, arguments, epilog=epilog, remembers=lambda options: True, data_set=True)


def run(options: Options) -> int:
    """Augment; returns the exit code."""
    from vla_sim.augmentation.augmenting import augment

    assert options.out is not None
    augment(options, options.out, workers=options.workers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
