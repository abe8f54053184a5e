"""Supervised processes: what goes wrong in one task costs that task alone, and is told."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pool_work
import pytest

from vla_sim.core.errors import UserError
from vla_sim.core.pool import Failed, Finished, Pool, Result, Task, run_units


def run(payloads, *, workers=2, groups=None, **limits):
    """All events of these payloads, each `(what, number)`."""
    tasks = [Task(p, None if groups is None else groups[i]) for i, p in enumerate(payloads)]
    with Pool(pool_work.factory, workers=workers, **limits) as pool:
        for task in tasks:
            pool.submit(task)
        return list(pool.events())


def failures(events):
    return {e.task.payload: e for e in events if isinstance(e, Failed)}


@pytest.mark.parametrize("workers", [1, 3])
def test_every_task_gives_its_results_and_finishes_once(workers):
    payloads = [("plain", i) for i in range(10)]
    events = run(payloads, workers=workers)
    assert sorted(e.value[1] for e in events if isinstance(e, Result)) == list(range(10))
    assert sorted(e.task.payload[1] for e in events if isinstance(e, Finished)) == list(range(10))
    assert len({e.value[2] for e in events if isinstance(e, Result)}) <= workers


@pytest.mark.parametrize(
    ("what", "how", "reason"),
    [
        ("raise", "raised", "my network exploded"),
        ("connection", "raised", "the model server has gone"),
        ("refuse", "refused", "no such thing"),
        ("die", "died", "(killed)"),
        ("exit", "died", "exit code 3"),
        ("hang", "hung", "no step for 1 s"),
    ],
)
def test_what_goes_wrong_costs_one_task(what, how, reason):
    events = run([("plain", 0), (what, 1), ("plain", 2), ("plain", 3)], workers=1, hang_timeout_s=1, start_timeout_s=60)
    (failed,) = failures(events).values()
    assert failed.task.payload == (what, 1)
    assert (failed.how, failed.starting) == (how, False)
    assert reason in failed.reason
    assert [e.task.payload[1] for e in events if isinstance(e, Finished)] == [0, 2, 3]


def test_work_that_says_that_it_goes_on_is_not_taken_for_hanging():
    assert not failures(run([("slow", 0)], hang_timeout_s=1, start_timeout_s=60))


@pytest.mark.parametrize(
    ("group", "how", "reason"),
    [("raises", "raised", "no such weights"), ("refuses", "refused", "does not fit"), ("hangs", "hung", "not ready")],
)
def test_work_that_cannot_be_made_is_told_apart_and_others_go_on(group, how, reason):
    begun = time.monotonic()
    events = run([("a", 0), ("b", 1)], workers=1, groups=[group, "fine"], start_timeout_s=3)
    (failed,) = failures(events).values()
    assert (failed.task.payload, failed.how, failed.starting) == (("a", 0), how, True)
    assert reason in failed.reason
    assert [e.task.payload for e in events if isinstance(e, Finished)] == [("b", 1)]
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize("workers", [1, 2])
def test_each_group_has_processes_of_its_own(workers):
    payloads = [("mark", 0), ("plain", 1), ("plain", 2), ("plain", 3)]
    events = run(payloads, workers=workers, groups=["a", "a", "b", "b"])
    seen = {e.value[1]: e.value for e in events if isinstance(e, Result)}
    assert {seen[0][2], seen[1][2]} & {seen[2][2], seen[3][2]} == set()
    assert seen[2][3] == seen[3][3] == ""


def test_work_that_cannot_be_made_twice_in_a_process_gets_a_fresh_one():
    events = run([("raise", 0), ("plain", 1)], workers=1, groups=["once", "once"])
    assert list(failures(events)) == [("raise", 0)]
    assert [e.task.payload[1] for e in events if isinstance(e, Finished)] == [1]


def test_a_group_of_which_one_process_fits_is_done_by_that_one(tmp_path):
    group = f"alone {tmp_path / 'port'}"
    events = run([("nap", i) for i in range(5)], workers=3, groups=[group] * 5)
    assert not failures(events)
    assert len({e.value[2] for e in events if isinstance(e, Result)}) == 1


def test_a_forked_child_that_comes_back_is_not_listened_to():
    events = run([("fork", 0), ("plain", 1)], workers=1)
    assert not failures(events)
    assert [e.task.payload[1] for e in events if isinstance(e, Finished)] == [0, 1]
    assert len([e for e in events if isinstance(e, Result)]) == 2


def test_tasks_can_be_submitted_and_dropped_while_events_come():
    with Pool(pool_work.factory, workers=1) as pool:
        for i in range(3):
            pool.submit(Task(("plain", i), "first"))
        pool.submit(Task(("plain", 9), "other"))
        order = []
        for event in pool.events():
            if isinstance(event, Finished):
                order.append(event.task.payload[1])
                if order == [0]:
                    pool.submit(Task(("plain", 5), "first"), first=True)
                    assert [task.payload[1] for task in pool.drop("other")] == [9]
    assert order == [0, 5, 1, 2]


def test_no_process_outlives_the_one_that_started_it(tmp_path):
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import os, pool_work
from vla_sim.core.pool import Pool, Result, Task
if __name__ == "__main__":
    with Pool(pool_work.factory, workers=1) as pool:
        pool.submit(Task(("hang", 0)))
        for event in pool.events():
            print(event.value[2], flush=True)
            os.kill(os.getpid(), 9)
"""
    (tmp_path / "killed.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "killed.py"], capture_output=True, text=True, timeout=60)
    worker = int(done.stdout)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_units_give_the_same_results_for_any_number_of_workers(workers):
    units = list(range(8))
    expected = [pair for unit in units for pair in pool_work.squares()(unit)]
    assert sorted(run_units(units, pool_work.squares, workers=workers)) == expected
    assert list(run_units(units, pool_work.squares, workers=workers, ordered=True)) == expected


@pytest.mark.parametrize(
    ("factory", "kind", "message"),
    [
        (pool_work.picky, UserError, "3 cannot be used"),
        (pool_work.broken, RuntimeError, "ZeroDivisionError"),
        (pool_work.deadly, UserError, "exit code 7"),
    ],
)
def test_any_failure_ends_the_run_of_units(factory, kind, message):
    with pytest.raises(kind, match=message):
        list(run_units(range(8), factory, workers=2))


def test_a_pool_that_is_left_early_leaves_no_process():
    for result in run_units(range(8), pool_work.squares, workers=2):
        assert result
        break
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    names = [Path(f"/proc/{pid}/cmdline").read_text() for pid in children.read_text().split()]
    assert not [name for name in names if "spawn_main" in name and "resource_tracker" not in name]


@pytest.mark.parametrize(
    "limits", [{"workers": 0}, {"hang_timeout_s": float("nan")}, {"hang_timeout_s": 0}, {"start_timeout_s": -1}]
)
def test_limits_that_would_switch_the_watchdog_off_are_refused(limits):
    with pytest.raises(UserError, match="must be"):
        Pool(pool_work.factory, **{"workers": 1, **limits})
