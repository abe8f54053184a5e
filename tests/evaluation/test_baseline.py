import json

import pytest
from evaluation_fakes import make_record

from vla_sim.core.errors import UserError
from vla_sim.evaluation.baseline import LISTED, compare_baseline, record_baseline


def run(**changes):
    """Four episodes of two scenarios; `changes` hit the first."""
    records = [
        make_record(policy=p, scenario=s, seed=seed) for p in ("a",) for s in ("left", "right") for seed in (100, 101)
    ]
    first = make_record(policy="a", scenario="left", seed=100, **changes)
    return [first, *records[1:]]


@pytest.fixture
def path(tmp_path):
    record_baseline(run(), tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def test_same_run_passes(path):
    report = compare_baseline(run(), path)
    assert report.passed
    assert report.compared == 4
    assert report.text() == "baseline passed: 4 episodes compared"


def test_file_does_not_depend_on_order_or_time(path, tmp_path):
    again = [make_record(policy=r.policy, scenario=r.scenario, seed=r.seed, inference_ms=99.0) for r in run()[::-1]]
    record_baseline(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert json.loads(path.read_text())["format"] == 1


def test_every_episode_has_its_own_line(path):
    assert sum('"success"' in line for line in path.read_text().splitlines()) == 4


def test_changed_outcome_is_named_with_seed_and_replay_command(path):
    report = compare_baseline(run(outcome="collision"), path)
    assert not report.passed
    text = report.text("runs/x y")
    assert "a / left / seed 100: was success after 2 steps, now collision after 2" in text
    assert "python -m vla_sim.replay 'runs/x y' a/left/100" in text
    assert "1 changed outcomes (1 lost, 0 gained)" in text
    assert "--update-baseline" in text


def test_gained_success_fails_too(tmp_path):
    record_baseline(run(outcome="timeout"), tmp_path / "b.json")
    report = compare_baseline(run(), tmp_path / "b.json")
    assert not report.passed
    assert "(0 lost, 1 gained)" in report.text()


def test_other_number_of_steps_is_reported_but_passes(path):
    report = compare_baseline(run(steps=1, path=((0, 0, 0), (1, 0, 0)), actions=((1, 0),)), path)
    assert report.passed
    assert "another number of steps" in report.text()


def test_missing_and_new_episodes_fail_and_are_named(path):
    report = compare_baseline([*run()[1:], make_record(policy="b", scenario="left", seed=7)], path)
    assert not report.passed
    assert report.missing == (("a", "left", 100),)
    assert report.new == (("b", "left", 7),)
    assert "a / left / seed 100" in report.text()
    assert "b / left / seed 7" in report.text()


@pytest.mark.parametrize("outcome", ["success", "timeout"])
def test_another_identity_is_refused_however_the_episodes_ended(tmp_path, outcome):
    record_baseline(run(embodiment_hash="e1"), tmp_path / "b.json")
    assert compare_baseline(run(embodiment_hash="e1"), tmp_path / "b.json").passed
    changed = run(outcome=outcome, policy_hash="other", scenario_hash="new", embodiment_hash="e2")
    report = compare_baseline(changed, tmp_path / "b.json")
    assert not report.passed
    for said in ("policy a has changed (was p1, is other)", "scenario left has changed (was s1, is new)"):
        assert said in report.text()
    assert "robot serbot has changed (was e1, is e2)" in report.text()


def test_another_robot_is_refused(tmp_path):
    record_baseline(run(embodiment_hash="e1"), tmp_path / "b.json")
    report = compare_baseline(run(embodiment="mine", embodiment_hash="e1"), tmp_path / "b.json")
    assert "another robot: was serbot, is mine" in report.text()


def test_a_baseline_that_does_not_name_the_robot_is_read(path):
    assert compare_baseline(run(embodiment_hash="e1"), path).passed


def test_all_changed_outcomes_are_named_and_long_lists_of_others_are_cut(tmp_path):
    record_baseline([make_record(seed=i) for i in range(100)], tmp_path / "b.json")
    changed = compare_baseline([make_record(seed=i, outcome="timeout") for i in range(100)], tmp_path / "b.json")
    assert changed.text().count("vla_sim.replay") == 100
    missing = compare_baseline([make_record(seed=0)], tmp_path / "b.json")
    assert f"and {99 - LISTED} more" in missing.text()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"format": 2, "policies": {}, "scenarios": {}, "episodes": []}',
        '{"format": 1}',
        '{"format": 1, "policies": {}, "scenarios": {}, "episodes": [["a", "b", 1, "won", 3]]}',
        '{"format": 1, "policies": {}, "scenarios": {}, "episodes": [["a", "b", "1", "success", 3]]}',
        '{"format": 1, "policies": 3, "scenarios": {}, "episodes": []}',
    ],
)
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(UserError, match=r"b\.json is not a baseline"):
        compare_baseline(run(), tmp_path / "b.json")


def test_runs_that_cannot_be_a_baseline_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        record_baseline([], tmp_path / "b.json")
    with pytest.raises(ValueError, match="a / left / seed 100 is there twice"):
        record_baseline(run() + run(), tmp_path / "b.json")
    with pytest.raises(ValueError, match="two versions"):
        record_baseline(run(policy_hash="p2"), tmp_path / "b.json")


@pytest.mark.parametrize(("recorded", "now"), [(0, 2), (2, 0), (2, 3)])
def test_a_run_with_another_delay_fails_though_it_ends_alike(tmp_path, recorded, now):
    def late(steps):
        return [make_record(policy="a", scenario="left", seed=seed, delay_steps=steps) for seed in (100, 101)]

    record_baseline(late(recorded), tmp_path / "b.json")
    assert compare_baseline(late(recorded), tmp_path / "b.json").passed
    report = compare_baseline(late(now), tmp_path / "b.json")
    assert not report.passed
    assert f"another --delay: was {recorded} steps, is {now}" in report.text()
    with pytest.raises(ValueError, match="delays of"):
        record_baseline([*late(recorded)[:1], *late(now)[1:]], tmp_path / "b.json")


@pytest.mark.parametrize("delay", [-1, True, "2", 1.5, None])
def test_a_damaged_delay_is_no_baseline(path, delay):
    path.write_text(json.dumps({**json.loads(path.read_text()), "delay_steps": delay}))
    with pytest.raises(UserError, match="delay_steps must be a whole number"):
        compare_baseline(run(), path)
