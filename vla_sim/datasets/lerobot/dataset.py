"""LeRobotDataset v3.0 as a data set, see `vla_sim.datasets.dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vla_sim.core.episode import Episode
from vla_sim.datasets.base import AS_IT_IS, Dataset, Format, ReadOptions, open_all
from vla_sim.datasets.lerobot.format import INFO_PATH
from vla_sim.datasets.lerobot.reader import LeRobotReader


class LeRobotDataset(Dataset):
    """The episodes of one LeRobot set."""

    format = "lerobot"

    def __init__(self, path: Path, options: ReadOptions = AS_IT_IS) -> None:
        super().__init__(path, options)
        self.reader = LeRobotReader(path, options, partial=options.skip_bad or options.as_stored)
        self.faults = tuple(self.reader.faults)

    def __len__(self) -> int:
        return len(self.reader)

    def episode(self, index: int) -> Episode:
        """See `Dataset`."""
        return self.reader.recording(index).episode()

    def place(self, index: int) -> str:
        """See `Dataset`."""
        return f"{self.path.resolve().name}#{index}"

    @property
    def robot(self) -> str:
        """See `Dataset`."""
        return str(self.reader.info.get("robot_type") or "")


def _open(path: Path, found: Sequence[Path], options: ReadOptions) -> Dataset:
    return open_all(path, found, options, LeRobotDataset)


def _looks_like(path: Path) -> bool:
    return (path / INFO_PATH).exists() or (path / "meta" / "episodes").is_dir()


FORMAT = Format("lerobot", f"LeRobotDataset v3.0 ({INFO_PATH})", _looks_like, _open)
