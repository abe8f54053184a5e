"""Episodes in which another sentence was said on the way: kept for each step, or refused by formats that cannot."""

from dataclasses import replace

import numpy as np
import pytest

from vla_sim import collect
from vla_sim.augmentation.mirroring import Mirror, mirror_text
from vla_sim.augmentation.recipe import read_recipe
from vla_sim.core.episode import Episode
from vla_sim.core.errors import UserError
from vla_sim.datasets.dataset import open_dataset
from vla_sim.datasets.serbot.frames import write_serbot_frames
from vla_sim.datasets.serbot.hdf5 import LAYOUTS, SerbotStyle, write_serbot_hdf5
from vla_sim.rollout.demonstrations import Collection, Task, collect_shard
from vla_sim.rollout.recording import Recorder, RecordingJob, RecordingSetup
from vla_sim.training.batches import Sampler
from vla_sim.training.config import TrainConfig
from vla_sim.training.recorded import read_round, save_round
from vla_sim.training.sources import Shape, as_demonstrations, fitted_episode


def recorded(scenario="stop_midway_left", seed=3, **settings):
    with Recorder(RecordingSetup(image_px=(32, 32), **settings), num_envs=1) as recorder:
        return next(recorder.record([RecordingJob(0, scenario, seed)]))


@pytest.fixture(scope="module")
def episode():
    return recorded()


def test_a_recording_has_the_sentence_that_each_action_answers(episode):
    told = [step for step, text in enumerate(episode.sentences) if text != episode.instruction]
    assert episode.sentences[0] == episode.instruction
    assert len(episode.sentences) == len(episode)
    assert told == list(range(told[0], len(episode)))
    moving = np.abs(episode.actions).sum(axis=1) > 0
    assert moving[: told[0]].all()
    assert not moving[told[0] :].any()


def test_an_episode_with_one_sentence_has_none_besides():
    assert recorded("reach_goal").sentences == ()


@pytest.mark.parametrize("options", [[], ["--format", "lerobot"], ["--format", "lerobot", "--fps", "5"]])
def test_a_collected_set_keeps_the_sentence_of_each_step(tmp_path, options):
    line = [
        "--scenario",
        "stop_midway_left",
        "reach_goal",
        "--episodes",
        "2",
        "--image-px",
        "32",
        "32",
        "--workers",
        "1",
    ]
    assert collect.main([*line, "--out", str(tmp_path / "set"), *options]) == 0
    found = {episode.provenance["scenario"]: [] for episode in open_dataset(tmp_path / "set")}
    for episode in open_dataset(tmp_path / "set"):
        found[episode.provenance["scenario"]].append(episode)
    assert all(episode.sentences == () for episode in found["reach_goal"])
    for episode in found["stop_midway_left"]:
        same = recorded(seed=episode.provenance["seed"])
        assert episode.sentences == same.sentences
        assert len(set(episode.sentences)) == 2


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hdf5_keeps_the_sentence_of_each_step(episode, tmp_path, layout):
    write_serbot_hdf5(tmp_path / "e.h5", episode, SerbotStyle(layout=layout))
    (same,) = open_dataset(tmp_path)
    assert same.sentences == episode.sentences
    assert same.instruction == episode.instruction


def test_folders_of_images_refuse_it(episode, tmp_path):
    with pytest.raises(UserError, match="write a LeRobot set"):
        write_serbot_frames(tmp_path / "e", episode, SerbotStyle(), ending="png")
    assert not list(tmp_path.iterdir())


def test_mirroring_keeps_them_and_recipes_refuse_them(episode):
    mirrored = Mirror()(episode)
    assert mirrored.sentences[0] == mirrored.instruction != episode.instruction
    assert mirrored.sentences[-1] == episode.sentences[-1]
    with pytest.raises(UserError, match="augmentations change one sentence"):
        read_recipe("light")(episode, np.random.default_rng(0))


