"""Whatever stands in the files of a data set: it is read as finite values, or refused in one sentence; and what the
thorough audit calls readable can be loaded.

Every test takes a small valid set, changes something at random, and opens it both ways.
"""

import copy
import itertools
import json
import math
import pathlib
import random
import shutil
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lerobot_episodes import episode as lerobot_episode
from PIL import Image
from serbot_files import NAME, write_frames, write_recording

pytest.importorskip("pyarrow")
pytest.importorskip("av")

import pyarrow
import pyarrow.parquet as parquet

from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError
from vla_sim.datasets.audit.examine import examine
from vla_sim.datasets.audit.sources import open_folder
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.lerobot import LeRobotWriter
from vla_sim.rollout.result import write_results
from vla_sim.testing import make_result

TABLE, INDEX, TASKS = (
    "data/chunk-000/file-000.parquet",
    "meta/episodes/chunk-000/file-000.parquet",
    "meta/tasks.parquet",
)
FILM = "videos/observation.image/chunk-000/file-000.mp4"


def examples(count):
    """So many examples, the same in every run; the folders of a test are reused on purpose."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


# ------------------------------------------------------------------------------------------------------ the property


def episodes_of(root):
    """All episodes as training reads them; one sentence where one cannot be read."""
    return [one.loaded() for one in open_dataset(root).readable()]


def check(root):
    """Both ways of opening a set agree, and say what is wrong in one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            episodes, refusal = episodes_of(root), ""
    except UserError as error:
        episodes, refusal = [], str(error)
    for one in episodes:
        assert np.isfinite(one.actions).all()
        assert one.states is None or np.isfinite(one.states).all()
        assert math.isfinite(one.step_s)
        assert one.images.dtype == np.uint8
        one.instruction.encode(), one.name.encode()
    try:
        audit = examine(open_folder(root), thorough=True)
        broken = [one.reason for one in audit.broken]
    except UserError as error:
        broken = [str(error)]
    assert bool(broken) >= bool(refusal), f"the audit calls it readable: {refusal}"
    for text in (refusal, *broken):
        assert "\n" not in text
        assert len(text) < 2000


# ----------------------------------------------------------------------------------------------------------- mutations

ODD_VALUES = (
    *(None, True, -1, 0, 1, 2, 10**9, 2**63, 10**400, 0.5, 1e308, -1e-308, math.nan, math.inf),
    *("", "a", "\0", "\ud800", "../x", "/etc/passwd", "a" * 9999, "<script>", "\x1b[2J", "{0}", "vx", "rgb", "NaN"),
    *([], {}, [[]], [None], [1, "a"], {"": None}, [0] * 99, ["vx", "vx"], {"a": {"b": [1]}}),
)
ODD = st.sampled_from(ODD_VALUES)
CHOICE = st.integers(0, 2**32)


