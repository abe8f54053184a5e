"""LeRobot sets with one thing wrong each: the audit finds it, and converting refuses it in the same words."""

import io
import json
import os
import struct
import zlib

import numpy as np
import pytest
from lerobot_episodes import episode

pytest.importorskip("pyarrow")
av = pytest.importorskip("av")

import pyarrow  # noqa: E402
import pyarrow.parquet as parquet  # noqa: E402
from PIL import Image  # noqa: E402

from vla_sim.audit import main as audit  # noqa: E402
from vla_sim.convert import main as convert  # noqa: E402
from vla_sim.core.errors import UserError  # noqa: E402
from vla_sim.datasets.lerobot import LeRobotReader, LeRobotWriter  # noqa: E402

TABLE, INDEX = "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet"
FILM, CAMERA = "videos/observation.image/chunk-000/file-000.mp4", "observation.image"


def written(root, video=False, count=3):
    """As another program would have written it: without the file of our own facts."""
    with LeRobotWriter(root, 5, "serbot", video, outcomes=False) as writer:
        for number in range(count):
            writer.add(episode(number, labels=None))
    (root / "meta/vla_sim.jsonl").unlink()
    return root


def change_info(root, **values):
    path = root / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_table(root, change, name=TABLE):
    """`change` gets the columns as lists and alters them."""
    table = parquet.read_table(root / name)
    columns = table.to_pydict()
    change(columns)
    arrays = {key: pyarrow.array(values) for key, values in columns.items()}
    parquet.write_table(pyarrow.table(arrays), root / name)


def _set(key, row, value):
    def change(columns):
        columns[key][row] = value

    return change


def _thrice_as_fast(columns):
    columns["timestamp"] = [time / 3 for time in columns["timestamp"]]


def _png(size, colour=0):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def _bomb(width, height):
    """A small file that declares a large image."""
    content = bytearray(_png((1, 1)))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def _overlap(root):
    change_table(root, _set(f"videos/{CAMERA}/from_timestamp", 1, 0.6), INDEX)
    change_table(root, _set(f"videos/{CAMERA}/to_timestamp", 1, 3.0), INDEX)


def _pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def _linked(root):
    path = root / TABLE
    outside = root.parent / "outside.parquet"
    path.rename(outside)
    path.symlink_to(outside)


def _pipe(path):
    path.unlink()
    os.mkfifo(path)


