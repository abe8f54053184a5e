import json
import math

import pytest
from evaluation_fakes import make_drive, make_record

from vla_sim.core.types import Outcome, Side
from vla_sim.evaluation import metrics
from vla_sim.evaluation.statistics import mcnemar_exact, wilson
from vla_sim.evaluation.summary import summarise
from vla_sim.evaluation.tables import console_table


def outcomes(*values, **changes):
    return [make_record(outcome=v, seed=100000 + i, index=i, **changes) for i, v in enumerate(values)]


DEMANDED = {
    *("policy", "scenario", "n", "successes", "success_rate", "success_ci95", "spl", "soft_spl", "collision_rate"),
    *("wrong_side_rate", "wrong_goal_rate", "timeout_rate", "out_of_bounds_rate", "error_count", "path_length_m"),
    *("min_clearance_m", "sim_time_s", "steps", "inference_ms_p50", "inference_ms_p95", "privileged", "complete"),
}


def only_row(records, **options):
    (row,) = summarise(records, {}, **options)["results"]
    return row


def test_every_demanded_key_is_there():
    assert set(only_row(outcomes("success"))) >= DEMANDED


def test_rates_are_shares_of_all_episodes():
    row = only_row(outcomes("success", "success", "collision", "wrong_side", "timeout"))
    assert (row["n"], row["successes"], row["success_rate"]) == (5, 2, 0.4)
    assert row["success_ci95"] == [wilson(2, 5).low, wilson(2, 5).high]
    assert row["collision_rate"] == row["wrong_side_rate"] == row["timeout_rate"] == 0.2
    assert row["out_of_bounds_rate"] == row["wrong_goal_rate"] == 0.0
    assert sum(row["outcomes"].values()) == 5
    assert set(row["outcomes"]) == {o.value for o in Outcome}


def test_errors_count_as_failures_and_are_shown_apart():
    row = only_row(outcomes("success", "success", "collision", "error"))
    assert (row["success_rate"], row["error_count"]) == (0.5, 1)
    assert row["success_rate_without_errors"] == pytest.approx(2 / 3)
    assert row["success_rate_if_errors_succeeded"] == 0.75


def test_error_before_the_world_stood_lowers_spl_instead_of_vanishing():
    failed = make_record(
        outcome="error", seed=1, steps=0, path=(), actions=(), expert_path_length_m=None, path_length_m=0
    )
    good = make_record(path_length_m=0.4)
    row = only_row([good, failed])
    assert (row["spl"], row["soft_spl"], row["spl_excluded"]) == (0.5, 0.5, 0)


def test_unreachable_worlds_are_excluded_from_spl_and_counted():
    row = only_row([make_record(path_length_m=0.4), make_record(seed=1, expert_path_length_m=math.inf)])
    assert (row["spl"], row["spl_excluded"], row["success_rate"]) == (1.0, 1, 1.0)


def test_spl_agrees_with_the_metric():
    records = [make_drive(100000 + i) for i in range(5)]
    expected = metrics.spl([1] * 5, [r.expert_path_length_m for r in records], [r.path_length_m for r in records])
    assert only_row(records)["spl"] == expected.value


def test_min_clearance_is_the_smallest_and_none_in_empty_worlds():
    assert (
        only_row([make_record(min_clearance_m=0.3), make_record(seed=1, min_clearance_m=0.1)])["min_clearance_m"] == 0.1
    )
    assert only_row([make_record(min_clearance_m=None)])["min_clearance_m"] is None


def test_latency_percentiles_are_over_episodes():
    row = only_row([make_record(seed=i, inference_ms=float(i)) for i in range(101)])
    assert (row["inference_ms_p50"], row["inference_ms_p95"]) == (50.0, 95.0)
    assert only_row([make_record(inference_ms=None)])["inference_ms_p50"] is None


def test_rows_are_incomplete_below_the_plan_and_present_without_episodes():
    plan = {("ensemble", "obstacle_left"): 3, ("ensemble", "obstacle_right"): 3}
    short, empty = summarise(outcomes("success", "timeout"), {}, planned=plan)["results"]
    assert (short["n"], short["planned"], short["complete"]) == (2, 3, False)
    assert (empty["n"], empty["success_rate"], empty["complete"]) == (0, None, False)
    assert empty["success_ci95"] == [0.0, 1.0]


def test_provenance_is_passed_through():
    assert summarise([], {"git": "abc", "seeds": [1, 2]})["provenance"] == {"git": "abc", "seeds": [1, 2]}


def mixed():
    return [
        *(make_drive(100000 + i, side=side, policy=policy) for policy in ("a", "b") for side in Side for i in range(4)),
        make_drive(100004, policy="a", outcome="collision", collision_events=1, collision_partner="box_0"),
        make_drive(100004, policy="b"),
        make_record(policy="a", outcome="error", scenario="reach_goal", asked_side=None, realised_side=None),
    ]


def test_summary_is_strict_json():
    text = json.dumps(summarise(mixed(), {}), allow_nan=False)
    assert json.loads(text)["format"] == 2


def test_order_of_records_changes_no_figure():
    forth, back = summarise(mixed(), {}), summarise(mixed()[::-1], {})

    def by_name(summary):
        return {(r["policy"], r["scenario"]): r for r in summary["results"]}

    assert by_name(forth) == by_name(back)


