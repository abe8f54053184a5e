"""Several twists as one: what is learned at another control rate moves as far as what was shown."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vla_sim.core.motion import full_twists, joined, path_of

NAMES = [("vx", "vy"), ("vx", "wz"), ("vx", "vy", "wz"), ("wz", "vx", "vy"), ("vx",)]
RATES = st.tuples(st.integers(1, 30), st.floats(0.005, 0.4), st.floats(0.99, 1.01))


def actions(names):
    sizes = st.floats(-1.0, 1.0, width=32)
    return arrays(np.float64, st.tuples(st.integers(1, 60), st.just(len(names))), elements=sizes)


def end(values, names, step_s):
    return path_of(full_twists(values, names), step_s).poses[-1]


@pytest.mark.parametrize("names", NAMES)
@given(data=st.data())
def test_joined_actions_lead_as_far(names, data):
    given_actions, (every, step_s, stretch) = data.draw(actions(names)), data.draw(RATES)
    # The robot's step may be a little off the multiple, as 29.97 frames a second are.
    new_step_s = every * step_s * stretch
    made = joined(given_actions, names, step_s=step_s, every=every, new_step_s=new_step_s)
    assert len(made) == math.ceil(len(given_actions) / every)
    np.testing.assert_allclose(
        made.sum(axis=0)[_turning(names)] * new_step_s, _sum(given_actions, names, step_s), atol=1e-9
    )
    if "vy" in names and _turn_of_a_step(given_actions, names, step_s, every) < math.pi:
        np.testing.assert_allclose(end(made, names, new_step_s), end(given_actions, names, step_s), atol=1e-9)
    elif "vy" not in names:
        ahead = names.index("vx")
        assert made[:, ahead].sum() * new_step_s == pytest.approx(given_actions[:, ahead].sum() * step_s)


def _turning(names):
    return [column for column, name in enumerate(names) if name == "wz"]


def _sum(values, names, step_s):
    return values.sum(axis=0)[_turning(names)] * step_s


def _turn_of_a_step(values, names, step_s, every):
    """The largest turn that becomes one action."""
    turns = full_twists(values, names)[:, 2] * step_s
    return max(abs(turns[i : i + every].sum()) for i in range(0, len(turns), every))


def test_a_quarter_circle_in_many_steps_is_a_quarter_circle_in_one():
    circle = np.tile(np.float32([[0.3, 0.0, math.pi / 2]]), (20, 1))
    (one,) = joined(circle, ("vx", "vy", "wz"), step_s=0.05, every=20, new_step_s=1.0)
    np.testing.assert_allclose(one, circle[0], atol=1e-6)


def test_a_turn_before_a_move_is_not_a_turn_after_it():
    turn, move = [0, 0, math.pi / 2], [1, 0, 0]
    one, other = (
        joined(np.array(order, dtype=float), ("vx", "vy", "wz"), step_s=1.0, every=2, new_step_s=2.0)
        for order in ([turn, move], [move, turn])
    )
    np.testing.assert_allclose(end(one, ("vx", "vy", "wz"), 2.0)[:2], (0, 1), atol=1e-9)
    np.testing.assert_allclose(end(other, ("vx", "vy", "wz"), 2.0)[:2], (1, 0), atol=1e-9)
