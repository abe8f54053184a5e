"""Trainings in rounds: which worlds they drive, and a small one of two robots from end to end."""

import dataclasses
import functools
import logging
from collections import Counter

import numpy as np
import pytest

from recipes import train_rooms, train_shipped, train_turning
from recipes.rounds import Recipe, Round, RoundsOptions, round_tasks, train_in_rounds
from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.datasets.demonstrations import Demonstrations
from vla_sim.envs.sampling import FIRST_EVALUATION_SEED
from vla_sim.policies.base import fit
from vla_sim.policies.folders import PolicyFolder
from vla_sim.policies.registry import load_policy
from vla_sim.training.batches import Sampler
from vla_sim.training.config import TrainConfig
from vla_sim.training.export import export_policies
from vla_sim.training.new_policies import SMALL
from vla_sim.training.recorded import read_rounds
from vla_sim.training.warm_start import begin_afresh, begin_with, for_robot

SHIPPED = Recipe(SMALL, ("serbot",), train_shipped.ROUNDS, {})
RECIPES = {"shipped": SHIPPED, "turning": train_turning.RECIPE, "rooms": train_rooms.RECIPE}
SIZES = {"hidden": 16, "channels": (8, 8, 8), "fused_channels": 8, "text_width": 16, "text_heads": 2, "feature_dim": 16}


def options(tmp_path, **changes):
    return RoundsOptions(**{"out": tmp_path / "run", "workers": 1, "threads": 1, **changes})


@pytest.mark.parametrize("seed", [0, 1, 5])
@pytest.mark.parametrize(
    ("recipe", "round_"), [(recipe, round_) for recipe in RECIPES.values() for round_ in recipe.rounds]
)
def test_no_evaluation_world_is_trained_on_and_robots_get_equal_shares(recipe, round_, seed, tmp_path):
    tasks = round_tasks(recipe, round_, options(tmp_path, seed=seed))
    assert len(tasks) == len(recipe.embodiments)
    assert max(task.seed for own in tasks for task in own) < FIRST_EVALUATION_SEED
    counts = [Counter(task.scenario for task in own) for own in tasks]
    assert all(counts[0].keys() == other.keys() for other in counts)
    assert max(abs(counts[0][name] - other[name]) for other in counts for name in other) <= 1
    assert sum(map(len, tasks)) == pytest.approx(round_.episodes, rel=0.02)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_shares_of_a_mix_add_up(recipe):
    assert all(sum(round_.mix.values()) == pytest.approx(1.0) for round_ in recipe.rounds)


def test_episodes_of_another_recipe_are_never_gone_on_with(tmp_path):
    """Worlds, robots, files of scenarios and the learner decide what a round is; changed recipes used old ones."""
    common = {"mix": {"reach_goal": 1.0}, "single": True, "batch_episodes": 2}
    train = functools.partial(train_in_rounds, options=options(tmp_path))
    recipe = Recipe(SMALL, ("serbot",), (Round("look", 0, 4, 1, **common),), SIZES)
    train(recipe)
    for changed in (
        dataclasses.replace(recipe, rounds=(Round("look", 1, 4, 1, **common),)),
        dataclasses.replace(recipe, embodiments=("serbot_wide",)),
        dataclasses.replace(recipe, noise_at_rest=False),
    ):
        with pytest.raises(UserError, match="data/look"):
            train(changed)
    train(recipe)
    (tmp_path / "run" / "data" / "look" / "plan.json").unlink()
    with pytest.raises(UserError, match="does not say what its episodes were made from"):
        train(recipe)


def test_rounds_of_two_robots_make_one_policy_that_drives_both(tmp_path, monkeypatch, caplog):
    """From single images to DAgger; a second start trains nothing again; without vy in labels, actions and robots."""
    drive = {"mix": {"reach_goal": 1.0}, "batch_episodes": 2, "max_steps": 8}
    rounds = (
        Round("look", 0, 4, 1, {"choose_goal": 1.0}, single=True, batch_episodes=4),
        Round("clone", 10, 4, 1, noise=0.3, **drive),
        Round("dagger", 20, 4, 1, learner_share=1.0, decay=True, **drive),
    )
    recipe = dataclasses.replace(train_turning.RECIPE, rounds=rounds, sizes=SIZES)
    given = options(tmp_path, publish=tmp_path / "policies")
    train_in_rounds(recipe, given)
    parts = read_rounds(given.out / "data")
    assert {part.action_names for part in parts} == {("vx", "wz")}
    assert {part.step_s for part in parts} == {0.2}
    assert any(np.abs(part.actions[..., 1]).max() > 0 for part in parts)
    before = (given.out / "training.jsonl").read_bytes()
    train_in_rounds(recipe, given)
    assert (given.out / "training.jsonl").read_bytes() == before

    folder = tmp_path / "policies" / "turning_lstm"
    assert PolicyFolder.read(folder).control_s() == 0.2
    assert "--embodiment lekiwi" in (folder / "README.md").read_text()
    caplog.set_level(logging.INFO)
    for robot in map(load_embodiment, recipe.embodiments):
        policy = load_policy(str(folder))
        fit(policy, robot)
        policy.reset(np.ones(2, bool), np.arange(2))
        images = np.zeros((2, 224, 224, 3), np.uint8)
        actions = policy.act({"image": images, "instruction": ["go"] * 2})
        assert actions.shape == (2, len(robot.action_names))
        assert not actions[:, [name == "vy" for name in robot.action_names]].any()
        assert for_robot(begin_with(str(folder)), robot).action_names == ("vx", "wz")
    with pytest.raises(UserError, match="serbot takes"):
        fit(load_policy(str(folder)), load_embodiment("serbot"))


