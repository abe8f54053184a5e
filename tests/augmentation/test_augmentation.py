import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.augmentation import colour_matrices, mirror_text, shifted, vary_text

PAIRS = [
    ("Pass the box on the left.", "Pass the box on the right."),
    ("LEFT side, then Right", "RIGHT side, then Left"),
    ("the leftmost cup", "the rightmost cup"),
    ("keep to the left-hand side, leftwards", "keep to the right-hand side, rightwards"),
    ("장애물을 왼쪽으로 지나 바구니로", "장애물을 오른쪽으로 지나 바구니로"),
    ("왼편 상자, 좌측 통행", "오른편 상자, 우측 통행"),
    ("맨 왼쪽에 있는 컵", "맨 오른쪽에 있는 컵"),
    ("좌회전", "우회전"),
    ("box L, goal", "box R, goal"),
    ("Go to the red cup", "Go to the red cup"),
    ("bright lights, cleft, upright, copyright", "bright lights, cleft, upright, copyright"),
    ("Lee's robot", "Lee's robot"),
    ("Turn right now, next to the box", "Turn left now, next to the box"),
    ("turn clockwise, not Counterclockwise", "turn counterclockwise, not Clockwise"),
    ("좌우로 움직이는 경우로", "좌우로 움직이는 경우로"),
    ("우편함 앞에서 좌로, 상자 우측", "우편함 앞에서 우로, 상자 좌측"),
    ("시계 방향으로 돌아", "반시계 방향으로 돌아"),
]


@pytest.mark.parametrize(("text", "mirrored"), PAIRS)
def test_every_side_is_swapped_and_nothing_else(text, mirrored):
    assert mirror_text(text) == mirrored
    assert mirror_text(mirrored) == text


@given(st.lists(st.sampled_from([word for pair in PAIRS for text in pair for word in text.split()])))
def test_mirroring_a_text_twice_gives_it_again(words):
    text = " ".join(words)
    assert mirror_text(mirror_text(text)) == text


@given(st.integers(0, 10_000), st.sampled_from([text for pair in PAIRS for text in pair]))
def test_varied_words_keep_side_goal_and_colour(seed, text):
    varied = vary_text(text, np.random.default_rng(seed), share=0.5)
    for word in ("left", "right", "왼", "오른", "cup", "red", "box", "상자", "바구니", "컵"):
        assert varied.lower().count(word) >= sum(word in other for other in text.lower().split())


def test_words_are_varied_but_not_without_a_share():
    text = "please drive slowly around it and then go on"
    varied = {vary_text(text, np.random.default_rng(seed), share=0.1) for seed in range(30)}
    assert len(varied) > 10
    assert {vary_text(text, np.random.default_rng(seed), share=0.0) for seed in range(30)} == {text}


@pytest.mark.parametrize(("down", "right"), [(0, 0), (1, 0), (0, -2), (-1, 2)])
def test_shifting_moves_pixels_and_repeats_the_border(down, right):
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    moved = shifted(frames[:, :, ::-1], down, right)
    rows, columns = np.clip(np.arange(8) - down, 0, 7), np.clip(np.arange(8) - right, 0, 7)
    assert np.array_equal(moved, frames[:, :, ::-1][:, rows][:, :, columns])
    assert moved.flags.c_contiguous


def test_colours_change_by_episode_and_not_at_strength_zero():
    matrix, offset = colour_matrices(3, np.random.default_rng(0), strength=0.0)
    np.testing.assert_allclose(matrix, np.tile(np.eye(3), (3, 1, 1)), atol=1e-7)
    np.testing.assert_allclose(offset, 0, atol=1e-4)
    matrix, offset = colour_matrices(3, np.random.default_rng(0))
    assert np.abs(matrix[0] - matrix[1]).max() > 0.01
    changed = np.array([200.0, 120.0, 60.0]) @ matrix + offset
    assert (changed > -60).all()
    assert (changed < 330).all()
