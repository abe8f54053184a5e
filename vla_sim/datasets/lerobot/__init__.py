"""LeRobotDataset v3.0: writes and reads the data sets that LeRobot trains on. See docs/data.md."""

from vla_sim.datasets.lerobot.finished import is_finished
from vla_sim.datasets.lerobot.format import lowest_fps
from vla_sim.datasets.lerobot.reader import LeRobotReader, LeRobotRecording
from vla_sim.datasets.lerobot.writer import LeRobotWriter

__all__ = ["LeRobotReader", "LeRobotRecording", "LeRobotWriter", "is_finished", "lowest_fps"]
