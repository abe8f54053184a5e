"""Every command takes every format, and no name in a data set leads a writer out of its folder."""

import json
import shutil
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from serbot_files import NAME, episode

from vla_sim.audit import main as audit
from vla_sim.augment import main as augment
from vla_sim.convert import main as convert
from vla_sim.core.episode import Episode, lazy_images
from vla_sim.core.errors import UserError
from vla_sim.core.files import file_name, inside
from vla_sim.datasets.base import ReadOptions
from vla_sim.datasets.dataset import FORMATS, open_dataset
from vla_sim.datasets.lerobot import LeRobotWriter
from vla_sim.datasets.serbot.frames import write_serbot_frames
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, write_serbot_hdf5
from vla_sim.datasets.store import Entry
from vla_sim.datasets.writing import WRITERS, write_entry
from vla_sim.expand import main as expand
from vla_sim.training.source_spec import SourceSpec
from vla_sim.training.sources import Shape, open_source

COUNT, SIDE_PX = 3, 32
NAMES = [NAME.replace("122923", f"12290{number}") for number in range(COUNT)]
EPISODES = [episode(4 + number, last=False, name=name, events=None) for number, name in enumerate(NAMES)]


def _lerobot(folder):
    with LeRobotWriter(folder, 5, "serbot", video=False) as writer:
        for one in EPISODES:
            writer.add(one)


def _rounds(folder):
    longest = max(map(len, EPISODES))
    images = np.zeros((COUNT, longest, SIDE_PX, SIDE_PX, 3), np.uint8)
    actions, mask = np.zeros((COUNT, longest, 2), np.float32), np.zeros((COUNT, longest), bool)
    for number, one in enumerate(EPISODES):
        images[number, : len(one)] = 10 * number + 5
        actions[number, : len(one)], mask[number, : len(one)] = one.actions, True
    arrays = {"images": images, "actions": actions, "mask": mask, "goals": np.full((COUNT, longest, 2), np.nan, "f4")}
    (folder / "round_0").mkdir(parents=True)
    for name, values in arrays.items():
        np.save(folder / "round_0" / f"{name}.npy", values)
    facts = {"texts": [["go left"]] * COUNT, "scenarios": ["obstacle_left"] * COUNT, "outcomes": ["success"] * COUNT}
    (folder / "round_0" / "facts.json").write_text(json.dumps(facts))


def _dump(folder):
    for one in EPISODES:
        place = folder / one.name
        place.mkdir(parents=True)
        frames = []
        for step, action in enumerate(one.actions.tolist()):
            image = f"frame_{step:04d}.png"
            Image.fromarray(one.images[step]).save(place / image)
            frames.append({"frame_index": step, "action": dict(zip("xy", action, strict=True)), "image_file": image})
        (place / f"{one.name}_data.json").write_text(json.dumps({"metadata": {}, "frames": frames}))


MAKERS = {
    "lerobot": _lerobot,
    "rounds": _rounds,
    "hdf5": lambda folder: [write_serbot_hdf5(folder / f"{one.name}.h5", one) for one in EPISODES],
    "frames": lambda folder: [write_serbot_frames(folder / one.name, one, ending="png") for one in EPISODES],
    "dump": _dump,
}
ALL = [format_.name for format_ in FORMATS]
each_format = pytest.mark.parametrize("name", ALL)
each_writer = pytest.mark.parametrize("written", WRITERS)


def made(tmp_path, name):
    MAKERS[name](tmp_path / "set")
    return tmp_path / "set"


def options(written):
    return ["--format", written, *(["--images"] if written == "lerobot" else [])]


@each_format
def test_episodes_are_lazy_and_the_same_each_time(tmp_path, name):
    dataset = open_dataset(made(tmp_path, name))
    assert dataset.format == name
    assert len(dataset) == COUNT
    for one, again in zip(dataset, dataset, strict=True):
        assert not isinstance(one.images, np.ndarray) or isinstance(one.images, np.memmap)
        whole = one.loaded()
        np.testing.assert_array_equal(whole.images, again.images)
        np.testing.assert_array_equal(whole.images[2], again.images[2])
        np.testing.assert_array_equal(whole.images[1::2], again.images[1::2])
        assert one.instruction


@each_format
def test_the_audit_reads_it(tmp_path, name, capsys):
    assert audit(["--data", str(made(tmp_path, name)), "--thorough"]) in (0, 1)
    assert "cannot be read" not in capsys.readouterr().out


