"""LeRobotDataset v3.0: writes and reads the data sets that LeRobot trains on. See docs/data.md."""

from vla_sim.data.lerobot_format import lowest_fps
from vla_sim.data.lerobot_reader import LeRobotReader, LeRobotRecording
from vla_sim.data.lerobot_writer import LeRobotWriter, is_finished

__all__ = ["LeRobotReader", "LeRobotRecording", "LeRobotWriter", "is_finished", "lowest_fps"]
