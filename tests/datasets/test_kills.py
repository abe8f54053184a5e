"""Killed at random moments: nothing complete is lost, nothing half-written looks complete, the end is the same.

Half of the kills come after a random time, the others before a random change to the disk (a file opened, renamed,
linked, removed), because time alone seldom hits the moments that matter.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import contents
from serbot_like import varied_actions, write_drive

from vla_sim.datasets.lerobot import LeRobotReader
from vla_sim.datasets.serbot.folder import SerbotFolder
from vla_sim.datasets.store import content_hash, read_manifest

PROBE = Path(__file__).with_name("kill_probe.py")
SMALL = ("--image-px", "16", "16")
DRIVES = ("--scenario", "obstacle_left", "obstacle_right", *SMALL)
# Of each of the three commands; the last run of each is left alone.
KILLS = 20
killed = {}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(command, out, options, kill=""):
    """Exit code of the command; `kill` is "5e" (before the fifth change to the disk) or "0.7s"."""
    arguments = [sys.executable, PROBE, kill, out.parent, f"vla_sim.{command}", "--out", out, *options]
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def moments(rng, seconds, events):
    """Random moments to kill at, later and later ones included."""
    while True:
        yield f"{rng.uniform(0, seconds):.3f}s"
        yield f"{rng.integers(1, events)}e"


def kill_until_done(command, out, options, check, *, seconds, events, complete):
    """Kill again and again; when a run gets to its end, begin anew. `check` sees the disk after every kill."""
    rng = np.random.default_rng(len(command) + len(options))
    count = ended = 0
    for moment in moments(rng, seconds, events):
        if run(command, out, options, moment) == 0:
            ended += 1
            check(True)
            out.rename(out.parent / f"ended{ended}")
            complete.forget()
        else:
            count += 1
            check(False)
        if count == KILLS:
            break
    assert run(command, out, options) == 0
    check(True)
    name = f"{command} {'lerobot' if 'lerobot' in options else 'hdf5'}"
    killed[name] = count
    print(f"\n{name}: killed {count} times, {ended} runs ended before; {sum(killed.values())} kills so far")


class Complete:
    """What was complete in a store after the last kill must be there, unchanged, after the next."""

    def __init__(self, folder):
        self.folder, self.seen = folder, {}

    def forget(self):
        self.seen = {}

    def __call__(self):
        entries = read_manifest(self.folder).entries if (self.folder / "manifest.jsonl").exists() else {}
        found = {entry.file: entry.sha256 for entry in entries.values()}
        assert self.seen.items() <= found.items()
        for file, sha256 in found.items():
            assert content_hash(self.folder / file) == sha256
        self.seen = found
        if list(self.folder.glob("*.h5")):
            # Whatever bears a recording's name can be read to its end, counted or not.
            for recording in SerbotFolder(self.folder):
                recording.load()


def test_a_collection_that_is_killed_loses_nothing_and_ends_the_same(tmp_path):
    options = (*DRIVES, "--episodes", "24", "--workers", "1")
    assert run("collect", tmp_path / "undisturbed", options) == 0
    out = tmp_path / "set"
    complete = Complete(out)

    def check(ended):
        complete()
        assert not ended or contents(out) == contents(tmp_path / "undisturbed")

    kill_until_done("collect", out, options, check, seconds=2.5, events=75, complete=complete)


def test_a_collection_on_two_workers_that_is_killed_ends_the_same(tmp_path):
    options = (*DRIVES, "--episodes", "24", "--workers", "2")
    assert run("collect", tmp_path / "undisturbed", (*options[:-1], "1")) == 0
    out = tmp_path / "set"
    complete = Complete(out)
    count = 0
    for moment in ("1.0s", "4e", "1.5s", "2.0s", "2.5s", "3.0s"):
        count += run("collect", out, options, moment) == -9
        complete()
    assert run("collect", out, options) == 0
    assert contents(out) == contents(tmp_path / "undisturbed")
    killed["collect hdf5, two workers"] = count
    print(f"\ncollect hdf5, two workers: killed {count} times; {sum(killed.values())} kills so far")


def test_a_lerobot_collection_that_is_killed_is_whole_or_absent_and_ends_the_same(tmp_path):
    options = (*DRIVES, "--episodes", "10", "--workers", "1", "--format", "lerobot", "--images")
    assert run("collect", tmp_path / "undisturbed", options) == 0
    expected = contents(tmp_path / "undisturbed")
    out = tmp_path / "set"
    complete = Complete(tmp_path / ".set.episodes")

    def check(ended):
        if out.exists():
            assert contents(out) == expected
            assert len(LeRobotReader(out)) == 10
        elif (tmp_path / ".set.episodes").exists():
            complete()
        assert not ended or (out.exists() and not list(tmp_path.glob(".set.episodes")))

    kill_until_done("collect", out, options, check, seconds=2.5, events=220, complete=complete)
    assert contents(out) == expected


def test_an_expansion_that_is_killed_loses_nothing_and_ends_the_same(tmp_path):
    for number in range(6):
        write_drive(tmp_path / "real", number, actions=varied_actions(number))
    before = contents(tmp_path / "real")
    options = ("--data", tmp_path / "real", "--target-episodes", "18", "--workers", "1", *SMALL)
    assert run("expand", tmp_path / "undisturbed", options) == 0
    out = tmp_path / "set"
    complete = Complete(out)

    def check(ended):
        complete()
        assert contents(tmp_path / "real") == before
        assert not ended or contents(out) == contents(tmp_path / "undisturbed")

    kill_until_done("expand", out, options, check, seconds=2, events=60, complete=complete)


def test_there_were_at_least_fifty_kills(capsys):
    """Runs last; alone it has nothing to count."""
    if len(killed) < 4:
        pytest.skip("only counted when the whole file runs")
    with capsys.disabled():
        print(f"\nrandom kills: {sum(killed.values())} ({', '.join(f'{n} {name}' for name, n in killed.items())})")
    assert sum(killed.values()) >= 50
