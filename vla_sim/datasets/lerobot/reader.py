"""Reads LeRobotDataset v3.0, our own and others', one episode at a time."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode, Plain, lazy_images
from vla_sim.core.errors import UserError, suggest
from vla_sim.core.specs import ACTION_NAMES
from vla_sim.core.types import Outcome
from vla_sim.datasets.base import AS_IT_IS, ReadOptions, squeezed
from vla_sim.datasets.lerobot.format import (
    ACTION,
    ACTIONS,
    CAMERA,
    EXPERT,
    FACTS_PATH,
    OBSERVATION,
    STATE,
    SUCCESS,
    read_info,
)
from vla_sim.datasets.lerobot.index import (
    OFF,
    check_rows,
    film_faults,
    read_facts,
    read_index,
    read_tasks,
    sentences_of,
    set_faults,
)
from vla_sim.datasets.lerobot.tables import need_arrow, numbers, read_cells, read_table
from vla_sim.datasets.lerobot.video import read_frames
from vla_sim.datasets.untrusted import check_size, read_image, text_of

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
        camera: the images that episodes carry.
        action: the feature with the actions.
        tasks: sentences by task index.
        faults: what is wrong with the set as a whole, in sentences.
    """

    def __init__(self, root: str | Path, options: ReadOptions = AS_IT_IS, *, partial: bool = False) -> None:
        """Open.

        Args:
            root: folder of the data set.
            options: camera, features and components of the actions.
            partial: read the episodes that are there of a set that is not complete.

        Raises:
            UserError: it is no v3.0 data set, files are missing, or the camera is not there.
        """
        need_arrow()
        self.root = Path(root)
        self.info = read_info(self.root)
        self.fps = float(self.info["fps"])
        self.features: dict[str, dict[str, Any]] = self.info["features"]
        self.options = options
        self._facts = read_facts(self.root)
        self.sensors = self._own_sensors()
        self.camera = self._chosen_camera(options.camera)
        self.action = options.action or self._chosen_action()
        self.state, self.expert = (options.features().get(n, d) for n, d in (("state", STATE), ("expert", EXPERT)))
        self.tasks = read_tasks(self.root)
        self._index = read_index(self.root, list(dict.fromkeys([self.camera, *self._sensor_cameras()])))
        self._film_faults = film_faults(self._index, self.camera, self.fps)
        self.faults = set_faults(self.root, self.info, self._index, self._table_of)
        if self.faults and not partial:
            raise UserError(self.faults[0])
        self._rows = functools.lru_cache(maxsize=2)(self._read_rows)

    def __len__(self) -> int:
        """The number of episodes."""
        return len(self._index)

    def __getitem__(self, episode: int) -> Episode:
        return self.recording(episode).load()

    def __iter__(self) -> Iterator[Episode]:
        return (self[i] for i in range(len(self)))

    def recording(self, episode: int) -> LeRobotRecording:
        """A handle on one episode; its images are read only when asked for.

        Raises:
            UserError: its table is missing or damaged.
        """
        if not 0 <= episode < len(self):
            raise IndexError(f"episode {episode} of {len(self)}")
        entry = self._index[episode]
        path, number = self._table_of(entry), entry["episode_index"]
        where = f"{self.root}: episode {number}"
        if number in self._film_faults:
            raise UserError(f"{where}: {self._film_faults[number]}")
        rows = self._rows(path)
        own = np.flatnonzero(numbers(rows["episode_index"], 1, f"{path}: episode_index")[:, 0] == number)
        if len(own) != entry["length"] or not len(own):
            raise UserError(f"{path} has {len(own)} frames of episode {number}, the index says {entry['length']}")
        if own[-1] - own[0] + 1 != len(own):
            raise UserError(f"{path}: the frames of episode {number} do not stand together")
        rows = rows.slice(own[0], len(own))
        check_rows(rows, self.fps, where)
        return LeRobotRecording(self, entry, rows, int(own[0]), self._facts.get(number, {}))

    def recordings(self) -> Iterator[LeRobotRecording]:
        """Handles on all episodes."""
        return (self.recording(i) for i in range(len(self)))

    def components(self) -> list[tuple[int, str, float]]:
        """Which columns of the actions are kept: (column, name, factor); the parts of a twist first, in its order.

        Names that are known for a part of a twist become "vx", "vy" or "wz" and their values m/s or rad/s; others
        stay as the set has them.

        Raises:
            UserError: a wanted component is not there, or two have one name.
        """
        names = component_names(self.features, self.action)
        wanted = self.options.renamed()
        for name in wanted:
            if name not in names:
                raise UserError(f"{self.root}: its actions have no component {name!r}; {suggest(name, names)}")
        if wanted:
            found = [
                (names.index(name), *((part, 1.0) if part != name else TWIST_NAMES.get(name, (name, 1.0))))
                for name, part in wanted.items()
            ]
        else:
            found = [(i, *TWIST_NAMES.get(name, (name, 1.0))) for i, name in enumerate(names)]
            found.sort(key=lambda one: ACTION_NAMES.index(one[1]) if one[1] in ACTION_NAMES else len(ACTION_NAMES))
        if len({name for _, name, _ in found}) < len(found):
            raise UserError(f"{self.root}: two of its actions {names} mean the same; choose with --columns NAME=PART")
        return found

    def split_of(self, episode: int) -> str:
        """The name of the split that an episode is of, by info.json; "" where there is one split for all, or none."""
        spans = {name: re.fullmatch(r"(\d{1,9}):(\d{1,9})", str(span)) for name, span in self.info["splits"].items()}
        within = [name for name, span in spans.items() if span and int(span[1]) <= episode < int(span[2])]
        return text_of(within[0], f"{self.root}: splits") if within and len(spans) > 1 else ""

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the images as declared, whichever end their channels stand at."""
        return self.size_of(self.camera)

    def size_of(self, camera: str) -> tuple[int, int]:
        """The same of any camera."""
        shape, names = self.features[camera]["shape"], self.features[camera].get("names")
        named = {}
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            named = dict(zip(names, shape, strict=False))
        if "height" in named and "width" in named:
            return named["height"], named["width"]
        return (shape[1], shape[2]) if shape[0] == 3 and shape[2] != 3 else (shape[0], shape[1])

    def path(self, pattern: str, chunk: int, file: int, camera: str = "") -> Path:
        """A file of the set, of the chosen camera where none is named."""
        name = pattern.format(chunk_index=chunk, file_index=file, video_key=camera or self.camera)
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise UserError(f"{self.root}: the file name {name!r} leads out of the data set")
        return self.root / name

    def _table_of(self, entry: Mapping[str, Any]) -> Path:
        return self.path(self.info["data_path"], entry["data/chunk_index"], entry["data/file_index"])

    def _chosen_action(self) -> str:
        """`action`; or `actions`, as some tools name it."""
        return ACTIONS if ACTION not in self.features and ACTIONS in self.features else ACTION

    def _own_sensors(self) -> tuple[str, ...]:
        """Names of the sensors that our own writer kept besides; none in sets of others."""
        listed = (facts.get("sensors", ()) for facts in self._facts.values())
        names = dict.fromkeys(name for names in listed for name in names)
        return tuple(name for name in names if OBSERVATION + name in self.features)

    def _sensor_cameras(self) -> list[str]:
        features = [OBSERVATION + name for name in self.sensors]
        return [name for name in features if self.features[name]["dtype"] in ("video", "image")]

    def _chosen_camera(self, camera: str | None) -> str:
        if camera is None and self.sensors and CAMERA in self.features:
            return CAMERA
        cameras = [name for name, feature in self.features.items() if feature["dtype"] in ("video", "image")]
        if camera is None and (len(cameras) == 1 or (cameras and self.options.as_stored)):
            return cameras[0]
        if camera in cameras:
            return str(camera)
        if camera is None:
            what = (
                f"has several cameras ({', '.join(cameras)}), choose one with --camera" if cameras else "has no camera"
            )
            raise UserError(f"{self.root} {what}")
        raise UserError(f"{self.root} has no camera {camera!r}; {suggest(camera, cameras)}")

    def _read_rows(self, path: Path) -> Any:
        needed = [name for name in (self.action, self.expert, self.state, SUCCESS) if name in self.features]
        cameras = self._sensor_cameras()
        needed += [OBSERVATION + name for name in self.sensors if OBSERVATION + name not in cameras]
        return read_table(
            path, self.root, ["episode_index", "task_index", *needed], optional=["frame_index", "timestamp"]
        )


class LeRobotRecording:
    """One episode of a data set, not yet loaded.

    Attributes:
        name: its name, or "episode_000012" where the set has none.
        instruction: its sentence.
        held: frames that one control step fills.
        facts: what our writer noted beside the format; empty for sets of others.
    """

    def __init__(
        self, reader: LeRobotReader, entry: Mapping[str, Any], rows: Any, first_row: int, facts: Mapping[str, Any]
    ) -> None:
        self._reader, self._entry, self._rows, self._first_row, self.facts = reader, entry, rows, first_row, facts
        self._where = f"{reader.root}: episode {entry['episode_index']}"
        self.name: str = facts.get("name", f"episode_{entry['episode_index']:06d}")
        self.held: int = facts.get("held", 1)
        if rows.num_rows % self.held or abs(self.step_s * reader.fps - self.held) > OFF:
            raise UserError(
                f"{self._where}: {FACTS_PATH} gives it steps of {self.step_s:g} s, {self.held} frames each, which "
                f"{rows.num_rows} frames at {reader.fps:g} fps are not"
            )
        self._said = sentences_of(rows, reader.tasks, self._where)
        self.instruction = self._said[0]

    def __len__(self) -> int:
        """The number of control steps."""
        return int(self._rows.num_rows) // self.held

    @property
    def step_s(self) -> float:
        """Seconds between two actions."""
        return float(self.facts.get("step_s", self.held / self._reader.fps))

    def column(self, name: str) -> np.ndarray:
        """A column, one row a control step: (T, N)."""
        width = math.prod(self._reader.features[name]["shape"]) if name in self._reader.features else 1
        if name not in self._rows.column_names:
            raise UserError(f"{self._where}: has no column {name!r}; {suggest(name, self._rows.column_names)}")
        return numbers(self._rows[name], width, f"{self._where}: {name}")[:: self.held][: len(self)]

    def load(self) -> Episode:
        """The whole episode, images included.

        Raises:
            UserError: anything about it is wrong.
        """
        return self.episode().loaded()

    def episode(self) -> Episode:
        """The episode; its images are decoded when they are asked for.

        Raises:
            UserError: anything but its images is wrong.
        """
        reader, features = self._reader, self._reader.features
        components = reader.components()
        columns = [i for i, _, _ in components]
        factors = np.array([factor for _, _, factor in components], dtype=np.float32)

        def motion(name: str) -> np.ndarray:
            return np.asarray(self.column(name)[:, columns], dtype=np.float32) * factors

        has_states, labelled = reader.state in features, self.facts.get("labelled", False) and reader.expert in features
        height, width = reader.image_size
        if reader.options.image_px:
            width, height = reader.options.image_px
        check_size(f"{self._where}: its images", len(self) * height * width * 3)
        try:
            return Episode(
                name=self.name,
                images=lazy_images((len(self), height, width, 3), self._read),
                actions=motion(reader.action),
                action_names=tuple(name for _, name, _ in components),
                instruction=self.instruction,
                step_s=self.step_s,
                labels=motion(reader.expert) if labelled else None,
                states=self.column(reader.state).astype(np.float32) if has_states else None,
                state_names=tuple(component_names(features, reader.state)) if has_states else (),
                events=tuple(self.facts["events"]) if self.facts.get("events") else None,
                outcome=self.outcome,
                provenance=self.provenance,
                sensors={name: self._sensor(OBSERVATION + name) for name in reader.sensors},
                sentences=self._sentences(),
            )
        except ValueError as error:
            raise UserError(f"{reader.root}: {error}") from error

    def _sentences(self) -> tuple[str, ...]:
        """The sentence of each control step; () where it is always the same."""
        said = self._said[:: self.held][: len(self)]
        return said if len(set(said)) > 1 else ()

    def _read(self, which: slice) -> np.ndarray:
        """Some of the images, one a control step."""
        return squeezed(self._shown(self._reader.camera, which), self._reader.options.image_px)

    def _shown(self, camera: str, which: slice) -> np.ndarray:
        """Some of the images of a camera, one a control step, as they are stored."""
        wanted, shape = range(len(self))[which], (*self._reader.size_of(camera), 3)
        if not wanted:
            return np.zeros((0, *shape), np.uint8)
        images = self._images(camera, wanted.start * self.held, (wanted[-1] - wanted.start) * self.held + 1)
        if images.shape[1:] != shape:
            raise UserError(f"{self._where}: its images are {images.shape[1:]}, the set declares {shape}")
        return images[:: wanted.step * self.held]

    def _sensor(self, feature: str) -> np.ndarray:
        """What a further sensor showed, one entry a control step; images are decoded when they are asked for."""
        declared = self._reader.features[feature]
        shape = tuple(declared["shape"])
        check_size(f"{self._where}: {feature}", len(self) * math.prod(shape) * 4)
        if declared["dtype"] in ("video", "image"):
            size = (len(self), *self._reader.size_of(feature), 3)
            return lazy_images(size, functools.partial(self._shown, feature))
        return self.column(feature).reshape(len(self), *shape).astype(np.float32)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, where the set says so."""
        if self.facts.get("outcome"):
            return Outcome(self.facts["outcome"])
        if SUCCESS in self._reader.features and self.column(SUCCESS)[-1, 0]:
            return Outcome.SUCCESS
        return None

    @property
    def provenance(self) -> dict[str, Plain]:
        """Plain facts; for sets of others only where the episode is from."""
        given = self.facts.get("provenance")
        number = int(self._entry["episode_index"])
        if given is not None:
            return dict(given)
        split = self._reader.split_of(number)
        source: dict[str, Plain] = {"source": f"{self._reader.root.name}#{number}"}
        return {**source, "split": split} if split else source

    def _images(self, camera: str, first: int, count: int) -> np.ndarray:
        reader = self._reader
        if reader.features[camera]["dtype"] == "image":
            return self._embedded(camera, first, count)
        chunk, file, start_s = (
            self._entry.get(f"videos/{camera}/{name}") for name in ("chunk_index", "file_index", "from_timestamp")
        )
        if chunk is None or file is None or start_s is None or not reader.info.get("video_path"):
            raise UserError(f"{reader.root}: the index names no film of {camera} for episode {self.name}")
        path = reader.path(reader.info["video_path"], chunk, file, camera)
        return np.stack(list(read_frames(path, start_s + first / reader.fps, count, reader.fps, reader.root)))

    def _embedded(self, camera: str, first: int, count: int) -> np.ndarray:
        reader = self._reader
        path = reader.path(reader.info["data_path"], self._entry["data/chunk_index"], self._entry["data/file_index"])
        images: list[np.ndarray] = []
        for cell in read_cells(path, reader.root, camera, self._first_row + first, count):
            where = f"{path}: image {first + len(images)} of episode {self.name}"
            content = cell.get("bytes") if isinstance(cell, dict) else None
            if not isinstance(content, bytes):
                raise UserError(f"{where}: is not in the table")
            images.append(read_image(content, where))
            if images[-1].shape != images[0].shape:
                raise UserError(f"{where}: differs in size from those before")
            check_size(f"{path}: {count} images", count * images[0].nbytes)
        if len(images) != count:
            raise UserError(f"{path}: {count - len(images)} images of episode {self.name} are missing")
        return np.stack(images)


def component_names(features: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """Names of a vector's components; "action_0", ... where the set has none."""
    if name not in features:
        option = "; --action says which feature has the actions" if name in (ACTION, ACTIONS) else ""
        raise UserError(f"the data set has no {name!r}; {suggest(name, features)}{option}")
    names, size = features[name].get("names"), math.prod(features[name]["shape"])
    if isinstance(names, Mapping):  # {"motors": [...]} or {"x": 0, "y": 1}, as older sets have
        lists = [value for value in names.values() if isinstance(value, list)]
        names = lists[0] if lists else list(names)
    if isinstance(names, list) and names and len(names) == size:
        return [text_of(one, f"the names of {name!r}") for one in names]
    return [f"{name.split('.')[-1]}_{i}" for i in range(size)]
