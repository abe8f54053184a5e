"""Folders of images, JSON dumps and rounds of arrays that lie, point elsewhere or never end."""

import json
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from serbot_files import ACTIONS, NAME, write_frames, write_recording

from vla_sim.audit import main as audit
from vla_sim.convert import main as convert
from vla_sim.core.errors import UserError
from vla_sim.datasets.dataset import open_dataset


def frames(root):
    return write_frames(root / NAME, metadata={"instruction": "go"})


def dump(root):
    folder = frames(root)
    table = [
        {"frame_index": i, "action": {"x": float(x), "y": float(y)}, "image_file": f"frame_{i:02d}.png"}
        for i, (x, y, _) in enumerate(ACTIONS)
    ]
    (folder / f"{NAME}_data.json").write_text(json.dumps({"frames": table}))
    (folder / "actions.npy").unlink()
    return folder


def rounds(root):
    folder = root / "round"
    folder.mkdir(parents=True)
    np.save(folder / "images.npy", np.zeros((2, 3, 8, 8, 3), np.uint8))
    np.save(folder / "actions.npy", np.zeros((2, 3, 2), np.float32))
    np.save(folder / "goals.npy", np.zeros((2, 3, 2), np.float32))
    np.save(folder / "mask.npy", np.ones((2, 3), bool))
    facts = {"texts": [["go"], ["on"]], "scenarios": ["a", "b"], "outcomes": ["success", None]}
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder


def load_all(root):
    return [one.loaded() for one in open_dataset(root).readable()]


def refused(root):
    """What is said of a set with one episode that cannot be read."""
    with pytest.raises(UserError) as caught:
        [one.loaded() for one in open_dataset(root)]
    return str(caught.value)


@pytest.mark.parametrize("kind", [frames, dump, rounds])
def test_the_sets_of_these_tests_are_readable_as_they_are(tmp_path, kind):
    kind(tmp_path / "set")
    assert load_all(tmp_path / "set")


FILES = {
    frames: ("actions.npy", "metadata.json", "frame_00.png", "frame_03.png"),
    dump: (f"{NAME}_data.json", "frame_00.png", "frame_03.png"),
    rounds: ("images.npy", "actions.npy", "goals.npy", "mask.npy"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["pipe", "device", "outside", "pointer", "folder"])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in FILES.items() for name in names])
def test_what_is_no_file_of_the_set_is_refused_and_nothing_hangs(tmp_path, kind, name, way):
    folder = kind(tmp_path / "set")
    path, outside = folder / name, tmp_path / name
    path.rename(outside)
    if way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif kind is rounds and way == "outside":
        return  # our own rounds may be linked from elsewhere
    else:
        path.symlink_to("/dev/zero" if way == "device" else outside)
    assert name in refused(tmp_path / "set")


