import json
import resource
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from vla_sim.core.errors import UserError
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.policies.registry import load_policy
from vla_sim.policies.tokenizer import InstructionTokenizer
from vla_sim.training.batches import Sampler
from vla_sim.training.behaviour_cloning import Trainer
from vla_sim.training.config import TrainConfig
from vla_sim.training.trainer import LOG
from vla_sim.training.warm_start import fresh

SIDE_PX = 32
TEXTS = {+1: ["go left of the red box", "왼쪽으로 가"], -1: ["go right of the red box", "오른쪽으로 가"]}
TOKENIZER = InstructionTokenizer.trained([text for texts in TEXTS.values() for text in texts], vocab_size=300)
SIZES = {"image_px": SIDE_PX, "channels": (8, 16, 16), "fused_channels": 16, "readout_channels": 8, "feature_dim": 32}
CONFIG = TrainConfig(batch_episodes=16, learning_rate=5e-3, warmup_steps=5, ema_decay=0.9, shift_px=0)


def toy(episodes=64, steps=4, seed=0) -> Demonstrations:
    """A red square in the image; the expert drives to the side of it that the text names."""
    rng = np.random.default_rng(seed)
    images = np.full((episodes, steps, SIDE_PX, SIDE_PX, 3), 90, dtype=np.uint8)
    actions = np.zeros((episodes, steps, 2), dtype=np.float32)
    goals = np.full((episodes, steps, 2), np.nan, dtype=np.float32)
    lengths = rng.integers(2, steps + 1, episodes)
    texts = []
    for episode in range(episodes):
        sign = 1 if rng.random() < 0.5 else -1
        texts.append(TEXTS[sign])
        for step in range(steps):
            column = int(rng.integers(4, SIDE_PX - 12))
            images[episode, step, 12:20, column : column + 8] = (220, 30, 30)
            goals[episode, step] = (column + 4) / SIDE_PX, 16 / SIDE_PX
            square = (SIDE_PX / 2 - (column + 4)) / SIDE_PX  # + is left, as y
            actions[episode, step] = 0.3, np.clip(0.3 * square + 0.25 * sign, -0.5, 0.5)
    return Demonstrations(images, texts, actions, np.arange(steps) < lengths[:, None], goals=goals)


def trainer(folder, config=CONFIG, seed=1):
    made = Trainer(fresh(TOKENIZER, seed=seed, **SIZES), config, folder)
    made.add(toy())
    return made


def weights(made):
    return torch.cat([tensor.flatten().float() for tensor in made.model.state_dict().values()])


def test_both_heads_learn_to_go_where_picture_and_language_say(tmp_path):
    made = trainer(tmp_path)
    held_out = toy(seed=7)
    before = made.validate(held_out)
    made.run("clone", steps=120, decay=True)
    after = made.validate(held_out)
    assert after["loss_clip_lstm"] < 0.15 * before["loss_clip_lstm"]
    assert after["loss_clip_mlp"] < 0.15 * before["loss_clip_mlp"]
    assert after["loss_where"] < 0.6 * before["loss_where"]
    sides = {+1: 1, -1: -1}
    made.export(tmp_path / "policies")
    picture = held_out.images[:4, 0].repeat(7, axis=1).repeat(7, axis=2)
    for name in ("clip_lstm", "clip_mlp", "ensemble"):
        policy = load_policy(str(tmp_path / "policies" / name))
        for sign in sides:
            for text in TEXTS[sign]:
                policy.reset(np.ones(4, dtype=bool), np.arange(4))
                actions = policy.act({"image": picture, "instruction": [text] * 4})
                assert (np.sign(actions[:, 1]) == sign).all()


