"""The command `expand`: recordings kept as they are, drives added where there is least, the same files every time."""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from folders import contents, one_line
from serbot_files import write_frames, write_recording
from serbot_like import LEFT, varied_actions, write_drive, write_repeated

from vla_sim.datasets.serbot.folder import SerbotFolder, SerbotReading
from vla_sim.datasets.store import MANIFEST_FILE, content_hash, read_manifest
from vla_sim.expand import main


def expand(source, out, *options, target=9, workers=1):
    """The exit code of the command."""
    numbers = ("--target-episodes", str(target), "--workers", str(workers))
    return main(["--data", str(source), "--out", str(out), *numbers, *options])


@pytest.fixture
def source(tmp_path):
    """Three drives around the left side, one in a folder of its own."""
    for number in range(3):
        write_drive(tmp_path / "real" / ("day2" if number == 2 else ""), number, actions=varied_actions(number))
    return tmp_path / "real"


@pytest.fixture(scope="module")
def nine(tmp_path_factory):
    """The three drives and what is added until there are nine, at one go by one process."""
    folder = tmp_path_factory.mktemp("nine")
    for number in range(3):
        write_drive(folder / "real" / ("day2" if number == 2 else ""), number, actions=varied_actions(number))
    assert expand(folder / "real", folder / "set") == 0
    return folder


def test_recordings_are_kept_byte_for_byte_and_in_their_folders(nine):
    before, after = contents(nine / "real"), contents(nine / "set")
    assert before.items() <= after.items()
    assert len(after) == 1 + 9


def test_the_manifest_tells_recorded_from_simulated(nine):
    entries = read_manifest(nine / "set").entries
    assert list(entries) == list(range(9))
    assert [bool(entry.facts["simulated"]) for entry in entries.values()] == [False] * 3 + [True] * 6
    for entry in entries.values():
        assert content_hash(nine / "set" / entry.file) == entry.sha256
    assert next(iter(entries.values())).facts["source"].startswith("day2/")
    assert [entry.facts.get("source") for entry in entries.values()][3:] == [None] * 6


def test_sides_and_distances_are_balanced(nine):
    recordings = list(SerbotFolder(nine / "set"))
    assert len(recordings) == 9
    sides = Counter(recording.side.value for recording in recordings)
    assert abs(sides["left"] - sides["right"]) <= 1
    assert set(Counter(recording.distance for recording in recordings)) == {"close", "medium", "far"}


def test_simulated_drives_look_like_the_recordings(nine):
    folder = SerbotFolder(nine / "set", SerbotReading())
    added = [recording for recording in folder if recording.facts.ours]
    assert len(added) == 6
    for recording in added:
        assert recording.facts.image_px == (32, 18)
        assert str(recording.channel_order) == "bgr (file)"
        assert recording.instruction
        assert recording.load().images.dtype == np.uint8


def test_a_folder_is_read_as_one_set_afterwards(nine):
    """The users' loaders see one folder; so does ours."""
    assert SerbotFolder(nine / "set").problems() == []


def test_a_still_first_frame_is_added_where_recordings_have_one(tmp_path, capsys):
    write_repeated(tmp_path / "real", left=3)
    assert expand(tmp_path / "real", tmp_path / "set", target=5) == 0
    assert "still first frame: yes" in capsys.readouterr().out
    for recording in SerbotFolder(tmp_path / "set"):
        assert not recording.steps.actions[0].any()


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(source, tmp_path):
    assert expand(source, tmp_path / "one", target=20) == 0
    assert expand(source, tmp_path / "more", target=20, workers=2) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "more")


def test_what_is_missing_is_made_again_byte_for_byte(nine, tmp_path):
    shutil.copytree(nine / "real", tmp_path / "real")
    shutil.copytree(nine / "set", tmp_path / "set")
    entries = read_manifest(tmp_path / "set").entries
    (tmp_path / "set" / entries[1].file).unlink()
    (tmp_path / "set" / entries[2].file).unlink()
    (tmp_path / "set" / entries[5].file).write_bytes(b"damaged")
    assert expand(tmp_path / "real", tmp_path / "set") == 0
    assert contents(tmp_path / "set") == contents(nine / "set")