@pytest.mark.parametrize("sentences", [("Go",), ("Stop", "Stop")])
def test_sentences_must_fit_the_actions(sentences):
    with pytest.raises(ValueError, match="need as many sentences"):
        Episode(
            name="e",
            images=np.zeros((2, 4, 4, 3), np.uint8),
            actions=np.zeros((2, 2), np.float32),
            action_names=("vx", "vy"),
            instruction="Go",
            step_s=0.4,
            sentences=sentences,
        )


@pytest.fixture(scope="module")
def told():
    """Two demonstrations in which another sentence is said on the way, and one without."""
    tasks = [Task("stop_midway_left", 3), Task("reach_goal", 4), Task("stop_midway_right", 5)]
    return collect_shard(tasks, Collection("serbot", 32))


def test_demonstrations_keep_from_which_step_what_is_said(told, episode):
    (step, phrasings), *more = told.later[0]
    assert not more
    assert not told.later[1]
    assert step == next(i for i, text in enumerate(episode.sentences) if text != episode.instruction)
    assert episode.sentences[step] in phrasings
    assert len(phrasings) > 20
    assert not told.actions[0][step : told.mask[0].sum()].any()
    assert told.actions[0][:step].any(axis=1).all()


def test_rounds_keep_it_on_disk(told, tmp_path):
    save_round(tmp_path / "round", told)
    assert [[(s, list(t)) for s, t in later] for later in read_round(tmp_path / "round").later] == [
        [(s, list(t)) for s, t in later] for later in told.later
    ]
    sentences = open_dataset(tmp_path / "round").episode(0).sentences
    assert sentences.index(told.later[0][0][1][0]) == told.later[0][0][0]


@pytest.mark.parametrize("longest", [4, 100])
def test_a_batch_has_the_sentence_that_holds_at_each_frame(told, longest):
    sampler = Sampler(TrainConfig(batch_episodes=64, max_steps=longest, mirror=0.5, vary_words=0))
    sampler.add(told)
    batch = sampler.draw(np.random.default_rng(0))
    assert len(batch.said) == batch.frames
    assert len(batch.texts) >= len(batch.mask)
    stop = {mirrored for texts in (told.later[0][0][1], told.later[2][0][1]) for mirrored in texts}
    stop |= {mirror_text(text) for text in stop}
    frame = np.array([batch.texts[number] in stop for number in batch.said])
    episode = batch.mask.nonzero()[0]
    midway = np.isin(episode, episode[frame])
    assert frame.any()
    assert not batch.actions[frame].any()
    # Before it is told, the robot moves.
    assert batch.actions[midway & ~frame].any(axis=1).all()


def test_a_training_reads_it_from_recordings(episode):
    shape = Shape(32, ("vx", "vy"), 0.4)
    fitted, _ = fitted_episode(episode, shape)
    assert fitted.sentences == episode.sentences
    (later,) = as_demonstrations([fitted]).later
    assert [step for step, _ in later] == [episode.sentences.index(episode.sentences[-1])]


def test_what_is_said_after_a_still_first_frame_is_what_the_training_hears():
    episode = Episode(
        name="e",
        images=np.zeros((4, 32, 32, 3), np.uint8),
        actions=np.float32([[0, 0], [0.5, 0], [0.5, 0], [0, 0]]),
        action_names=("vx", "vy"),
        instruction="Wait",
        phrasings=("Wait", "Stop"),
        step_s=0.4,
        sentences=("Wait", "Go", "Go", "Stop now"),
    )
    fitted, still = fitted_episode(episode, Shape(32, ("vx", "vy"), 0.4))
    (texts,), (later,) = as_demonstrations([fitted]).texts, as_demonstrations([fitted]).later
    assert still
    assert (texts, later) == (["Go"], ((2, ["Stop now"]),))


@pytest.mark.parametrize("later", [((0, ["stop"]),), ((3, ["a"]), (2, ["b"])), ((2, []),)])
def test_demonstrations_check_what_is_said_later(told, later):
    with pytest.raises(ValueError, match="later"):
        replace(told, later=[later, (), ()])
