"""Every figure is declared once, documented, and right where its value is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from evaluation_fakes import make_drive, make_record

from recipes import metrics_page
from vla_sim.core.planner import Planner
from vla_sim.core.types import Outcome, Side
from vla_sim.envs.sampling import SceneSource
from vla_sim.evaluation.benchmark.files import MAIN, OFFLINE
from vla_sim.evaluation.figures import FIGURES, PAIR_FIGURES, SIDE_FIGURES, SUITE_FIGURES, columns, row_of
from vla_sim.evaluation.summary import summarise
from vla_sim.evaluation.tables import console_table, p_value
from vla_sim.rollout.facts import closest_distance, facts_of

NAMES = {figure.name for figure in FIGURES}
LABELS = {"policy", "scenario", "suite", "scenarios", "a", "b", "planned", "complete"}


def with_reference(result, **changes):
    """The result with its own path as the shortest one."""
    return replace(result, extra={"expert_path": [p[:2] for p in result.path], "closest_distance_m": 0.25}, **changes)


def test_page_of_metrics_is_current():
    assert metrics_page.PAGE.read_text("utf-8") == metrics_page.page(), "run python -m recipes.metrics_page"


def test_every_figure_of_a_summary_and_every_column_is_on_the_page():
    records = [make_drive(i, side=side, policy=p) for p in ("a", "b") for side in Side for i in range(3)]
    summary = summarise(records, {})
    page = metrics_page.PAGE.read_text("utf-8")
    assert set(summary["results"][0]) <= NAMES | LABELS
    assert set(summary["suites"][0]) <= NAMES | LABELS | set(SUITE_FIGURES)
    assert set(summary["paired"]["sides"][0]) <= LABELS | set(SIDE_FIGURES)
    assert set(summary["paired"]["policies"][0]) <= LABELS | set(PAIR_FIGURES)
    for name in [*NAMES, *SUITE_FIGURES, *SIDE_FIGURES, *PAIR_FIGURES]:
        assert f"`{name}`" in page
    for head in [*(f.head for f in FIGURES), *(head for head, _ in (*MAIN, *OFFLINE))]:
        assert head in page


def test_names_are_unique_and_every_figure_says_what_it_means():
    assert len(NAMES) == len(FIGURES)
    assert all(len(figure.meaning) > 10 for figure in FIGURES)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda f: f.name)
def test_every_figure_is_defined_for_no_episode_one_error_and_a_mixture(figure):
    error = make_record(outcome="error", steps=0, path=(), actions=(), expert_path_length_m=None, path_length_m=0)
    mixture = [with_reference(make_drive(1)), make_drive(2, outcome="collision"), error]
    for cell in ([], [error], mixture):
        value = figure.of(cell)
        assert not isinstance(value, float) or math.isfinite(value)
        if figure.head:
            assert figure.show({**row_of(cell), "planned": len(cell), "complete": True})


def test_driving_the_shortest_path_is_perfect_fidelity_at_any_control_rate():
    fine, coarse = make_drive(1, steps=32), make_drive(1, steps=32)
    coarse = replace(coarse, steps=8, path=coarse.path[::4], actions=coarse.actions[::4], step_s=1.6, diagnostics={})
    reference = {"expert_path": [p[:2] for p in fine.path]}
    for result in (fine, coarse):
        row = row_of([replace(result, extra=reference)])
        assert row["ndtw"] > 0.9
        assert row["cls"] > 0.9
        assert row["sdtw"] == row["ndtw"]


def test_fidelity_counts_errors_as_zero_and_leaves_out_what_has_no_reference():
    good = with_reference(make_drive(1))
    failed = with_reference(make_drive(2), outcome=Outcome.TIMEOUT)
    raised = make_record(outcome="error", seed=3)
    assert row_of([make_drive(1)])["ndtw"] is None
    assert row_of([good, make_drive(2)])["ndtw"] == row_of([good])["ndtw"]
    assert row_of([good, raised])["ndtw"] == pytest.approx(row_of([good])["ndtw"] / 2)
    assert row_of([good, failed])["sdtw"] == pytest.approx(row_of([good])["ndtw"] / 2)


def test_closest_approach_is_the_mean_of_the_fact_and_gives_the_best_progress():
    near = make_record(extra={"closest_distance_m": 0.1}, expert_path_length_m=0.4)
    far = make_record(seed=1, extra={"closest_distance_m": 0.3}, expert_path_length_m=0.4)
    row = row_of([near, far, make_record(seed=2)])
    assert row["closest_distance_m"] == pytest.approx(0.2)
    assert row["progress_best"] == pytest.approx((0.75 + 0.25) / 2)
    assert "closest_distance_m" not in row["facts"]


@pytest.mark.parametrize("scenario", ["obstacle_left", "choose_goal", "two_obstacles_right"])
def test_facts_are_the_planners(scenario):
    scene = SceneSource(scenario, "serbot", "eval", None).scene(100_003)
    planner = Planner(scene, 0.15)
    x, y = scene.start.x_m, scene.start.y_m
    path = np.stack([np.linspace(x, x + 2.0, 12), np.linspace(y, y - 1.0, 12)], axis=1)
    facts = facts_of(planner, path, scene.task.reach_m)
    np.testing.assert_allclose(facts["expert_path"], planner.path(x, y), atol=1e-4)
    finite = [d for d in (planner.distance(*p) for p in path) if math.isfinite(d)]
    assert facts["closest_distance_m"] == pytest.approx(min(finite), abs=1e-4)
    assert closest_distance(planner, path[:1], scene.task.reach_m) == pytest.approx(planner.distance(x, y), abs=1e-4)


def test_a_run_measures_the_facts(tmp_path):
    from vla_sim.evaluation.runner import evaluate
    from vla_sim.rollout.plan import Plan

    plan = Plan(policies=("expert",), scenarios=("obstacle_left",), suites=("",), episodes=2)
    row = evaluate(plan, tmp_path / "run").summary["results"][0]
    assert row["ndtw"] > 0.6
    assert row["closest_distance_m"] == 0.0
    assert row["progress_best"] == 1.0


def test_a_rare_column_is_shown_only_where_it_happened():
    def heads(*outcomes):
        rows = summarise([make_record(outcome=o, seed=i) for i, o in enumerate(outcomes)], {})["results"]
        return [figure.head for figure in columns(rows)]

    assert "wrong goal" not in heads("success")
    assert "wrong goal" in heads("success", "wrong_goal")


@pytest.mark.parametrize(("seeds", "text"), [(5, "no test below 6 seeds"), (6, "p 0.031"), (40, "p < 0.0001")])
def test_no_p_value_where_the_design_cannot_reach_five_percent(seeds, text):
    won = [make_record(policy="a", seed=i) for i in range(seeds)]
    lost = [make_record(policy="b", seed=i, outcome="timeout") for i in range(seeds)]
    summary = summarise(won + lost, {})
    assert p_value(summary["paired"]["policies"][0]) == text
    assert text in console_table(summary)
