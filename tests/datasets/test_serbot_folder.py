import itertools
import tracemalloc

import h5py
import numpy as np
import pytest
from PIL import Image
from serbot_files import ACTIONS, EVENTS, NAME, episode, pictures, write_frames, write_recording

from vla_sim.core.errors import UserError
from vla_sim.datasets.channel_order import brownness
from vla_sim.datasets.serbot import hdf5_reading
from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading, read_episodes
from vla_sim.datasets.serbot.frames import write_serbot_frames
from vla_sim.datasets.serbot.hdf5 import SerbotStyle

SIDES = ("left", "right")


def recordings(folder, count=4, **changes):
    for index in range(count):
        name = f"episode_20250815_1229{index:02d}_1box_vert_{SIDES[index % 2]}_core_close"
        write_recording(folder / f"{name}.h5", **changes)
    return folder


def test_a_folder_is_read_in_the_order_of_names_and_deep_down(tmp_path):
    recordings(tmp_path / "day_1", 3)
    write_frames(tmp_path / "day_0" / "episode_20250814_122900_1box_left")
    write_recording(tmp_path / ".episode_20250815_122999_1box_left.h5.99.part.h5")
    (tmp_path / "scenario_progress.json").write_text("{}")
    folder = SerbotFolder(tmp_path)
    assert len(folder) == 4
    assert [recording.name[-4:] for recording in folder] == ["left", "lose", "lose", "lose"]
    assert [recording.is_hdf5 for recording in folder] == [False, True, True, True]
    assert [len(drive) for drive in read_episodes(tmp_path)] == [18] * 4


def test_labels_and_actions_are_there_without_a_picture_read(tmp_path, monkeypatch):
    recordings(tmp_path)

    def refuse(*_, **__):
        raise AssertionError("an image was read")

    monkeypatch.setattr(hdf5_reading, "read_images", refuse)
    folder = SerbotFolder(tmp_path)
    assert folder.problems() == []
    assert [recording.side.value for recording in folder] == ["left", "right", "left", "right"]
    assert sum(recording.actions()[:, 0].sum() for recording in folder) == pytest.approx(4 * 15 * 0.5)
    with pytest.raises(AssertionError, match="an image was read"):
        folder[0].load()


def test_one_episode_is_in_memory_at_a_time(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (18, 120, 160, 3), dtype=np.uint8)
    recordings(tmp_path, 12, images=images)
    sum(1 for _ in read_episodes(tmp_path))
    tracemalloc.start()
    try:
        for drive in read_episodes(tmp_path, SerbotReading(channel_order="bgr")):
            assert drive.images.shape == images.shape
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5 * images.nbytes < 12 * images.nbytes


