import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.errors import UserError
from vla_sim.training.gate import Comparison, judge
from vla_sim.training.seeds import CHOOSING, COMPARING, LEARNING, REPORTING, seeds_within

NAMES = ("obstacle_left", "obstacle_right", "reach_goal")


def driven(**wins):
    """So many successes, from the first world on, of 40 in each scenario; scenarios share no seed."""
    return {(name, 40 * i + seed): seed < wins[name] for i, name in enumerate(NAMES) for seed in range(40)}


def test_a_policy_that_wins_in_many_worlds_is_accepted():
    verdict = judge(driven(obstacle_left=38, obstacle_right=36, reach_goal=40), driven(**dict.fromkeys(NAMES, 30)))
    assert verdict.accepted
    assert verdict.forgotten == ()
    assert verdict.overall.difference == pytest.approx(24 / 120)
    assert verdict.overall.interval.low > 0
    assert verdict.overall.p_value < 1e-6


def test_a_policy_that_is_better_by_what_chance_explains_is_dropped():
    old = driven(**dict.fromkeys(NAMES, 30))
    verdict = judge(driven(obstacle_left=33, obstacle_right=31, reach_goal=31), old)
    assert verdict.overall.difference > 0
    assert verdict.overall.p_value == pytest.approx(2 / 2**5)
    assert not verdict.accepted


def test_an_equal_policy_is_dropped():
    same = driven(**dict.fromkeys(NAMES, 30))
    assert not judge(same, same).accepted


def test_a_worse_policy_is_dropped_however_sure_it_is():
    verdict = judge(driven(**dict.fromkeys(NAMES, 10)), driven(**dict.fromkeys(NAMES, 30)))
    assert verdict.overall.p_value < 1e-6
    assert not verdict.accepted


def test_what_was_forgotten_is_named_even_when_the_round_wins():
    verdict = judge(
        driven(obstacle_left=40, obstacle_right=40, reach_goal=10),
        driven(obstacle_left=0, obstacle_right=5, reach_goal=30),
    )
    assert verdict.accepted
    assert verdict.forgotten == ("reach_goal",)
    assert "worse than before in reach_goal" in verdict.text()


def test_a_small_drop_in_one_scenario_of_several_is_not_called_forgotten():
    # Six lost worlds are significant alone (p = 0.03), but not among three scenarios.
    verdict = judge(driven(obstacle_left=40, obstacle_right=30, reach_goal=24), driven(**dict.fromkeys(NAMES, 30)))
    assert verdict.scenarios["reach_goal"].p_value < 0.05
    assert verdict.forgotten == ()


def test_worlds_of_one_seed_are_one_witness():
    """Eight worlds won without a loss would do (p = 0.008), but three seeds prove nothing."""
    old = {(f"scenario_{i}", seed): False for i in range(8) for seed in range(40)}
    new = old | {(f"scenario_{i}", 28): True for i in range(5)} | {("scenario_0", 3): True, ("scenario_1", 3): True}
    new |= {("scenario_0", 9): True}
    together = judge(new, old)
    assert together.overall.only_new == 8
    assert together.overall.p_value == pytest.approx(2 / 2**3)
    assert not together.accepted
    assert together.overall.effect > 3
    apart = Comparison.of(*({(name, i): won for i, ((name, _), won) in enumerate(d.items())} for d in (new, old)))
    assert apart.p_value == pytest.approx(2 / 2**8)
    assert apart.effect == pytest.approx(1)
    assert together.overall.interval.low < apart.interval.low


def test_a_comparison_survives_json():
    one = judge(driven(obstacle_left=40, obstacle_right=30, reach_goal=20), driven(**dict.fromkeys(NAMES, 30))).overall
    assert Comparison.from_json(one.to_json()) == one


def test_policies_that_drove_other_worlds_are_not_compared():
    with pytest.raises(ValueError, match="worlds differ"):
        judge(driven(**dict.fromkeys(NAMES, 3)), {("reach_goal", 0): True})


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_comparing_the_other_way_round_changes_the_sign_only(pairs):
    new = {(NAMES[i % 3], i // 3): a for i, (a, _) in enumerate(pairs)}
    old = {(NAMES[i % 3], i // 3): b for i, (_, b) in enumerate(pairs)}
    one, other = Comparison.of(new, old), Comparison.of(old, new)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value
    assert not (one.wins() and other.wins())
    assert one.wins() == other.loses()


def test_the_verdict_survives_json():
    import json

    verdict = judge(driven(**dict.fromkeys(NAMES, 40)), driven(**dict.fromkeys(NAMES, 20)))
    document = json.loads(json.dumps(verdict.to_json()))
    assert document["accepted"] is True
    assert document["overall"]["only_new"] == 60
    assert document["scenarios"]["reach_goal"]["worlds"] == 40


def test_seeds_for_learning_choosing_comparing_and_reporting_never_meet():
    ends = [LEARNING[0], LEARNING[-1], CHOOSING[0], CHOOSING[-1], COMPARING[0], COMPARING[-1], REPORTING]
    assert ends == sorted(ends)
    assert len(set(ends)) == len(ends)
    assert REPORTING == 100_000


@pytest.mark.parametrize(("first", "count"), [(-1, 3), (91_999, 2), (0, 0), (0, 92_001)])
def test_seeds_beyond_their_purpose_are_refused(first, count):
    with pytest.raises(UserError, match="must lie among the seeds 0 to 91999"):
        seeds_within(LEARNING, first, count, "the worlds")
