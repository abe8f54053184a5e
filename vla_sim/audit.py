"""`python -m vla_sim.audit`: say what is wrong with a data set before anyone trains on it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vla_sim.core.cli import run_command

if TYPE_CHECKING:
    from vla_sim.datasets.audit.examine import Audit

EPILOG = """DIR is a LeRobot data set (v3.0), a folder of HDF5 recordings, or a folder of such folders.
Folders named val, eval or test are the evaluation split.

examples:
  python -m vla_sim.audit data/recordings
  python -m vla_sim.audit data/train --evaluation data/heldout --out runs/audit

results with --out: OUT/audit.html (one page, opens anywhere), OUT/audit.json
exit code: 0 fit or usable with care, 1 unfit for training, 2 bad input
what each finding means and how it is measured: docs/audit.md"""
UNFIT_CODE = 1


def parser() -> argparse.ArgumentParser:
    """The command line of `vla_sim.audit`."""
    made = argparse.ArgumentParser(
        prog="python -m vla_sim.audit",
        description="Say what is wrong with a data set before anyone trains on it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("folder", type=Path, metavar="DIR", help="the data set")
    made.add_argument("--evaluation", type=Path, metavar="DIR", help="the evaluation set that goes with it")
    made.add_argument("--out", type=Path, metavar="OUT", help="folder for audit.html and audit.json")
    made.add_argument(
        "--pictures",
        type=int,
        default=300,
        metavar="N",
        help="episodes whose pictures are looked at, 0 for none (default %(default)s)",
    )
    made.add_argument("--thorough", action="store_true", help="decode every picture, to find damage in the middle too")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return run_command(_run, parser(), arguments)


def _run(options: argparse.Namespace) -> int:
    from vla_sim.core.errors import UserError
    from vla_sim.core.files import clear_errors
    from vla_sim.datasets.audit.examine import EMPTY, UNFIT, examine
    from vla_sim.datasets.audit.recorded import EVALUATION
    from vla_sim.datasets.audit.sources import comparable, open_folder

    if options.pictures < 0:
        raise UserError(f"--pictures must not be negative, got {options.pictures}")
    if options.out:
        if options.out.is_file():
            raise UserError(f"--out {options.out} is a file, not a folder")
        with clear_errors(options.out):  # before the work, not after it
            options.out.mkdir(parents=True, exist_ok=True)
    sets = open_folder(options.folder)
    if options.evaluation:
        sets += open_folder(options.evaluation, EVALUATION)
    show = _progress if sys.stderr.isatty() else None
    audit = examine(
        comparable(sets),
        with_pictures=options.pictures > 0 or options.thorough,
        most_pictures=max(1, options.pictures),
        thorough=options.thorough,
        on_progress=show,
    )
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    print(text_of(audit))
    if options.out:
        _write(audit, options.out)
        print(f"\nreport: {options.out / 'audit.html'}")
    return UNFIT_CODE if audit.verdict in (UNFIT, EMPTY) else 0


def _progress(what: str, done: int, total: int) -> None:
    print(f"\r\033[K{what}: {done}" + (f" of {total}" if total else ""), end="", file=sys.stderr, flush=True)


def text_of(audit: Audit) -> str:
    """The audit for a terminal: the verdict and its first reason in the first line, then all findings."""
    from vla_sim.datasets.audit.findings import Severity

    lines = [audit.headline, ""]
    fine = [f for f in audit.findings if f.severity is Severity.GOOD]
    for finding in audit.findings:
        if finding.severity is Severity.GOOD:
            continue
        lines.append(f"{finding.severity.value:8}  {finding.title}")
        if finding.advice:
            lines.append(f"{'':10}-> {finding.advice}")
    if fine:
        lines.append(f"fine      {'; '.join(f.title for f in fine)}")
    return "\n".join(lines)


def _write(audit: Audit, out: Path) -> None:
    import json

    from vla_sim.core.files import write_whole
    from vla_sim.datasets.audit.report import render

    page = render(audit)
    write_whole(out / "audit.json", json.dumps(audit.to_json(), indent=2, ensure_ascii=False).encode() + b"\n")
    write_whole(out / "audit.html", page.encode("utf-8", "backslashreplace"))


if __name__ == "__main__":
    sys.exit(main())
