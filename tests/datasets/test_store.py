import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from serbot_files import NAME, episode

from vla_sim.core import files as writing
from vla_sim.core.errors import UserError
from vla_sim.core.files import FolderLock, whole_folder, write_whole
from vla_sim.datasets.serbot.hdf5 import serbot_hdf5_bytes, write_serbot_hdf5
from vla_sim.datasets.store import MANIFEST_FILE, Entry, EpisodeStore, content_hash, read_manifest

PLAN = {"kind": "test", "seed": 3, "names": ["a", "b"]}


def put(store, index, content=b"content"):
    file = f"{index}.bin"
    write_whole(store.folder / file, content)
    store.add(Entry(index, f"episode {index}", file, content_hash(store.folder / file), 5, {"side": "left"}))


def test_what_was_counted_is_kept_and_put_in_order(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        for index in (2, 0, 1):
            put(store, index)
        assert list(read_manifest(store.folder).entries) == [2, 0, 1]
        store.finish()
    manifest = read_manifest(tmp_path / "set")
    assert list(manifest.entries) == [0, 1, 2]
    assert dict(manifest.plan) == PLAN
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        assert store.entries == dict(manifest.entries)


def test_order_of_arrival_leaves_no_trace(tmp_path):
    for name, order in (("one", (0, 1, 2)), ("other", (2, 1, 0))):
        with EpisodeStore(tmp_path / name, PLAN) as store:
            for index in order:
                put(store, index)
            store.finish()
    assert (tmp_path / "one" / MANIFEST_FILE).read_bytes() == (tmp_path / "other" / MANIFEST_FILE).read_bytes()


def test_two_episodes_never_share_a_file(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        put(store, 0)
        with pytest.raises(UserError, match=r"two episodes would have one file, 0\.bin"):
            store.add(Entry(1, "episode 1", "0.bin", content_hash(store.folder / "0.bin"), 5, {}))


def test_a_torn_last_line_is_not_counted_and_overwritten(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        put(store, 0)
        put(store, 1)
    path = tmp_path / "set" / MANIFEST_FILE
    path.write_bytes(path.read_bytes()[:-9])
    assert list(read_manifest(tmp_path / "set").entries) == [0]
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        assert list(store.entries) == [0]
        put(store, 1)
    assert list(read_manifest(tmp_path / "set").entries) == [0, 1]


def test_missing_and_changed_files_do_not_count(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        for index in range(3):
            put(store, index)
    (tmp_path / "set" / "0.bin").unlink()
    (tmp_path / "set" / "1.bin").write_bytes(b"contenT")
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        assert list(store.entries) == [2]


def test_another_plan_is_refused_with_what_differs(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        put(store, 0)
    with pytest.raises(UserError, match="belongs to another plan: seed was 3, now 4"):
        EpisodeStore(tmp_path / "set", {**PLAN, "seed": 4})
    with EpisodeStore(tmp_path / "set", PLAN):
        pass


def test_a_run_that_came_to_nothing_binds_nobody_to_its_plan(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN):
        pass
    with EpisodeStore(tmp_path / "set", {**PLAN, "seed": 4}) as store:
        put(store, 0)
    assert read_manifest(tmp_path / "set").plan["seed"] == 4


def test_folders_with_other_files_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match=r"holds other files \(thesis.tex\)"):
        EpisodeStore(tmp_path, PLAN)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    assert not (tmp_path / MANIFEST_FILE).exists()


@pytest.mark.parametrize("text", ["", "not json\n", '{"format": 9}\n', '{"format": 1}\n{"index": 1}\n', "[]\n"])
def test_damaged_manifests_are_refused(tmp_path, text):
    (tmp_path / MANIFEST_FILE).write_text(text)
    with pytest.raises(UserError, match=r"manifest\.jsonl"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_said(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_manifest(tmp_path)


# ------------------------------------------------------------------------------------------------------------ locks


def test_two_writers_on_one_folder_get_a_clear_error(tmp_path):
    with (
        EpisodeStore(tmp_path / "set", PLAN),
        pytest.raises(UserError, match=f"process {os.getpid()} is writing there"),
    ):
        EpisodeStore(tmp_path / "set", PLAN)
    with EpisodeStore(tmp_path / "set", PLAN):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from vla_sim.core.files import FolderLock\n"
        f"lock = FolderLock(Path({str(tmp_path)!r})); print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    holder.stdout.readline()
    with pytest.raises(UserError, match=f"process {holder.pid} is writing there"):
        FolderLock(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    for _ in range(50):
        try:
            FolderLock(tmp_path).release()
            break
        except UserError:
            time.sleep(0.1)
    else:
        pytest.fail("the lock of a dead process is still held")


def test_what_killed_writers_left_aside_is_swept_away(tmp_path):
    with EpisodeStore(tmp_path / "set", PLAN):
        pass
    (tmp_path / "set" / ".7.bin.123.part").write_bytes(b"half")
    (tmp_path / "set" / ".8.123.part").mkdir()
    (tmp_path / "set" / "day_1").mkdir()
    (tmp_path / "set" / "day_1" / ".9.bin.123.part").write_bytes(b"half")
    with EpisodeStore(tmp_path / "set", PLAN):
        assert not list((tmp_path / "set").rglob(".*.part"))


# ------------------------------------------------------------------------------------------------------- full disks


@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_said_and_leaves_the_old_file(tmp_path, monkeypatch, call):
    path = tmp_path / f"{NAME}.h5"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "fsync":
        monkeypatch.setattr(writing.os, "fsync", full)
    else:
        monkeypatch.setattr(type(path), "replace", full)
    with pytest.raises(UserError, match="no space left on the disk"):
        write_serbot_hdf5(path, episode())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_a_disk_that_is_really_full_leaves_nothing_half_written(tmp_path):
    """The limit on file sizes stands in for the end of the disk: the system refuses in the middle of a write."""
    size = len(serbot_hdf5_bytes(episode(40)))
    code = (
        "import resource, sys; from pathlib import Path\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from serbot_files import episode; from vla_sim.datasets.serbot.hdf5 import write_serbot_hdf5\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))\n"
        f"write_serbot_hdf5(Path({str(tmp_path / 'a.h5')!r}), episode(40))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True)
    assert "UserError" in done.stderr
    assert "no space left on the disk" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_line_that_does_not_fit_is_taken_back(tmp_path, monkeypatch):
    with EpisodeStore(tmp_path / "set", PLAN) as store:
        put(store, 0)
        before = (tmp_path / "set" / MANIFEST_FILE).read_bytes()
        real = os.fsync

        def full(descriptor):
            if descriptor == store._manifest.fileno():
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(writing.os, "fsync", full)
        with pytest.raises(UserError, match="no space left on the disk"):
            put(store, 1)
        assert list(store.entries) == [0]
    assert (tmp_path / "set" / MANIFEST_FILE).read_bytes() == before


def test_folders_that_may_not_be_written_are_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_whole(tmp_path / "file" / "below.h5", b"")
    with pytest.raises(UserError, match="cannot be written"):
        FolderLock(tmp_path / "file" / "below")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    def fail():
        with whole_folder(tmp_path / "a") as aside:
            (aside / "half").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with whole_folder(tmp_path / "a") as aside:
        (aside / "whole").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "whole").read_text() == "whole"


def test_hashes_tell_contents_and_names_of_folders(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a")
    assert content_hash(tmp_path / "one") == content_hash(tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "b")
    assert content_hash(tmp_path / "one") != content_hash(tmp_path / "two")


def test_entries_survive_json_and_pickle():
    import pickle

    entry = Entry(3, "name", "name.h5", "ab", 5, {"side": "left", "seed": 3, "instruction": "왼쪽"})
    assert Entry.from_json(entry.to_json()) == entry == pickle.loads(pickle.dumps(entry))
    assert json.loads(entry.to_json())["facts"]["instruction"] == "왼쪽"
