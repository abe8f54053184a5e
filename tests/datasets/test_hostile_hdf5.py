"""HDF5 files that point elsewhere or promise too much: none of it is followed or allocated, all of it is said."""

import os
import resource
import tracemalloc

import h5py
import numpy as np
import pytest
from serbot_files import ACTIONS, NAME, pictures, write_recording

from vla_sim.audit import main as audit
from vla_sim.convert import main as convert
from vla_sim.core.errors import UserError
from vla_sim.datasets.serbot.folder import SerbotFolder

SECRET = "the user's own words"
# Where a reader looks for values.
PLACES = ("images", "actions", "action_event_types", "language_instruction", "final_image", "expert_actions", "states")


def secret(folder):
    """A file of the user that has everything a recording has."""
    path = write_recording(folder / "mine" / "private.h5", instruction=SECRET)
    with h5py.File(path, "a") as file:
        file["final_image"], file["expert_actions"] = pictures(1), ACTIONS
        file["states"] = np.zeros((19, 1), np.float32)
    return path


def _external_link(file, place, source):
    del file[place]
    file[place] = h5py.ExternalLink(str(source), f"/{place}")


def _soft_link_to_an_external_one(file, place, source):
    del file[place]
    file["elsewhere"] = h5py.ExternalLink(str(source), "/")
    file[place] = h5py.SoftLink(f"/elsewhere/{place}")


def _virtual(file, place, source):
    old = file[place]
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[:] = h5py.VirtualSource(str(source), place, old.shape, old.dtype)
    del file[place]
    file.create_virtual_dataset(place, layout)


def _external_storage(file, place, source):
    old = file[place]
    shape, dtype = old.shape, old.dtype
    if h5py.check_string_dtype(dtype):
        dtype = np.dtype("S16")
    del file[place]
    file.create_dataset(place, shape, dtype, external=[(str(source), 0, np.prod(shape) * dtype.itemsize)])


WAYS = (_external_link, _soft_link_to_an_external_one, _virtual, _external_storage)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("place", PLACES)
def test_values_of_other_files_are_never_read(tmp_path, way, place, capsys):
    """Once their content stood in tables, images and audit.html."""
    source = secret(tmp_path)
    path = write_recording(tmp_path / "set" / f"{NAME}.h5", instruction="go")
    with h5py.File(path, "a") as file:
        file["final_image"], file["expert_actions"] = pictures(1), ACTIONS
        file["states"] = np.zeros((19, 1), np.float32)
        way(file, place, source)
    with pytest.raises(UserError, match="only what the file holds itself is read"):
        SerbotFolder(tmp_path / "set")[0].load()
    assert audit(["--data", str(path.parent), "--thorough", "--out", str(tmp_path / "audit")]) == 1
    assert convert(["--data", str(path.parent), "--out", str(tmp_path / "out"), "--format", "lerobot", "--images"]) == 2
    printed = capsys.readouterr()
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    assert SECRET not in printed.out + printed.err + page
    assert "data:image" not in page


