"""Gymnasium's own wrappers and vector envs around ours: what goes in comes out, sentences too."""

import functools
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.wrappers import FrameStackObservation, RecordEpisodeStatistics

import vla_sim  # noqa: F401
from vla_sim.core.errors import UserError
from vla_sim.envs.navigate import NavigateEnv
from vla_sim.envs.vector import NavigateVectorEnv

ID = "VLASim/Navigate-v1"
FORWARD = np.float32([0.5, 0.0])


def make(language="en"):
    return gymnasium.make(ID, scenario="obstacle_left", language=language)


def sentences(seeds, language):
    env = make(language)
    texts = [env.reset(seed=seed)[0]["instruction"] for seed in seeds]
    env.close()
    return texts


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(
    "vectorised",
    [
        SyncVectorEnv,
        functools.partial(AsyncVectorEnv, shared_memory=False),
        functools.partial(AsyncVectorEnv, shared_memory=True),
        functools.partial(AsyncVectorEnv, shared_memory=True, copy=False),
        functools.partial(AsyncVectorEnv, shared_memory=True, context="spawn"),
    ],
    ids=["sync", "pipes", "shared memory", "shared memory without copies", "spawned"],
)
def test_sentences_survive_every_vector_env(vectorised, language):
    """With shared memory, Gymnasium's default, every sentence was 256 times "0"."""
    envs = vectorised([functools.partial(make, language)] * 2)
    try:
        for seeds in ([1, 2], [2, 3]):
            seen, _ = envs.reset(seed=seeds)
            assert list(seen["instruction"]) == sentences(seeds, language)
        kept = tuple(seen["instruction"])
        seen, *_ = envs.step(np.tile(FORWARD, (2, 1)))
        assert tuple(seen["instruction"]) == kept
    finally:
        envs.close()


def test_a_copy_of_shared_sentences_does_not_change_with_the_next_episode():
    envs = AsyncVectorEnv([make] * 2)
    try:
        first, _ = envs.reset(seed=[1, 2])
        envs.reset(seed=[4, 5])
        assert first["instruction"] == tuple(sentences([1, 2], "en"))
        assert isinstance(first["instruction"], tuple)
    finally:
        envs.close()


def test_make_vec_async_keeps_sentences():
    envs = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="async", language="ko")
    try:
        assert list(envs.reset(seed=1)[0]["instruction"]) == sentences([1, 2], "ko")
    finally:
        envs.close()


def test_frames_can_be_stacked():
    env = FrameStackObservation(make(), 3)
    seen, _ = env.reset(seed=1)
    seen, *_ = env.step(FORWARD)
    assert seen["image"].shape == (3, 224, 224, 3)
    assert set(seen["instruction"]) == set(sentences([1], "en"))
    assert not np.array_equal(seen["image"][1], seen["image"][2])
    env.close()


@pytest.mark.parametrize("embodiment", ["serbot", "lekiwi"])
def test_films_play_at_the_speed_of_the_world(embodiment):
    """serbot decides every 0.4 s: 2.5 images a second."""
    rate = {"serbot": 2.5, "lekiwi": 5.0}[embodiment]
    single = gymnasium.make(ID, embodiment=embodiment, render_mode="rgb_array")
    vector = gymnasium.make_vec(ID, num_envs=1, embodiment=embodiment)
    assert single.metadata["render_fps"] == vector.metadata["render_fps"] == pytest.approx(rate)
    single.close()
    vector.close()


def test_record_video_takes_the_rate(tmp_path):
    pytest.importorskip("moviepy")
    from gymnasium.wrappers import RecordVideo

    env = RecordVideo(gymnasium.make(ID, render_mode="rgb_array"), str(tmp_path / "films"), disable_logger=True)
    assert env.frames_per_sec == 2.5
    env.reset(seed=1)
    env.step(FORWARD)
    env.close()
    assert list(tmp_path.glob("films/*.mp4"))


@pytest.mark.parametrize(("view", "shape"), [("chase", (360, 480, 3)), ("above", (480, 480, 3))])
def test_a_film_can_be_taken_from_outside_while_the_robot_sees_the_same(view, shape, tmp_path):
    pytest.importorskip("moviepy")
    from gymnasium.wrappers import RecordVideo

    plain = gymnasium.make(ID, render_mode="rgb_array")
    outside = gymnasium.make(ID, render_mode="rgb_array", render_view=view)
    env = RecordVideo(outside, str(tmp_path / "films"), disable_logger=True)
    assert np.array_equal(env.reset(seed=1)[0]["image"], plain.reset(seed=1)[0]["image"])
    first = env.unwrapped.render()
    assert np.array_equal(env.step(FORWARD)[0]["image"], plain.step(FORWARD)[0]["image"])
    assert first.shape == shape
    assert not np.array_equal(env.unwrapped.render(), first)
    assert np.array_equal(plain.render(), plain.unwrapped._sensing.images()[0])
    env.close()
    plain.close()
    assert list(tmp_path.glob("films/*.mp4"))


