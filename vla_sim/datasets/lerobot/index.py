"""What `meta/` of a LeRobot set says about its episodes, checked against itself and against the files."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome
from vla_sim.datasets.lerobot.format import FACTS_PATH, TASKS_PATH
from vla_sim.datasets.lerobot.tables import need_arrow, numbers, read_table
from vla_sim.datasets.untrusted import (
    count_of,
    list_of,
    number_of,
    parsing,
    plain_facts,
    read_json_lines,
    shown,
    table_of,
    text_of,
)

Entry = dict[str, Any]
_COUNTS = ("episode_index", "length", "data/chunk_index", "data/file_index")
# Frames, and films, may be off by this much of the time from one frame to the next.
OFF = 0.5


def read_tasks(root: Path) -> dict[int, str]:
    """The sentences by task index.

    Raises:
        UserError: the table is missing or damaged, or an index stands twice.
    """
    path = root / TASKS_PATH
    # The sentences are the index of a pandas frame, whose name may be missing.
    table = read_table(path, root, ["task_index"], optional=["task", "__index_level_0__"])
    texts = [name for name in table.column_names if name != "task_index"]
    if not texts:
        raise UserError(f"{path}: has no sentences, only {table.column_names}")
    tasks: dict[int, str] = {}
    with parsing(path):
        for number, text in zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True):
            index = count_of(number, f"{path}: task_index")
            if index in tasks:
                raise UserError(f"{path}: task {index} stands twice")
            tasks[index] = text_of(text, f"{path}: task {index}")
    return tasks


def read_index(root: Path, cameras: Sequence[str]) -> list[Entry]:
    """The episodes in order: plain numbers, checked for their types and ranges.

    Keys: `episode_index`, `length` (frames), `data/chunk_index`, `data/file_index`; and, where the camera has films,
    `videos/CAMERA/{chunk_index, file_index, from_timestamp, to_timestamp}`.

    Raises:
        UserError: there is none, it is damaged, or an episode stands twice.
    """
    folder = root / "meta" / "episodes"
    with parsing(folder):
        paths = sorted(folder.glob("*/*.parquet"))
    if not paths:
        raise UserError(f"{root} has no episodes: meta/episodes holds no parquet file")
    places = ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
    film = [f"videos/{camera}/{name}" for camera in cameras for name in places]
    entries: list[Entry] = []
    for path in paths:
        with parsing(path):
            entries += [_entry(row, film, path) for row in read_table(path, root, _COUNTS, optional=film).to_pylist()]
    if not entries:
        raise UserError(f"{root} has no episodes: meta/episodes lists none")
    number, times = Counter(entry["episode_index"] for entry in entries).most_common(1)[0]
    if times > 1:
        raise UserError(f"{root}: meta/episodes lists episode {number} {times} times")
    return sorted(entries, key=lambda entry: int(entry["episode_index"]))


def _entry(row: Mapping[str, Any], film: Sequence[str], path: Path) -> Entry:
    where = f"{path}: episode {shown(row['episode_index'])}"
    entry: Entry = {name: count_of(row[name], f"{where}: {name}", most=10**9) for name in _COUNTS}
    for name in film:
        if row.get(name) is not None:
            said = f"{where}: {name}"
            index = name.endswith("_index")
            entry[name] = (
                count_of(row[name], said, most=10**9) if index else number_of(row[name], said, least=0, most=1e9)
            )
    return entry


def read_facts(root: Path) -> dict[int, dict[str, Any]]:
    """What our own writer noted beside the format, by episode index; {} in sets of others.

    Raises:
        UserError: it is damaged, or a value cannot be meant.
    """
    path = root / FACTS_PATH
    if not os.path.lexists(path):
        return {}
    facts = {}
    for number, line in enumerate(read_json_lines(path, root), 1):
        where = f"{path}, line {number}"
        values = table_of(line, where)
        facts[count_of(values.get("episode_index"), f"{where}: episode_index")] = _checked_facts(values, where)
    return facts


def _checked_facts(values: dict[str, Any], where: str) -> dict[str, Any]:
    checks = {
        "name": text_of,
        "held": lambda v, what: count_of(v, what, least=1, most=10**6),
        "step_s": lambda v, what: number_of(v, what, least=1e-4, most=3600),
        "provenance": plain_facts,
        "events": lambda v, what: [text_of(word, what) for word in list_of(v, what)],
        "sensors": lambda v, what: [text_of(word, what) for word in list_of(v, what)],
        "outcome": lambda v, what: _outcome(v, what),
    }
    known = {key: values[key] for key in checks if values.get(key) is not None}
    return {key: value for key, value in values.items() if key not in checks} | {
        key: checks[key](value, f"{where}: {key}") for key, value in known.items()
    }


def _outcome(value: Any, what: str) -> str:
    if value and value not in [outcome.value for outcome in Outcome]:
        raise UserError(f"{what} is {shown(value)}, must be one of {', '.join(o.value for o in Outcome)}")
    return str(value)


def set_faults(root: Path, info: Mapping[str, Any], entries: Sequence[Entry], data_path: Any) -> list[str]:
    """What is wrong with the set as a whole: episodes that its index does not list.

    Args:
        root: its folder.
        info: `meta/info.json`.
        entries: see `read_index`.
        data_path: gives the path of an entry's table.
    """
    faults = []
    declared, listed = int(info["total_episodes"]), len(entries)
    if declared != listed:
        faults.append(f"{root}: info.json says {declared} episodes, meta/episodes lists {listed}: it is not complete")
    frames: dict[Path, int] = defaultdict(int)
    for entry in entries:
        frames[data_path(entry)] += entry["length"]
    for path, expected in frames.items():
        held = _rows_of(path)
        if held is not None and held != expected:
            faults.append(f"{path} has {held} frames, but meta/episodes lists {expected} of them: it is not complete")
    return faults


def _rows_of(path: Path) -> int | None:
    """Rows that a table declares; None where it cannot be read, which is said when an episode of it is."""
    try:
        if path.is_file():
            return int(need_arrow().parquet.read_metadata(path).num_rows)
    except (ValueError, OSError, RuntimeError):
        pass
    return None


def film_faults(entries: Iterable[Entry], camera: str, fps: float) -> dict[int, str]:
    """What is wrong with the parts of films that episodes claim, by episode index: overlaps and wrong lengths."""
    names = [f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    faults: dict[int, str] = {}
    films: dict[tuple[int, int], list[Entry]] = defaultdict(list)
    for entry in entries:
        if any(entry.get(name) is None for name in names[:3]):
            continue
        films[entry[names[0]], entry[names[1]]].append(entry)
        start_s, end_s = entry[names[2]], entry.get(names[3])
        if end_s is not None and abs((end_s - start_s) * fps - entry["length"]) > OFF:
            faults[entry["episode_index"]] = (
                f"the index gives it {end_s - start_s:g} s of film, but {entry['length']} frames at {fps:g} fps"
            )
    for parts in films.values():
        parts.sort(key=lambda entry: float(entry[names[2]]))
        furthest, end_s = parts[0], -1.0
        for entry in parts:
            start_s = entry[names[2]]
            if start_s < end_s - OFF / fps:
                for one, other in ((entry, furthest), (furthest, entry)):
                    faults[one["episode_index"]] = (
                        f"its part of the film overlaps that of episode {other['episode_index']}"
                    )
            if start_s + entry["length"] / fps > end_s:
                furthest, end_s = entry, start_s + entry["length"] / fps
    return faults


def check_rows(rows: Any, fps: float, where: str) -> None:
    """Refuse an episode whose frames are not one after the other, at the rate of the set.

    Args:
        rows: Arrow table of its frames.
        fps: of the set.
        where: names the episode.

    Raises:
        UserError: frames are missing or out of order, or their times contradict the rate.
    """
    steps = np.arange(rows.num_rows)
    if "frame_index" in rows.column_names:
        found = numbers(rows["frame_index"], 1, f"{where}: frame_index")[:, 0]
        if (wrong := np.flatnonzero(found != steps)).size:
            raise UserError(f"{where}: frame {wrong[0]} is missing, frame {found[wrong[0]]} stands in its place")
    if "timestamp" not in rows.column_names:
        return
    times = numbers(rows["timestamp"], 1, f"{where}: timestamp")[:, 0].astype(np.float64)
    off = np.abs((times - times[0]) * fps - steps)
    if not (off <= OFF).all():
        step = int(np.argmin(off <= OFF))
        raise UserError(
            f"{where}: its timestamps contradict fps {fps:g}: frame {step} is at {times[step] - times[0]:g} s, "
            f"at that rate it would be at {step / fps:g} s"
        )


def sentences_of(rows: Any, tasks: Mapping[int, str], where: str) -> tuple[str, ...]:
    """The sentence at each frame of an episode.

    Raises:
        UserError: the table of tasks lacks one.
    """
    found = numbers(rows["task_index"], 1, f"{where}: task_index")[:, 0].tolist()
    for task in sorted(set(found)):
        if task not in tasks:
            raise UserError(f"{where}: has task {task}, {TASKS_PATH} has not")
    return tuple(tasks[int(task)] for task in found)
