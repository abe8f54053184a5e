"""Films of robots with further sensors show them; those of others are as they were."""

from dataclasses import replace

import numpy as np
import pytest

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.sensors import CameraSpec, DepthSpec, LidarSpec
from vla_sim.evaluation.reporting.sensor_views import FAR_M, SIDE_PX, picture_of, with_sensors

SERBOT = load_embodiment("serbot")
FRAME = np.full((224, 224, 3), 40, np.uint8)


def test_images_of_robots_without_sensors_stay_as_they_are():
    frames = [FRAME]
    assert with_sensors(frames, {}, SERBOT) is frames


def test_every_sensor_has_its_picture():
    sensors = {"depth": DepthSpec(), "lidar": LidarSpec(rays=36), "rear": CameraSpec(image_px=(40, 24))}
    shown = {
        "depth": [np.zeros((224, 224), np.float32)] * 2,
        "lidar": [np.ones(36, np.float32)] * 2,
        "rear": [np.full((24, 40, 3), 200, np.uint8)] * 2,
    }
    images = with_sensors([FRAME] * 2, shown, replace(SERBOT, sensors=sensors))
    assert [image.shape for image in images] == [(448, 448, 3)] * 2
    lower, upper = images[0][-SIDE_PX:, :], images[0][: 448 - SIDE_PX - 8]
    assert (upper == 40).all()
    middles = [lower[SIDE_PX // 2 + 12, 6 + SIDE_PX // 4 + i * (SIDE_PX + 6)].max() for i in range(3)]
    assert middles[0] > 240
    assert middles[2] == 200


@pytest.mark.parametrize(("ray", "place"), [(18, (-1, 0)), (27, (0, -1)), (9, (0, 1)), (0, (1, 0))])
def test_ranges_are_seen_from_above_with_ahead_up_and_left_left(ray, place):
    ranges = np.full(36, 99.0, np.float32)
    ranges[ray] = FAR_M / 2
    picture = picture_of(ranges, LidarSpec(rays=36))
    down, right = (np.argwhere((picture == (90, 220, 120)).all(axis=2)).mean(axis=0) - SIDE_PX / 2) / (SIDE_PX / 4)
    assert (round(down), round(right)) == place


def test_near_depths_are_bright():
    picture = picture_of(np.array([[0.0, FAR_M / 2, FAR_M, 20.0]], np.float32), DepthSpec())
    assert picture[0, :, 0].tolist() == [255, 127, 0, 0]


def test_a_film_of_a_robot_with_a_lidar_can_be_made(tmp_path):
    from vla_sim.eval import main

    words = ["--policy", "expert", "--scenario", "reach_goal", "--episodes", "1", "--embodiment", "serbot_lidar"]
    assert main([*words, "--workers", "1", "--no-floors", "--video", "1", "--out", str(tmp_path / "out")]) == 0
    assert list((tmp_path / "out").glob("**/*.mp4"))
