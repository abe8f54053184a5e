"""A folder belongs to one plan and one process."""

import contextlib
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock
from vla_sim.core.run_folder import bind, differing, parse_json, read_object, run_folder

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)
PLANS = st.dictionaries(st.text(max_size=3), PLAIN, max_size=4)


def test_a_folder_belongs_to_one_plan(tmp_path):
    bind(tmp_path, {"steps": 3, "rounds": 2}, free=["rounds"])
    bind(tmp_path, {"steps": 3, "rounds": 5}, free=["rounds"])
    assert read_object(tmp_path / "plan.json")["rounds"] == 5
    with pytest.raises(UserError, match="belongs to another plan: steps was 3, now 4"):
        bind(tmp_path, {"steps": 4, "rounds": 5}, free=["rounds"])


def test_a_folder_is_held_by_one_run_at_a_time(tmp_path):
    with run_folder(tmp_path, {"steps": 3}), pytest.raises(UserError, match=f"process {os.getpid()} is writing there"):
        FolderLock(tmp_path)
    with run_folder(tmp_path, {"steps": 3}):
        pass


def test_somebody_elses_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\)"), run_folder(tmp_path, {}):
        pass


@given(PLANS)
def test_a_plan_is_never_told_apart_from_itself(plan):
    assert differing(plan, plan) == ""
    assert differing(json.loads(json.dumps(plan)), plan) == ""


@given(PLANS, st.text(min_size=1, max_size=3), st.integers())
def test_a_changed_value_is_named(plan, key, value):
    changed = {**plan, key: value}
    if plan.get(key) != value:
        assert f"now {value}" in differing({**plan, key: None}, changed)


@pytest.mark.parametrize("content", ["", "[]", "3", "{", "[" * 100_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}"])
def test_a_damaged_file_is_one_sentence(tmp_path, content):
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"plan\.json: is damaged") as caught:
        bind(tmp_path, {"steps": 3})
    assert "\n" not in str(caught.value)


@given(st.text())
def test_any_text_is_json_or_refused(text):
    with contextlib.suppress(ValueError):
        parse_json(text)
