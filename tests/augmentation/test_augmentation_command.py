import json
from pathlib import Path

import numpy as np
import pytest
from augmentation_episodes import driven, invented, same
from PIL import Image

from vla_sim.augment import main
from vla_sim.augmentation.mirroring import Mirror
from vla_sim.augmentation.recipe import KINDS
from vla_sim.datasets.serbot.folder import SerbotFolder, read_episodes
from vla_sim.datasets.serbot.frames import write_serbot_frames
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, write_serbot_hdf5
from vla_sim.datasets.store import read_manifest


@pytest.fixture
def folder(tmp_path):
    """Two episodes of the simulator."""
    source = tmp_path / "in"
    for seed, scenario in ((3, "obstacle_left"), (4, "obstacle_right")):
        episode = driven(scenario, seed=seed, noise=0.2)
        write_serbot_hdf5(source / f"{episode.name}.h5", episode)
    return source


def _augment(source, out, *options):
    return main(["--data", str(source), "--out", str(out), "--workers", "1", *options])


def _forget_the_writer(path):
    """Leave what the robot's own collector writes."""
    import h5py

    with h5py.File(path, "a") as file:
        for name in [name for name in file.attrs if name.startswith("vla_sim_")]:
            del file.attrs[name]


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_the_same_command_gives_the_same_files_and_another_seed_others(folder, tmp_path):
    options = ("--recipe", "mirror,light,noise", "--recipe", "rerender", "--copies", "2")
    for name, seed in (("one", "1"), ("two", "1"), ("three", "2")):
        assert _augment(folder, tmp_path / name, *options, "--seed", seed) == 0
    one, two, three = (_contents(tmp_path / name) for name in ("one", "two", "three"))
    assert len(one) == 1 + 2 * 2 * 2
    assert one == two
    assert all(one[name] != three[name] for name in one)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(folder, tmp_path):
    for workers in ("1", "2"):
        assert _augment(folder, tmp_path / workers, "--recipe", "perturb,light", "--workers", workers) == 0
    assert _contents(tmp_path / "1") == _contents(tmp_path / "2")


def test_copies_say_what_was_done_to_which_recording(folder, tmp_path):
    assert _augment(folder, tmp_path / "out", "--recipe", "mirror,light=0.5") == 0
    made = {episode.name: episode for episode in read_episodes(tmp_path / "out")}
    copy = made["episode_20000101_000000_obstacle_right_aug00"]
    assert copy.provenance["augmentation"].startswith("mirror; light(gain=")
    assert copy.provenance["augmented_from"] == "episode_20000101_000000_obstacle_left.h5"
    assert (copy.provenance["scenario"], copy.provenance["side"]) == ("obstacle_right", "right")
    entries = read_manifest(tmp_path / "out").entries
    assert {entry.facts["augmented_from"] for entry in entries.values()} == {p.name for p in folder.iterdir()}
    assert SerbotFolder(tmp_path / "out").problems() == []


def test_originals_come_first_byte_for_byte_when_asked_for(folder, tmp_path):
    assert _augment(folder, tmp_path / "out", "--recipe", "mirror", "--with-originals") == 0
    made, given = _contents(tmp_path / "out"), _contents(folder)
    assert {name: made[name] for name in given} == given
    assert sorted(read_manifest(tmp_path / "out").entries) == [0, 1, 2, 3]


def test_an_interrupted_run_goes_on_and_ends_as_an_undisturbed_one(folder, tmp_path):
    options = ("--recipe", "light,noise", "--copies", "3")
    _augment(folder, tmp_path / "whole", *options)
    _augment(folder, tmp_path / "cut", *options)
    manifest = tmp_path / "cut" / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    lost = json.loads(lines[4])["file"]
    (tmp_path / "cut" / lost).write_bytes(b"half")
    manifest.write_text("".join(lines[:2]) + lines[4])
    assert _augment(folder, tmp_path / "cut", *options) == 0
    assert _contents(tmp_path / "cut") == _contents(tmp_path / "whole")


def test_another_recipe_is_not_mixed_into_a_folder(folder, tmp_path, capsys):
    _augment(folder, tmp_path / "out", "--recipe", "light")
    before = _contents(tmp_path / "out")
    assert _augment(folder, tmp_path / "out", "--recipe", "blur") == 2
    assert "belongs to another plan: recipes was" in capsys.readouterr().err
    assert _contents(tmp_path / "out") == before


@pytest.mark.parametrize("layout", ["main", "nested", "groups"])
def test_copies_have_the_layout_channel_order_and_scale_of_their_recordings(layout, tmp_path):
    given = driven()
    write_serbot_hdf5(tmp_path / "in" / f"{given.name}.h5", given, SerbotStyle(layout=layout, channel_order="bgr"))
    assert _augment(tmp_path / "in", tmp_path / "out", "--recipe", "mirror") == 0
    copy = SerbotFolder(tmp_path / "out")[0]
    assert (copy.facts.layout, str(copy.channel_order.order), copy.scale.label) == (layout, "bgr", 1.15)
    np.testing.assert_array_equal(copy.load().images, Mirror()(given).images)
    np.testing.assert_allclose(copy.load().actions, Mirror()(given).actions, rtol=1e-6)


def test_a_mirrored_copy_of_a_mirrored_copy_is_the_recording(folder, tmp_path):
    assert _augment(folder, tmp_path / "once", "--recipe", "mirror") == 0
    assert _augment(tmp_path / "once", tmp_path / "twice", "--recipe", "mirror") == 0
    for given, back in zip(read_episodes(folder), read_episodes(tmp_path / "twice"), strict=True):
        assert np.array_equal(given.images, back.images)
        assert np.array_equal(given.states, back.states)
        assert given.instruction == back.instruction
        assert given.provenance["scenario"] == back.provenance["scenario"]
        assert "augmentation" not in back.provenance


