"""Say what is wrong with a data set before anyone trains on it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from vla_sim.core.bounds import Count
from vla_sim.core.cli import run_command
from vla_sim.core.errors import UserError
from vla_sim.core.options import Folder, OptionalFolder
from vla_sim.datasets.base import AS_IT_IS, ReadOptions

EPILOG = """--data is a data set of any format that the other commands read, or a folder of such folders.
Folders named val, eval or test are the evaluation split.

examples:
  python -m vla_sim.audit --data data/recordings
  python -m vla_sim.audit --data data/train --evaluation data/heldout --out runs/audit

results with --out: OUT/audit.html (one page, opens anywhere), OUT/audit.json
exit code: 0 fit or usable with care, 1 unfit for training, 2 bad input
what each finding means and how it is measured: docs/audit.md"""
UNFIT_CODE = 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.audit` is told."""

    data: Folder
    """The data set, of any format; or a folder of several."""
    evaluation: OptionalFolder = None
    """The evaluation set that goes with it."""
    out: OptionalFolder = None
    """Output folder (default: print only); gets audit.html and audit.json."""
    max_images: Count = 300
    """Episodes whose images are looked at, 0 for none."""
    thorough: bool = False
    """Load every episode as training does, to find damage in the middle too."""
    reading: ReadOptions = AS_IT_IS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(run, Options, arguments, epilog=EPILOG)


def run(options: Options) -> int:
    """Examine, print, write; returns the exit code."""
    from vla_sim.core.files import clear_errors
    from vla_sim.datasets.audit.examine import EMPTY, UNFIT, examine
    from vla_sim.datasets.audit.recorded import EVALUATION
    from vla_sim.datasets.audit.sources import open_folder
    from vla_sim.datasets.audit.text import text_of, write_audit

    if options.out:
        if options.out.is_file():
            raise UserError(f"--out {options.out} is a file, not a folder")
        with clear_errors(options.out):  # before the work, not after it
            options.out.mkdir(parents=True, exist_ok=True)
    sets = open_folder(options.data, options=options.reading)
    if options.evaluation:
        sets += open_folder(options.evaluation, EVALUATION, options.reading)
    show = _progress if sys.stderr.isatty() else None
    audit = examine(
        sets,
        with_images=options.max_images > 0 or options.thorough,
        max_images=max(1, options.max_images),
        thorough=options.thorough,
        on_progress=show,
    )
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    print(text_of(audit))
    if options.out:
        write_audit(audit, options.out)
        print(f"\nreport: {options.out / 'audit.html'}")
    return UNFIT_CODE if audit.verdict in (UNFIT, EMPTY) else 0


def _progress(what: str, done: int, total: int) -> None:
    print(f"\r\033[K{what}: {done}" + (f" of {total}" if total else ""), end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
