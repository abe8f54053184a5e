"""`python -m vla_sim.convert`: a data set in another format, or with other components, sizes or channel order."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vla_sim.core.cli import counted, run_command

EPILOG = """The source may have any format that audit knows; which, is seen from its files. One episode is in memory at
a time. Interrupted, it goes on when started again.

examples:
  python -m vla_sim.convert --from recordings --out data/lerobot --format lerobot
  python -m vla_sim.convert --from recordings --out data/lerobot --format lerobot --columns vx wz gripper
  python -m vla_sim.convert --from data/lerobot --out data/hdf5 --format hdf5 --store-as bgr
  python -m vla_sim.convert --from data/others --out data/hdf5 --format hdf5 --columns base_x=vx base_y=vy"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.convert`."""
    from vla_sim.datasets.base import add_read_options
    from vla_sim.datasets.writing import add_write_options

    made = argparse.ArgumentParser(
        prog="python -m vla_sim.convert",
        description="Convert a data set to HDF5 files or to LeRobotDataset v3.0.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--from", type=Path, required=True, dest="source", metavar="DIR", help="the data set")
    made.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new one")
    made.add_argument("--image-px", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="squeeze images to this size")
    add_read_options(made)
    add_write_options(made, default=None)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.datasets.base import read_options
    from vla_sim.datasets.converting import convert
    from vla_sim.datasets.writing import write_options

    count = convert(options.source, options.out, read_options(options), write_options(options))
    print(f"{options.out}: {counted(count, 'episode')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
