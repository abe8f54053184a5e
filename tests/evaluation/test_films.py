"""Which episodes are filmed."""

import pytest
from evaluation_fakes import make_record

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome
from vla_sim.evaluation.reporting.films import wanted_films


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
