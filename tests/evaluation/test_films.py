"""Which episodes are filmed, what their films are called, and what a film that fails costs."""

import re

import pytest
from evaluation_fakes import make_record
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome
from vla_sim.evaluation.reporting.films import video_name, wanted_films


def run_of(policy, scenario, outcomes):
    return [make_record(policy=policy, scenario=scenario, seed=seed, outcome=o) for seed, o in enumerate(outcomes)]


OK, HIT, LATE = Outcome.SUCCESS, Outcome.COLLISION, Outcome.TIMEOUT
RECORDS = run_of("good", "left", [OK, OK, HIT]) + run_of("good", "right", [OK]) + run_of("hold", "left", [LATE] * 3)


def shown(choice):
    return [(r.policy, r.scenario, r.outcome) for r in wanted_films(RECORDS, choice)]


def test_all_shows_every_failure_before_any_success():
    outcomes = [outcome for _, _, outcome in shown("all")]
    assert len(outcomes) == len(RECORDS)
    first_success = outcomes.index(OK)
    assert OK not in outcomes[:first_success]
    assert set(outcomes[first_success:]) == {OK}


def test_failures_are_failures_only_and_none_is_none():
    assert [outcome for _, _, outcome in shown("failures")] == [HIT, LATE, LATE, LATE]
    assert shown("none") == []


def test_a_number_shows_one_of_each_kind_first_and_hopeless_policies_last():
    assert shown("4") == [
        ("good", "left", HIT),
        ("good", "left", OK),
        ("good", "right", OK),
        ("hold", "left", LATE),
    ]
    assert len(shown("100")) == len(RECORDS)


def test_any_other_choice_is_refused():
    with pytest.raises(UserError, match="--video"):
        wanted_films(RECORDS, "some")


def test_names_carry_scenario_seed_policy_outcome():
    assert video_name(make_record()) == "obstacle_left__100000__ensemble__success.mp4"


NAMES = st.one_of(
    st.text(min_size=1),
    st.sampled_from(
        ["a b/clip", "a-b/clip", "A/clip", "a/clip", "../evil", "C:\\x", "..", "정책", "con", "x" * 300, "é", "e\u0301"]
    ),
)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=6, unique=True))
def test_no_two_episodes_share_a_film_and_every_name_is_a_plain_file_name(pairs):
    names = [video_name(make_record(policy=policy, scenario=scenario)) for policy, scenario in pairs]
    assert len(set(names)) == len(pairs)
    for name in names:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_.-]*\.mp4", name)  # one spelling on file systems that ignore case
        assert len(name) <= 200


@pytest.mark.parametrize("scenario", ["left", "left__1", "left_1"])
@pytest.mark.parametrize("policy", ["clip", "1__clip", "1_clip"])
def test_seeds_of_names_with_numbers_are_told_apart(scenario, policy):
    others = {
        video_name(make_record(policy=p, scenario=s, seed=seed))
        for p, s, seed in OTHERS
        if (p, s) != (policy, scenario)
    }
    assert video_name(make_record(policy=policy, scenario=scenario, seed=1)) not in others


OTHERS = [(p, s, n) for p in ("clip", "1__clip", "1_clip") for s in ("left", "left__1", "left_1") for n in (1, 11)]
