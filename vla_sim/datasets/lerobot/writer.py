"""Writes LeRobotDataset v3.0: each episode is complete on disk before the next, the set appears when all are in.

Until then everything lies in a hidden folder beside the target (`.NAME.part`), one folder an episode, which no reader
takes for a data set. A crash loses at most the episode in hand; `resume=True` goes on behind the last complete one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, clear_errors, discard_folder, sync_folder
from vla_sim.core.run_folder import check_same, read_object
from vla_sim.core.types import Outcome
from vla_sim.datasets.lerobot.columns import Features, cameras_of, difference, features_of, table_of
from vla_sim.datasets.lerobot.finished import clear_finished
from vla_sim.datasets.lerobot.format import (
    ACTION,
    CAMERA,
    CHUNKS_SIZE,
    DATA_FILE_MB,
    DATA_PATH,
    DONE,
    EPISODES_PATH,
    EXPERT,
    FACTS_PATH,
    INFO_PATH,
    OBSERVATION,
    PLAN_PATH,
    STATE,
    STATS_PATH,
    SUCCESS,
    TASKS_PATH,
    TRUNCATED,
    VERSION,
    VIDEO_FILE_MB,
    VIDEO_PATH,
    grouped,
    repeats,
    split_spans,
)
from vla_sim.datasets.lerobot.stats import Stats, as_lists, image_stats, pooled_stats, vector_stats
from vla_sim.datasets.lerobot.tables import need_arrow
from vla_sim.datasets.lerobot.video import join_films, write_film

EPISODE_FILE, ROWS_FILE, FILM_FILE, SETTINGS_FILE = "episode.json", "rows.parquet", "film.mp4", "settings.json"
MB = 2**20


class LeRobotWriter:
    """A data set being written; use it in a `with` statement, at whose end the data set appears under `root`.

    One frame is written for every 1/fps seconds: a control step that lasts several repeats its image, state and
    action. The image after the last action is left out, because every LeRobot frame has an action. What the format
    has no place for (names, outcomes, event words, provenance, control step) goes to `meta/vla_sim.jsonl`.

    Leaving the `with` statement by an exception keeps the complete episodes aside for `resume=True`.
    """

    def __init__(
        self,
        root: str | Path,
        fps: int,
        robot_type: str,
        video: bool = True,
        *,
        resume: bool = False,
        plan: Mapping[str, Any] | None = None,
        states: bool | None = None,
        outcomes: bool | None = None,
        data_file_mb: float = DATA_FILE_MB,
        video_file_mb: float = VIDEO_FILE_MB,
    ) -> None:
        """Open.

        Args:
            root: folder of the data set; must not exist or be empty.
            fps: whole frames per second; each episode's step must be a whole number of frames
                (`lerobot_format.lowest_fps` gives the lowest that fits).
            robot_type: name of the robot, kept in the data set.
            video: H.264 films; otherwise PNG images inside the tables.
            resume: go on with what an interrupted writer left.
            plan: what the set is made from, as plain JSON values; an unfinished set of another plan is not gone on
                with.
            states: whether `observation.state` is written; by default as the first episode has it.
            outcomes: whether `next.success` and `next.truncated` are written; by default if the first has an outcome.
            data_file_mb: size of tables above which a new file is begun.
            video_file_mb: the same for films.

        Raises:
            UserError: the folder is taken, another writer is at work on it, an unfinished set lies there and `resume`
                is false, or the settings differ from those of the set to be resumed.
        """
        need_arrow()
        repeats(1.0, fps)
        self.root = Path(root).resolve()
        self._part = self.root.with_name(f".{self.root.name}.part")
        self._settings: dict[str, Any] = {"fps": int(fps), "robot_type": robot_type, "video": video}
        self._plan = json.loads(json.dumps(dict(plan or {})))
        self._states, self._outcomes = states, outcomes
        self._limits = data_file_mb * MB, video_file_mb * MB
        self._features: Features = {}
        self._facts: list[dict[str, Any]] = []
        self._frames = 0
        self._tasks: dict[str, int] = {}
        self._lock = self._open_part(resume)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the episodes that are complete on disk, in order."""
        return tuple(facts["name"] for facts in self._facts)

    def __len__(self) -> int:
        """The number of complete episodes."""
        return len(self._facts)

    def __enter__(self) -> LeRobotWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finalise()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the folder; complete episodes stay aside for `resume=True`."""
        if not self._facts and self._part.is_dir():
            shutil.rmtree(self._part)
        self._lock.release()

    # --- episodes -----------------------------------------------------------------------------------------------------

    def add(self, episode: Episode) -> None:
        """Write one episode; it is on disk when this returns.

        Raises:
            UserError: it does not fit the set (size, action names, states, step), or the disk refuses it.
        """
        held = repeats(episode.step_s, self._settings["fps"])
        features = self._features_of(episode)
        if self._features and features != self._features:
            raise UserError(f"episode {episode.name} does not fit: {difference(self._features, features)}")
        aside, place = self._part / "adding", self._part / "episodes" / f"{len(self):06d}"
        with self._kept():
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            self._write_settings(features)
            facts = self._write_episode(aside, episode, features, held)
            _sync(aside)
            place.parent.mkdir(exist_ok=True)
            aside.rename(place)
            sync_folder(place.parent)
        self._features = features
        self._remember(facts)

    def _remember(self, facts: dict[str, Any]) -> None:
        self._facts.append(facts)
        self._frames += facts["frames"]
        for task in (facts["task"], *facts.get("more_tasks", ())):
            self._tasks.setdefault(task, len(self._tasks))

    def _features_of(self, episode: Episode) -> Features:
        fps, video = self._settings["fps"], self._settings["video"]
        return features_of(episode, fps=fps, video=video, states=self._states, outcomes=self._outcomes)

    def _write_settings(self, features: Features) -> None:
        """Once, so that a resumed set keeps to what its first episode decided."""
        path = self._part / SETTINGS_FILE
        if not self._facts:
            aside = path.with_suffix(".new")
            aside.write_text(json.dumps({**self._settings, "plan": self._plan, "features": features}), encoding="utf-8")
            aside.replace(path)

    def _write_episode(self, folder: Path, episode: Episode, features: Features, held: int) -> dict[str, Any]:
        import pyarrow.parquet as parquet

        columns = self._columns(episode, features, held)
        images = {name: _shown(episode, name)[: len(episode)] for name in cameras_of(features)}
        stats = {name: as_lists(_stats(values)) for name, values in columns.items()}
        stats |= {name: as_lists(image_stats(shots, held)) for name, shots in images.items()}
        table = table_of(columns, images, held, features)
        parquet.write_table(table, folder / ROWS_FILE, compression="snappy", use_dictionary=True)
        if self._settings["video"]:
            for name, shots in images.items():
                frames = (image for image in shots for _ in range(held))
                write_film(folder / _film_file(name), frames, self._settings["fps"])
        facts = {
            "name": episode.name,
            "task": episode.instruction,
            "more_tasks": list(dict.fromkeys(text for text in episode.sentences if text != episode.instruction)),
            "frames": len(episode) * held,
            "held": held,
            "step_s": episode.step_s,
            "outcome": episode.outcome.value if episode.outcome else None,
            "labelled": episode.labels is not None,
            "events": list(episode.events) if episode.events else None,
            **({"sensors": list(episode.sensors)} if episode.sensors else {}),
            "provenance": dict(episode.provenance),
            "stats": stats,
        }
        (folder / EPISODE_FILE).write_text(json.dumps(facts), encoding="utf-8")
        return facts

    def _columns(self, episode: Episode, features: Features, held: int) -> dict[str, np.ndarray]:
        """All columns but the images, frame by frame."""
        frames = np.arange(len(episode) * held)
        last = frames == frames[-1]
        step = frames // held
        said = episode.sentences or (episode.instruction,) * len(episode)
        known = dict(self._tasks)
        tasks = np.array([known.setdefault(text, len(known)) for text in said])
        labels = episode.actions if episode.labels is None else episode.labels
        values = {
            ACTION: episode.actions[step],
            EXPERT: labels[step],
            DONE: last,
            SUCCESS: last & (episode.outcome is not None and episode.outcome.succeeded),
            TRUNCATED: last & (episode.outcome is Outcome.TIMEOUT),
            "timestamp": (frames / self._settings["fps"]).astype(np.float32),
            "frame_index": frames,
            "episode_index": np.full(len(frames), len(self)),
            "index": self._frames + frames,
            "task_index": tasks[step],
        }
        if episode.states is not None:
            values[STATE] = episode.states[step]
        values |= {OBSERVATION + name: np.asarray(shown)[step] for name, shown in episode.sensors.items()}
        cameras = cameras_of(features)
        return {name: values[name] for name in features if name not in cameras}

    # --- the whole ----------------------------------------------------------------------------------------------------

    def finalise(self) -> None:
        """Make the data set appear under `root`; called at the end of the `with` statement.

        Raises:
            UserError: no episode was added, or the disk refuses; the complete episodes stay aside.
        """
        if not self._facts:
            raise UserError(f"no episode was added: a LeRobot data set cannot be empty, {self.root} was not written")
        whole = self._part / "whole"
        with self._kept():
            shutil.rmtree(whole, ignore_errors=True)
            rows = [
                {"episode_index": i, "tasks": [f["task"], *f.get("more_tasks", ())], "length": f["frames"]}
                for i, f in enumerate(self._facts)
            ]
            self._join_tables(whole, rows)
            for camera in cameras_of(self._features) if self._settings["video"] else ():
                self._join_films(whole, rows, camera)
            self._write_meta(whole, rows)
            _sync(whole)
            (self._part / "finished").touch()
            self.root.parent.mkdir(parents=True, exist_ok=True)
            whole.replace(self.root)
            sync_folder(self.root.parent)
        discard_folder(self._part)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """What the disk refuses, in one sentence that says what is left."""
        try:
            with clear_errors(self.root):
                yield
        except UserError as error:
            if isinstance(error.__cause__, OSError):
                kept = f"{len(self)} complete episodes are kept in {self._part}, resume=True goes on with them"
                raise UserError(f"{error}; {kept}") from error.__cause__
            raise

    def _part_of(self, episode: int, file: str) -> Path:
        return self._part / "episodes" / f"{episode:06d}" / file

    def _join_tables(self, whole: Path, rows: list[dict[str, Any]]) -> None:
        import pyarrow.parquet as parquet

        start = 0
        sizes = [self._part_of(i, ROWS_FILE).stat().st_size for i in range(len(rows))]
        for (chunk, file), episodes in grouped(sizes, self._limits[0]):
            path = whole / DATA_PATH.format(chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            schema = parquet.read_schema(self._part_of(episodes[0], ROWS_FILE))
            with parquet.ParquetWriter(path, schema, compression="snappy", use_dictionary=True) as writer:
                for i in episodes:
                    writer.write_table(parquet.read_table(self._part_of(i, ROWS_FILE)))
                    rows[i] |= {"data/chunk_index": chunk, "data/file_index": file}
                    rows[i] |= {"dataset_from_index": start, "dataset_to_index": start + rows[i]["length"]}
                    start += rows[i]["length"]

    def _join_films(self, whole: Path, rows: list[dict[str, Any]], camera: str) -> None:
        fps, key, name = self._settings["fps"], f"videos/{camera}", _film_file(camera)
        sizes = [self._part_of(i, name).stat().st_size for i in range(len(rows))]
        for (chunk, file), episodes in grouped(sizes, self._limits[1]):
            path = whole / VIDEO_PATH.format(video_key=camera, chunk_index=chunk, file_index=file)
            path.parent.mkdir(parents=True, exist_ok=True)
            counts = join_films(path, [self._part_of(i, name) for i in episodes], fps)
            ends = np.cumsum([0, *counts]).tolist()
            for i, (start, end) in zip(episodes, pairwise(ends), strict=True):
                if end - start != rows[i]["length"]:
                    raise UserError(f"the film of episode {i} has {end - start} frames, not {rows[i]['length']}")
                rows[i] |= {f"{key}/chunk_index": chunk, f"{key}/file_index": file}
                rows[i] |= {f"{key}/from_timestamp": start / fps, f"{key}/to_timestamp": end / fps}

    def _write_meta(self, whole: Path, rows: list[dict[str, Any]]) -> None:
        import pandas
        import pyarrow
        import pyarrow.parquet as parquet

        (whole / "meta").mkdir()
        stats = {}
        for name in self._facts[0]["stats"]:
            parts = [{k: np.asarray(v) for k, v in facts["stats"][name].items()} for facts in self._facts]
            stats[name] = as_lists(pooled_stats(parts))
        (whole / STATS_PATH).write_text(json.dumps(stats, indent=4), encoding="utf-8")
        (whole / INFO_PATH).write_text(json.dumps(self._info(), indent=4, ensure_ascii=False), encoding="utf-8")
        index = pandas.Index(list(self._tasks), name="task")
        pandas.DataFrame({"task_index": list(self._tasks.values())}, index=index).to_parquet(whole / TASKS_PATH)
        for row, facts in zip(rows, self._facts, strict=True):
            row |= {f"stats/{name}/{k}": v for name, one in facts["stats"].items() for k, v in one.items()}
            row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        path = whole / EPISODES_PATH.format(chunk_index=0, file_index=0)
        path.parent.mkdir(parents=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, compression="snappy", use_dictionary=True)
        kept = ("name", "held", "step_s", "outcome", "labelled", "events", "provenance", "sensors")
        lines = [{"episode_index": i} | {k: f[k] for k in kept if k in f} for i, f in enumerate(self._facts)]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (whole / FACTS_PATH).write_text(text, encoding="utf-8")
        if self._plan:
            (whole / PLAN_PATH).write_text(
                json.dumps(self._plan, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": self._settings["robot_type"],
            "total_episodes": len(self._facts),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNKS_SIZE,
            "data_files_size_in_mb": DATA_FILE_MB,
            "video_files_size_in_mb": VIDEO_FILE_MB,
            "fps": self._settings["fps"],
            "splits": split_spans([str(facts["provenance"].get("split") or "train") for facts in self._facts]),
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._settings["video"] else None,
            "features": self._features,
        }

    # --- opening ------------------------------------------------------------------------------------------------------

    def _open_part(self, resume: bool) -> FolderLock:
        if self.root.exists() and not (self.root.is_dir() and not any(self.root.iterdir())):
            clear_finished(self.root)
            raise UserError(f"{self.root} exists already; choose another folder")
        unfinished = sorted((self._part / "episodes").glob("[0-9]*")) if self._part.is_dir() else []
        if unfinished and not resume:
            raise UserError(
                f"an unfinished data set of {len(unfinished)} episodes lies in {self._part}; "
                "go on with it (resume=True) or delete that folder"
            )
        lock = FolderLock(self._part)
        if unfinished:
            try:
                self._read_part(unfinished)
            except BaseException:
                lock.release()
                raise
        return lock

    def _read_part(self, folders: Sequence[Path]) -> None:
        kept = read_object(self._part / SETTINGS_FILE)
        settings = {name: kept.get(name) for name in self._settings}
        check_same(self._part, {**settings, **kept.get("plan", {})}, {**self._settings, **self._plan})
        self._features = kept["features"]
        self._states, self._outcomes = STATE in self._features, SUCCESS in self._features
        for folder in folders:
            self._remember(json.loads((folder / EPISODE_FILE).read_text(encoding="utf-8")))


def _film_file(camera: str) -> str:
    """Name of the film of a camera among the files of an episode."""
    return FILM_FILE if camera == CAMERA else f"{camera}.mp4"


def _shown(episode: Episode, camera: str) -> np.ndarray:
    """The images of a camera."""
    return np.asarray(episode.images if camera == CAMERA else episode.sensors[camera.removeprefix(OBSERVATION)])


def _stats(values: np.ndarray) -> Stats:
    """Statistics of a column; of matrices over all their numbers, which are of one kind."""
    if values.ndim < 3:
        return vector_stats(values)
    return {**vector_stats(values.reshape(-1)), "count": np.array([len(values)])}


def _sync(folder: Path) -> None:
    """Have the files on the disk before a name says that they are complete."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