def _bomb(width, height):
    """A small PNG file that declares a large image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10))), (b"IEND", b"")]
    chunks = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", [frames, dump])
@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 5_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("number", [0, 5])
def test_images_that_would_fill_the_memory_are_refused_by_their_header(tmp_path, kind, size, number):
    folder = kind(tmp_path / "set")
    (folder / f"frame_{number:02d}.png").write_bytes(_bomb(*size))
    said = refused(tmp_path / "set")
    assert f"frame_{number:02d}.png" in said
    assert "pixels" in said or "damaged" in said


def test_other_kinds_of_images_under_the_name_of_one_are_refused(tmp_path):
    folder = frames(tmp_path / "set")
    Image.new("RGB", (32, 18)).save(folder / "x.tiff")
    (folder / "x.tiff").rename(folder / "frame_03.png")
    assert "frame_03.png: the image is damaged" in refused(tmp_path / "set")


def test_a_frame_with_the_number_of_a_billion_is_a_gap_and_no_list(tmp_path):
    folder = frames(tmp_path / "set")
    (folder / "frame_17.png").rename(folder / "frame_1000000000.png")
    assert "frame_17 is missing" in refused(tmp_path / "set")


@pytest.mark.parametrize("shape", [(10**10, 3), (2**40, 2**20), (-1, 3), (17, 3), (18, 3, 1)])
def test_shapes_that_a_file_only_declares_are_refused(tmp_path, shape):
    folder = frames(tmp_path / "set")
    content = (folder / "actions.npy").read_bytes()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    (folder / "actions.npy").write_bytes(content[:8] + struct.pack("<H", 118) + header.encode() + content[128:])
    assert "actions.npy" in refused(tmp_path / "set")


@pytest.mark.parametrize("name", ["../private.png", "/etc/hostname", "a/b.png", "", "\0", 3, None])
def test_images_of_a_dump_lie_beside_it(tmp_path, name):
    folder = dump(tmp_path / "set")
    shutil.copy(folder / "frame_03.png", tmp_path / "set" / "private.png")
    path = folder / f"{NAME}_data.json"
    content = json.loads(path.read_text())
    content["frames"][3]["image_file"] = name
    path.write_text(json.dumps(content))
    assert "image_file" in refused(tmp_path / "set")


def test_a_dump_is_read_as_it_was_driven(tmp_path):
    dump(tmp_path / "set")
    (one,) = load_all(tmp_path / "set")
    assert one.name == NAME
    assert one.actions[5].tolist() == [0, 0.5]
    assert one.instruction.startswith("Navigate around the obstacle on the left")
    assert one.provenance["source_layout"] == "dump"


@pytest.mark.parametrize(("key", "value"), [("mask.npy", np.zeros((2, 4), bool)), ("images.npy", np.zeros(3))])
def test_rounds_whose_arrays_do_not_fit_are_refused(tmp_path, key, value):
    folder = rounds(tmp_path / "set")
    np.save(folder / key, value)
    assert "its episodes cannot be read" in refused(tmp_path / "set")


@pytest.mark.parametrize("value", [None, [], ["go"], [[], ["on"]], [["go"], [3]], {"a": 1}, "go"])
def test_rounds_whose_texts_are_none_are_refused(tmp_path, value):
    folder = rounds(tmp_path / "set")
    facts = json.loads((folder / "facts.json").read_text())
    (folder / "facts.json").write_text(json.dumps({**facts, "texts": value}))
    assert "texts" in refused(tmp_path / "set")


def test_links_to_folders_outside_are_refused_and_those_that_go_round_left_out(tmp_path):
    frames(tmp_path / "set")
    (tmp_path / "set/round").symlink_to(tmp_path / "set")
    assert len(load_all(tmp_path / "set")) == 1
    frames(tmp_path / "other")
    (tmp_path / "set/more").symlink_to(tmp_path / "other")
    assert "is a link to a folder outside of the data set" in refused(tmp_path / "set")


HOSTILE_TEXT = "<script>alert(1)</script>\x1b[2J\x07\nfine      nothing wrong"


def test_what_files_say_is_text_on_the_page_and_in_the_terminal(tmp_path, capsys):
    for number in range(2):
        name = f"episode_2025081{number}_122923_1box_vert_left_core_close"
        write_recording(tmp_path / "set" / f"{name}.h5", instruction=HOSTILE_TEXT)
    audit(["--data", str(tmp_path / "set"), "--out", str(tmp_path / "audit")])
    printed = capsys.readouterr().out
    page, values = ((tmp_path / "audit" / name).read_text("utf-8") for name in ("audit.html", "audit.json"))
    assert "alert(1)" in page
    assert "<script>" not in page
    for text in (printed, page, values):
        assert not set(text) & {"\x1b", "\x07"}
    assert "\nfine      nothing wrong" not in printed


def test_skipping_goes_on_behind_every_kind_of_fault(tmp_path, capsys):
    source = tmp_path / "set"
    write_recording(source / "episode_20250101_120000_1box_vert_left.h5")
    faulty = frames(source / "a")
    (faulty / "frame_05.png").write_bytes(_bomb(60_000, 60_000))
    frames(source / "b").joinpath("actions.npy").write_bytes(b"")
    dump(source / "c").joinpath(f"{NAME}_data.json").write_text("[" * 99_999)
    os.mkfifo(source / "pipe.h5")
    (source / "cut.h5").write_bytes((source / "episode_20250101_120000_1box_vert_left.h5").read_bytes()[:900])
    out = ["--data", str(source), "--out", str(tmp_path / "out"), "--format", "hdf5"]
    assert convert(out) == 2
    capsys.readouterr()
    assert convert([*out, "--skip-bad"]) == 0
    assert capsys.readouterr().err.count("left out: ") == 5
    assert len(load_all(tmp_path / "out")) == 1
