"""`python -m vla_sim.train_rows`: the models of the benchmark's rows: small backbones, then a head for each row."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_sim.cli import run_command

if TYPE_CHECKING:
    from vla_sim.learning.batches import Sequences

EPILOG = """DATA is the folder `data` that `python -m vla_sim.train --out runs/train` leaves: all rows learn from these
demonstrations, made from seeds below 100000. Started again on the same folder OUT, it goes on where it was interrupted.

examples:
  python -m vla_sim.train_rows --data runs/train/data --out runs/rows --publish policies"""


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.train_rows`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.train_rows",
        description=__doc__.split(": ", 1)[1],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--data", type=Path, default=Path("runs/train/data"), metavar="DIR", help="demonstrations")
    made.add_argument("--out", type=Path, default=Path("runs/rows"), metavar="DIR", help="working folder")
    made.add_argument("--backbones", nargs="+", default=["clip", "kosmos2"], choices=["clip", "kosmos2"])
    made.add_argument("--seed", type=int, default=0, help="of weights and batches (default %(default)s)")
    made.add_argument("--scale", type=float, default=1.0, help="factor on the steps, for a quick try")
    made.add_argument("--threads", type=int, default=2, help="threads that learn")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    import torch

    from vla_sim.learning.backbones import train_backbone
    from vla_sim.learning.recorded import read_rounds

    torch.set_num_threads(options.threads)
    parts: list[Sequences] = read_rounds(options.data)
    for name in options.backbones:
        train_backbone(name, parts, options.out, seed=options.seed, scale=options.scale, log=_print_line)
    return 0


def _print_line(line: Mapping[str, Any]) -> None:
    print(" ".join(f"{key}={value}" for key, value in line.items()), flush=True)


if __name__ == "__main__":
    sys.exit(main())