def test_recordings_of_the_robot_are_augmented_but_not_redrawn(tmp_path, capsys):
    real = invented(names=("vx", "vy"), labels=None, states=None, state_names=(), last_image=False, provenance={})
    write_serbot_hdf5(tmp_path / "in" / f"{real.name}.h5", real)
    _forget_the_writer(tmp_path / "in" / f"{real.name}.h5")
    options = ("--channel-order", "rgb")
    assert _augment(tmp_path / "in", tmp_path / "out", "--recipe", "mirror,light", *options) == 0
    (made,) = read_episodes(tmp_path / "out")
    assert made.name == "episode_20240102_030405_1box_vert_right_core_close_aug00"
    assert (made.provenance["simulated"], made.provenance["side"]) == (False, "right")
    assert _augment(tmp_path / "in", tmp_path / "no", "--recipe", "rerender", *options) == 2
    assert "its world cannot be built again: its provenance has no seed, embodiment" in capsys.readouterr().err
    assert _augment(tmp_path / "in", tmp_path / "few", "--recipe", "rerender", "--skip-refused", *options) == 0
    assert "0 episodes, 1 left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--recipe", "mirro"], "did you mean 'mirror'"),
        (["--recipe", "mirror", "--copies", "2"], "draws nothing: its 2 copies would be identical"),
        (["--recipe", "light", "--recipe", "light"], "two recipes are the same"),
        (["--recipe", "light", "--copies", "0"], "--copies must be at least 1"),
        (["--recipe", "light", "--seed", "-1"], "--seed must not be negative"),
        (["--recipe", "light=x"], "the strength must be a number, got 'x'"),
        (["--recipe", "speed=0.5"], "serbot drives at one speed"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(folder, tmp_path, capsys, options, message):
    assert _augment(folder, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_the_source_is_never_written_into(folder, capsys):
    assert _augment(folder, folder, "--recipe", "light") == 2
    assert _augment(folder, folder / "more", "--recipe", "light") == 2
    assert "must not lie in the data set that is read" in capsys.readouterr().err
    assert len(list(folder.iterdir())) == 2


def test_written_copies_are_what_the_recipe_made(folder, tmp_path):
    assert _augment(folder, tmp_path / "out", "--recipe", "mirror") == 0
    given, made = next(read_episodes(folder)), list(read_episodes(tmp_path / "out"))[-1]
    assert not same(given, made)
    assert np.array_equal(made.labels, Mirror()(given).labels)
    assert np.array_equal(made.states, Mirror()(given).states)


def test_folders_of_pictures_become_files(tmp_path):
    given = driven()
    write_serbot_frames(tmp_path / "in" / given.name, given, ending="png")
    assert _augment(tmp_path / "in", tmp_path / "out", "--recipe", "mirror", "--with-originals") == 0
    original, copy = read_episodes(tmp_path / "out")
    assert np.array_equal(original.images, given.images[:-1])
    assert np.array_equal(copy.images, Mirror()(original).images)


def test_recordings_of_one_name_give_copies_of_different_names(folder, tmp_path):
    first = sorted(folder.glob("*.h5"))[0]
    (folder / "more").mkdir()
    (folder / "more" / first.name).write_bytes(first.read_bytes())
    assert _augment(folder, tmp_path / "out", "--recipe", "light") == 0
    assert len({path.name for path in (tmp_path / "out").glob("*.h5")}) == len(list(folder.rglob("*.h5")))


def test_the_contact_sheet_shows_the_recording_and_each_copy(folder, tmp_path):
    sheet = tmp_path / "sheet.png"
    options = ("--recipe", "mirror", "--recipe", "light", "--recipe", "blur", "--sheet", str(sheet))
    assert _augment(folder, tmp_path / "out", *options) == 0
    with Image.open(sheet) as picture:
        assert picture.size == (2 * (4 * 112 + 3 * 2 + 8), 2 * (112 + 15 + 8))
        shown = np.asarray(picture)
    # Below the title: the first image, and in the next row its mirror image.
    assert np.array_equal(shown[19:131, 4:116], shown[154:266, 4:116][:, ::-1])


def test_a_sheet_that_is_no_picture_is_refused_before_anything_is_made(folder, tmp_path, capsys):
    assert _augment(folder, tmp_path / "out", "--recipe", "light", "--sheet", str(tmp_path / "sheet.txt")) == 2
    assert "a contact sheet ends in .jpg" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", KINDS)
def test_the_page_and_the_help_describe_every_augmentation(name, capsys):
    page = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text("utf-8")
    assert f"| `{name}` |" in page
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"\n  {name} " in capsys.readouterr().out


def test_copies_of_copies_never_take_the_name_of_an_original(folder, tmp_path):
    assert _augment(folder, tmp_path / "one", "--recipe", "light", "--with-originals") == 0
    before = _contents(tmp_path / "one")
    before.pop("manifest.jsonl")
    assert _augment(tmp_path / "one", tmp_path / "two", "--recipe", "noise", "--with-originals") == 0
    after = _contents(tmp_path / "two")
    assert len(before) == 4
    assert before.items() <= after.items()
    assert len(after) == 1 + 8
    assert _augment(tmp_path / "one", tmp_path / "two", "--recipe", "noise", "--with-originals") == 0
    assert _contents(tmp_path / "two") == after
