"""Curves for TensorBoard, where it is installed (extra `learn`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

NUMBERS = ("learning_rate", "images_per_s")


class TensorBoardLog:
    """Writes event files; without TensorBoard it writes nothing and says so once.

    Args:
        folder: of the event files.
        first_step: what an interrupted run wrote from this step on is left out of the curves.
    """

    def __init__(self, folder: Path, *, first_step: int = 0) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("no TensorBoard logs: pip install 'vla-sim[learn]'")
            return
        self._writer = SummaryWriter(str(folder), purge_step=first_step)

    def close(self) -> None:
        """See everything written."""
        if self._writer is not None:
            self._writer.close()

    def curve(self, line: Mapping[str, Any]) -> None:
        """Add a line of `training.jsonl`."""
        values = {f"train/{name}": value for name, value in line.items() if name.startswith("loss_")}
        values |= {f"train/{name}": line[name] for name in NUMBERS}
        self.add(values, line["step"])

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add points to curves, by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
            self._writer.flush()
