"""Sensors of a robot in data sets: collected, written, read and converted without loss, never left out of step."""

import importlib

import h5py
import numpy as np
import pytest

from vla_sim import open_dataset
from vla_sim.core.errors import UserError
from vla_sim.testing import make_episode

SHAPES = {"depth": (24, 32), "lidar": (12,), "rear": (24, 40, 3)}
ROBOT = """format = 1
name = "seeing"
extends = "serbot"
[camera]
image_px = [32, 24]
[sensors.depth]
kind = "depth"
[sensors.lidar]
kind = "lidar"
rays = 12
noise_m = 0.02
[sensors.rear]
kind = "camera"
image_px = [40, 24]
mount_m = [-0.1, 0.0, 0.3]
"""


def run(command, *arguments):
    return importlib.import_module(f"vla_sim.{command}").main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """(embodiment file, folder) of two episodes with all sensors."""
    folder = tmp_path_factory.mktemp("sensors")
    robot = folder / "seeing.toml"
    robot.write_text(ROBOT, "utf-8")
    words = ("--scenario", "reach_goal", "--episodes", 2, "--embodiment", robot, "--workers", 1)
    assert run("collect", *words, "--out", folder / "hdf5") == 0
    assert run("collect", *words, "--still-start", "--frames", 30, "--out", folder / "padded") == 0
    return robot, folder


def test_a_collected_set_holds_every_sensor_at_every_image(recorded):
    for episode in open_dataset(recorded[1] / "hdf5"):
        assert {name: values.shape[1:] for name, values in episode.sensors.items()} == SHAPES
        assert all(len(values) == len(episode) + 1 for values in episode.sensors.values())
        assert episode.sensors["rear"].dtype == np.uint8
        assert np.ptp(episode.sensors["lidar"], axis=0).max() > 0.2


def test_still_starts_and_padding_keep_sensors_in_step(recorded):
    plain, padded = open_dataset(recorded[1] / "hdf5")[0], open_dataset(recorded[1] / "padded")[0]
    for name, values in padded.sensors.items():
        assert len(values) == len(padded.images) == 31
        assert np.array_equal(values[1 : len(plain) + 2], plain.sensors[name])
        assert np.array_equal(values[0], values[1])
        assert np.array_equal(values[-1], plain.sensors[name][-1])


@pytest.mark.parametrize("images", [(), ("--images",)])
def test_sensors_survive_lerobot_and_the_way_back(recorded, images, tmp_path):
    assert (
        run("convert", "--data", recorded[1] / "hdf5", "--format", "lerobot", *images, "--out", tmp_path / "set") == 0
    )
    assert run("convert", "--data", tmp_path / "set", "--format", "hdf5", "--out", tmp_path / "back") == 0
    originals = open_dataset(recorded[1] / "hdf5")
    for original, there, back in zip(
        originals, open_dataset(tmp_path / "set"), open_dataset(tmp_path / "back"), strict=True
    ):
        there = there.loaded()
        for name, values in original.sensors.items():
            expected = values[: len(original)]
            if name != "rear" or images:
                assert np.array_equal(there.sensors[name], expected)
            else:
                assert np.abs(there.sensors[name].astype(float) - expected).mean() < 12
            assert np.array_equal(back.sensors[name], there.sensors[name])


def test_a_set_with_two_cameras_of_ours_needs_no_camera_named(recorded, tmp_path):
    assert run("convert", "--data", recorded[1] / "hdf5", "--format", "lerobot", "--out", tmp_path / "set") == 0
    assert run("audit", "--data", tmp_path / "set") in (0, 1)
    episode = open_dataset(tmp_path / "set", camera="observation.rear")[0]
    assert episode.images.shape[1:] == SHAPES["rear"]


def test_other_looks_keep_sensors_and_other_views_are_refused(recorded, tmp_path, capsys):
    words = ("--data", recorded[1] / "hdf5", "--workers", 1, "--embodiment", recorded[0])
    assert run("augment", *words, "--recipe", "light,noise", "--out", tmp_path / "light") == 0
    light = open_dataset(tmp_path / "light")[0]
    assert set(light.sensors) == set(SHAPES)
    assert run("augment", *words, "--recipe", "perturb", "--out", tmp_path / "perturb") == 0
    assert {n: v.shape[1:] for n, v in open_dataset(tmp_path / "perturb")[0].sensors.items()} == SHAPES
    capsys.readouterr()
    for recipe in ("mirror", "tilt", "crop", "rerender"):
        run("augment", *words, "--recipe", recipe, "--out", tmp_path / recipe)
        said = capsys.readouterr()
        assert f"{recipe} changes images only, not its sensors depth, rear" in said.out + said.err


@pytest.mark.parametrize(
    ("sensors", "words"),
    [
        ({"lidar": np.zeros((3, 4), np.float32)}, "as many values of sensor lidar"),
        ({"lidar": np.zeros((9, 4), np.float64)}, "sensor lidar must be uint8 or float32"),
        ({"lidar": np.full((9, 4), np.nan, np.float32)}, "sensor lidar must be finite"),
    ],
)
def test_sensors_out_of_step_are_refused(sensors, words):
    count = len(make_episode().images)
    sensors = {name: values[:count] if len(values) > 3 else values for name, values in sensors.items()}
    sensors = {name: np.resize(v, (count, 4)).astype(v.dtype) if len(v) > 3 else v for name, v in sensors.items()}
    with pytest.raises(ValueError, match=words):
        make_episode(sensors=sensors)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda group: group.create_dataset("odd", data=np.zeros((2, 3), np.float32)),
            "sensors/odd must have an entry",
        ),
        (
            lambda group: group.create_dataset("odd", data=np.zeros(20, np.int64)),
            "sensors/odd must be uint8 or float32",
        ),
        (lambda group: group.create_group("odd"), "sensors/odd"),
    ],
)
def test_a_damaged_file_is_refused_in_words(recorded, tmp_path, damage, words):
    source = next((recorded[1] / "hdf5").glob("*.h5"))
    (tmp_path / source.name).write_bytes(source.read_bytes())
    with h5py.File(tmp_path / source.name, "a") as file:
        damage(file["sensors"])
    with pytest.raises(UserError, match=words):
        open_dataset(tmp_path)[0]


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    """A folder with an episode of the shipped robot with a LiDAR."""
    out = tmp_path_factory.mktemp("ranged") / "set"
    words = ("--scenario", "obstacle_left", "--episodes", 1, "--embodiment", "serbot_lidar", "--image-px", 32, 32)
    assert run("collect", *words, "--workers", 1, "--out", out) == 0
    return out


def test_ranges_are_mirrored_as_the_mirrored_world_would_give_them(ranged):
    from vla_sim.augmentation.mirroring import Mirror

    episode = open_dataset(ranged)[0].loaded()
    mirrored = Mirror()(episode)
    there, here = episode.sensors["lidar"], mirrored.sensors["lidar"]
    assert np.array_equal(here[:, 36], there[:, 36])
    assert np.array_equal(here[:, 0], there[:, 0])
    assert np.array_equal(here[:, 36 + 9], there[:, 36 - 9])
    assert np.array_equal(Mirror()(mirrored).sensors["lidar"], there)


def test_ranges_stay_where_only_looks_change(ranged, tmp_path):
    assert run("augment", "--data", ranged, "--recipe", "rerender", "--workers", 1, "--out", tmp_path / "set") == 0
    assert np.array_equal(open_dataset(tmp_path / "set")[0].sensors["lidar"], open_dataset(ranged)[0].sensors["lidar"])
