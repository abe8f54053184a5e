from dataclasses import replace

import numpy as np
import pytest
from augmentation_episodes import driven, invented, same

from vla_sim.augmentation.images import Light
from vla_sim.augmentation.mirroring import Mirror
from vla_sim.augmentation.redriving import Perturb, Rerender, origin_of, redriven, relit
from vla_sim.core.errors import UserError
from vla_sim.core.types import Pose2, Role
from vla_sim.datasets.serbot.actions import padded, with_still_start
from vla_sim.sim.renderers import make_renderer

WORLDS = [("obstacle_left", "serbot"), ("choose_goal", "serbot"), ("two_obstacles_right", "lekiwi")]


def _rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("scenario", "embodiment"), WORLDS)
def test_the_rebuilt_world_gives_the_recorded_pictures_bit_for_bit(scenario, embodiment):
    episode = driven(scenario, embodiment=embodiment, noise=0.3)
    origin = origin_of(episode)
    assert np.array_equal(redriven(episode, origin, origin.scene), episode.images)


@pytest.mark.parametrize(("scenario", "embodiment"), WORLDS)
def test_redrawn_worlds_differ_in_pictures_and_nothing_else(scenario, embodiment):
    episode = driven(scenario, embodiment=embodiment)
    made = Rerender()(episode, _rng())
    assert np.abs(made.images.astype(int) - episode.images).mean(axis=(1, 2, 3)).min() > 2
    trace = {**episode.provenance, "augmentation": made.provenance["augmentation"]}
    assert same(replace(made, images=episode.images), replace(episode, provenance=trace))
    assert same(made, Rerender()(episode, _rng()))
    assert not np.array_equal(made.images, Rerender()(episode, _rng(1)).images)


@pytest.mark.parametrize(("scenario", "embodiment"), WORLDS)
def test_silhouettes_of_the_redrawn_world_are_those_of_the_recorded(scenario, embodiment):
    episode = driven(scenario, embodiment=embodiment)
    origin = origin_of(episode)
    here, there = make_renderer((96, 96)), make_renderer((96, 96))
    here.load(0, origin.scene, origin.robot.camera)
    there.load(0, relit(origin, 7), origin.robot.camera)
    for x, y, yaw in episode.states[::3, :3].tolist():
        here.place(0, Pose2(x, y, yaw))
        there.place(0, Pose2(x, y, yaw))
        # Whether a carton's flaps are open belongs to the look.
        assert (here.segmentation(0) == there.segmentation(0)).mean() > 0.95
    here.close()
    there.close()


@pytest.mark.parametrize("seed", range(5))
def test_other_looks_move_nothing_and_keep_the_colours_that_words_name(seed):
    origin = origin_of(driven("choose_goal"))
    scene, other = origin.scene, relit(origin, seed)
    assert other.look != scene.look
    assert other.look.camera_tilt_rad == scene.look.camera_tilt_rad
    assert (other.task, other.instruction, other.start, other.bounds_m) == (
        scene.task,
        scene.instruction,
        scene.start,
        scene.bounds_m,
    )
    for body, twin in zip(scene.bodies, other.bodies, strict=True):
        assert replace(twin, color=body.color, texture=body.texture) == body
        if body.role in (Role.GOAL, Role.DISTRACTOR):
            assert twin.color == body.color


def test_mirrored_episodes_are_redrawn_mirrored():
    episode = driven()
    one, other = Mirror()(Rerender()(episode, _rng())), Rerender()(Mirror()(episode), _rng())
    assert np.array_equal(one.images, other.images)
    assert one.instruction == other.instruction != episode.instruction


def test_still_starts_and_padding_are_kept():
    episode = padded(with_still_start(driven()), 25)
    made = Rerender()(episode, _rng())
    assert made.images.shape == episode.images.shape
    assert np.array_equal(made.images[0], made.images[1])
    assert np.array_equal(made.images[-1], made.images[-2])
    assert np.array_equal(made.images[1 : 1 + len(driven())], Rerender()(driven(), _rng()).images[:-1])