def test_empty_and_missing_folders_are_said(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        SerbotFolder(tmp_path / "missing")
    with pytest.raises(UserError, match="holds no recordings"):
        SerbotFolder(tmp_path)


def test_problems_are_listed_for_all_recordings(tmp_path):
    recordings(tmp_path)
    nan = ACTIONS.copy()
    nan[2] = np.nan
    write_recording(tmp_path / "episode_20250816_000000_1box_left.h5", actions=nan)
    (tmp_path / "episode_20250816_000001_1box_left.h5").write_bytes(b"")
    write_recording(tmp_path / "episode_20250816_000002_1box_lift.h5")
    found = {path.name: text for path, text in SerbotFolder(tmp_path).problems()}
    assert len(found) == 3
    assert "is empty" in found["episode_20250816_000001_1box_left.h5"]
    assert "unknown label 'lift'" in found["episode_20250816_000002_1box_lift.h5"]


# ---------------------------------------------------------------------------------------------------- channel order


@pytest.mark.parametrize("bgr", [True, False])
def test_browns_tell_the_channel_order(tmp_path, bgr):
    recordings(tmp_path, bgr=bgr)
    order = SerbotFolder(tmp_path)[0].channel_order
    assert (order.order, order.source) == ("bgr" if bgr else "rgb", "guessed")
    assert np.array_equal(SerbotFolder(tmp_path)[0].load().images, pictures())


def test_a_given_order_wins(tmp_path):
    recordings(tmp_path, bgr=True)
    drive = SerbotFolder(tmp_path, SerbotReading(channel_order="rgb"))[0].load()
    assert np.array_equal(drive.images, pictures()[..., ::-1])
    assert drive.provenance["source_channel_order"] == "rgb (given)"


def test_grey_pictures_are_taken_as_the_collector_stores_them(tmp_path):
    recordings(tmp_path, images=np.full((18, 18, 32, 3), 128, np.uint8))
    order = SerbotFolder(tmp_path)[0].channel_order
    assert (order.order, order.source) == ("bgr", "assumed")


def test_a_folder_that_mixes_orders_is_refused(tmp_path):
    recordings(tmp_path / "a", 4, bgr=True)
    recordings(tmp_path / "b", 3, bgr=False)
    with pytest.raises(UserError, match="mixed channel order: 3 recordings look like RGB and 4 like BGR"):
        SerbotFolder(tmp_path)[0].load()
    assert len(SerbotFolder(tmp_path, SerbotReading(channel_order="bgr"))[0].load()) == 18


def test_one_odd_recording_does_not_make_a_mixture(tmp_path):
    recordings(tmp_path / "a", 9, bgr=True)
    recordings(tmp_path / "b", 1, bgr=False)
    assert SerbotFolder(tmp_path).guessed_order.order == "bgr"


def test_brownness_turns_with_the_channels_and_ignores_grey():
    images = pictures(2)
    assert brownness(images) > 0.9
    assert brownness(images[..., ::-1]) < -0.9
    assert brownness(np.full((2, 8, 8, 3), 90, np.uint8)) == 0.0


# ------------------------------------------------------------------------------------------------ folders of images


def test_an_augmented_folder_is_understood(tmp_path):
    write_frames(tmp_path / NAME, metadata={"instruction": "go left", "augmentation": "flip"}, ending="png")
    recording = SerbotFolder(tmp_path)[0]
    assert recording.facts.layout == "frames"
    assert recording.facts.attributes["augmentation"] == "flip"
    drive = recording.load()
    assert np.array_equal(drive.images, pictures())
    assert drive.instruction == "go left"
    assert drive.actions[5].tolist() == [0, 0.5]


def test_the_train_val_tree_has_two_columns(tmp_path):
    for split in ("train", "val"):
        write_frames(tmp_path / split / NAME, actions=ACTIONS[:, :2], ending="jpg")
    drives = list(read_episodes(tmp_path))
    assert [drive.provenance["split"] for drive in drives] == ["train", "val"]
    assert drives[0].provenance["source_layout"] == "tree"
    assert drives[0].actions[5].tolist() == [0, 0.5]
    assert np.abs(drives[0].images.astype(int) - pictures()).mean() < 8


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(("layout", "where"), [("frames", NAME), ("tree", f"train/{NAME}")])
def test_folders_of_pictures_are_written_and_read_again(tmp_path, order, layout, where):
    drive = episode()
    write_serbot_frames(tmp_path / where, drive, SerbotStyle(channel_order=order), layout=layout, ending="png")
    again = SerbotFolder(tmp_path)[0].load()
    assert np.array_equal(again.images, drive.images[:5])
    assert np.allclose(again.actions, drive.actions, rtol=2e-7)
    assert (again.instruction, again.events, again.outcome) == (drive.instruction, drive.events, drive.outcome)
    assert again.provenance["seed"] == 7
    files = {p.name for p in (tmp_path / where).iterdir()}
    assert files == {"actions.npy", "metadata.json", *(f"frame_{i:02d}.png" for i in range(5))}
    with pytest.raises(UserError, match="exists already"):
        write_serbot_frames(tmp_path / where, drive)


def test_a_folder_whose_writing_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(UserError, match="no space left"):
        write_serbot_frames(tmp_path / NAME, episode())
    assert list(tmp_path.iterdir()) == []


def test_damaged_folders_are_said_to_be_so(tmp_path):
    numbers = itertools.count()

    def problem(change):
        folder = write_frames(tmp_path / f"set_{next(numbers)}" / NAME, metadata={})
        change(folder)
        with pytest.raises(UserError) as caught:
            SerbotFolder(folder.parent)[0].load()
        return str(caught.value)

    assert "frame_03 is missing" in problem(lambda f: (f / "frame_03.png").unlink())
    assert "the image is damaged" in problem(lambda f: (f / "frame_07.png").write_bytes(b"x"))
    assert "actions.npy: cannot be read" in problem(lambda f: (f / "actions.npy").write_bytes(b"x"))
    assert "18 images but 3 actions" in problem(lambda f: np.save(f / "actions.npy", ACTIONS[:3]))
    assert "metadata.json: cannot be read: no valid JSON" in problem(lambda f: (f / "metadata.json").write_text("{"))
    assert "must be a table, got []" in problem(lambda f: (f / "metadata.json").write_text("[]"))
    assert "has actions.npy but no images" in problem(lambda f: [p.unlink() for p in f.glob("*.png")])
    assert "18 actions but 2 action_event_types" in problem(
        lambda f: (f / "metadata.json").write_text('{"action_event_types": ["a", "b"]}')
    )


def test_pickled_actions_are_not_loaded(tmp_path):
    folder = write_frames(tmp_path / NAME)
    np.save(folder / "actions.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="must hold numbers, got object"):
        SerbotFolder(tmp_path)[0].actions()


def test_pictures_of_unequal_size_are_refused(tmp_path):
    folder = write_frames(tmp_path / NAME)
    Image.fromarray(pictures(1, 20, 20)[0]).save(folder / "frame_02.png")
    with pytest.raises(UserError, match="differ in size"):
        SerbotFolder(tmp_path)[0].load()


def test_events_of_files_are_kept_whatever_they_are(tmp_path):
    events = ["episode_start", "hop", *EVENTS[2:]]
    write_recording(tmp_path / f"{NAME}.h5", events=events)
    assert SerbotFolder(tmp_path)[0].load().events == tuple(events)
    with h5py.File(tmp_path / f"{NAME}.h5", "a") as file:
        del file["action_event_types"]
    assert SerbotFolder(tmp_path)[0].load().events is None


def test_named_members_and_the_side_of_the_proposed_format_are_believed(tmp_path):
    """Forward speed and yaw rate only, as the proposed format lists them, under a name that says nothing."""
    path = tmp_path / "first.h5"
    with h5py.File(path, "w") as file:
        file["observations/image"] = np.zeros((3, 18, 32, 3), np.uint8)
        file["observations/instruction"] = "Pass the pot on the right."
        file["actions/linear_x"], file["actions/angular_z"] = np.ones(3), np.full(3, 0.5)
        file["metadata/side"] = "right"
    (recording,) = SerbotFolder(tmp_path, SerbotReading(unknown_names=True))
    assert recording.action_names == ("vx", "wz")
    assert recording.actions().shape == (3, 2)
    assert recording.side.value == "right"


def test_an_empty_sentence_is_no_sentence(tmp_path):
    path = write_recording(tmp_path / f"{NAME}.h5", instruction="go")
    with h5py.File(path, "a") as file:
        del file["language_instruction"]
        file["language_instruction"] = np.zeros(0, "S16")
    (recording,) = SerbotFolder(tmp_path, SerbotReading(instruction="file"))
    assert recording.instruction == ""


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"states": np.full((6, 3), np.nan, np.float32)}, "states must be finite; step 0 is not"),
        ({"action_names": ("vx", "vx")}, "action_names must differ"),
        ({"action_names": (), "actions": np.zeros((5, 0), np.float32), "labels": None}, "at least one"),
        ({"actions": np.full((5, 2), np.inf, np.float32)}, "actions must be finite"),
    ],
)
def test_an_episode_checks_itself(changes, says):
    with pytest.raises(ValueError, match=says):
        episode(**changes)