def test_new_heads_for_another_robot_begin_with_the_clip_of_a_policy(tmp_path):
    """Its tokenizer, and each weight whose size is the same; the heads and the other sizes are new."""
    old = begin_afresh(load_embodiment("serbot"), seed=1, **SIZES)
    export_policies(old.members.eval(), old, tmp_path, {})
    made = train_turning.POLICIES
    sizes = {**SIZES, "hidden": 8, "feature_dim": 8}
    new = begin_afresh(load_embodiment("diffbot"), seed=2, made=made, backbone_of=str(tmp_path / "clip_lstm"), **sizes)
    before, after = (next(iter(begun.members.by_name().values())).state_dict() for begun in (old, new))
    same = {name for name, tensor in after.items() if np.array_equal(tensor, before[name])}
    fitting = {name for name in after if name in before and after[name].shape == before[name].shape}
    assert {name for name in fitting if not name.startswith("head.")} <= same
    assert any("where" in name for name in same)
    assert any("readout" in name for name in after.keys() - same)
    assert new.action_names == ("vx", "wz")
    with pytest.raises(UserError, match="no small convolutional CLIP"):
        begin_afresh(load_embodiment("diffbot"), made=made, backbone_of="simple_clip")


def test_rounds_that_begin_as_a_policy_make_one_that_reads_a_lidar_as_well(tmp_path):
    drive = {"mix": {"doorway_left": 0.5, "crossing_right": 0.5}, "batch_episodes": 2, "max_steps": 8}
    rounds = (
        Round("look", 0, 4, 1, {"oncoming": 1.0}, single=True, batch_episodes=4),
        Round("clone", 10, 2, 1, noise=0.3, **drive),
        Round("dagger", 20, 2, 1, learner_share=1.0, decay=True, **drive),
    )
    begun = begin_afresh(load_embodiment("serbot"), seed=1, **SIZES)
    export_policies(begun.members.eval(), begun, tmp_path / "old", {})
    old = str(tmp_path / "old" / "clip_lstm")
    recipe = dataclasses.replace(train_rooms.RECIPE, rounds=rounds, begin=old)
    given = options(tmp_path, publish=tmp_path / "policies")
    train_in_rounds(recipe, given)
    assert all(set(part.sensors) == {"lidar"} for part in read_rounds(given.out / "data"))
    assert sorted(path.name for path in (tmp_path / "policies").iterdir()) == ["clip_rooms", "rooms_lstm"]
    policy = load_policy(str(tmp_path / "policies" / "rooms_lstm"))
    fit(policy, load_embodiment("serbot_lidar"))
    assert policy.spec.sensors == {"lidar": (72,)}


def part(names, step_s=0.2, **actions):
    return Demonstrations(
        images=np.zeros((1, 3, 8, 8, 3), np.uint8),
        texts=[["go"]],
        actions=np.stack([np.full((1, 3), actions[name], np.float32) for name in names], axis=2),
        mask=np.ones((1, 3), bool),
        action_names=names,
        step_s=step_s,
    )


def test_columns_of_several_robots_are_taken_by_their_names():
    plain = {"mirror": 0, "jitter": 0, "shift_px": 0, "vary_words": 0, "batch_episodes": 20}
    sampler = Sampler(TrainConfig(action_names=("vx", "wz"), action_scale=(1.0, 1.0), **plain))
    sampler.add(part(("vx", "vy", "wz"), vx=0.1, vy=0.2, wz=0.3))
    sampler.add(part(("vx", "wz"), vx=0.1, wz=0.3))
    np.testing.assert_allclose(np.unique(sampler.draw(np.random.default_rng(0)).actions, axis=0), [[0.1, 0.3]])


@pytest.mark.parametrize(
    ("other", "message"),
    [(part(("vx", "vy"), vx=0, vy=0), "columns"), (part(("vx", "wz"), 0.4, vx=0, wz=0), "0.2 s and 0.4 s")],
)
def test_what_cannot_be_learned_together_is_refused(other, message):
    sampler = Sampler(TrainConfig(action_names=("vx", "wz"), action_scale=(1.0, 1.0)))
    sampler.add(part(("vx", "wz"), vx=0, wz=0))
    with pytest.raises(ValueError, match=message):
        sampler.add(other)
