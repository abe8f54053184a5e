import math
from dataclasses import replace

import numpy as np
import pytest
from augmentation_episodes import driven, invented, plain, same

from vla_sim.augmentation.images import Blur, Colour, Jpeg, Light, Noise
from vla_sim.augmentation.recipe import KINDS, read_recipe
from vla_sim.augmentation.redriving import origin_of
from vla_sim.augmentation.viewing import Crop, Tilt, tilted
from vla_sim.core.errors import UserError
from vla_sim.sim.renderers import make_renderer

IMAGES = [Light, Colour, Blur, Noise, Jpeg, Tilt, Crop]


def _rng(seed=0):
    return np.random.default_rng(seed)


def _apart(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


@pytest.mark.parametrize("kind", IMAGES)
def test_strength_zero_changes_nothing(kind):
    assert same(kind(0.0)(driven(), _rng()), driven())


@pytest.mark.parametrize("kind", IMAGES)
def test_pictures_change_and_nothing_else_but_the_trace(kind):
    before = driven()
    after = kind()(before, _rng())
    assert after.images.dtype == np.uint8
    assert after.images.shape == before.images.shape
    assert _apart(after.images, before.images) > 0.3
    trace = {**before.provenance, "augmentation": after.provenance["augmentation"]}
    assert same(replace(after, images=before.images), replace(before, provenance=trace))
    assert after.provenance["augmentation"].startswith(kind.__name__.lower() + "(")


@pytest.mark.parametrize("kind", IMAGES)
def test_equal_random_numbers_give_equal_bytes_and_others_give_others(kind):
    episode = driven()
    assert same(kind()(episode, _rng(1)), kind()(episode, _rng(1)))
    assert not np.array_equal(kind()(episode, _rng(1)).images, kind()(episode, _rng(2)).images)


@pytest.mark.parametrize("kind", IMAGES)
def test_the_given_episode_stays_as_it_was(kind):
    episode = driven()
    before = episode.images.copy()
    kind()(episode, _rng())
    assert np.array_equal(episode.images, before)


@pytest.mark.parametrize("kind", [k for k in IMAGES if k is not Noise])
def test_all_pictures_of_a_drive_are_changed_alike(kind):
    still = driven()
    still = replace(still, images=np.repeat(still.images[:1], len(still.images), axis=0))
    images = kind()(still, _rng()).images
    assert (images == images[0]).all()


def test_noise_is_new_in_each_picture_and_grows_with_light():
    grey = np.zeros((40, 32, 32, 3), np.uint8)
    grey[:20], grey[20:] = 40, 180
    images = Noise()(invented(steps=39, images=grey, states=None, state_names=()), _rng()).images.astype(float)
    assert not np.array_equal(images[0], images[1])
    assert images[20:].std() > 1.2 * images[:20].std()
    assert abs(images[20:].mean() - 180) < 0.5


@pytest.mark.parametrize("kind", IMAGES)
def test_more_strength_changes_more(kind):
    mean = [np.mean([_apart(kind(s)(driven(), _rng(n)).images, driven().images) for n in range(6)]) for s in (0.3, 1.5)]
    assert mean[1] > 1.3 * mean[0]


@pytest.mark.parametrize("seed", range(8))
def test_light_of_usual_strength_burns_little_out(seed):
    before, after = driven().images, Light()(driven(), _rng(seed)).images
    # The room is a light one: white walls, a window.
    assert (after == 255).mean() < (before == 255).mean() + 0.1
    assert after.mean() > 0.45 * before.mean()


def test_blur_takes_detail_away():
    def detail(images):
        return np.abs(np.diff(images.astype(int), axis=2)).mean()

    assert detail(Blur()(driven(), _rng()).images) < 0.9 * detail(driven().images)


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("strength", [-0.1, 4.0, math.nan])
def test_impossible_strengths_are_refused(kind, strength):
    with pytest.raises(UserError, match=f"{kind.__name__.lower()}: strength must lie between 0 and 3"):
        kind(strength)


@pytest.mark.parametrize("tilt_deg", [(3.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, -5.0), (2.0, -3.0, 3.0)])
def test_the_homography_of_a_tilt_gives_what_the_simulators_tilted_camera_sees(tilt_deg):
    episode = driven(image_px=(160, 160))
    origin = origin_of(episode)
    tilt_rad = tuple(np.radians(tilt_deg).tolist())
    world = plain(origin.scene)
    straight = replace(world, look=replace(world.look, camera_tilt_rad=(0.0, 0.0, 0.0)))
    bent = replace(world, look=replace(world.look, camera_tilt_rad=tilt_rad))
    images = []
    for scene in (straight, bent):
        renderer = make_renderer((160, 160))
        renderer.load(0, scene, origin.robot.camera)
        images.append(renderer.render().copy())
        renderer.close()
    # Within what both cameras see; outlines have steps, which leave some difference. Another tilt fits worse.
    middle = (slice(None), slice(30, -30), slice(30, -30))

    def apart(share):
        part = tuple(share * angle for angle in tilt_rad)
        return _apart(tilted(images[0], origin.robot.camera, part)[middle], images[1][middle])

    assert apart(1.0) < 0.45 * apart(0.0)
    assert apart(1.0) < min(apart(0.5), apart(1.5), apart(-1.0))


def test_no_tilt_leaves_every_pixel():
    straight = tilted(driven().images, origin_of(driven()).robot.camera, (0.0, 0.0, 0.0))
    assert np.abs(straight.astype(int) - driven().images).max() <= 1


def test_a_tilt_needs_to_know_the_camera():
    with pytest.raises(UserError, match="does not say which robot drove"):
        Tilt()(invented(), _rng())
    assert Tilt(embodiment="serbot")(invented(), _rng()).images.shape == invented().images.shape


@pytest.mark.parametrize("name", KINDS)
def test_every_augmentation_of_recipes_has_a_use_and_refuses_words_as_values(name):
    assert len(read_recipe(name).steps) == 1
    with pytest.raises(UserError, match="takes no value" if not KINDS[name].value else "must be a number"):
        read_recipe(f"{name}=much")


def test_recipes_are_done_in_order_and_traced():
    made = read_recipe("mirror, light=0.5,noise")(driven(), _rng())
    assert [entry.split("(")[0] for entry in made.provenance["augmentation"].split("; ")] == [
        "mirror",
        "light",
        "noise",
    ]
    assert made.provenance["scenario"] == "obstacle_right"


def test_a_longer_recipe_draws_the_same_for_its_first_steps():
    first, longer = (read_recipe(text)(driven(), _rng()) for text in ("light", "light,mirror"))
    assert longer.provenance["augmentation"].startswith(first.provenance["augmentation"])


@pytest.mark.parametrize(("text", "message"), [("ligth", "did you mean 'light'"), ("mirror,,light", "list of names")])
def test_bad_recipes_say_what_is_wrong(text, message):
    with pytest.raises(UserError, match=message):
        read_recipe(text)
