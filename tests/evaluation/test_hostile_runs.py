"""Files of a run that are damaged in any way: a sentence or a line left out, never a traceback or a wrong count."""

import copy
import json

import pytest
from evaluation_fakes import make_record
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vla_sim import replay
from vla_sim.core.errors import UserError
from vla_sim.core.run_folder import read_object
from vla_sim.evaluation import runner
from vla_sim.evaluation.baseline import compare_baseline, record_baseline
from vla_sim.evaluation.run_results import IDENTITY_FILE, Identities, RunResults, planned_results
from vla_sim.evaluation.runner import read_plan
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import EpisodeResult, read_results

PLAN = Plan(("hold",), ("reach_goal",), episodes=4, seed=100_000)
RESULTS = [
    make_record(policy="hold", scenario="reach_goal", suite="", seed=100_000 + i, index=i, extra={"fact": [i, None]})
    for i in range(4)
]
TEXTS = {
    "run.json": PLAN.to_json(),
    "episodes.jsonl": "".join(r.to_json() + "\n" for r in RESULTS),
    "summary.json": json.dumps({"format": 2, "provenance": {"workers": 2, "wall_time_s": 3.5}, "results": []}),
    "identities.json": json.dumps({"format": 1, "policies": {"hold": {"code": "a", "files": {"/x": "b"}}}}),
}
MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Raw(str):
    """Stands in a JSON text as it is."""


HOSTILE = st.sampled_from(
    [
        *(
            None,
            True,
            False,
            0,
            -1,
            1.5,
            2**63,
            10**400,
            "",
            "x" * 1000,
            "\0",
            "한국어",
            "NaN",
            [],
            {},
            [[]],
            {"a": {}},
        ),
        *("../x", "/etc/passwd", "\x1b[31m", "a\nb", "{a}", "$(ls)", "<b>", "\ud800"),
        *map(Raw, ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 5000, "[" * 50 + "]" * 50, '"\\ud800"')),
    ]
).map(copy.deepcopy)


def dumped(value):
    """JSON text of a value with `Raw` parts as they are."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)}: {dumped(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(dumped, value)) + "]"
    return json.dumps(value)


@st.composite
def changed_values(draw, text):
    """A JSON text with some values replaced, keys removed, added or renamed."""
    value = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, (dict, list)) and inner and draw(st.booleans()):
                place = inner
                continue
            how = draw(st.sampled_from(["replace", "remove", "add"]))
            if how == "replace":
                place[key] = draw(HOSTILE)
            elif how == "remove":
                del place[key]
            elif isinstance(place, dict):
                place[draw(st.sampled_from(["new", "", "format", "extra", "success", "\ud800", "__class__"]))] = draw(
                    HOSTILE
                )
            else:
                place.append(draw(HOSTILE))
            break
    return dumped(value).encode("utf-8", "surrogatepass")


@st.composite
def damaged_bytes(draw, content):
    """Bytes cut off, cut out, repeated, put in."""
    for _ in range(draw(st.integers(1, 3))):
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        piece = draw(
            st.sampled_from([b"", content[a:b], b"\0", b"\xff", b"\n", b'"', b"{", b"[" * 2000, b"\xed\xa0\x80"])
        )
        content = draw(
            st.sampled_from([content[:a], content[:a] + piece + content[b:], content[:b] + piece + content[b:]])
        )
    return content


def damaged(name):
    """The file's content, somehow damaged."""
    text = TEXTS[name]
    if name != "episodes.jsonl":
        return st.one_of(damaged_bytes(text.encode()), changed_values(text), st.binary(max_size=40))
    lines = text.splitlines()
    line = st.sampled_from(lines)
    some = st.one_of(line.map(str.encode), line.flatmap(changed_values), line.map(str.encode).flatmap(damaged_bytes))
    return st.one_of(damaged_bytes(text.encode()), st.lists(some, max_size=8).map(b"\n".join))