def test_suite_pools_scenarios_with_two_kinds_of_interval():
    rows = {r["policy"]: r for r in summarise(mixed(), {})["suites"]}
    assert (rows["a"]["n"], rows["a"]["successes"], rows["a"]["scenarios"]) == (10, 8, 3)
    assert rows["a"]["worst_scenario"] == "reach_goal"
    low, high = rows["a"]["success_ci95_stratified"]
    assert 0 <= low <= 0.8 <= high <= 1
    assert rows["b"]["success_ci95_stratified"] == [1.0, 1.0]


def test_both_sides_needs_success_under_both_instructions_on_the_same_seed():
    left = outcomes("success", "success", "collision", "success", scenario="two_obstacles_left")
    right = outcomes(
        "success", "timeout", "success", scenario="two_obstacles_right", asked_side="right", realised_side="right"
    )
    (row,) = summarise(left + right, {})["paired"]["sides"]
    assert (row["scenarios"], row["n"], row["both"]) == ("two_obstacles_*", 3, 1)
    assert (row["only_left"], row["only_right"], row["neither"]) == (1, 1, 0)
    assert row["both_sides_rate"] == pytest.approx(1 / 3)
    assert row["both_sides_ci95"] == [wilson(1, 3).low, wilson(1, 3).high]
    assert row["ignore_rate"] == 0.0
    assert row["failed_seeds"] == [100001, 100002]


def test_sides_pair_by_the_family_of_the_scenario_whatever_its_name():
    named = {"family": "my family", "family_hash": "1"}
    left = outcomes("success", "success", scenario="a", extra=named)
    right = outcomes("success", "timeout", scenario="b", asked_side="right", realised_side="right", extra=named)
    other = outcomes("success", scenario="c", asked_side="right", extra={"family": "my family", "family_hash": "2"})
    (row,) = summarise(left + right + other, {})["paired"]["sides"]
    assert (row["scenarios"], row["n"], row["both"]) == ("my family", 2, 1)


@pytest.mark.parametrize("name", ["my_left", "left_right", "{a}_left"])
def test_names_that_only_look_like_sides_pair_nothing(name):
    twin = name.replace("left", "right", 1)
    records = [*outcomes("success", scenario=name), *outcomes("success", scenario=twin, asked_side="right")]
    assert summarise(records, {})["paired"]["sides"] == []


def test_policies_are_compared_on_equal_worlds_only():
    a = outcomes("success", "success", "success", "collision", policy="a")
    b = outcomes("timeout", "success", "timeout", policy="b")
    (row,) = summarise(a + b, {})["paired"]["policies"]
    assert (row["n"], row["only_a"], row["only_b"]) == (3, 2, 0)
    assert row["difference"] == pytest.approx(2 / 3)
    assert row["mcnemar_p"] == mcnemar_exact(2, 0)
    assert row["p_value"] == pytest.approx(row["mcnemar_p"])
    assert row["difference_ci95"][0] <= row["difference"] <= row["difference_ci95"][1]


def test_worlds_of_one_seed_are_one_witness_when_policies_are_compared():
    """Six worlds won, two seeds: p is a half, not 0.03, and the interval is wider."""
    a = [make_record(policy="a", scenario=s, seed=n, outcome="success") for s in ("x", "y", "z") for n in (1, 2)]
    b = [make_record(policy="b", scenario=s, seed=n, outcome="timeout") for s in ("x", "y", "z") for n in (1, 2)]
    for policy, records in (("a", a), ("b", b)):
        records += [make_record(policy=policy, scenario="x", seed=n, outcome="success") for n in range(3, 9)]
    rows = {row["scenario"]: row for row in summarise(a + b, {})["paired"]["policies"]}
    assert (rows[None]["only_a"], rows[None]["seeds"]) == (6, 8)
    assert rows[None]["p_value"] == pytest.approx(2 / 2**2)
    assert rows[None]["mcnemar_p"] == pytest.approx(2 / 2**6)
    assert rows[None]["design_effect"] > 1.5
    assert rows["x"]["design_effect"] == pytest.approx(1)


def test_policies_without_common_worlds_are_not_compared():
    a, b = make_record(policy="a", seed=1), make_record(policy="b", seed=2)
    assert summarise([a, b], {})["paired"]["policies"] == []


def test_console_table_is_aligned_and_names_everything():
    table = console_table(summarise(mixed(), {}))
    lines = table.splitlines()
    assert "80.0 %" in table
    assert "solved under both instructions in 4 of 4 worlds" in table
    assert "a against b" in table
    ends = {line.index("%") for line in lines[2:5]}
    assert len(ends) == 1


def test_console_table_aligns_korean_names_by_width():
    table = console_table(summarise([make_record(policy="정책"), make_record(policy="abcd", seed=1)], {}))
    assert table.splitlines()[2].index("obstacle") + 2 == table.splitlines()[3].index("obstacle")


def test_tables_of_nothing_do_not_fail():
    assert console_table(summarise([], {}))


def test_what_policies_say_of_their_decisions_is_told_apart_by_success():
    records = [
        make_record(diagnostics={"disagreement_mps": (0.1, 0.3)}),
        make_record(seed=100_001, outcome=Outcome.TIMEOUT, diagnostics={"disagreement_mps": (0.5, None)}),
        make_record(seed=100_002, outcome=Outcome.TIMEOUT, diagnostics={}),
    ]
    row = summarise(records, {})["results"][0]
    assert row["diagnostics"] == {"disagreement_mps": {"successes": pytest.approx(0.2), "others": 0.5}}
