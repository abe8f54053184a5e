"""Reads LeRobotDataset v3.0, our own and others', one episode at a time."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode, Plain
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome
from vla_sim.datasets.lerobot.format import ACTION, EXPERT, FACTS_PATH, STATE, SUCCESS, TASKS_PATH, read_info
from vla_sim.datasets.lerobot.video import read_frames
from vla_sim.datasets.lerobot.writer import need_arrow

# Names that others give to the components of a twist, and the factor to m/s or rad/s (LeKiwi turns in degrees).
TWIST_NAMES: dict[str, tuple[str, float]] = {
    **{name: (name, 1.0) for name in ACTION_NAMES},
    "x.vel": ("vx", 1.0),
    "y.vel": ("vy", 1.0),
    "theta.vel": ("wz", math.pi / 180),
    "linear_x": ("vx", 1.0),
    "linear_y": ("vy", 1.0),
    "angular_z": ("wz", 1.0),
}


class LeRobotReader:
    """Episodes of a data set; nothing but the index is in memory.

    Attributes:
        info: `meta/info.json`.
        fps: frames per second.
        camera: the pictures that episodes carry.
        tasks: sentences by task index.
    """

    def __init__(
        self, root: str | Path, *, camera: str | None = None, action_map: Mapping[str, str] | None = None
    ) -> None:
        """Open.

        Args:
            root: folder of the data set.
            camera: feature with the pictures; needed only where there are several.
            action_map: which of "vx", "vy", "wz" (m/s, rad/s) a component is, for sets that name them otherwise;
                components that are not named are left out.

        Raises:
            UserError: it is no v3.0 data set, files are missing, or the camera is not there.
        """
        need_arrow()
        self.root = Path(root)
        self.info = read_info(self.root)
        self.fps = float(self.info["fps"])
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.camera = self._chosen_camera(camera)
        self.tasks = self._read_tasks()
        self._index = self._read_index()
        self._facts = self._read_facts()
        self._action_map = action_map
        self._rows = lru_cache(maxsize=2)(self._read_rows)

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self._index)

    def __getitem__(self, episode: int) -> Episode:
        return self.recording(episode).load()

    def __iter__(self) -> Iterator[Episode]:
        return (self[i] for i in range(len(self)))

    def recording(self, episode: int) -> LeRobotRecording:
        """A handle on one episode; its pictures are read only when asked for.

        Raises:
            UserError: its table is missing or damaged.
        """
        if not 0 <= episode < len(self):
            raise IndexError(f"episode {episode} of {len(self)}")
        entry = self._index[episode]
        path = self.path(self.info["data_path"], entry["data/chunk_index"], entry["data/file_index"])
        rows = self._rows(path)
        rows = rows.filter(rows["episode_index"].to_numpy() == entry["episode_index"])
        if rows.num_rows != entry["length"] or rows.num_rows == 0:
            raise UserError(f"{path} has {rows.num_rows} frames of episode {episode}, the index says {entry['length']}")
        return LeRobotRecording(self, entry, rows, self._facts.get(int(entry["episode_index"]), {}))

    def recordings(self) -> Iterator[LeRobotRecording]:
        """Handles on all episodes."""
        return (self.recording(i) for i in range(len(self)))

    def twist(self) -> list[tuple[int, str, float]]:
        """Which columns of `action` are a twist: (column, "vx" | "vy" | "wz", factor), in the order of the twist.

        Raises:
            UserError: none is known by its name.
        """
        names = component_names(self.features, ACTION)
        known = TWIST_NAMES if self._action_map is None else {k: (v, 1.0) for k, v in self._action_map.items()}
        found = [(i, *known[name]) for i, name in enumerate(names) if name in known]
        if not found or any(name not in ACTION_NAMES for _, name, _ in found):
            raise UserError(
                f"{self.root}: the actions are {', '.join(names)}, none of which is known as a part of a twist; "
                'say which is which, e.g. action_map={"base_x": "vx", "base_y": "vy"}'
            )
        return sorted(found, key=lambda item: ACTION_NAMES.index(item[1]))

    def path(self, pattern: str, chunk: int, file: int) -> Path:
        """A file of the set."""
        return self.root / pattern.format(chunk_index=chunk, file_index=file, video_key=self.camera)

    def _chosen_camera(self, camera: str | None) -> str:
        cameras = [name for name, feature in self.features.items() if feature["dtype"] in ("video", "image")]
        if camera is None and len(cameras) == 1:
            return cameras[0]
        if camera in cameras:
            return str(camera)
        if camera is None:
            what = (
                f"has several cameras ({', '.join(cameras)}), choose one with camera=" if cameras else "has no camera"
            )
            raise UserError(f"{self.root} {what}")
        raise UserError(f"{self.root} has no camera {camera!r}; {suggest(camera, cameras)}")

    def _read_tasks(self) -> dict[int, str]:
        table = read_table(self.root / TASKS_PATH).to_pandas()
        # The sentence is the frame's index; sets written without pandas' own notes keep it as a column.
        texts = table["task"] if "task" in table.columns else table.index
        return {int(i): str(text) for i, text in zip(table["task_index"], texts, strict=True)}

    def _read_index(self) -> list[dict[str, Any]]:
        paths = sorted((self.root / "meta" / "episodes").glob("*/*.parquet"))
        if not paths:
            raise UserError(f"{self.root} has no episodes: meta/episodes holds no parquet file")
        entries: list[dict[str, Any]] = []
        for path in paths:
            entries += read_table(path, leave_out="stats/").to_pylist()
        return sorted(entries, key=lambda entry: int(entry["episode_index"]))

    def _read_facts(self) -> dict[int, dict[str, Any]]:
        path = self.root / FACTS_PATH
        if not path.is_file():
            return {}
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return {int(line["episode_index"]): line for line in lines}
        except (ValueError, KeyError) as error:
            raise UserError(f"{path} cannot be read: {error!r}") from error

    def _read_rows(self, path: Path) -> Any:
        names = [n for n, f in self.features.items() if f["dtype"] not in ("video", "image")]
        return read_table(path, only=names)


class LeRobotRecording:
    """One episode of a data set, not yet loaded.

    Attributes:
        name: its name, or "episode_000012" where the set has none.
        instruction: the sentence of its first frame.
        held: frames that one control step fills.
        facts: what our writer noted beside the format; empty for sets of others.
    """

    def __init__(self, reader: LeRobotReader, entry: Mapping[str, Any], rows: Any, facts: Mapping[str, Any]) -> None:
        self._reader, self._entry, self._rows, self.facts = reader, entry, rows, facts
        self.name: str = facts.get("name", f"episode_{entry['episode_index']:06d}")
        self.held: int = facts.get("held", 1)
        task = int(rows["task_index"][0].as_py())
        if task not in reader.tasks:
            raise UserError(f"{reader.root}: episode {entry['episode_index']} has task {task}, {TASKS_PATH} has not")
        self.instruction = reader.tasks[task]

    def __len__(self) -> int:
        """The number of control steps."""
        return int(self._rows.num_rows) // self.held

    @property
    def step_s(self) -> float:
        """Seconds between two actions."""
        return float(self.facts.get("step_s", self.held / self._reader.fps))

    def column(self, name: str) -> np.ndarray:
        """A column, one row a control step: (T, N)."""
        values = np.asarray(self._rows[name].to_pylist())
        return values.reshape(len(values), -1)[:: self.held][: len(self)]

    def image(self, step: int) -> np.ndarray:
        """The picture before an action: uint8 (height, width, 3) RGB.

        Raises:
            UserError: it cannot be decoded.
        """
        return self._images(step * self.held, 1)[0]

    def load(self) -> Episode:
        """The whole episode.

        Raises:
            UserError: actions are not a twist, or pictures cannot be decoded.
        """
        twist = self._reader.twist()
        columns = [i for i, _, _ in twist]
        factors = np.array([factor for _, _, factor in twist], dtype=np.float32)

        def motion(name: str) -> np.ndarray:
            return np.asarray(self.column(name)[:, columns], dtype=np.float32) * factors

        features = self._reader.features
        has_states, labelled = STATE in features, self.facts.get("labelled", False) and EXPERT in features
        try:
            return Episode(
                name=self.name,
                images=self._images(0, len(self) * self.held)[:: self.held],
                actions=motion(ACTION),
                action_names=tuple(name for _, name, _ in twist),
                instruction=self.instruction,
                step_s=self.step_s,
                labels=motion(EXPERT) if labelled else None,
                states=self.column(STATE).astype(np.float32) if has_states else None,
                state_names=tuple(component_names(features, STATE)) if has_states else (),
                events=tuple(self.facts["events"]) if self.facts.get("events") else None,
                outcome=self.outcome,
                provenance=self.provenance,
            )
        except ValueError as error:
            raise UserError(f"{self._reader.root}: {error}") from error

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, where the set says so."""
        if self.facts.get("outcome"):
            return Outcome(self.facts["outcome"])
        if SUCCESS in self._reader.features and bool(self._rows[SUCCESS][-1].as_py()):
            return Outcome.SUCCESS
        return None

    @property
    def provenance(self) -> dict[str, Plain]:
        """Plain facts; for sets of others only where the episode is from."""
        given = self.facts.get("provenance")
        source = f"{self._reader.root.name}#{self._entry['episode_index']}"
        return dict(given) if given is not None else {"source": source}

    def _images(self, first: int, count: int) -> np.ndarray:
        reader, camera = self._reader, self._reader.camera
        if reader.features[camera]["dtype"] == "image":
            return self._embedded(first, count)
        chunk, file, start_s = (
            self._entry.get(f"videos/{camera}/{name}") for name in ("chunk_index", "file_index", "from_timestamp")
        )
        if chunk is None or file is None or start_s is None or not reader.info.get("video_path"):
            raise UserError(f"{reader.root}: the index names no film of {camera} for episode {self.name}")
        path = reader.path(reader.info["video_path"], chunk, file)
        if not path.is_file():
            raise UserError(f"{path} is missing; the data set is not complete")
        return np.stack(list(read_frames(path, start_s + first / reader.fps, count, reader.fps)))

    def _embedded(self, first: int, count: int) -> np.ndarray:
        from PIL import Image

        reader, entry = self._reader, self._entry
        path = reader.path(reader.info["data_path"], entry["data/chunk_index"], entry["data/file_index"])
        own = [("episode_index", "==", int(entry["episode_index"]))]
        cells = read_table(path, only=[reader.camera], filters=own)[reader.camera][first : first + count].to_pylist()
        try:
            return np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in cells])
        except (OSError, TypeError) as error:
            raise UserError(f"{path}: a picture of episode {self.name} cannot be decoded: {error}") from error