def answered(function, *arguments, **options):
    """What a function gives, or the one sentence that it refuses with."""
    try:
        return function(*arguments, **options)
    except UserError as error:
        sentence = str(error)
        assert sentence.strip()
        assert "\n" not in sentence
        assert len(sentence) < 700, sentence
        return sentence


@MANY
@given(damaged("episodes.jsonl"))
def test_damaged_results_are_left_out_line_by_line(tmp_path, content):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(content)
    told = []
    results = read_results(path, on_damaged=told.append)
    lines = [line for line in content.split(b"\n") if line.strip()]
    assert len(results) + len(told) == len(lines)
    assert len({r.key for r in results}) == len(results)
    assert [EpisodeResult.from_json(r.to_json()) for r in results] == results
    assert all("\n" not in text for text in told)
    strict = answered(read_results, path)
    assert isinstance(strict, str) if told else strict == results


@MANY
@given(damaged("episodes.jsonl"))
def test_only_whole_episodes_of_the_plan_count_and_each_once(tmp_path, content):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes(content)
    kept = planned_results(PLAN, path, on_left_out=lambda text: None)
    keys = [job.key for job in PLAN.jobs()]
    assert len({r.key for r in kept}) == len(kept)
    assert all(r.key in keys and keys.index(r.key) == r.index for r in kept)
    found = answered(RunResults, PLAN, tmp_path, lambda *_: None)
    assert isinstance(found, str) or found.complete == (len(kept) == len(keys))


@MANY
@given(damaged("run.json"))
def test_a_damaged_plan_is_refused_or_is_a_plan(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    plan = answered(read_plan, tmp_path)
    if not isinstance(plan, str):
        assert Plan.from_json(plan.to_json()) == plan
        assert len(plan.policies) * len(plan.scenarios) * plan.episodes <= 10_000_000


@MANY
@example(b'{"provenance": {"workers": 1, "wall_time_s": 1e999}}')
@example(b'{"provenance": {"workers": 1, "wall_time_s": 1' + b"0" * 400 + b"}}")
@given(damaged("summary.json"))
def test_a_damaged_summary_costs_only_what_it_said(tmp_path, content):
    (tmp_path / "summary.json").write_bytes(content)
    told = runner._sittings(tmp_path, 1, 2.0, before=1, after=2)
    assert told["workers"] == 1
    assert told["wall_time_s"] >= 2.0
    json.dumps(told, allow_nan=False)


@MANY
@given(damaged("identities.json"))
def test_damaged_identities_are_refused_or_are_others(tmp_path, content):
    (tmp_path / IDENTITY_FILE).write_bytes(content)
    answered(read_object, tmp_path / IDENTITY_FILE)
    found = answered(Identities, tmp_path, ("hold",))
    if not isinstance(found, str):
        assert "changed" in answered(found.go_on_with, RESULTS), "no damaged file may pass for the identity of now"


@pytest.fixture(scope="module")
def baseline_text(tmp_path_factory):
    path = tmp_path_factory.mktemp("baseline") / "b.json"
    record_baseline(RESULTS, path)
    return path.read_text("utf-8")


@MANY
@given(data=st.data())
def test_a_damaged_baseline_is_refused_or_compared(tmp_path, baseline_text, data):
    content = data.draw(
        st.one_of(damaged_bytes(baseline_text.encode()), changed_values(baseline_text), st.binary(max_size=40))
    )
    (tmp_path / "b.json").write_bytes(content)
    report = answered(compare_baseline, RESULTS, tmp_path / "b.json")
    if not isinstance(report, str):
        assert report.text().startswith("baseline ")
        assert report.compared + len(report.new) == len(RESULTS)


@settings(MANY, max_examples=60)
@given(data=st.data())
def test_replay_answers_any_damage_in_one_sentence(tmp_path, data, capsys):
    for name in ("run.json", "episodes.jsonl"):
        whole = data.draw(st.booleans())
        (tmp_path / name).write_bytes(TEXTS[name].encode() if whole else data.draw(damaged(name)))
    assert replay.main([str(tmp_path), "no/such/episode"]) == 2
    said = capsys.readouterr().err
    assert said.strip()
    assert "Traceback" not in said
