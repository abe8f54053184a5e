"""The benchmark command: its table, its files, the agreement of the two orders, and what happens to bad input."""

import csv
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from vla_sim import benchmark as command
from vla_sim.core.content import content_folder
from vla_sim.core.errors import UserError
from vla_sim.evaluation import open_loop as offline
from vla_sim.evaluation.benchmark.entries import benchmark_entry, chosen_policies
from vla_sim.evaluation.benchmark.files import MAIN, OFFLINE, agreement_line, csv_text, markdown, table, write_benchmark
from vla_sim.evaluation.benchmark.scores import Errors, OfflineScore
from vla_sim.evaluation.benchmark.table import Row, agreements, misbehaving, plain_row, ranked
from vla_sim.evaluation.floors import FLOORS
from vla_sim.evaluation.runner import read_plan
from vla_sim.evaluation.statistics import spearman, wilson
from vla_sim.policies.registry import load_policy, policy_names
from vla_sim.rollout.result import read_results


def run(arguments):
    return command.main([str(a) for a in arguments])


def arguments(out, policies="hold expert bad_policies:Straight bad_policies:Raises", episodes=3):
    return [*f"--policy {policies} --scenario reach_goal --workers 1 --episodes {episodes} --out".split(), out]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("finished") / "benchmark"
    assert run(arguments(out)) == 0
    return out


@pytest.fixture(scope="module")
def document(finished):
    return json.loads((finished / "benchmark.json").read_text("utf-8"))


def row_of(document, model):
    (row,) = [row for row in document["rows"] if row["model"] == model]
    return row


# --- the files ----------------------------------------------------------------------------------------------------

NUMBER, TEXT = (int, float), str
SCHEMA = {
    "model": (TEXT, False),
    "kind": (TEXT, False),
    "privileged": (bool, False),
    "rank": (int, True),
    "mae_rank": (int, True),
    "mae_mps": (NUMBER, True),
    "mae_vx_mps": (NUMBER, True),
    "mae_vy_mps": (NUMBER, True),
    "mae_mps_without_first": (NUMBER, True),
    "heading_accuracy": (NUMBER, True),
    "direction_accuracy": (NUMBER, True),
    "episodes": (int, True),
    "success_rate": (NUMBER, True),
    "success_rate_low": (NUMBER, True),
    "success_rate_high": (NUMBER, True),
    "success_reach": (NUMBER, True),
    "spl": (NUMBER, True),
    "collision_rate": (NUMBER, True),
    "wrong_side_rate": (NUMBER, True),
    "inference_p50_ms": (NUMBER, True),
    "inference_p95_ms": (NUMBER, True),
    "parameters": (int, True),
    "size_bytes": (int, True),
}


def test_the_json_is_what_it_promises(document):
    assert document["format"] == 1
    assert {"versions", "git_commit", "policy_hashes", "scenario_hashes", "plan"} <= set(document["provenance"])
    assert len({tuple(row) for row in document["rows"]}) == 1, "all rows have the same keys"
    for row in document["rows"]:
        for key, (kind, may_lack) in SCHEMA.items():
            assert (may_lack and row[key] is None) or isinstance(row[key], kind), (row["model"], key, row[key])
        for key in row:
            if key.endswith(("_rate", "_accuracy", "_low", "_high")) and "mps" not in key and row[key] is not None:
                assert 0 <= row[key] <= 1, key
        if row["success_rate"] is not None:
            assert row["success_rate_low"] <= row["success_rate"] <= row["success_rate_high"]
    assert set(document["agreement"]) == {"all", "learned"}
    assert document["offline"]["drives"] == document["offline"]["expert_successes"] == 3


