"""Distributions in scenario files."""

import numpy as np
import pytest

from vla_sim.scenarios.distributions import Choice, parse_names, parse_numbers

FORMS = [
    (0.4, 0.4, 0.4),
    ({"uniform": [0.3, 0.5]}, 0.3, 0.5),
    ({"choice": [1, 2.5, 4]}, 1, 4),
    ({"normal": [1.0, 0.2], "clip": [0.8, 1.3]}, 0.8, 1.3),
    ({"normal": [1.0, 0.2]}, 0.6, 1.4),
    ({"either_side": [0.3, 0.4]}, -0.4, 0.4),
]


@pytest.mark.parametrize(("value", "low", "high"), FORMS)
def test_draws_fill_the_stated_range_and_never_leave_it(value, low, high):
    plan, rng = parse_numbers(value), np.random.default_rng(0)
    drawn = [plan.draw(rng) for _ in range(500)]
    assert plan.range == (low, high)
    assert low <= min(drawn) <= low + 0.1
    assert high - 0.1 <= max(drawn) <= high


def test_either_side_avoids_the_middle_and_is_balanced():
    rng = np.random.default_rng(1)
    drawn = np.array([parse_numbers({"either_side": [0.3, 0.4]}).draw(rng) for _ in range(600)])
    assert (np.abs(drawn) >= 0.3).all()
    assert 0.42 < (drawn > 0).mean() < 0.58


def test_fixed_value_takes_nothing_from_the_generator():
    rng = np.random.default_rng(2)
    before = rng.bit_generator.state
    parse_numbers(3).draw(rng)
    assert rng.bit_generator.state == before


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0.4", "must be a number, got '0.4'"),
        (True, "must be a number, got True"),
        (float("nan"), "must be a number, got nan"),
        ({"unifrom": [1, 2]}, "unknown distribution 'unifrom'; did you mean 'uniform'"),
        ({"uniform": [1]}, r"uniform needs two numbers, e.g. \{ uniform = \[0.3, 0.5\] \}, got \[1\]"),
        ({"uniform": [2, 1]}, "must go from low to high"),
        ({"uniform": [1, "2"]}, "must be a number, got '2'"),
        ({"uniform": [1, 2], "choice": [1]}, "must be one of uniform, choice"),
        ({"choice": []}, "choice needs a list of values"),
        ({"normal": [1, 0]}, "positive std"),
        ({"normal": [1, 0.1], "clip": [5, 6]}, "clip must keep a fair part"),
        ({"either_side": [-0.1, 0.3]}, "either_side needs magnitudes"),
        ({}, "must be one of"),
    ],
)
def test_wrong_numbers_are_named(value, said):
    with pytest.raises(ValueError, match=said):
        parse_numbers(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("cupp", "unknown 'cupp'; did you mean 'cup'"),
        ({"choice": ["cup", "pto"]}, "unknown 'pto'; did you mean 'pot'"),
        (3, "must be a name, got 3"),
        ({"uniform": [1, 2]}, "unknown distribution 'uniform'"),
    ],
)
def test_wrong_names_are_named(value, said):
    with pytest.raises(ValueError, match=said):
        parse_names(value, ("cup", "pot"))


def test_a_name_is_a_choice_of_one():
    assert parse_names("cup", ("cup", "pot")) == Choice(("cup",))