@pytest.mark.parametrize("view", ["camera", "chase", "above"])
def test_a_vector_env_renders_each_world_as_the_single_one(view):
    vector = gymnasium.make_vec(ID, num_envs=2, render_mode="rgb_array", render_view=view)
    vector.reset(seed=4)
    for index, image in enumerate(vector.render()):
        single = gymnasium.make(ID, render_mode="rgb_array", render_view=view)
        single.reset(seed=4 + index)
        assert np.array_equal(image, single.render())
        single.close()
    vector.close()


class FakeWindows:
    """As much of pygame as a window needs; `seen` is what was shown, `rates` how fast."""

    error = RuntimeError

    def __init__(self, display=True):
        self.seen, self.rates, self.open = [], [], False
        self.display = self.transform = self.surfarray = self.event = self.time = self
        self._display = display

    def init(self):
        if not self._display:
            raise self.error("No available video device")
        self.open = True

    def quit(self):
        self.open = False

    def set_mode(self, size):
        self.size = size
        return self

    def set_caption(self, text):
        pass

    pump = flip = lambda self: None

    def Clock(self):  # noqa: N802 - as pygame calls it
        return self

    def tick(self, rate):
        self.rates.append(rate)

    def make_surface(self, image):
        return image.swapaxes(0, 1)

    def scale(self, image, size):
        return image

    def blit(self, image, place):
        self.seen.append(image)


@pytest.fixture
def windows(monkeypatch):
    """A pygame that is there, on a machine with a display or without one."""

    def make(display=True):
        fake = FakeWindows(display)
        monkeypatch.setitem(sys.modules, "pygame", fake)
        monkeypatch.setattr("vla_sim.envs.rendering.render_modes", lambda: ["rgb_array", "human"])
        return fake

    return make


def test_a_window_shows_every_step_at_the_speed_of_the_world(windows):
    fake = windows()
    env = NavigateEnv(render_mode="human", render_view="chase")
    env.reset(seed=1)
    env.step(FORWARD)
    assert [image.shape for image in fake.seen] == [(360, 480, 3)] * 2
    assert fake.size == (960, 720)
    assert fake.rates == [2.5, 2.5]
    assert env.render() is None
    env.close()
    assert not fake.open


def test_without_a_display_a_window_is_refused_in_words(windows):
    windows(display=False)
    env = NavigateEnv(render_mode="human")
    with pytest.raises(UserError, match=r"needs a display: No available video device; 'rgb_array'"):
        env.reset(seed=1)
    env.close()


def test_without_pygame_a_window_is_refused_with_what_is_missing(monkeypatch):
    monkeypatch.setattr("vla_sim.envs.rendering.render_modes", lambda: ["rgb_array"])
    with pytest.raises(UserError, match=r"pip install 'vla-sim\[render\]'"):
        NavigateEnv(render_mode="human")


@pytest.mark.parametrize("vector", [False, True])
def test_an_unknown_view_is_refused_with_those_that_there_are(vector):
    with pytest.raises(UserError, match=r"unknown render_view 'abov'; did you mean 'above'"):
        NavigateVectorEnv(1, render_view="abov") if vector else NavigateEnv(render_view="abov")


@pytest.mark.parametrize("vector", [False, True])
def test_observations_and_infos_become_tensors(vector):
    """Texts and scenes in observation and info once filled Python's stack."""
    pytest.importorskip("array_api_compat")
    torch = pytest.importorskip("torch")
    if vector:
        from gymnasium.wrappers.vector import NumpyToTorch

        env = NumpyToTorch(gymnasium.make_vec(ID, num_envs=2, scenario="obstacle_left"))
    else:
        from gymnasium.wrappers import NumpyToTorch

        env = NumpyToTorch(gymnasium.make(ID, scenario="obstacle_left"))
    for seen, info in (env.reset(seed=1), env.step(torch.zeros((2, 2) if vector else 2))[::4]):
        assert isinstance(seen["image"], torch.Tensor)
        assert isinstance(info["pose"], torch.Tensor)
        assert isinstance(seen["instruction"][0], str)
        scene = info["scene"][0] if vector else info["scene"]
        assert scene.scenario == "obstacle_left"
    env.close()


def test_statistics_of_episodes_are_kept():
    env = RecordEpisodeStatistics(make())
    env.reset(seed=4)
    ended = False
    while not ended:
        *_, terminated, truncated, info = env.step(-FORWARD)
        ended = terminated or truncated
    assert info["episode"]["l"] > 0
    env.close()
