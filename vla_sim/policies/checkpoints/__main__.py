"""Say what a checkpoint holds, and propose a `config.json` with which it drives."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from vla_sim.core.cli import run_command
from vla_sim.core.options import named

EPILOG = """A config.json beside the file is tried: the report says which weights matched. Without one, a proposal is
printed (--write puts it there): check its units, images and colours against your training before you trust a result.
Nothing in the file is executed. See docs/checkpoints.md."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `vla_sim.policies.checkpoints` is told."""

    file: Annotated[Positional[Path], named("FILE")]
    """A .pt, .pth or .ckpt file."""
    write: bool = False
    """Write config.json beside the file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_command(_run, Options, arguments, epilog=EPILOG)


def _run(options: Options) -> int:
    from vla_sim.policies.checkpoints.files import SUFFIXES, folder_of, is_checkpoint
    from vla_sim.policies.folders import PolicyError

    path = options.file
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise PolicyError(f"{path} is no {', '.join(SUFFIXES)} file")
    if is_checkpoint(path) and not options.write:
        from vla_sim.policies.checkpoints.loading import load_checkpoint

        print(load_checkpoint(folder_of(path)).report.text)
        return 0
    from vla_sim.policies.checkpoints.proposing import proposed_config, write_config

    layout, config = proposed_config(path)
    print(f"{path.name}: layout {layout.name} ({layout.description})")
    if options.write:
        print(f"wrote {write_config(path, config)}: check it, then drive with --policy {path}")
    else:
        print(json.dumps(config, ensure_ascii=False, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