@each_format
@each_writer
def test_it_converts_augments_and_expands(tmp_path, name, written):
    source = str(made(tmp_path, name))
    assert convert(["--data", source, "--out", str(tmp_path / "a"), *options(written)]) == 0
    recipe = ["--recipe", "blur", "--with-originals", "--workers", "1"]
    assert augment(["--data", source, "--out", str(tmp_path / "b"), *recipe, *options(written)]) == 0
    target = ["--target-episodes", str(COUNT), "--workers", "1"]
    assert expand(["--data", source, "--out", str(tmp_path / "c"), *target, *options(written)]) == 0
    before = open_dataset(source)
    for out, count in (("a", COUNT), ("b", 2 * COUNT), ("c", COUNT)):
        after = open_dataset(tmp_path / out)
        assert len(after) == count
        unchanged = [one for one in after if "augmentation" not in one.provenance]
        for old, new in zip(before, unchanged, strict=True):
            np.testing.assert_allclose(new.actions, old.actions, atol=1e-6)
            np.testing.assert_array_equal(new.images[: len(old)], old.images[: len(old)])
            assert new.instruction == old.instruction


@each_format
def test_it_is_a_source_of_demonstrations(tmp_path, name):
    spec = SourceSpec("one", made(tmp_path, name))
    source = open_source(spec, Shape(SIDE_PX, ("vx", "vy"), 0.4), tmp_path / "cache")
    assert source.episodes == COUNT


@each_format
def test_components_are_chosen_renamed_and_ordered_by_one_option(tmp_path, name):
    source = made(tmp_path, name)
    swapped = open_dataset(source, ReadOptions(columns=("vy=vx", "vx=vy")))[0]
    plain = open_dataset(source)[0]
    assert swapped.action_names == ("vx", "vy")
    np.testing.assert_allclose(swapped.actions, plain.actions[:, ::-1], atol=1e-6)
    with pytest.raises(UserError, match="vq"):
        _ = open_dataset(source, ReadOptions(columns=("vq=vx",)))[0]


def test_sets_of_several_formats_in_one_folder_are_one(tmp_path):
    for name in ALL:
        MAKERS[name](tmp_path / "all" / name)
    assert len(open_dataset(tmp_path / "all")) == COUNT * len(ALL)
    assert convert(["--data", str(tmp_path / "all"), "--out", str(tmp_path / "out")]) == 0
    assert len(open_dataset(tmp_path / "out")) == COUNT * len(ALL)


def test_what_is_no_data_set_is_told_what_was_looked_for(tmp_path):
    with pytest.raises(UserError) as caught:
        open_dataset(tmp_path)
    assert all(format_.title in str(caught.value) for format_ in FORMATS)


@each_format
@pytest.mark.parametrize("command", ["convert", "augment", "expand"])
def test_what_cannot_be_read_is_left_out_by_every_command(tmp_path, name, command, capsys):
    if name == "rounds":
        pytest.skip("its episodes share their files")
    source = made(tmp_path, name)
    _break_images(source, name)
    main, more = {
        "convert": (convert, []),
        "augment": (augment, ["--recipe", "blur", "--workers", "1"]),
        "expand": (expand, ["--target-episodes", "1", "--workers", "1"]),
    }[command]
    arguments = ["--data", str(source), "--out", str(tmp_path / "out"), *more]
    if command != "expand":  # which keeps files without looking at their images
        assert main(arguments) == 2
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
    capsys.readouterr()
    assert main([*arguments, "--skip-bad"]) == 0
    assert "left out: " in capsys.readouterr().err
    assert len(open_dataset(tmp_path / "out")) == COUNT - 1


def _break_images(source, name):
    """Damage the images of the second episode, and nothing else."""
    if name == "hdf5":
        import h5py

        with h5py.File(source / f"{NAMES[1]}.h5", "r+") as file:
            file["images"].id.write_direct_chunk((1, 0, 0, 0), b"no gzip")
    elif name == "lerobot":
        import pyarrow
        import pyarrow.parquet as parquet

        path = source / "data/chunk-000/file-000.parquet"
        table = parquet.read_table(path)
        cells = table["observation.image"].to_pylist()
        cells[2 * len(EPISODES[0]) + 1]["bytes"] = b"no PNG"
        kind = table.schema.field("observation.image").type
        at = table.column_names.index("observation.image")
        parquet.write_table(table.set_column(at, "observation.image", pyarrow.array(cells, kind)), path)
    else:
        sorted((source / NAMES[1]).glob("frame_*"))[1].write_bytes(b"no PNG")


# --- names of strangers -----------------------------------------------------------------------------------------------

HOSTILE = [
    *("../mine/x", "/tmp/x", "..", ".", "", "a/../../b", "..\\..\\x", "C:\\x", "nul", "COM1.h5", "a\0b", "\ud800"),
    *("x" * 300, "가" * 200, "a\u2028b", "a\u2215b", "\uff0e\uff0e\uff0f", "-rf", "~root", "$(reboot)", " ", ".hidden"),
    *("a\nb", "a\x1b[31mb", "name.part", "manifest"),
]
hostile_names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.sampled_from("./\\:~ \0\n\u2028\ud800e\u0301" + string.ascii_letters), max_size=40),
    st.text(max_size=300),
)