def places(value, path=()):
    """All places in a JSON value, the whole first."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(value, choice, odd):
    """The JSON value with one of its places changed: another value, nothing, or a key more."""
    found = list(places(value))
    *above, last = found[1 + choice % (len(found) - 1)]
    holder = value
    for key in above:
        holder = holder[key]
    kind = choice // len(found) % 4
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, dict):
        holder[str(odd)[:20]] = holder.pop(last)
    else:
        holder[last] = copy.deepcopy(odd)
    return value


def change_json(path, choices, odds, lines=False):
    text = path.read_text("utf-8")
    values = [json.loads(line) for line in text.splitlines()] if lines else [json.loads(text)]
    for choice, odd in zip(choices, odds, strict=False):
        if isinstance(values[choice % len(values)], (dict, list)) and values[choice % len(values)]:
            values[choice % len(values)] = replaced(values[choice % len(values)], choice // len(values), odd)
    path.write_text("\n".join(map(json.dumps, values)))


def damaged(content, seed, kind):
    """Bytes with some flipped, some missing, some more."""
    rng = random.Random(seed)
    content = bytearray(content)
    at = rng.randrange(len(content))
    if kind == "flip":
        for _ in range(rng.choice([1, 1, 3, 30])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif kind == "cut":
        del content[at:]
    elif kind == "hole":
        del content[at : at + rng.randrange(1, 99)]
    elif kind == "zeros":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    else:
        content[at:at] = rng.randbytes(rng.randrange(1, 99))
    return bytes(content)


DAMAGE = st.sampled_from(["flip", "flip", "flip", "cut", "hole", "zeros", "more"])
ODD_CELLS = (
    *(None, -1, 0, 3, 10**9, 2**62, 0.25, math.nan, math.inf, 1e300, True),
    *(
        "",
        "a\0",
        "../x",
        b"\xff",
        [],
        [1.0],
        [None, 1.0],
        [[1.0], [2.0]],
        ["a"],
        {"bytes": b"x"},
        {"path": "/etc/passwd"},
    ),
)


def change_table(path, choice, value):
    """A cell or a column of a parquet file of another kind; a row gone or there twice; a column gone or renamed."""
    columns = parquet.read_table(path).to_pydict()
    names = list(columns)
    name, rows = names[choice % len(names)], len(columns[names[0]])
    row, kind = choice // 7 % rows, choice // 1000 % 8
    if kind in (0, 1, 2):
        columns[name][row] = value
    elif kind == 3:
        columns[name] = [value] * rows
    elif kind == 4:
        for values in columns.values():
            del values[row]
    elif kind == 5:
        for values in columns.values():
            values.insert(row, values[row])
    elif kind == 6:
        del columns[name]
    else:
        columns[f"{name}_"] = columns.pop(name)
    try:
        table = pyarrow.table({key: pyarrow.array(values) for key, values in columns.items()})
        parquet.write_table(table, path)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError, KeyError):
        pass  # such a table cannot be written, and stays as it was


# ------------------------------------------------------------------------------------------------------------- LeRobot


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """One valid set of each kind."""
    root = tmp_path_factory.mktemp("originals")
    for name, video in (("images", False), ("films", True)):
        with LeRobotWriter(root / name, 5, "serbot", video) as writer:
            for number in range(2):
                writer.add(lerobot_episode(number, steps=3, size=16))
    write_recording(
        root / "hdf5" / f"{NAME}.h5", images=np.full((4, 8, 8, 3), 90, np.uint8), **short(), instruction="go"
    )
    with h5py.File(root / "hdf5" / f"{NAME}.h5", "a") as file:
        file["states"], file["metadata/target"] = np.zeros((4, 2), np.float32), "cup"
        file.attrs["vla_sim_label_scale"] = '{"label": 1.0}'
        file.attrs["vla_sim_provenance"] = '{"seed": 1, "scenario": "a", "taken": "2025-01-01T00:00:00"}'
    metadata = {
        "instruction": "go",
        "action_event_types": ["start_action"] * 4,
        "vla_sim": {
            "format": 1,
            "channel_order": "rgb",
            "action_columns": ["vx", "vy", "wz"],
            "label_scale": {"label": 1.15},
            "step_s": 0.4,
            "outcome": "success",
            "provenance": {"seed": 1, "index": 3},
        },
    }
    write_frames(root / "frames" / NAME, actions=short()["actions"], metadata=metadata)
    write_dump(root / "dump")
    for name in ("images", "films", "hdf5", "frames", "dump"):
        check(root / name)
        assert episodes_of(root / name)
    return root


def short():
    return {"actions": np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32), "events": ["a"] * 4}


def write_dump(folder):
    folder.mkdir()
    frames = [
        {
            "frame_index": i,
            "action": {"x": 1.15 * (i > 0), "y": 0.0, "z": 0.0},
            "event_type": "start_action",
            "image_file": f"frame_{i:04d}.png",
        }
        for i in range(4)
    ]
    content = {"file_name": f"{NAME}.h5", "metadata": {"num_frames": 4, "action_chunk_size": 8}, "frames": frames}
    (folder / f"{NAME}_data.json").write_text(json.dumps(content))
    for i in range(4):
        Image.fromarray(np.full((8, 12, 3), 40 * i, np.uint8)).save(folder / f"frame_{i:04d}.png")


@pytest.fixture
def fresh(originals, tmp_path):
    """Gives a new copy of an original each time."""
    numbers = itertools.count()

    def new(name):
        shutil.rmtree(tmp_path / f"{next(numbers) - 1}", ignore_errors=True)
        return shutil.copytree(originals / name, tmp_path / f"{next(numbers) - 1}")

    return new


SEVERAL = st.lists(CHOICE, min_size=1, max_size=2), st.lists(ODD, min_size=2, max_size=2)


@examples(100)
@given(*SEVERAL, st.sampled_from(["images", "films"]))
def test_any_info_of_a_lerobot_set(fresh, choices, odds, name):
    root = fresh(name)
    change_json(root / "meta/info.json", choices, odds)
    check(root)


@examples(60)
@given(*SEVERAL)
def test_any_facts_beside_a_lerobot_set(fresh, choices, odds):
    root = fresh("images")
    change_json(root / "meta/vla_sim.jsonl", choices, odds, lines=True)
    check(root)


@examples(100)
@given(st.sampled_from([TABLE, INDEX, INDEX, TASKS]), CHOICE, st.sampled_from(ODD_CELLS), st.booleans())
def test_any_table_of_a_lerobot_set(fresh, name, choice, value, video):
    root = fresh("films" if video else "images")
    change_table(root / name, choice, value)
    check(root)


@examples(100)
@given(st.sampled_from([TABLE, INDEX, TASKS, "meta/info.json", "meta/vla_sim.jsonl"]), CHOICE, DAMAGE)
def test_any_damage_to_the_files_of_a_lerobot_set(fresh, name, seed, kind):
    root = fresh("images")
    (root / name).write_bytes(damaged((root / name).read_bytes(), seed, kind))
    check(root)


@examples(40)
@given(CHOICE, DAMAGE)
def test_any_damage_to_a_film(fresh, seed, kind):
    root = fresh("films")
    (root / FILM).write_bytes(damaged((root / FILM).read_bytes(), seed, kind))
    check(root)


# -------------------------------------------------------------------------------------------------------------- serbot

ARRAYS = (
    *(np.zeros(0), np.zeros((4, 3)), np.zeros((4, 2)), np.full((4, 3), np.nan), np.zeros((4, 8, 8, 3), np.uint8)),
    *(np.zeros((5, 8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8), np.zeros((4, 3, 3)), np.array(3), b"a", "a"),
    *(np.array([b"go"] * 4), np.array([b"go", b"no"] * 2), np.zeros(4, [("a", "i4")]), np.array([True] * 4)),
    *(np.full((4, 3), 10**12), np.full((4, 3), 1e300), np.zeros((1, 8, 8, 3), np.uint8), h5py.Empty("f4")),
)
PLACES = ("images", "actions", "action_event_types", "language_instruction", "states", "metadata/target", "final_image")
ATTRIBUTES = tuple(
    f"vla_sim_{name}"
    for name in ("label_scale", "provenance", "format", "channel_order", "action_columns", "step_s", "outcome")
)


@examples(120)
@given(st.sampled_from(PLACES), st.sampled_from(range(len(ARRAYS) + 2)))
def test_any_values_in_an_hdf5_recording(fresh, place, number):
    root = fresh("hdf5")
    with h5py.File(root / f"{NAME}.h5", "a") as file:
        if place in file:
            del file[place]
        if number < len(ARRAYS):
            file[place] = ARRAYS[number]
        elif number == len(ARRAYS):
            file.create_group(place)
    check(root)


@examples(70)
@given(st.sampled_from(ATTRIBUTES), ODD, st.booleans())
def test_any_attributes_of_an_hdf5_recording(fresh, name, odd, as_json):
    root = fresh("hdf5")
    with h5py.File(root / f"{NAME}.h5", "a") as file:
        try:
            file.attrs[name] = json.dumps(odd) if as_json else odd
        except (TypeError, ValueError, OverflowError, UnicodeEncodeError, KeyError):
            return  # such an attribute cannot be written
    check(root)


@examples(90)
@given(*SEVERAL)
def test_any_metadata_of_a_folder_of_images(fresh, choices, odds):
    root = fresh("frames")
    change_json(root / NAME / "metadata.json", choices, odds)
    check(root)


@examples(80)
@given(st.sampled_from(["actions.npy", "frame_00.png", "frame_02.png", "metadata.json"]), CHOICE, DAMAGE)
def test_any_damage_to_a_folder_of_images(fresh, name, seed, kind):
    root = fresh("frames")
    path = root / NAME / name
    path.write_bytes(damaged(path.read_bytes(), seed, kind))
    check(root)


@examples(12)
@given(st.sampled_from(["frame_00", "frame_03"]), st.sampled_from(["_1", "_01", "_99", "_1000000000", "", "_00"]))
def test_any_names_of_images(fresh, name, other):
    root = fresh("frames")
    path = root / NAME / f"{name}.png"
    path.rename(path.with_name(f"frame{other}.png"))
    check(root)


@examples(100)
@given(*SEVERAL)
def test_any_dump(fresh, choices, odds):
    root = fresh("dump")
    change_json(root / f"{NAME}_data.json", choices, odds)
    check(root)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_any_damage_to_an_hdf5_recording(originals, tmp_path):
    """In a process of its own: the library itself could end it, or never come back."""
    path = originals / "hdf5" / f"{NAME}.h5"
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); import test_any_bytes as t\n"
        f"good, root = pathlib.Path({str(path)!r}).read_bytes(), pathlib.Path({str(tmp_path)!r})\n"
        "for seed in range(600):\n"
        "    kind = ('flip', 'flip', 'flip', 'cut', 'hole', 'zeros', 'more')[seed % 7]\n"
        f"    (root / {path.name!r}).write_bytes(t.damaged(good, seed, kind))\n"
        "    t.check(root)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "target",
    ["scenario", "embodiment", "results", "lerobot_info", "lerobot_facts", "frames_metadata", "dump", "hdf5"],
)
def test_readers_stand_coverage_guided_fuzzing(target, originals, tmp_path):
    """What libFuzzer finds in twenty seconds, in a process of its own."""
    pytest.importorskip("atheris", reason="needs the extra fuzz")
    root = shutil.copytree(originals, tmp_path / "files")
    shutil.copy2(content_folder("scenarios") / "core" / "obstacle.toml", root / "scenario.toml")
    shutil.copy2(content_folder("envs") / "lekiwi.toml", root / "embodiment.toml")
    write_results(root / "episodes.jsonl", [make_result(seed=seed) for seed in range(2)])
    script = pathlib.Path(__file__).with_name("reader_fuzzing.py")
    limits = ["-max_total_time=20", "-seed=1", "-timeout=20", "-rss_limit_mb=4000", f"-artifact_prefix={tmp_path}/"]
    done = subprocess.run(
        [sys.executable, script, target, root, *limits], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