def test_soft_links_within_the_file_are_followed(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5", where="observations/images")
    with h5py.File(path, "a") as file:
        file["images"] = h5py.SoftLink("observations/images")
    assert len(SerbotFolder(tmp_path)[0].load()) == 18


def test_links_that_go_round_are_refused(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5")
    with h5py.File(path, "a") as file:
        del file["actions"]
        file["actions"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/actions")
    with pytest.raises(UserError, match="link"):
        SerbotFolder(tmp_path)[0].load()


@pytest.mark.parametrize("place", ["images", "actions", "action_event_types"])
@pytest.mark.parametrize("chunked", [True, False])
def test_sizes_that_the_file_cannot_hold_are_refused_before_memory_is_taken(tmp_path, place, chunked):
    path = write_recording(tmp_path / f"{NAME}.h5")
    with h5py.File(path, "a") as file:
        old = file[place]
        shape, dtype = (10**10, *old.shape[1:]), "S16" if place == "action_event_types" else old.dtype
        del file[place]
        chunks = (1, *shape[1:]) if chunked else None
        file.create_dataset(place, shape, dtype, chunks=chunks, compression="gzip" if chunked else None)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=f"{place}.* cannot hold"):
            SerbotFolder(tmp_path)[0].load()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_images_that_were_never_written_are_not_taken_for_black_ones(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5")
    with h5py.File(path, "a") as file:
        del file["images"]
        images = file.create_dataset("images", (18, 18, 32, 3), "u1", chunks=(1, 18, 32, 3), compression="gzip")
        images[:12] = pictures(12)
    with pytest.raises(UserError, match="12 of 18 blocks were written"):
        SerbotFolder(tmp_path)[0].load()


@pytest.mark.parametrize(
    ("place", "values"),
    [
        ("actions", np.array([b"a"] * 18)),
        ("actions", np.zeros(18, [("x", "f4")])),
        ("actions", np.full((18, 3), 1e300)),
        ("actions", np.zeros((0, 3), np.float32)),
        ("action_event_types", np.zeros(18)),
        ("action_event_types", np.array([["a"] * 18], dtype=h5py.string_dtype())),
        ("language_instruction", np.zeros((3, 3))),
        ("language_instruction", np.array([b"a\0b"] * 1, "S8")),
        ("final_image", np.zeros((1, 9, 9, 3), np.uint8)),
        ("expert_actions", np.zeros((3, 3))),
        ("states", np.zeros(4)),
        ("states", np.zeros((18, 2), "S3")),
    ],
)
def test_values_of_another_kind_are_refused_with_their_place(tmp_path, place, values):
    path = write_recording(tmp_path / f"{NAME}.h5", instruction="go")
    with h5py.File(path, "a") as file:
        if place in file:
            del file[place]
        file[place] = values
    with pytest.raises(UserError, match=f"{NAME}.*{place.split('_')[-1].rstrip('s')}"):
        SerbotFolder(tmp_path)[0].load()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vla_sim_provenance", "[" * 100_000),
        ("vla_sim_provenance", '{"taken": "yesterday"}'),
        ("vla_sim_provenance", '{"seed": [1]}'),
        ("vla_sim_provenance", '{"scenario": "\\ud800"}'),
        ("vla_sim_label_scale", '{"label": -1}'),
        ("vla_sim_label_scale", '{"lable": 1}'),
        ("vla_sim_action_names", '{"vx": 1}'),
        ("vla_sim_action_names", '["vx", ["vy"]]'),
        ("vla_sim_action_columns", "[1, 2, 3]"),
        ("vla_sim_channel_order", "gbr"),
        ("vla_sim_step_s", np.nan),
        ("vla_sim_step_s", "soon"),
        ("vla_sim_outcome", "triumph"),
    ],
)
def test_what_a_file_says_of_itself_is_checked(tmp_path, name, value):
    path = write_recording(tmp_path / f"{NAME}.h5")
    with h5py.File(path, "a") as file:
        file.create_dataset("x", data=0)
        file.attrs.create(name, value) if len(str(value)) < 60_000 else file.attrs.create(name, value[:60_000])
    with pytest.raises(UserError, match=NAME):
        SerbotFolder(tmp_path)[0].load()


def test_a_sentence_that_changes_on_the_way_is_not_silently_the_first(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5")
    with h5py.File(path, "a") as file:
        sentences = ["pass on the left"] * 6 + ["stop"] * 12
        file.create_dataset("language_instruction", data=sentences, dtype=h5py.string_dtype())
    assert SerbotFolder(tmp_path)[0].load().sentences == tuple(sentences)
    with h5py.File(path, "a") as file:
        del file["language_instruction"]
        file.create_dataset("language_instruction", data=sentences[:12], dtype=h5py.string_dtype())
    with pytest.raises(UserError, match="changes at step 6, from 'pass on the left' to 'stop'"):
        SerbotFolder(tmp_path)[0].load()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link out", "broken link", "pointer"])
def test_what_is_no_file_of_the_set_is_said_and_nothing_hangs(tmp_path, kind, capsys):
    folder, target = tmp_path / "set", write_recording(tmp_path / "mine" / "private.h5")
    write_recording(folder / "episode_20250101_120000_1box_left.h5")
    path = folder / f"{NAME}.h5"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to({"device": "/dev/zero", "link out": target, "broken link": "gone.h5"}[kind])
    if kind == "folder":  # may hold recordings, but is none
        assert len(SerbotFolder(folder)) == 1
        return
    says = {"pointer": "git lfs pull", "pipe": "is a pipe", "broken link": "not there"}.get(kind, "leads out")
    audit(["--data", str(folder)])
    assert says in capsys.readouterr().out
    assert convert(["--data", str(folder), "--out", str(tmp_path / "a"), "--format", "hdf5"]) == 2
    assert says in capsys.readouterr().err
    assert convert(["--data", str(folder), "--out", str(tmp_path / "b"), "--format", "hdf5", "--skip-bad"]) == 0
    assert f"left out: {path}" in capsys.readouterr().err


@pytest.mark.timeout(30)
def test_a_damaged_heap_of_texts_does_not_stop_the_program_for_ever(tmp_path):
    """HDF5 2.0.0 loops at an object of size zero."""
    path = write_recording(tmp_path / f"{NAME}.h5", instruction="go")
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(UserError, match="a heap of its texts is broken"):
        SerbotFolder(tmp_path)[0].load()


@pytest.mark.parametrize("where", ["dataset", "attribute"])
def test_a_text_that_claims_to_be_as_long_as_the_memory_takes_none_of_it(tmp_path, where):
    """A text of variable length is a length, a heap and a number in it; 4 GiB were taken for one letter once."""
    path = write_recording(tmp_path / f"{NAME}.h5", events=["a" * 77] * 18)
    with h5py.File(path, "a") as file:
        file.attrs["note"] = "b" * 78
    content = bytearray(path.read_bytes())
    length = 77 if where == "dataset" else 78
    heaps = [at.to_bytes(8, "little") for at in range(len(content)) if content.startswith(b"GCOL", at)]
    starts = tuple(length.to_bytes(4, "little") + heap for heap in heaps)
    places = [at for at in range(len(content)) if content.startswith(starts, at)]
    assert places
    for at in places:
        content[at : at + 4] = (3_000_000_000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=NAME):
        SerbotFolder(tmp_path)[0].load()
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
