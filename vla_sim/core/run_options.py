"""Options that commands share: the folder of a run, and the processes that fill it. Commands inherit from these."""

from __future__ import annotations

from dataclasses import dataclass

from vla_sim.core.bounds import Workers
from vla_sim.core.options import OptionalFolder


@dataclass(frozen=True, kw_only=True)
class RunFolderOptions:
    """Where a run begins or goes on."""

    out: OptionalFolder = None
    """Output folder (default: runs/COMMAND-TIME)."""
    resume: OptionalFolder = None
    """Go on with what was begun in this folder."""


@dataclass(frozen=True, kw_only=True)
class RecordingRunOptions(RunFolderOptions):
    """Of a command that fills a data set."""

    workers: Workers = 2
    """Processes; files are the same for any number."""


@dataclass(frozen=True, kw_only=True)
class LearningRunOptions(RunFolderOptions):
    """Of a command that drives and learns."""

    workers: Workers = 2
    """Processes; they drive."""
    threads: Workers = 2
    """Threads that learn."""
