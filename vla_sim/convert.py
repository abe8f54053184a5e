"""Convert a data set to HDF5 files or to LeRobotDataset v3.0."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vla_sim.core.bounds import Pixels
from vla_sim.core.cli import counted, run_command
from vla_sim.core.run_options import RunFolderOptions
from vla_sim.datasets.writing import SourceOptions

EPILOG = """The source may have any format that audit knows; which, is seen from its files. One episode is in memory at
a time. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.convert --data recordings --out data/lerobot --format lerobot
  python -m vla_sim.convert --data recordings --out data/lerobot --format lerobot --columns vx wz gripper
  python -m vla_sim.convert --data data/lerobot --out data/hdf5 --format hdf5 --store-as bgr
  python -m vla_sim.convert --data data/others --out data/hdf5 --format hdf5 --columns base_x=vx base_y=vy
  python -m vla_sim.convert --resume data/lerobot"""


@dataclass(frozen=True, kw_only=True)
class Options(RunFolderOptions, SourceOptions):
    """What `vla_sim.convert` is told."""

    image_px: tuple[Pixels, Pixels] | None = None
    """Width and height of the images (default: as they are)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG, remembers=lambda options: True, data_set=True)


def run(options: Options) -> int:
    """Convert; returns the exit code."""
    from vla_sim.datasets.converting import convert

    assert options.out is not None
    reading = replace(options.reading, image_px=options.image_px)
    count = convert(options.data, options.out, reading, options.writing)
    print(f"{options.out}: {counted(count, 'episode')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