def test_resumed_training_gives_the_weights_of_an_uninterrupted_one(tmp_path):
    straight = trainer(tmp_path / "a")
    straight.run("clone", steps=6, decay=True)
    straight.run("more", steps=2)

    cut = trainer(tmp_path / "b")
    cut.run("clone", steps=6, decay=True)
    resumed = trainer(tmp_path / "b", seed=99)
    resumed.load()
    resumed.run("clone", steps=6, decay=True)  # already done: nothing happens
    resumed.run("more", steps=2)
    assert resumed.step == straight.step == 8
    assert torch.equal(weights(resumed), weights(straight))
    assert all(torch.equal(resumed._average[name], tensor) for name, tensor in straight._average.items())


def test_a_run_killed_in_the_middle_of_a_stage_ends_with_the_same_weights(tmp_path):
    straight = trainer(tmp_path / "a")
    straight.run("clone", steps=6, decay=True)

    cut = trainer(tmp_path / "b")
    learn = cut._learn

    def learn_until_killed(batch, rate):
        if cut.step == 3:
            raise KeyboardInterrupt
        return learn(batch, rate)

    cut._learn = learn_until_killed
    with pytest.raises(KeyboardInterrupt):
        cut.run("clone", steps=6, decay=True, checkpoint_every_s=0)
    resumed = trainer(tmp_path / "b", seed=99)
    resumed.load()
    assert resumed.step == 3
    resumed.run("clone", steps=6, decay=True)
    assert torch.equal(weights(resumed), weights(straight))


def test_a_full_disk_is_said_in_one_sentence_and_leaves_the_checkpoint_before(tmp_path):
    made = trainer(tmp_path)
    made.run("clone", steps=1)
    before = made.checkpoint.read_bytes()
    made.step = 7
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 1, was[1]))
        with pytest.raises(UserError, match="no space left on the disk"):
            made.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
        signal.signal(signal.SIGXFSZ, ignored)
    assert made.checkpoint.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_same_seed_gives_same_weights_and_another_seed_others(tmp_path):
    runs = [trainer(tmp_path, config) for config in (CONFIG, CONFIG, TrainConfig(**{**vars(CONFIG), "seed": 5}))]
    for made in runs:
        made.run("clone", steps=3)
    assert torch.equal(weights(runs[0]), weights(runs[1]))
    assert not torch.equal(weights(runs[0]), weights(runs[2]))


def test_added_episodes_are_learned_from_and_groups_are_drawn_equally_often(tmp_path):
    sampler = Sampler(TrainConfig(batch_episodes=200, mirror=0, jitter=0, shift_px=0))
    many, few = toy(60), toy(3, seed=1)
    many, few = replace(many, groups=["many"] * 60), replace(few, groups=["few"] * 3)
    few.actions[:] = 0.125
    sampler.add(many)
    sampler.add(few)
    batch = sampler.draw(np.random.default_rng(0))
    first = np.cumsum(batch.mask.sum(axis=1)) - batch.mask.sum(axis=1)
    share = (batch.actions[first] == 0.25).all(axis=1).mean()
    assert sampler.episodes == 63
    assert 0.4 < share < 0.6


def test_mirroring_flips_picture_action_and_instruction_together():
    sequences = toy(1, steps=2)
    plain, mirrored = (
        Sampler(TrainConfig(batch_episodes=1, mirror=share, jitter=0, shift_px=0, vary_words=0)) for share in (0.0, 1.0)
    )
    batches = []
    for sampler in (plain, mirrored):
        sampler.add(sequences)
        batches.append(sampler.draw(np.random.default_rng(3)))
    one, other = batches
    assert np.array_equal(other.images, one.images[:, :, ::-1])
    assert np.array_equal(other.actions, one.actions * [1, -1])
    assert np.allclose(other.goals, [1, 0] + one.goals * [-1, 1])
    texts = [batch.texts[0] for batch in batches]
    assert set(texts) <= {text for side in TEXTS.values() for text in side}
    sides = [next(sign for sign, group in TEXTS.items() if text in group) for text in texts]
    assert sides[0] == -sides[1]