def test_recordings_are_linked_or_copied_and_never_changed(source, tmp_path):
    before = contents(source)
    assert expand(source, tmp_path / "linked", target=4) == 0
    assert expand(source, tmp_path / "copied", "--copy", target=4) == 0
    assert contents(tmp_path / "linked") == contents(tmp_path / "copied")
    for name in before:
        assert (tmp_path / "linked" / name).stat().st_ino == (source / name).stat().st_ino
        assert (tmp_path / "copied" / name).stat().st_ino != (source / name).stat().st_ino
    assert contents(source) == before


def test_folders_of_pictures_are_kept_too(source, tmp_path):
    write_frames(source / f"episode_20250901_100000_{LEFT}")
    assert expand(source, tmp_path / "set", target=6) == 0
    assert len(SerbotFolder(tmp_path / "set")) == 6
    assert contents(source).items() <= contents(tmp_path / "set").items()


def test_enough_recordings_are_kept_and_none_added(source, tmp_path, capsys):
    assert expand(source, tmp_path / "set", target=2) == 0
    assert "3 recordings are 2 or more: nothing to add" in capsys.readouterr().out
    assert len(SerbotFolder(tmp_path / "set")) == 3


def test_the_plan_is_shown_without_writing(source, tmp_path, capsys):
    assert main(["--data", str(source), "--target-episodes", "200", "--plan"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[-1].split() == ["all", "3", "200"]
    left, right = (
        next(int(line.split()[-1]) for line in table if line.startswith(f"side {s}")) for s in ("left", "right")
    )
    assert (left, right) == (100, 100)
    assert [path.name for path in tmp_path.iterdir()] == ["real"]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--target-episodes", "0"], "--target-episodes must be at least 1, got 0"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--embodiment", "serbut"], "did you mean 'serbot'?"),
        (["--renderer", "softwar"], "did you mean 'software'?"),
        (["--frames", "-1"], "--frames must not be negative, got -1"),
        (["--noise", "nan"], "--noise must be a finite number, got nan"),
        (["--first-seed", "99999", "--target-episodes", "20"], "is no training seed"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_written(source, tmp_path, capsys, options, says):
    assert expand(source, tmp_path / "set", *options) == 2
    assert says in one_line(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["real"]


def test_an_unknown_channel_order_gives_the_nearest(source, tmp_path, capsys):
    assert expand(source, tmp_path / "set", "--channel-order", "bgrr") == 2
    assert "did you mean 'bgr'?" in capsys.readouterr().err


def test_without_a_place_the_set_gets_one_of_its_own(source, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--data", str(source), "--target-episodes", "4", "--workers", "1"]) == 0
    (made,) = (tmp_path / "runs").glob("expand-*")
    assert len(list(made.rglob("*.h5"))) == 4


@pytest.mark.parametrize("inside", ["", "new"])
def test_the_source_is_never_written_into(source, capsys, inside):
    before = contents(source)
    assert expand(source, source / inside) == 2
    assert "must not lie in the data set that is read" in one_line(capsys)
    assert contents(source) == before


def test_bad_recordings_are_listed_and_left_out_on_request(source, tmp_path, capsys):
    victim = write_drive(source, 7, actions=varied_actions(7))
    victim.write_bytes(victim.read_bytes()[:700])
    nan = varied_actions(8)
    nan[2, 0] = np.nan
    write_drive(source, 8, actions=nan)
    write_recording(source / "episode_20250815_122923_1box_middle.h5")
    assert expand(source, tmp_path / "set") == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[-1].endswith("3 of 6 episodes cannot be read; --skip-bad leaves them out")
    assert not (tmp_path / "set").exists()
    assert expand(source, tmp_path / "set", "--skip-bad", target=5) == 0
    assert capsys.readouterr().err.count("left out: ") == 3
    assert len(SerbotFolder(tmp_path / "set")) == 5
    assert not (tmp_path / "set" / victim.name).exists()


def test_mixed_channel_orders_are_refused_unless_said(tmp_path, capsys):
    for number in range(6):
        write_drive(tmp_path / "real", number, actions=varied_actions(number), bgr=number < 3)
    assert expand(tmp_path / "real", tmp_path / "set", target=7) == 2
    assert "mixed channel order" in one_line(capsys)
    assert expand(tmp_path / "real", tmp_path / "set", "--channel-order", "bgr", target=7) == 0


def test_recordings_that_changed_are_another_plan(source, tmp_path, capsys):
    assert expand(source, tmp_path / "set", "--copy") == 0
    write_drive(source, 0, actions=varied_actions(5))
    before = contents(tmp_path / "set")
    assert expand(source, tmp_path / "set", "--copy") == 2
    assert "another plan: recordings." in one_line(capsys)
    assert contents(tmp_path / "set") == before


def test_a_second_writer_is_refused(source, tmp_path, capsys):
    code = (
        "import sys, time; from pathlib import Path; from vla_sim.core.files import FolderLock\n"
        f"lock = FolderLock(Path({str(tmp_path / 'set')!r})); print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        assert expand(source, tmp_path / "set") == 2
        assert f"process {holder.pid} is writing there" in one_line(capsys)
    finally:
        holder.kill()
        holder.communicate()
    assert expand(source, tmp_path / "set", target=4) == 0


def test_a_full_disk_is_said_in_one_sentence_and_what_was_complete_is_kept(source, nine, tmp_path):
    whole = contents(nine / "set")
    sizes = [(nine / "set" / e.file).stat().st_size for e in read_manifest(nine / "set").entries.values()]
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({max(sizes[3:]) - 1},) * 2)"
    code = f"{limit}\nfrom vla_sim.expand import main\nif __name__ == '__main__': raise SystemExit(main())"
    (tmp_path / "limited.py").write_text(code)
    command = [sys.executable, tmp_path / "limited.py", "--data", source, "--out", tmp_path / "set"]
    done = subprocess.run(
        [*command, "--target-episodes", "9", "--workers", "1"], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 2
    assert "no space left on the disk; what was complete is kept" in done.stderr
    assert done.stderr.count("\n") == 1
    kept = {name: content for name, content in contents(tmp_path / "set").items() if name != MANIFEST_FILE}
    assert all(whole[name] == content for name, content in kept.items())
    assert expand(source, tmp_path / "set") == 0
    assert contents(tmp_path / "set") == whole


def test_an_interrupt_says_so_and_the_next_run_goes_on(source, tmp_path):
    command = [sys.executable, "-m", "vla_sim.expand", "--data", str(source), "--out", str(tmp_path / "set")]
    running = subprocess.Popen(
        [*command, "--target-episodes", "24", "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while running.poll() is None and len(list((tmp_path / "set").glob("*.h5"))) < 5:
        time.sleep(0.01)
    running.send_signal(2)
    _, said = running.communicate(timeout=60)
    again = f"python -m vla_sim.expand --resume {tmp_path / 'set'}"
    assert (running.returncode, said.strip()) == (130, f"python -m vla_sim.expand: interrupted; go on with: {again}")
    assert 3 <= len(read_manifest(tmp_path / "set").entries) < 24
    assert expand(source, tmp_path / "set", target=24) == 0
    assert expand(source, tmp_path / "undisturbed", target=24) == 0
    assert contents(tmp_path / "set") == contents(tmp_path / "undisturbed")


def test_drives_never_take_the_name_of_a_kept_one(source, tmp_path):
    """A part of an expanded set is expanded again: its episodes count seconds already."""
    assert expand(source, tmp_path / "first", target=12) == 0
    kept = [path for path in (tmp_path / "first").glob("episode_2000*.h5") if path.stat().st_nlink == 1]
    assert len(kept) == 9
    (tmp_path / "part").mkdir()
    for path in kept[3:]:
        shutil.copy2(path, tmp_path / "part")
    before = contents(tmp_path / "part")
    assert expand(tmp_path / "part", tmp_path / "second", target=20) == 0
    after = contents(tmp_path / "second")
    assert before.items() <= after.items()
    assert len(after) == 1 + 20
    assert len({entry.file for entry in read_manifest(tmp_path / "second").entries.values()}) == 20