def test_the_csv_holds_the_rows_of_the_json(finished, document):
    with (finished / "benchmark.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == [row["model"] for row in document["rows"]]
    for found, wanted in zip(rows, document["rows"], strict=True):
        assert found == {key: "" if value is None else str(value) for key, value in wanted.items()}


def test_the_picture_is_a_picture(finished):
    data = (finished / "benchmark.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


def test_the_markdown_is_a_table_in_the_order_of_success_with_the_rank_by_error_beside_it(finished, document):
    text = (finished / "benchmark.md").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")][: len(document["rows"]) + 2]
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert head[:4] == ["rank", "rank by MAE", "model", "MAE (m/s)"]
    assert head[-1] == "features"
    models = [line.strip("|").split("|")[2].strip().split(" ")[0] for line in lines[2:]]
    assert models == [row["model"] for row in document["rows"]]
    assert "expert (privileged)" in text
    assert "benchmark.png" in text


def test_rows_are_sorted_by_success_and_baselines_come_last(document):
    rates = [row["success_rate"] for row in document["rows"]]
    driven = [rate for rate in rates if rate is not None]
    assert driven == sorted(driven, reverse=True)
    assert rates[len(driven) :] == [None, None]
    assert {row["model"] for row in document["rows"][len(driven) :]} == {"constant", "copy_last"}


def test_standing_still_never_succeeds(document):
    hold = row_of(document, "hold")
    assert hold["success_rate"] == 0
    assert hold["success_rate_high"] == pytest.approx(wilson(0, 3).high)


def test_the_expert_has_no_error_and_no_rank(document):
    expert = row_of(document, "expert")
    assert expert["mae_mps"] == expert["mae_mps_without_first"] == 0
    assert expert["direction_accuracy"] == expert["heading_accuracy"] == 1
    assert expert["privileged"]
    assert expert["rank"] is expert["mae_rank"] is None


def test_the_closed_loop_figures_are_those_of_the_evaluation(finished, document):
    (found,) = [
        row
        for row in json.loads((finished / "closed_loop/summary.json").read_text("utf-8"))["results"]
        if row["policy"] == "bad_policies:Straight"
    ]
    row = row_of(document, "bad_policies:Straight")
    for key in ("successes", "success_rate", "spl", "collision_rate", "wrong_side_rate"):
        assert row[key] == found[key]
    assert [row["success_rate_low"], row["success_rate_high"]] == found["success_ci95"]
    assert (finished / "closed_loop/report.html").exists()


def test_a_policy_that_breaks_down_while_driving_is_not_asked_and_says_so(finished, document):
    records = read_results(finished / "closed_loop/episodes.jsonl")
    assert misbehaving(records) == ["bad_policies:Raises"]
    row = row_of(document, "bad_policies:Raises")
    assert row["mae_mps"] is None
    assert "broke down" in row["offline_failure"]
    assert row["error_count"] == 1
    assert "bad_policies:Raises has no offline figures" in (finished / "benchmark.md").read_text("utf-8")


# --- running again ------------------------------------------------------------------------------------------------


def test_running_again_on_the_folder_drives_nothing_and_gives_the_same_rows(finished, document, tmp_path, monkeypatch):
    def nothing(plan, policies, units, workers):
        assert not units
        return iter(())

    monkeypatch.setattr(offline, "_driven", nothing)
    before = (finished / "closed_loop/episodes.jsonl").read_bytes()
    for given in (arguments(finished), ["--resume", finished]):
        assert run(given) == 0
        assert json.loads((finished / "benchmark.json").read_text("utf-8"))["rows"][0] == document["rows"][0]
    sane = [line for line in before.splitlines() if b'"error": null' in line]
    after = (finished / "closed_loop/episodes.jsonl").read_bytes().splitlines()
    assert [line for line in after if b'"error": null' in line] == sane


def test_other_options_for_the_same_folder_are_refused(finished, capsys):
    assert run(arguments(finished, episodes=4)) == 2
    assert "belongs to another plan: episodes was 3, now 4" in capsys.readouterr().err
    assert read_plan(finished / "closed_loop").episodes == 3


def test_interrupting_keeps_what_ran_and_running_again_finishes(tmp_path, capsys, monkeypatch):
    whole = offline._driven

    def interrupted(*given):
        yield next(iter(whole(*given)))
        raise KeyboardInterrupt

    monkeypatch.setattr(offline, "_driven", interrupted)
    assert run(arguments(tmp_path, policies="hold")) == 130
    assert f"--resume {tmp_path}" in capsys.readouterr().out
    assert len((tmp_path / "offline.jsonl").read_text("utf-8").splitlines()) == 1
    assert not (tmp_path / "benchmark.json").exists()
    monkeypatch.setattr(offline, "_driven", whole)
    assert run(["--resume", tmp_path, "--workers", 1]) == 0
    assert len((tmp_path / "offline.jsonl").read_text("utf-8").splitlines()) == 3
    assert (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--policy ensembel", "ensemble"),
        ("--policy hold --scenario obstacle_lfet", "obstacle_left"),
        ("--policy hold --suite cor", "core"),
        ("--policy hold --embodiment serbott", "serbot"),
        ("--policy hold --episodes 0", "--episodes"),
        ("--policy hold --workers 0", "--workers"),
        ("--policy hold --first-seed 5", "100000"),
        ("--policy clip_small", "part of other policies"),
    ],
)
def test_bad_input_is_answered_in_one_sentence_with_exit_code_2(given, expected, tmp_path, capsys):
    assert run([*given.split(), "--out", tmp_path / "new"]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "new").exists()


def test_help_answers_without_loading_anything_heavy():
    heavy = ("torch", "pybullet", "panda3d", "transformers", "open_clip", "matplotlib", "scipy")
    code = f"""
import sys
import vla_sim.benchmark as c
try:
    c.main(["--help"])
except SystemExit as e:
    assert e.code == 0
print([m for m in {heavy!r} if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


# --- the two orders -----------------------------------------------------------------------------------------------


def made_row(name, success, mae, *, kind="learned", privileged=False, spl=0.5):
    errors = Errors(10, mae, None, mae, {"vx": mae, "vy": mae}, 0.5, 0.5)
    low_high = wilson(round(100 * success), 100) if success is not None else None
    closed = None
    if success is not None:
        closed = {"n": 100, "successes": round(100 * success)}
        closed |= {"success_rate": success, "success_reach": success, "spl": spl}
        closed |= {"collision_rate": 0.0, "wrong_side_rate": 0.0, "timeout_rate": 0.0, "error_count": 0}
        closed |= {"inference_ms_p50": 1.0, "inference_ms_p95": 2.0, "success_ci95": [low_high.low, low_high.high]}
    return Row(name, kind, name, privileged, OfflineScore(errors, errors), "", closed, None)


def ranked_rows(successes, maes, **changes):
    return ranked([made_row(f"p{i}", s, m, **changes) for i, (s, m) in enumerate(zip(successes, maes, strict=True))])


@pytest.mark.parametrize(
    ("successes", "maes", "expected"),
    [
        ((0.9, 0.5, 0.3, 0.1), (0.1, 0.2, 0.3, 0.4), 1.0),
        ((0.9, 0.5, 0.3, 0.1), (0.4, 0.3, 0.2, 0.1), -1.0),
        ((0.9, 0.5, 0.3), (0.2, 0.1, 0.3), 0.5),
        # Ties share their mean rank: 1.5, 1.5, 3, 4 against 1, 2, 3, 4 gives 4.5 / sqrt(4.5 * 5).
        ((0.9, 0.9, 0.5, 0.1), (0.1, 0.2, 0.3, 0.4), 4.5 / np.sqrt(22.5)),
        # 1.5, 1.5, 3, 4 against 1, 2.5, 2.5, 4: deviations (-1, -1, .5, 1.5) and (-1.5, 0, 0, 1.5).
        ((0.9, 0.9, 0.5, 0.1), (0.1, 0.2, 0.2, 0.4), 3.75 / 4.5),
    ],
)
def test_rank_correlation_of_known_orders(successes, maes, expected):
    assert agreements(ranked_rows(successes, maes))["all"].spearman == pytest.approx(expected)


def test_rank_correlation_agrees_with_scipy_on_ties():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    for _ in range(20):
        x, y = rng.integers(5, size=12), rng.integers(5, size=12)
        assert spearman(x, y, rng, resamples=1).value == pytest.approx(spearmanr(x, y).statistic)


def test_the_interval_is_seeded_and_holds_the_value():
    rows = ranked_rows(np.linspace(0.9, 0.1, 8), (0.1, 0.3, 0.2, 0.4, 0.5, 0.7, 0.6, 0.8))
    one, two = agreements(rows)["all"], agreements(rows)["all"]
    assert one == two
    assert one.interval[0] <= one.spearman <= one.interval[1]
    assert not one.too_few
    assert "rough" in one.words


@pytest.mark.parametrize(
    ("n", "words"), [(4, "n = 4 policies: the interval says nothing"), (1, "n = 1 policy: there is no order")]
)
def test_few_policies_are_said_to_say_nothing(n, words):
    found = agreements(ranked_rows(np.linspace(0.9, 0.1, n), np.linspace(0.1, 0.9, n)))["all"]
    assert found.too_few
    assert words in found.words
    assert words in agreement_line("all", {**vars(found)})


def test_equal_scores_have_no_order():
    found = agreements(ranked_rows((0.5, 0.5, 0.5), (0.1, 0.2, 0.3)))["all"]
    assert found.spearman is None
    assert "not defined" in found.words


def test_policies_that_read_the_truth_and_baselines_take_no_part():
    rows = ranked(
        [
            made_row("a", 0.9, 0.1),
            made_row("b", 0.5, 0.2, kind="scripted"),
            made_row("expert", 1.0, 0.0, privileged=True),
            made_row("constant", None, 0.05, kind="baseline"),
        ]
    )
    assert [row.model for row in rows] == ["expert", "a", "b", "constant"]
    assert [row.rank for row in rows] == [None, 1, 2, None]
    assert [row.mae_rank for row in rows] == [None, 1, 2, None]
    found = agreements(rows)
    assert found["all"].policies == ("a", "b")
    assert found["learned"].policies == ("a",)


def test_equal_success_shares_the_rank_and_stands_in_the_order_of_spl():
    rows = ranked([made_row("a", 0.5, 0.1, spl=0.3), made_row("b", 0.5, 0.2, spl=0.4), made_row("c", 0.1, 0.3)])
    assert [(row.model, row.rank) for row in rows] == [("b", 1), ("a", 1), ("c", 3)]


HOSTILE = (
    "a|b",
    "<img src=x onerror=alert(1)>",
    "![x](http://a) [y](b) `c`",
    "$\\frac{",
    "정책",
    "a\x1b[31m\nb",
    "n" * 300,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_files_of_awkward_rows_can_be_written(tmp_path, name):
    """Policies on the same spot, none with an interval, no learned policy, names that could break a table or a plot."""
    rows = ranked([made_row(name, 1.0, 0.1, kind="scripted"), made_row("c", 1.0, 0.1, kind="custom")])
    plan = {"scenarios": ["x"], "episodes": 1, "seed": 100_000, "instruction_set": "eval", "embodiment": "serbot"}
    document = {
        "format": 1,
        "provenance": {"plan": plan},
        "definitions": {},
        "offline": {"drives": 1, "steps": 10, "expert_successes": 1},
        "rows": [plain_row(row) for row in rows],
        "agreement": {
            name: {**vars(found), "policies": list(found.policies)} for name, found in agreements(rows).items()
        },
        "sizes": {"folders": {}, "shared": {}, "parameters": 0, "size_bytes": 0},
        "left_out": {"vla": "needs a package that is not there"},
    }
    written = write_benchmark(document, tmp_path)
    assert [path.suffix for path in written] == [".json", ".csv", ".md", ".png"]
    page = markdown(document)
    assert "<" not in page
    assert not re.search(r"(?<!\\)[\[`][xyc]", page)
    assert all(c.isprintable() or c == "\n" for c in page)
    assert "vla is left out: needs a package" in markdown(document)
    assert len(list(csv.reader(io.StringIO(csv_text(document["rows"]))))) == 3
    assert len({len(line) for line in table(document["rows"], MAIN + OFFLINE)}) == 1


# --- who takes part -----------------------------------------------------------------------------------------------


def test_all_means_every_policy_folder_that_can_drive_the_robot():
    chosen, left_out = chosen_policies(["all", "bad_policies:Straight"], "serbot")
    assert sorted([*chosen[:-1], *left_out, *FLOORS]) == policy_names()
    assert chosen[-1] == "bad_policies:Straight"
    assert {"ensemble", "expert"} <= set(chosen)
    assert "clip_small" not in chosen


def test_all_leaves_out_what_cannot_drive_the_robot_and_says_why():
    chosen, left_out = chosen_policies(["all"], "diffbot")
    assert chosen == ["expert"]
    assert "vy" in left_out["ensemble"]


def test_unknown_policies_give_the_nearest_name():
    with pytest.raises(UserError, match="clip_lstm"):
        chosen_policies(["clip_lstn"], "serbot")


def test_a_shared_backbone_is_counted_once():
    lstm, mlp, both = benchmark_entry("clip_lstm"), benchmark_entry("clip_mlp"), benchmark_entry("ensemble")
    backbone = lstm.parts["clip_small"]
    assert both.parameters == lstm.parameters + mlp.parameters - backbone[0]
    folder = content_folder("policies")
    files = [folder / "clip_lstm/config.json", folder / "clip_lstm/model.safetensors"]
    assert lstm.parts["clip_lstm"][1] == sum(path.stat().st_size for path in files)


def test_parameters_are_those_of_the_network():
    own = load_policy("clip_mlp").model.behind_backbone()
    assert benchmark_entry("clip_mlp").parts["clip_mlp"][0] == sum(p.numel() for p in own.parameters())


def test_a_policy_without_weights_has_no_parameters_and_that_of_a_module_an_unknown_number():
    assert (benchmark_entry("hold").kind, benchmark_entry("hold").parameters) == ("floor", 0)
    assert benchmark_entry("expert").kind == "scripted"
    assert (benchmark_entry("bad_policies:Straight").kind, benchmark_entry("bad_policies:Straight").parameters) == (
        "custom",
        None,
    )