# What is done to a set, whether with films, and what is said of it.
FAULTS = {
    "times contradict the rate": (lambda r: change_table(r, _thrice_as_fast), 0, "timestamps contradict fps 5"),
    "times are no numbers": (lambda r: change_table(r, _set("timestamp", 4, float("nan"))), 0, "timestamps contradict"),
    "films overlap": (_overlap, 1, "its part of the film overlaps that of episode"),
    "film too short": (
        lambda r: change_table(r, _set(f"videos/{CAMERA}/to_timestamp", 2, 99.0), INDEX),
        *(1, "but 12 frames at 5 fps"),
    ),
    "episodes missing": (lambda r: change_info(r, total_episodes=50), 0, "says 50 episodes, meta/episodes lists 3"),
    "index lacks one": (
        lambda r: (
            change_info(r, total_episodes=2),
            change_table(r, lambda c: [values.pop() for values in c.values()], INDEX),
        ),
        *(0, "has 36 frames, but meta/episodes lists 24"),
    ),
    "index has one twice": (
        lambda r: change_table(r, _set("episode_index", 1, 0), INDEX),
        0,
        "lists episode 0 2 times",
    ),
    "unknown task": (lambda r: change_table(r, _set("task_index", 6, 9)), 0, "has task 9"),
    "pointer instead of a table": (lambda r: _pointer(r / TABLE), 0, "git lfs pull"),
    "pointer instead of a film": (lambda r: _pointer(r / FILM), 1, "git lfs pull"),
    "pointer instead of info": (lambda r: _pointer(r / "meta/info.json"), 0, "git lfs pull"),
    "a frame is missing": (lambda r: change_table(r, _set("frame_index", 3, 10**9)), 0, "frame 3 is missing"),
    "frames of two mixed": (lambda r: change_table(r, _set("episode_index", 3, 1)), 0, "has 11 frames of episode 0"),
    "negative length": (lambda r: change_table(r, _set("length", 0, -5), INDEX), 0, "length must be a finite number"),
    "huge chunk": (lambda r: change_table(r, _set("data/chunk_index", 0, 2**60), INDEX), 0, "between 0 and 1e+09"),
    "ragged actions": (lambda r: change_table(r, _set("action", 2, [1.0])), 0, "action must have 2 numbers a row"),
    "no action": (lambda r: change_table(r, _set("action", 2, None)), 0, "action must"),
    "action not finite": (lambda r: change_table(r, _set("action", 2, [float("inf"), 0.0])), 0, "finite"),
    "words for actions": (
        lambda r: change_table(r, lambda c: c.update(action=[["a", "b"]] * len(c["action"]))),
        *(0, "action must be numbers"),
    ),
    "template up": (lambda r: change_info(r, data_path="../{file_index}.parquet"), 0, "leads out of the data set"),
    "absolute template": (lambda r: change_info(r, data_path="/etc/passwd"), 0, "leads out of the data set"),
    "template that asks": (lambda r: change_info(r, data_path="{file_index.__class__}"), 0, "and nothing else"),
    "template that fills": (lambda r: change_info(r, data_path="{file_index:999999999d}"), 0, "and nothing else"),
    "template with holes": (lambda r: change_info(r, data_path="{"), 0, "is no pattern"),
    "film template up": (lambda r: change_info(r, video_path="../../x.mp4"), 1, "leads out of the data set"),
    "link out of the set": (_linked, 0, "leads out of the data set"),
    "pipe for a table": (lambda r: _pipe(r / TABLE), 0, "is a pipe"),
    "pipe for a film": (lambda r: _pipe(r / FILM), 1, "is a pipe"),
    "pipe for info": (lambda r: _pipe(r / "meta/info.json"), 0, "is a pipe"),
    "playlist for a film": (
        lambda r: (r / FILM).write_text("#EXTM3U\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n"),
        *(1, "cannot be decoded"),
    ),
    "list of films": (
        lambda r: (r / FILM).write_text("ffconcat version 1.0\nfile '/etc/passwd'\n"),
        *(1, "cannot be decoded"),
    ),
    "fps of zero": (lambda r: change_info(r, fps=0), 0, "fps must be a finite number"),
    "fps in words": (lambda r: change_info(r, fps="5"), 0, "fps must be a number, got '5'"),
    "features listed": (lambda r: change_info(r, features=[]), 0, "features must be a table"),
    "deep info": (lambda r: (r / "meta/info.json").write_text('{"a":' * 99999), 0, "nested too deeply"),
    "info of zeros": (lambda r: (r / "meta/info.json").write_bytes(bytes(999)), 0, "no valid JSON"),
    "task twice": (lambda r: change_table(r, _set("task_index", 1, 0), "meta/tasks.parquet"), 0, "stands twice"),
    "task in half": (lambda r: change_table(r, _set("task", 0, "a\0b"), "meta/tasks.parquet"), 0, "no text"),
    "our facts are a list": (lambda r: (r / "meta/vla_sim.jsonl").write_text("[]\n"), 0, "must be a table"),
    "our facts: held": (
        lambda r: (r / "meta/vla_sim.jsonl").write_text('{"episode_index": 0, "held": 0}\n'),
        *(0, "held must be a finite number"),
    ),
    "our facts: steps": (
        lambda r: (r / "meta/vla_sim.jsonl").write_text('{"episode_index": 0, "held": 2, "step_s": 9}\n'),
        *(0, "steps of 9 s"),
    ),
    "images of unequal size": (
        lambda r: change_table(r, _set(CAMERA, 1, {"bytes": _png((9, 9)), "path": ""})),
        *(0, "differs in size"),
    ),
    "image of 900 million pixels": (
        lambda r: change_table(r, _set(CAMERA, 0, {"bytes": _bomb(30_000, 30_000), "path": ""})),
        *(0, "pixels"),
    ),
    "image of 50 million pixels": (
        lambda r: change_table(r, _set(CAMERA, 0, {"bytes": _bomb(10_000, 5_000), "path": ""})),
        *(0, "10000 x 5000 pixels"),
    ),
    "image elsewhere": (lambda r: change_table(r, _set(CAMERA, 0, {"bytes": None, "path": "/etc/x.png"})), 0, "not in"),
    "image is text": (lambda r: change_table(r, _set(CAMERA, 0, {"bytes": b"<svg/>", "path": ""})), 0, "is damaged"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_audit_and_convert_say_the_same_of_what_is_wrong(tmp_path, capsys, name):
    fault, video, says = FAULTS[name]
    root = written(tmp_path / "set", video=bool(video))
    fault(root)
    code = audit(["--data", str(root), "--thorough"])
    printed = capsys.readouterr()
    found = printed.out + printed.err
    assert says in found
    assert code == (2 if printed.err else 1)
    assert convert(["--data", str(root), "--out", str(tmp_path / "out"), "--format", "hdf5"]) == 2
    said = capsys.readouterr().err.removeprefix("python -m vla_sim.convert: ")
    assert says in said
    assert "Traceback" not in found + said


def test_parts_of_an_arm_are_never_dropped_silently(tmp_path, capsys):
    """Six joints beside the motion of the base were once left out without a word."""
    root = written(tmp_path / "set")
    info = json.loads((root / "meta/info.json").read_text())
    info["features"]["action"]["names"] = ["arm_lift.pos", "x.vel"]
    (root / "meta/info.json").write_text(json.dumps(info))
    words = "its actions have arm_lift.pos, which mobile robots have no place for"
    assert audit(["--data", str(root)]) == 1  # nothing in it ends with a stop
    assert words in capsys.readouterr().out
    convert_to = ["--data", str(root), "--out", str(tmp_path / "out"), "--format"]
    assert convert([*convert_to, "hdf5"]) == 2
    assert f"{words}; keep what moves the base: --columns NAME=vx" in capsys.readouterr().err
    assert convert([*convert_to[:-2], str(tmp_path / "all"), "--format", "lerobot", "--images"]) == 0
    kept = LeRobotReader(tmp_path / "all")[0]
    assert set(kept.action_names) == {"vx", "arm_lift.pos"}
    assert convert([*convert_to, "hdf5", "--columns", "x.vel=vx"]) == 0


def test_a_hint_never_names_a_command_that_uploads_or_deletes(tmp_path):
    root = written(tmp_path / "set")
    change_info(root, codebase_version="v2.1")
    with pytest.raises(UserError) as caught:
        LeRobotReader(root)
    assert "python -m" not in str(caught.value)
    assert "repo-id" not in str(caught.value)
    assert "upload" in str(caught.value)


def test_actions_that_are_named_actions_are_read(tmp_path):
    root = written(tmp_path / "set")
    expected = LeRobotReader(root)[1].actions
    path = root / "meta/info.json"
    path.write_text(path.read_text().replace('"action"', '"actions"'))
    table = parquet.read_table(root / TABLE)
    parquet.write_table(
        table.rename_columns([n if n != "action" else "actions" for n in table.column_names]), root / TABLE
    )
    np.testing.assert_array_equal(LeRobotReader(root)[1].actions, expected)


def test_the_cache_of_the_hub_is_read_through_its_links(tmp_path):
    """It keeps the files in blobs/ and a snapshot of links to them."""
    root = tmp_path / "hub" / "snapshots" / "0123abc"
    written(root)
    (tmp_path / "hub/blobs").mkdir()
    for number, path in enumerate(sorted(root.rglob("*.parquet"))):
        blob = tmp_path / "hub/blobs" / str(number)
        path.rename(blob)
        path.symlink_to(os.path.relpath(blob, path.parent))
    assert len(list(LeRobotReader(root))) == 3


def test_images_in_tables_of_one_piece_are_those_of_their_episode(tmp_path):
    """pandas and others write one row group for all."""
    root = written(tmp_path / "set")
    before = [one.images for one in LeRobotReader(root)]
    parquet.write_table(parquet.read_table(root / TABLE), root / TABLE)
    reader = LeRobotReader(root)
    for number, images in enumerate(before):
        np.testing.assert_array_equal(reader[number].images, images)
        np.testing.assert_array_equal(reader.recording(number).episode().images[4], images[4])


def test_what_is_there_of_a_set_that_is_not_complete_can_be_read_on_request(tmp_path):
    root = written(tmp_path / "set")
    change_info(root, total_episodes=50)
    reader = LeRobotReader(root, partial=True)
    assert [len(one) for one in reader] == [12, 12, 12]
    assert len(reader.faults) == 1