def below(folder):
    """Every file and folder below, relative."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def named(name, **changes):
    return episode(2, last=False, **{"name": name, "events": None, **changes})


@settings(max_examples=300, deadline=None)
@given(name=hostile_names, other=hostile_names)
def test_a_name_of_a_file_is_one_name_and_no_two_names_are_one(name, other):
    made = file_name(name)
    assert Path(made).name == made
    assert made not in (".", "..")
    assert not made.startswith(".")
    assert 0 < len(made.encode()) < 200
    assert made.isprintable()
    assert name == other or file_name(other) != made


@settings(max_examples=300, deadline=None)
@given(relative=hostile_names)
def test_a_path_in_a_data_set_lies_in_its_folder_or_is_refused(relative):
    folder = Path("/some/set")
    try:
        path = inside(folder, relative)
    except UserError:
        return
    assert path.is_relative_to(folder)
    assert ".." not in path.parts
    assert path != folder


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=hostile_names, layout=st.sampled_from(["main", "nested", "groups"]))
def test_no_name_leads_the_writer_of_hdf5_files_out_of_its_folder(tmp_path, name, layout):
    folder = tmp_path / "outer" / "set"
    shutil.rmtree(tmp_path / "outer", ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        entry = write_entry(folder, 0, named(name), SerbotStyle(layout=layout))
    except ValueError:  # the episode itself cannot be made
        return
    assert below(tmp_path / "outer") == {"set", f"set/{entry.file}"}
    (read,) = open_dataset(folder)
    np.testing.assert_array_equal(read.images, named("x").images)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=hostile_names, sentence=hostile_names)
def test_no_name_leads_the_writer_of_lerobot_sets_out_of_its_folder(tmp_path, name, sentence):
    shutil.rmtree(tmp_path / "outer", ignore_errors=True)
    try:
        given = named(name, instruction=sentence)
    except ValueError:
        return
    with LeRobotWriter(tmp_path / "outer" / "set", 5, "serbot", video=False) as writer:
        writer.add(given)
    assert {path.split("/")[0] for path in below(tmp_path / "outer")} == {"set"}
    (read,) = open_dataset(tmp_path / "outer" / "set")
    assert (read.name, read.instruction) == (given.name, given.instruction)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
@each_writer
def test_a_set_with_a_hostile_name_overwrites_nothing(tmp_path, name, written):
    """`"name": "../mine/x"` in meta/vla_sim.jsonl replaced a file outside of --out."""
    source = made(tmp_path, "lerobot")
    facts = source / "meta/vla_sim.jsonl"
    lines = [json.loads(line) for line in facts.read_text("utf-8").splitlines()]
    lines[0]["name"] = name
    facts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/x.h5").write_text("mine")
    (tmp_path / "out").mkdir()
    before = below(tmp_path)
    code = convert(["--data", str(source), "--out", str(tmp_path / "out" / "new"), *options(written)])
    assert code in (0, 2)
    assert (tmp_path / "mine/x.h5").read_text() == "mine"
    assert all(path.startswith("out/") for path in below(tmp_path) - before)
    if code == 0:
        assert len(open_dataset(tmp_path / "out" / "new")) == COUNT


@settings(max_examples=100, deadline=None)
@given(file=hostile_names)
def test_a_manifest_names_files_of_its_folder_only(file):
    try:
        entry = Entry(0, "x", file, "", 1)
    except ValueError:
        return
    assert (Path("/set") / entry.file).is_relative_to("/set")
    assert ".." not in Path(entry.file).parts


# --- lazy images ------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    key=st.one_of(
        st.integers(-6, 5),
        st.slices(6),
        st.lists(st.integers(-6, 5), max_size=4).map(lambda which: np.array(which, int)),
    )
)
def test_lazy_images_are_the_array_that_they_stand_for(key):
    array = np.random.default_rng(0).integers(0, 256, (6, 3, 4, 3), dtype=np.uint8)
    lazy = lazy_images(array.shape, lambda which: array[which])
    np.testing.assert_array_equal(lazy[key], array[key])
    np.testing.assert_array_equal(lazy + 1, array + 1)
    assert (len(lazy), lazy.shape, lazy.dtype, lazy.mean()) == (6, array.shape, array.dtype, array.mean())


def test_an_episode_reads_no_image_before_it_is_asked():
    asked = []

    def read(which):
        asked.append(which)
        return np.zeros((len(range(6)[which]), 3, 4, 3), np.uint8)

    lazy = Episode(**{**vars(named("x")), "images": lazy_images((2, 3, 4, 3), read), "states": None, "state_names": ()})
    assert not asked
    _ = lazy.images[1]
    assert asked == [slice(1, 2, 1)]
