"""What the recipes of our own weights share: options of a training, its printed lines, publishing what it made."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_sim.core.bounds import Positive, Seed, Workers
from vla_sim.core.options import OptionalFolder


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Of a recipe that trains."""

    publish: OptionalFolder = None
    """Copy the finished policies into this folder."""
    seed: Seed = 0
    """Of random numbers: weights, batches, and worlds that are driven to learn from."""
    scale: Positive = 1.0
    """Factor on steps, and on episodes to collect, for a quick try."""
    workers: Workers = 2
    """Processes that drive."""
    threads: Workers = 2
    """Threads that learn."""


def publish(source: Path, target: Path) -> None:
    """Copy the policies of a folder, over those of the same names."""
    for folder in sorted(source.iterdir()):
        shutil.copytree(folder, target / folder.name, dirs_exist_ok=True)


def print_line(line: Mapping[str, Any]) -> None:
    """Show a line of a training's log."""
    print(" ".join(f"{key}={value}" for key, value in line.items()), flush=True)
