"""What a policy does to its process, to its files or to itself costs nobody else anything, and is not lost."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vla_sim.core.embodiments import load_embodiment
from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock
from vla_sim.evaluation import run_results, runner
from vla_sim.evaluation.reporting.finish import raised
from vla_sim.evaluation.runner import evaluate
from vla_sim.rollout.plan import Plan
from vla_sim.rollout.result import read_results

HERE = Path(__file__).parent


def plan(*policies, episodes=4, scenario="obstacle_left", **changes):
    return Plan(policies, (scenario,), episodes=episodes, seed=100, **changes)


def outcomes(result):
    return {(r.policy, r.seed): (r.outcome.value, r.state_hash) for r in result.records}


@pytest.fixture
def wild(tmp_path, monkeypatch):
    """A folder and a free port for the policies that need them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("WILD_PORT", str(free.getsockname()[1]))
    monkeypatch.setenv("WILD_FOLDER", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("wild_one", ["PatchesTheJudge", "ChangesTheDefaultType"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_policy_does_to_its_process_touches_no_other_policy(tmp_path, wild_one, workers):
    alone = outcomes(evaluate(plan("clip_mlp"), tmp_path / "alone"))
    both = evaluate(plan(f"wild_policies:{wild_one}", "clip_mlp"), tmp_path / "both", workers=workers)
    assert {key: value for key, value in outcomes(both).items() if key[0] == "clip_mlp"} == alone
    assert "error" not in {outcome for outcome, _ in outcomes(both).values()}


def test_a_policy_that_raises_once_and_cannot_be_made_twice_in_a_process_is_driven_in_a_fresh_one(wild):
    result = evaluate(plan("wild_policies:HoldsAPort", "hold"), wild / "run")
    assert result.complete
    assert not [r.error for r in result.records if r.error]
    assert all("the first image was odd" in r.earlier_error for r in result.records if r.policy != "hold")


def test_an_exception_that_a_second_try_hides_is_recorded(wild):
    result = evaluate(plan("wild_policies:RaisesOnce"), wild / "run")
    assert all("RuntimeError: the first image was odd" in r.earlier_error for r in result.records)
    assert read_results(wild / "run" / runner.EPISODES_FILE) == result.records
    (row,) = result.summary["results"]
    assert (row["error_count"], row["retried_count"]) == (0, 4)
    (said,) = raised(result.records)
    assert "4 of 4 episodes" in said
    assert "RuntimeError: the first image was odd" in said


@pytest.mark.parametrize(
    ("policy", "reason"), [("CannotStart", "no such weights"), ("HangsAtTheStart", "not ready for 3 s")]
)
def test_a_policy_that_cannot_start_costs_its_own_episodes_and_is_tried_once(tmp_path, policy, reason):
    begun = time.monotonic()
    result = evaluate(
        plan(f"wild_policies:{policy}", "hold", episodes=30), tmp_path, hang_timeout_s=2, start_timeout_s=3
    )
    assert time.monotonic() - begun < 60
    assert result.complete
    errors = [r for r in result.records if r.error]
    assert {r.policy for r in errors} == {f"wild_policies:{policy}"}
    assert len(errors) == 30
    assert all(reason in r.error for r in errors)


def test_if_no_policy_can_start_it_is_said_and_nothing_stays(tmp_path):
    with pytest.raises(UserError, match="no such weights"):
        evaluate(plan("wild_policies:CannotStart"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_child_of_a_policy_that_forks_counts_for_nothing(tmp_path):
    result = evaluate(plan("wild_policies:Forks"), tmp_path)
    assert result.complete
    assert not [r.error or r.earlier_error for r in result.records if r.error or r.earlier_error]


def test_a_full_disk_ends_the_run_at_once_and_says_so(tmp_path, monkeypatch):
    def full(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_results.EpisodeResult, "to_json", full)
    begun = time.monotonic()
    with pytest.raises(UserError, match="no space left"):
        evaluate(plan("hold", episodes=30), tmp_path / "run")
    assert time.monotonic() - begun < 30


def test_a_run_that_another_version_began_is_refused_and_one_that_names_none_is_not(tmp_path):
    evaluate(plan("hold", episodes=1), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    written = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in written.items() if name != "vla_sim"}))
    assert evaluate(plan("hold", episodes=1), tmp_path / "run").complete
    file.write_text(json.dumps({**written, "vla_sim": "0.0.9"}))
    with pytest.raises(UserError, match=r"begun with vla_sim 0[.]0[.]9"):
        evaluate(plan("hold", episodes=1), tmp_path / "run")


def test_a_second_run_in_a_folder_is_told(tmp_path):
    with FolderLock(tmp_path), pytest.raises(UserError, match=f"process {os.getpid()} is writing there"):
        evaluate(plan("hold"), tmp_path)


def test_sigterm_ends_as_ctrl_c_with_the_line_that_goes_on(tmp_path):
    out = tmp_path / "my run's"
    line = [sys.executable, "-m", "vla_sim.eval", "--policy", "wild_policies:Straight", "--scenario", "reach_goal"]
    process = subprocess.Popen(
        [*line, "--episodes", "1000", "--first-seed", "0", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    deadline = time.monotonic() + 90
    episodes = out / runner.EPISODES_FILE
    while not (episodes.exists() and episodes.stat().st_size > 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"""--resume '{tmp_path}/my run'"'"'s'""" in printed
    assert 0 < len(read_results(episodes)) < 1000
    assert json.loads((out / runner.SUMMARY_FILE).read_text("utf-8"))["provenance"]["complete"] is False


# --- identity -----------------------------------------------------------------------------------------------------

MODULE = """
import json
from pathlib import Path

import numpy as np

from vla_sim.policies.base import Policy, PolicySpec
{imports}

HERE = Path(__file__).parent


class Mine(Policy):
    spec = PolicySpec(action_names=("vx", "vy"))

    def __init__(self):
        {load}

    def reset(self, envs, seeds):
        self.count = len(envs)

    def act(self, observation, infos=None):
        {lazily}
        return np.tile(np.float32([self.speed, 0.0]), (self.count, 1))
"""

READERS = {
    "numpy": ("self.speed = float(np.load(HERE / 'weights.npy')[0])", "pass"),
    "json": ("self.speed = json.loads((HERE / 'weights.json').read_text())[0]", "pass"),
    "torch": ("import torch; self.speed = torch.load(HERE / 'weights.pt', weights_only=True)[0].item()", "pass"),
    "safetensors": (
        "from safetensors.numpy import load_file; self.speed = float(load_file(HERE / 'weights.safetensors')['w'][0])",
        "pass",
    ),
    "lazily": ("pass", "self.speed = float(np.load(HERE / 'weights.npy')[0])"),
    "named": ("self.speed = 0.5; self.identity_files = lambda: [HERE / 'weights.npy']", "pass"),
    "module": ("self.speed = helper.SPEED", "pass"),
    "module of a module": ("self.speed = helper.SPEED", "pass"),
    "module at run time": ("import importlib; self.speed = importlib.import_module('run_time').SPEED", "pass"),
}


def write_weights(folder, speed):
    """What the readers read."""
    import torch
    from safetensors.numpy import save_file

    values = np.float32([speed])
    np.save(folder / "weights.npy", values)
    (folder / "weights.json").write_text(json.dumps([speed]))
    torch.save(torch.tensor(values), folder / "weights.pt")
    save_file({"w": values}, folder / "weights.safetensors")
    (folder / "run_time.py").write_text(f"SPEED = {speed}\n")
    (folder / "inner.py").write_text(f"SPEED = {speed}\n")


@pytest.fixture
def mine(tmp_path, monkeypatch, request):
    """Name of a policy of the user's that reads its speed in the way that the test asks for."""
    load, lazily = READERS[request.param]
    name = f"mine_{request.param.replace(' ', '_')}"
    imports = "import helper" if request.param.startswith("module") and "run time" not in request.param else ""
    (tmp_path / f"{name}.py").write_text(MODULE.format(imports=imports, load=load, lazily=lazily))
    helper = "from inner import SPEED\n" if request.param == "module of a module" else "SPEED = 0.5\n"
    (tmp_path / "helper.py").write_text(helper)
    write_weights(tmp_path, 0.5)
    monkeypatch.syspath_prepend(tmp_path)
    return f"{name}:Mine"


@pytest.mark.parametrize("mine", READERS, indirect=True)
def test_going_on_after_what_a_policy_reads_has_changed_is_refused(mine, tmp_path):
    first = evaluate(plan(mine), tmp_path / "run")
    assert {r.outcome.value for r in first.records} != {"error"}
    assert evaluate(plan(mine), tmp_path / "run").records == first.records
    write_weights(tmp_path, 0.0)
    if mine.startswith("mine_module:"):
        (tmp_path / "helper.py").write_text("SPEED = 0.0\n")
    with pytest.raises(UserError, match="changed since these results were made"):
        evaluate(plan(mine), tmp_path / "run")
    fresh = evaluate(plan(mine), tmp_path / "fresh")
    assert {r.policy_hash for r in fresh.records}.isdisjoint({r.policy_hash for r in first.records})


def test_a_changed_robot_file_is_noticed(tmp_path):
    text = (Path(run_results.__file__).parents[2] / "envs" / "serbot.toml").read_text("utf-8")
    robot = tmp_path / "mine.toml"
    robot.write_text(text, "utf-8")
    evaluate(plan("hold", embodiment=str(robot)), tmp_path / "run")
    getattr(load_embodiment, "cache_clear", lambda: None)()
    robot.write_text(text.replace("max_mps = 0.5", "max_mps = 0.4"), "utf-8")
    assert robot.read_text("utf-8") != text
    with pytest.raises(UserError, match=r"robot .* has changed"):
        evaluate(plan("hold", embodiment=str(robot)), tmp_path / "run")
