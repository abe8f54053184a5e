"""A copy of a validation episode must never be learned from: the validation loss would flatter the policy."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_sim.core.episode import Episode
from vla_sim.datasets.origins import origins_of
from vla_sim.datasets.serbot.hdf5 import SerbotStyle, serbot_hdf5_bytes
from vla_sim.training.source_spec import SourceSpec
from vla_sim.training.sources import Shape, Source, open_source, split
from vla_sim.training.splitting import copies_together, held_out

SHAPE = Shape(32, ("vx", "vy"), 0.4)


def recording(number):
    rng = np.random.default_rng(number)
    return Episode(
        name=f"episode_20000101_{number:06d}_1box_vert_left_variant_close",
        images=rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
        actions=np.full((3, 2), 0.5, np.float32),  # many recordings of a lab have the same actions
        action_names=("vx", "vy"),
        instruction="go left of the box",
        step_s=0.4,
    )


def write(folder, *episodes):
    folder.mkdir(parents=True)
    for one in episodes:
        (folder / f"{one.name}.h5").write_bytes(serbot_hdf5_bytes(one, SerbotStyle()))
    return folder


def opened(tmp_path, **folders):
    return [open_source(SourceSpec(n, f), SHAPE, tmp_path / "cache" / n) for n, f in folders.items()]


def scenes_of(source):
    """What each episode shows, by its first image: copies here are byte for byte."""
    return {part.images[i, 0].tobytes() for part in source.parts for i in range(len(part.mask))}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=2), max_size=25), min_size=1, max_size=4),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.integers(0, 5),
)
def test_no_origin_is_on_both_sides_whatever_the_sources(sources, share, seed):
    named = [[sorted(map(str, origins)) for origins in source] for source in sources]
    held = held_out(named, share, seed)
    sides = {}
    for source, mask in zip(named, held, strict=True):
        for origins, chosen in zip(source, mask, strict=True):
            for name in origins:
                assert sides.setdefault(name, bool(chosen)) == chosen
    groups = copies_together([origins for source in named for origins in source])
    assert Counter(i for group in groups for i in group) == Counter(range(sum(map(len, named))))


@given(st.permutations(range(3)), st.integers(0, 5))
def test_the_order_of_sources_and_of_episodes_does_not_decide(order, seed):
    sources = [[(f"name {n}",) for n in numbers] for numbers in (range(20), range(10, 40), range(60, 75))]
    held = held_out(sources, 0.2, seed)
    turned = held_out([sources[i][::-1] for i in order], 0.2, seed)
    for place, i in enumerate(order):
        assert np.array_equal(turned[place][::-1], held[i])


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_episodes_without_copies_are_held_out_by_the_share_exactly(share):
    held = held_out([[(f"a{n}",) for n in range(100)], [(f"b{n}",) for n in range(40)]], share, seed=1)
    assert [mask.sum() for mask in held] == [round(share * 100), round(share * 40)]


def test_one_folder_given_twice_leaks_nothing(tmp_path, caplog):
    caplog.set_level("INFO", "vla_sim")
    folder = write(tmp_path / "data", *map(recording, range(20)))
    learned, checked = split(opened(tmp_path, one=folder, another=folder), 0.2, seed=0)
    assert [source.episodes for source in checked] == [4, 4]
    assert not set.union(*map(scenes_of, learned)) & set.union(*map(scenes_of, checked))
    assert caplog.messages[-1] == "validation: 8 of 40 episodes; 40 of them in 20 groups of copies, held together"


def test_names_of_one_length_do_not_share_a_drawing(tmp_path):
    """The length of a source's name was its seed, so sources with names of one length were split alike."""
    folders = {
        name: write(tmp_path / name, *map(recording, range(100 * k, 100 * k + 20)))
        for k, name in enumerate(("ab", "cd"))
    }
    sources = opened(tmp_path, **folders)
    held = held_out([source.origins() for source in sources], 0.25, seed=0)
    assert not np.array_equal(*held)


@pytest.mark.parametrize("changed", ["renamed", "augmented", "augmented and renamed"])
def test_copies_follow_their_original(tmp_path, changed):
    originals = [recording(number) for number in range(20)]
    copies = []
    for number, one in enumerate(originals):
        copy = one
        if "augmented" in changed:
            lighter = np.minimum(one.images, 200) + 20
            facts = {"augmented_from": f"{one.name}.h5"}
            copy = replace(one, name=f"{one.name}_aug00", images=lighter.astype(np.uint8), provenance=facts)
        if "renamed" in changed:
            copy = replace(copy, name=f"episode_20010101_{number:06d}_1box_vert_left_variant_close")
        copies.append(copy)
    folders = {"real": write(tmp_path / "a", *originals), "more": write(tmp_path / "b", *copies)}
    sources = opened(tmp_path, **folders)
    held = held_out([source.origins() for source in sources], 0.2, seed=3)
    assert held[0].sum() == 4
    assert np.array_equal(*held)


def test_simulated_episodes_of_one_scene_stay_together():
    def driven(scenario, seed, name):
        return replace(recording(seed), name=name, provenance={"scenario": scenario, "seed": seed})

    left, right = driven("obstacle_left", 7, "a"), driven("obstacle_right", 7, "b")
    assert origins_of(left) == origins_of(right)
    assert not set(origins_of(left)) & set(origins_of(driven("obstacle_left", 8, "a")))


def test_rounds_know_the_scenes_that_were_driven(tmp_path):
    from vla_sim.rollout.demonstrations import Collection, Task, collect
    from vla_sim.training.recorded import read_round, save_round

    tasks = [Task("obstacle_left", 5), Task("obstacle_left", 5, noise=0.3), Task("obstacle_right", 6)]
    save_round(tmp_path / "round", collect(tasks, Collection("serbot", 32), workers=1))
    origins = read_round(tmp_path / "round").origins
    assert [len(group) for group in copies_together(origins)] == [2, 1]
    source = Source(SourceSpec("round", tmp_path), [read_round(tmp_path / "round")])
    held = held_out([source.origins()], 0.4, seed=0)[0]
    assert held[0] == held[1]