def component_names(features: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """Names of a vector's components; "action_0", ... where the set has none."""
    if name not in features:
        raise UserError(f"the data set has no {name!r}; {suggest(name, features)}")
    names, size = features[name].get("names"), int(features[name]["shape"][0])
    if isinstance(names, Mapping):  # {"motors": [...]} or {"x": 0, "y": 1}, as older sets have
        lists = [value for value in names.values() if isinstance(value, list)]
        names = lists[0] if lists else list(names)
    return list(names) if names and len(names) == size else [f"{name.split('.')[-1]}_{i}" for i in range(size)]


def read_table(path: Path, *, only: list[str] | None = None, leave_out: str = "", filters: Any = None) -> Any:
    """A parquet file as an Arrow table.

    Raises:
        UserError: it is missing, has no footer or is damaged.
    """
    pyarrow = need_arrow()
    parquet = pyarrow.parquet
    if not path.is_file():
        raise UserError(f"{path} is missing; the data set is not complete")
    try:
        if leave_out:
            only = [name for name in parquet.read_schema(path).names if not name.startswith(leave_out)]
        return parquet.read_table(path, columns=only, filters=filters, partitioning=None)
    except pyarrow.ArrowInvalid as error:
        if "magic bytes" in str(error) or "too small" in str(error) or "0 bytes" in str(error):
            raise UserError(
                f"{path} has no parquet footer: its recording was stopped before it was finished "
                "(LeRobot writes the footer in finalize()); record it again or leave the data set out"
            ) from error
        raise UserError(f"{path} is damaged: {error}") from error
    except (OSError, pyarrow.ArrowException, KeyError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
