"""Episodes for the tests of augmentation: driven ones of small images, and invented ones with every field."""

import functools
from dataclasses import replace

import numpy as np

from vla_sim.core.episode import Episode
from vla_sim.core.types import Outcome, Scene
from vla_sim.rollout.recording import Recorder, RecordingJob, RecordingSetup


@functools.lru_cache(maxsize=8)
def driven(scenario="obstacle_left", *, seed=3, embodiment="serbot", image_px=(96, 96), noise=0.0) -> Episode:
    """An episode of the expert; nobody may change it."""
    setup = RecordingSetup(embodiment=embodiment, image_px=image_px, noise=noise)
    recorder = Recorder(setup, num_envs=1)
    try:
        return next(iter(recorder.record([RecordingJob(0, scenario, seed)])))
    finally:
        recorder.close()


def invented(*, steps=5, names=("vx", "vy", "wz"), seed=0, last_image=True, **fields) -> Episode:
    """Random images and actions with labels, states, events and facts, as of a real robot."""
    rng = np.random.default_rng(seed)
    frames = steps + last_image
    made = {
        "name": "episode_20240102_030405_1box_vert_left_core_close",
        "images": rng.integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8),
        "actions": rng.uniform(-0.3, 0.3, (steps, len(names))).astype(np.float32),
        "action_names": names,
        "instruction": "Pass the leftmost box on its Right, 왼쪽으로",
        "step_s": 0.4,
        "labels": rng.uniform(-0.3, 0.3, (steps, len(names))).astype(np.float32),
        "states": rng.normal(size=(frames, 6)).astype(np.float32),
        "state_names": ("x_m", "y_m", "yaw_rad", "vx_mps", "vy_mps", "wz_radps"),
        "events": ("episode_start", *["start_action"] * (steps - 1)),
        "outcome": Outcome.SUCCESS,
        "provenance": {"scenario": "1box_vert_left", "side": "left", "simulated": False, "source": "a_left/b.h5"},
    }
    return Episode(**{**made, **fields})


def plain(scene: Scene) -> Scene:
    """The world without the grain of surfaces and of the sensor."""
    look = replace(scene.look, floor_texture="plain", wall_texture="plain", noise=0.0, shutter_s=0.0)
    return replace(scene, look=look, bodies=tuple(replace(body, texture="plain") for body in scene.bodies))


def same(one: Episode, other: Episode) -> bool:
    """Whether two episodes agree in every byte and word."""
    arrays = [(getattr(one, name), getattr(other, name)) for name in ("images", "actions", "labels", "states")]
    plain = ("name", "action_names", "instruction", "step_s", "state_names", "events", "outcome")
    return all(
        (a is None and b is None) or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
        for a, b in arrays
    ) and all(getattr(one, name) == getattr(other, name) for name in (*plain, "provenance"))