@pytest.mark.parametrize("kind", [Rerender, Perturb])
def test_recordings_of_a_real_robot_are_refused_with_what_is_missing(kind):
    with pytest.raises(UserError, match="cannot be built again: its provenance has no seed, embodiment"):
        kind()(invented(), _rng())


@pytest.mark.parametrize("kind", [Rerender, Perturb])
def test_what_would_be_undone_must_come_later(kind):
    lit = Light()(driven(), _rng())
    with pytest.raises(UserError, match="would undo light; it must come before"):
        kind()(lit, _rng())


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("scenario_hash", "0" * 64, "the scenario 'obstacle_left' has changed"),
        ("embodiment_hash", "0" * 64, "the embodiment 'serbot' has changed"),
        ("seed", 100_000, "kept for evaluation"),
        ("simulated", False, "no episode of the simulator"),
    ],
)
def test_worlds_that_cannot_be_the_recorded_ones_are_refused(fact, value, message):
    episode = replace(driven(), provenance={**driven().provenance, fact: value})
    with pytest.raises(UserError, match=message):
        Rerender()(episode, _rng())


@pytest.mark.parametrize("kind", [Rerender, Perturb])
@pytest.mark.parametrize("facts", [{"seed": 11}, {"scenario": "two_obstacles_left", "scenario_hash": ""}])
def test_another_world_than_the_recorded_is_noticed(kind, facts):
    with pytest.raises(UserError, match="does not look as recorded"):
        kind()(replace(driven(), provenance={**driven().provenance, **facts}), _rng())


def test_actions_that_lead_elsewhere_than_recorded_are_noticed():
    episode = driven()
    other = replace(episode, actions=np.roll(episode.actions, 3, axis=0) * np.float32([1, -1]))
    with pytest.raises(UserError, match=r"driven again, (it ends after|the robot is not where it was)"):
        Rerender()(other, _rng())


def test_noise_leads_elsewhere_and_the_labels_are_the_experts():
    episode = driven()
    made = Perturb(0.5)(episode, _rng())
    assert not np.array_equal(made.actions[:5], made.labels[:5])
    assert np.abs(made.states[5, :2] - episode.states[5, :2]).max() > 0.01
    # What was done is inside the robot's limits; what the expert says leads on at full speed, and stops at the goal.
    assert np.abs(made.actions).max() <= 0.5
    speeds = np.linalg.norm(made.labels, axis=1)
    np.testing.assert_allclose(speeds[speeds > 0], 0.5, atol=1e-4)
    assert (speeds[:8] > 0).all()
    assert np.array_equal(made.labels[0], episode.actions[0])
    assert (made.provenance["noise"], made.outcome is None) == (0.5, False)
    assert same(made, Perturb(0.5)(episode, _rng()))
    assert not np.array_equal(made.actions, Perturb(0.5)(episode, _rng(1)).actions)


def test_perturbed_drives_can_be_redrawn_from_their_actions():
    made = Perturb(0.5)(driven(), _rng())
    origin = origin_of(made)
    assert np.array_equal(redriven(made, origin, origin.scene), made.images)


def test_perturbed_drives_are_redrawn_and_redrawn_ones_not_perturbed():
    made = Rerender()(Perturb(0.5)(driven(), _rng()), _rng())
    assert [entry.split("(")[0] for entry in made.provenance["augmentation"].split("; ")] == ["perturb", "rerender"]
    with pytest.raises(UserError, match="perturb would undo rerender"):
        Perturb()(Rerender()(driven(), _rng()), _rng())


def test_no_noise_changes_nothing():
    assert same(Perturb(0.0)(driven(), _rng()), driven())


def test_perturbing_keeps_the_still_start_and_the_mirror():
    made = Perturb()(with_still_start(driven()), _rng())
    assert made.events[0] == "episode_start"
    assert not made.actions[0].any()
    mirrored = Perturb()(Mirror()(driven()), _rng())
    assert mirrored.provenance["scenario"] == "obstacle_right"
    assert np.array_equal(mirrored.images, Mirror()(Perturb()(driven(), _rng())).images)