def test_padding_is_never_learned_from(tmp_path):
    sequences, other = toy(), toy()
    other.images[~other.mask] = 255
    other.actions[~other.mask] = np.nan
    runs = []
    for data in (sequences, other):
        made = Trainer(fresh(TOKENIZER, seed=1, **SIZES), CONFIG, tmp_path)
        made.add(data)
        made.run("clone", steps=2)
        runs.append(weights(made))
    assert torch.equal(*runs)


def test_long_episodes_are_cut_to_stretches():
    sampler = Sampler(TrainConfig(batch_episodes=32, max_steps=3))
    sampler.add(toy(steps=9))
    lengths = sampler.draw(np.random.default_rng(0)).mask.sum(axis=1)
    assert lengths.max() == 3


def test_the_log_says_loss_speed_and_stage_a_line(tmp_path):
    seen = []
    trainer(tmp_path).run("clone", steps=2, log=seen.append)
    (line,) = [json.loads(text) for text in (tmp_path / LOG).read_text().splitlines()]
    assert line == seen[0]
    assert line["stage"] == "clone"
    assert line["step"] == 2
    assert line["images_per_s"] > 0
    assert line["loss_clip_lstm"] > 0


def test_a_checkpoint_of_another_configuration_or_model_is_refused(tmp_path):
    trainer(tmp_path).save()
    with pytest.raises(UserError, match="another configuration"):
        trainer(tmp_path, TrainConfig(batch_episodes=3)).load()
    other = Trainer(fresh(TOKENIZER, **{**SIZES, "feature_dim": 16}), CONFIG, tmp_path)
    with pytest.raises(UserError, match="another model"):
        other.load()


def test_a_missing_or_truncated_checkpoint_is_refused(tmp_path):
    made = trainer(tmp_path)
    with pytest.raises(UserError, match="no checkpoint"):
        made.load()
    made.save()
    made.checkpoint.write_bytes(made.checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be read"):
        made.load()


def test_training_without_episodes_or_length_is_refused(tmp_path):
    made = Trainer(fresh(TOKENIZER, **SIZES), CONFIG, tmp_path)
    with pytest.raises(ValueError, match="nothing to learn from"):
        made.run("clone", steps=1)
    with pytest.raises(ValueError, match="minutes or steps"):
        made.run("clone")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((2, 3, 8, 8, 3))}, "images must be uint8"),
        ({"actions": np.zeros((2, 4, 2), dtype=np.float32)}, "must agree"),
        ({"actions": np.full((2, 3, 2), np.nan, dtype=np.float32)}, "must be finite"),
        ({"texts": [["go"], []]}, "at least one phrasing"),
        ({"groups": ["one"]}, "groups must be one for each"),
        ({"mask": np.array([[True, False, True], [True, True, True]])}, "without a gap"),
        ({"mask": np.zeros((2, 3), dtype=bool)}, "never empty"),
    ],
)
def test_episodes_that_contradict_themselves_are_refused(change, message):
    whole = {
        "images": np.zeros((2, 3, 8, 8, 3), dtype=np.uint8),
        "texts": [["go"], ["stop"]],
        "actions": np.zeros((2, 3, 2), dtype=np.float32),
        "mask": np.ones((2, 3), dtype=bool),
    }
    with pytest.raises(ValueError, match=message):
        Demonstrations(**{**whole, **change}).check_learnable()


@pytest.mark.parametrize(
    "change", [{"batch_episodes": 0}, {"mirror": 1.5}, {"action_scale": -1}, {"action_names": ("speed",)}]
)
def test_configurations_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainConfig(**change)


def test_a_second_training_in_a_folder_is_refused(tmp_path, capsys):
    from recipes import train_shipped as train
    from vla_sim.core.files import FolderLock

    with FolderLock(tmp_path):
        assert train.main(["--out", str(tmp_path)]) == 2
    assert "is writing there" in capsys.readouterr().err
