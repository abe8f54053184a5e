import json

import numpy as np
import pytest
from evaluation_fakes import HASH, make_record

from vla_sim.core.errors import UserError
from vla_sim.core.types import Outcome, Side
from vla_sim.rollout.result import EpisodeResult, in_order, read_results, write_results


def left_out(path):
    """What can be read of a file, and what is said of the rest."""
    said = []
    return read_results(path, on_damaged=said.append), said


def test_record_survives_its_line_exactly():
    record = make_record(
        path_length_m=0.1 + 0.2,
        instruction="상자 왼쪽으로 지나가\u2028바구니로",
        diagnostics={"b": (1 / 3,), "a": (None, 0.5)},
    )
    line = record.to_json()
    assert "\n" not in line
    assert EpisodeResult.from_json(line) == record
    assert EpisodeResult.from_json(line).to_json() == line


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_survives(outcome):
    record = make_record(outcome=outcome)
    assert EpisodeResult.from_json(record.to_json()) == record


def test_numpy_values_and_lists_become_plain():
    record = make_record(
        seed=np.int64(100000),
        privileged=np.bool_(True),
        path_length_m=np.float32(0.5),
        path=np.zeros((3, 3)),
        actions=[[np.float32(1), 0], [1, np.nan]],
        asked_side="left",
    )
    assert record.actions == ((1.0, 0.0), (1.0, None))
    assert record.asked_side is Side.LEFT
    assert type(record.seed) is int
    assert EpisodeResult.from_json(record.to_json()) == record


def test_line_starts_with_format_and_ends_with_the_measured_time():
    keys = list(json.loads(make_record().to_json()))
    assert keys[0] == "format"
    assert keys[-1] == "inference_ms"


def test_deterministic_line_ignores_the_measured_time_only():
    fast, slow = make_record(inference_ms=1.0), make_record(inference_ms=2.0)
    assert fast.deterministic_json() == slow.deterministic_json()
    assert fast.to_json() != slow.to_json()
    assert fast.deterministic_json() != make_record(path_length_m=0.42).deterministic_json()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None])
@pytest.mark.parametrize("name", ["expert_path_length_m", "final_distance_m", "min_clearance_m", "inference_ms"])
def test_values_that_are_not_finite_become_null(name, value):
    line = make_record(**{name: value}).to_json()
    assert json.loads(line)[name] is None
    assert "NaN" not in line
    assert "Infinity" not in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"error": "boom"}, "traceback belongs to outcome error"),
        ({"outcome": "error", "error": None}, "traceback belongs to outcome error"),
        ({"steps": 3}, "3 steps need 3 actions and 4 poses, got 2 and 3"),
        ({"outcome": "error", "steps": 1}, "1 steps cannot have 2 actions"),
        ({"path_length_m": float("nan")}, "path_length_m must be finite"),
        ({"seed": -1}, "seed must be finite and not negative, got -1"),
        ({"step_s": 0.0}, "step_s must be positive"),
        ({"path": ((0, 0, 0), (1, float("nan"), 0), (1, 1, 1))}, r"path must hold finite \(x, y, yaw\)"),
        ({"picture_hash": "xyz"}, "picture_hash must be 32 hexadecimal digits"),
        ({"index": 1.5}, "index must be a whole number, got 1.5"),
    ],
)
def test_impossible_records_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        make_record(**changes)


def test_an_episode_that_raised_at_once_needs_no_path():
    record = make_record(outcome="error", steps=0, path=(), actions=(), sim_time_s=0.0, path_length_m=0.0)
    assert EpisodeResult.from_json(record.to_json()) == record


def test_undecodable_bytes_in_a_traceback_can_be_written(tmp_path):
    record = make_record(outcome="error", error="bad \udcff byte")
    write_results(tmp_path / "episodes.jsonl", [record])
    assert read_results(tmp_path / "episodes.jsonl") == [record]
    assert record.error == "bad \\udcff byte"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("seed"), r"missing keys \['seed'\]"),
        (lambda d: d.update(format=3), "format must be 1 or 2, got 3"),
        (lambda d: d.update(format=True), "format must be 1 or 2, got True"),
        (lambda d: d.update(success=False), "success is False but the outcome is success"),
        (lambda d: d.update(outcome="timeout"), "success is True but the outcome is timeout"),
        (lambda d: d.update(steps=True), "wrong type"),
        (lambda d: d.update(path_length_m="0.41"), "path_length_m must be a number"),
        (lambda d: d.update(privileged="no"), "privileged must be true or false"),
        (lambda d: d.update(outcome="won"), "'won' is not a valid Outcome"),
        (lambda d: d.update(seed="x"), "seed must be a number"),
        (lambda d: d.update(policy=3), "wrong type"),
        (lambda d: d.update(path=3), "wrong type"),
    ],
)
def test_bad_lines_are_refused(edit, message):
    values = json.loads(make_record().to_json())
    edit(values)
    with pytest.raises(ValueError, match=message):
        EpisodeResult.from_json(json.dumps(values))


def test_nan_in_a_line_is_refused():
    with pytest.raises(ValueError, match="must not hold NaN"):
        EpisodeResult.from_json(make_record().to_json().replace("0.41", "NaN"))


def test_file_round_trip_keeps_order(tmp_path):
    records = [make_record(seed=seed, index=i) for i, seed in enumerate([5, 3, 4])]
    write_results(tmp_path / "deep" / "episodes.jsonl", records)
    assert read_results(tmp_path / "deep" / "episodes.jsonl") == records
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["episodes.jsonl"]


@pytest.mark.parametrize("keep", [1, 40, 500])
def test_torn_last_line_is_left_out_and_reported(tmp_path, keep):
    path = tmp_path / "episodes.jsonl"
    record = make_record(instruction="한국어")
    whole = (record.to_json() + "\n").encode()
    path.write_bytes(whole + whole[:keep])
    assert left_out(path) == ([record], [f"{path}, line 2: cut off after {keep} bytes; left out"])
    with pytest.raises(UserError, match="line 2: cut off"):
        read_results(path)


def test_tear_inside_a_character_is_a_torn_line(tmp_path):
    path = tmp_path / "episodes.jsonl"
    line = make_record(instruction="한국어").to_json().encode()
    path.write_bytes(line[: line.index("한".encode()) + 1])
    found, said = left_out(path)
    assert not found
    assert "line 1: cut off" in said[0]


def test_last_line_without_line_break_counts_when_whole(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_text(make_record().to_json(), encoding="utf-8")
    assert len(read_results(path)) == 1


def test_bad_line_in_the_middle_names_file_and_line(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_text("{broken\n" + make_record().to_json() + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"episodes\.jsonl, line 1"):
        read_results(path)
    found, said = left_out(path)
    assert found == [make_record()]
    assert len(said) == 1


def test_an_episode_that_stands_there_twice_counts_once(tmp_path):
    path = tmp_path / "episodes.jsonl"
    path.write_text(2 * (make_record().to_json() + "\n"), encoding="utf-8")
    found, said = left_out(path)
    assert found == [make_record()]
    assert said == [f"{path}, line 2: repeats episode ensemble/obstacle_left/100000; left out"]
    with pytest.raises(UserError, match="repeats episode"):
        read_results(path)


def test_a_result_of_the_first_format_is_read():
    values = json.loads(make_record(diagnostics={}).to_json())
    for later in ("diagnostics", "embodiment_hash", "earlier_error"):
        del values[later]
    assert EpisodeResult.from_json(json.dumps({**values, "format": 1})) == make_record(diagnostics={})


FACTS = {"closest_goal_m": 0.25, "contacts": [1, 2], "gait": {"left": None}, "seen": True, "note": "한국어"}


def test_facts_that_this_version_does_not_know_are_kept_byte_for_byte():
    line = make_record(extra=FACTS).to_json()
    assert json.loads(line)["closest_goal_m"] == 0.25
    assert EpisodeResult.from_json(line).extra == FACTS
    assert EpisodeResult.from_json(line).to_json() == line
    assert list(json.loads(line))[-1] == "inference_ms"


def test_values_without_a_field_become_extra_facts():
    values = {"policy": "p", "scenario": "s", "embodiment": "e", "seed": 1, "instruction": "go", "step_s": 0.4}
    result = EpisodeResult.of({**values, "outcome": "error", "error": "boom", "energy_j": np.float32(2.5)})
    assert result.extra == {"energy_j": 2.5}
    assert EpisodeResult.from_json(result.to_json()) == result


def test_an_extra_fact_must_not_hide_a_field():
    with pytest.raises(ValueError, match="'steps' is a field"):
        make_record(extra={"steps": 3})


def test_failed_write_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "episodes.jsonl"
    write_results(path, [make_record()])
    before = path.read_bytes()

    def records():
        yield make_record()
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError):
        write_results(path, records())
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_order_is_by_policy_scenario_index():
    records = [
        make_record(policy="b", index=1),
        make_record(policy="a", index=0),
        make_record(policy="b", index=0),
        make_record(policy="b", scenario="other", index=0),
    ]
    keys = [(r.policy, r.scenario, r.index) for r in in_order(records)]
    assert keys == [("b", "obstacle_left", 0), ("b", "obstacle_left", 1), ("b", "other", 0), ("a", "obstacle_left", 0)]


def test_hash_helper_is_a_valid_hash():
    assert make_record(picture_hash=HASH[:32]).picture_hash == HASH[:32]


def test_there_is_one_number_for_each_decision():
    with pytest.raises(ValueError, match="2 steps cannot have 3 numbers of 'disagreement_mps'"):
        make_record(diagnostics={"disagreement_mps": (0.1, 0.2, 0.3)})
    make_record(outcome=Outcome.ERROR, diagnostics={"disagreement_mps": (0.1, 0.2, None)})
