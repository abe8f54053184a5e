"""The command `audit` on files: what is said first, about which fault, with which exit code."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
from lerobot_episodes import episode as lerobot_episode
from serbot_files import ACTIONS
from serbot_like import LEFT, RIGHT, SENTENCES, room, varied_actions, write_drive, write_repeated, write_varied

from vla_sim.audit import main
from vla_sim.convert import main as convert
from vla_sim.datasets.lerobot import LeRobotWriter

UNFIT, FINE, BAD_INPUT = 1, 0, 2


def audit(capsys, folder, *options):
    """Exit code, printed lines and audit.json of the command."""
    code = main(["--data", str(folder), "--out", str(folder.parent / "audit"), *map(str, options)])
    printed = capsys.readouterr()
    found = json.loads((folder.parent / "audit/audit.json").read_text("utf-8"))
    assert printed.err == ""
    return code, printed.out.splitlines(), found


def finding(found, code):
    return next(f for f in found["findings"] if f["code"] == code)


@pytest.mark.parametrize("right", [0, 100])
def test_a_set_of_119_equal_drives_of_120_is_called_unfit_in_the_first_line(tmp_path, capsys, right):
    code, lines, found = audit(capsys, write_repeated(tmp_path / "set", right=right))
    assert code == UNFIT
    assert lines[0] == "UNFIT: 119 of 120 left demonstrations repeat one identical action sequence"
    assert found["verdict"]["level"] == "unfit"
    same = finding(found, "duplicate_sequences")
    assert same["figures"]["per_side"]["left"] == {"identical": 119, "episodes": 120}
    assert same["severity"] == "critical"
    if not right:
        assert finding(found, "clock_determinism")["severity"] == "critical"
        assert finding(found, "side_balance")["title"] == "all 120 demonstrations go left, none right"
        assert found["clock"]["left"][5] == 1.0


def test_a_set_without_faults_is_fine(tmp_path, capsys):
    code, _, found = audit(capsys, write_varied(tmp_path / "set"), "--max-images", 0)
    assert code == FINE
    assert found["verdict"]["level"] == "no fault found"
    assert found["verdict"]["reasons"] == []
    assert found["episodes"] == 40


def test_sets_of_both_formats_are_compared_with_one_another(tmp_path, capsys):
    write_varied(tmp_path / "sets" / "recorded", 12)
    converted = ["--data", tmp_path / "sets" / "recorded", "--out", tmp_path / "sets" / "lerobot"]
    assert convert([*map(str, converted), "--format", "lerobot", "--images"]) == 0
    capsys.readouterr()
    _, _, found = audit(capsys, tmp_path / "sets", "--max-images", 0)
    assert found["episodes"] == 24
    assert finding(found, "corrupt")["severity"] == "good"
    assert finding(found, "duplicate_sequences")["severity"] != "good"


def test_findings_are_ranked_the_worst_first_and_the_page_shows_them(tmp_path, capsys):
    _, lines, found = audit(capsys, write_repeated(tmp_path / "set", left=30))
    order = ["critical", "warning", "note", "good"]
    severities = [f["severity"] for f in found["findings"]]
    assert severities == sorted(severities, key=order.index)
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    assert "http" not in page.replace("http://www.w3.org", "")
    for f in found["findings"]:
        if f["severity"] != "good":
            assert f["title"].replace('"', "&#34;") in page
            assert any(f["title"] in line for line in lines)


def test_the_same_set_gives_the_same_report_in_every_process(tmp_path):
    write_repeated(tmp_path / "set", left=8, right=8)
    for out in ("a", "b"):
        command = [sys.executable, "-m", "vla_sim.audit", "--data", str(tmp_path / "set"), "--out", str(tmp_path / out)]
        assert subprocess.run(command, capture_output=True).returncode in (FINE, UNFIT)
    for file in ("audit.json", "audit.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_names_and_sentences_cannot_break_the_page(tmp_path, capsys):
    write_drive(tmp_path / "set", 0, instruction="<script>alert('left')</script>")
    audit(capsys, tmp_path / "set")
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


# --- faults of files --------------------------------------------------------------------------------------------------


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _not_hdf5(path):
    path.write_bytes(b"nothing of the kind")


def _nan(path):
    with h5py.File(path, "a") as file:
        file["actions"][3, 0] = np.nan


def _fewer_actions(path):
    with h5py.File(path, "a") as file:
        actions = file["actions"][:]
        del file["actions"]
        file["actions"] = actions[:4]


def _other_width(path):
    with h5py.File(path, "a") as file:
        del file["actions"]
        file["actions"] = np.zeros((18, 7), np.float32)


def _no_pictures(path):
    with h5py.File(path, "a") as file:
        del file["images"]


@pytest.mark.parametrize("damage", [_truncate, _not_hdf5, _nan, _fewer_actions, _other_width, _no_pictures])
def test_damaged_recordings_are_named_with_their_fault_and_the_others_audited(tmp_path, capsys, damage):
    write_varied(tmp_path / "set", 12)
    victim = sorted((tmp_path / "set").iterdir())[5]
    damage(victim)
    code, lines, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert code == FINE
    assert found["episodes"] == 11
    assert [b["name"] for b in found["broken"]] == [victim.name]
    assert "Traceback" not in found["broken"][0]["reason"]
    assert finding(found, "corrupt")["title"] == "1 of 12 episodes cannot be read or used"
    assert any("->" in line and f"{victim.name}: " in line for line in lines)


def test_a_recording_that_is_being_written_is_said_to_be_locked(tmp_path, capsys):
    write_varied(tmp_path / "set", 12)
    victim = sorted((tmp_path / "set").iterdir())[5]
    code = f"import h5py; file = h5py.File({str(victim)!r}, 'a', locking=True); print(1, flush=True); input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    finally:
        holder.communicate(b"\n")
    assert found["episodes"] == 11
    assert "lock" in found["broken"][0]["reason"]


def test_many_broken_recordings_make_a_set_unfit(tmp_path, capsys):
    write_varied(tmp_path / "set", 12)
    for path in sorted((tmp_path / "set").iterdir())[:4]:
        _truncate(path)
    code, lines, _ = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert code == UNFIT
    assert lines[0] == "UNFIT: 4 of 12 episodes cannot be read or used"


def test_a_set_in_which_nothing_can_be_read_is_empty(tmp_path, capsys):
    write_drive(tmp_path / "set", 0)
    _truncate(next((tmp_path / "set").iterdir()))
    code, lines, found = audit(capsys, tmp_path / "set")
    assert (code, lines[0]) == (UNFIT, "EMPTY: no episode can be read")
    assert found["episodes"] == 0


def test_files_whose_names_say_nothing_are_audited_without_their_side(tmp_path, capsys):
    for number in range(12):
        path = write_drive(tmp_path / "set", number, actions=varied_actions(number), instruction="Go to the cup")
        path.rename(path.with_name(f"run{number}.h5"))
    _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert found["episodes"] == 12
    assert finding(found, "side_balance")["title"] == "no label and no instruction names a side"


def test_damaged_pictures_are_found_when_pictures_are_looked_at(tmp_path, capsys):
    write_varied(tmp_path / "set", 12)
    victim = sorted((tmp_path / "set").iterdir())[5]
    with h5py.File(victim) as file:
        where = file["images"].id.get_chunk_info(0).byte_offset
    content = bytearray(victim.read_bytes())
    content[where + 4 : where + 40] = b"\xff" * 36
    victim.write_bytes(content)
    _, _, found = audit(capsys, tmp_path / "set")
    assert [b["name"] for b in found["broken"]] == [victim.stem]


def test_a_picture_damaged_in_the_middle_is_found_when_every_picture_is_decoded(tmp_path, capsys):
    write_varied(tmp_path / "set", 12)
    victim = sorted((tmp_path / "set").iterdir())[5]
    with h5py.File(victim, "a") as file:
        images = file["images"][:]
        del file["images"]
        file.create_dataset("images", data=images, chunks=(1, *images.shape[1:]), compression="gzip")
    with h5py.File(victim) as file:
        where = file["images"].id.get_chunk_info_by_coord((3, 0, 0, 0)).byte_offset
    content = bytearray(victim.read_bytes())
    content[where + 4 : where + 40] = b"\xff" * 36
    victim.write_bytes(content)
    _, _, found = audit(capsys, tmp_path / "set")
    assert finding(found, "corrupt")["title"] == "every episode can be read, up to 3 images of 12 episodes decoded"
    _, _, found = audit(capsys, tmp_path / "set", "--thorough")
    assert [b["name"] for b in found["broken"]] == [victim.stem]


def test_leaked_pictures_are_counted_among_all_episodes_though_few_are_looked_at(tmp_path, capsys):
    write_varied(tmp_path / "train", 24)
    write_varied(tmp_path / "held", 24)
    _, _, found = audit(capsys, tmp_path / "train", "--evaluation", tmp_path / "held", "--max-images", 4)
    assert finding(found, "leaked_pictures")["figures"] == {"shared": 24, "evaluation_episodes": 24, "share": 1.0}


# --- faults of images -----------------------------------------------------------------------------------------------


def test_a_set_stored_as_bgr_is_suspected_and_one_stored_as_rgb_is_not(tmp_path, capsys):
    for name, bgr in (("bgr", True), ("rgb", False)):
        for number in range(8):
            write_drive(tmp_path / name, number, actions=varied_actions(number), bgr=bgr)
    _, _, found = audit(capsys, tmp_path / "bgr")
    assert finding(found, "channel_order")["severity"] == "warning"
    assert "look like BGR" in finding(found, "channel_order")["title"]
    _, _, found = audit(capsys, tmp_path / "rgb")
    assert finding(found, "channel_order")["severity"] == "good"


def test_a_stated_channel_order_outweighs_colours(tmp_path, capsys):
    """After `augment light` a set that says its order was called mixed."""
    for number in range(20):
        write_drive(tmp_path / "set", number, actions=varied_actions(number), bgr=number < 8)
    for path in sorted((tmp_path / "set").glob("*.h5")):
        with h5py.File(path, "a") as file:
            file.attrs["vla_sim_format"], file.attrs["vla_sim_channel_order"] = 1, "rgb"
    _, _, found = audit(capsys, tmp_path / "set")
    assert finding(found, "channel_order")["severity"] == "good"
    assert finding(found, "channel_order")["figures"]["stated"] == 20


@pytest.mark.parametrize(("given", "severity"), [("bgr", "good"), ("rgb", "note")])
def test_a_given_channel_order_outweighs_colours(tmp_path, capsys, given, severity):
    for number in range(8):
        write_drive(tmp_path / "set", number, actions=varied_actions(number))
    _, _, found = audit(capsys, tmp_path / "set", "--channel-order", given)
    assert finding(found, "channel_order")["severity"] == severity
    assert finding(found, "channel_order")["title"].startswith(f"channel order is stated: {given}")


def test_mixed_channel_orders_make_a_set_unfit(tmp_path, capsys):
    for number in range(20):
        write_drive(tmp_path / "set", number, actions=varied_actions(number), bgr=number < 8)
    code, _, found = audit(capsys, tmp_path / "set")
    assert code == UNFIT
    assert finding(found, "channel_order")["title"].startswith("channel order looks mixed: 12 episodes")


@pytest.mark.parametrize(("fault", "says"), [("frozen", "do not change while the robot moves"), ("flat", "one colour")])
def test_pictures_that_show_nothing_new_are_found(tmp_path, capsys, fault, says):
    for number in range(10):
        images = room(number)
        if number < 7:
            images[:] = images[:1] if fault == "frozen" else 128
        write_drive(tmp_path / "set", number, images=images)
    code, _, found = audit(capsys, tmp_path / "set")
    assert code == UNFIT
    assert (
        f"7 episodes have images {'of ' if fault == 'flat' else 'that '}{says}" in finding(found, "pictures")["title"]
    )


def test_pictures_that_tell_the_side_before_the_robot_moves_are_found(tmp_path, capsys):
    for number in range(20):
        label = (LEFT, RIGHT)[number % 2]
        actions = varied_actions(number)
        images = room(number, len(actions))
        images[:, :4] = (30, 30, 30) if label == LEFT else (220, 220, 220)
        write_drive(tmp_path / "set", number, label=label, actions=actions, images=images)
    _, _, found = audit(capsys, tmp_path / "set")
    assert finding(found, "picture_tells_side")["severity"] == "warning"


# --- two splits and other formats -------------------------------------------------------------------------------------


def test_drives_and_pictures_that_evaluation_shares_with_training_are_found(tmp_path, capsys):
    write_varied(tmp_path / "train", 12)
    for number in (*range(4), *range(100, 104)):
        write_drive(tmp_path / "held", number, label=(LEFT, RIGHT)[number % 2], actions=varied_actions(number))
    code, _, found = audit(capsys, tmp_path / "train", "--evaluation", tmp_path / "held")
    assert code == UNFIT
    assert finding(found, "leaked_sequences")["figures"]["identical"] >= 4
    assert finding(found, "leaked_pictures")["figures"]["shared"] == 4


@pytest.mark.parametrize("folder", ["val", "test"])
def test_folders_named_as_splits_are_the_evaluation_split(tmp_path, capsys, folder):
    write_varied(tmp_path / "set/train", 12)
    for number in range(100, 104):
        write_drive(tmp_path / "set" / folder, number, actions=varied_actions(number))
    _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert finding(found, "leaked_sequences")["figures"]["evaluation_episodes"] == 4


def _lerobot(root, count=6, **changes):
    with LeRobotWriter(root, 5, "serbot", video=False) as writer:
        for number in range(count):
            writer.add(lerobot_episode(number, **changes))
    return root


def test_simulated_seeds_that_evaluation_shares_with_training_are_found(tmp_path, capsys):
    _lerobot(tmp_path / "train", 6)
    _lerobot(tmp_path / "held", 3)
    _, _, found = audit(capsys, tmp_path / "train", "--evaluation", tmp_path / "held")
    assert finding(found, "leaked_seeds")["figures"]["shared"] == 3


def test_lerobot_sets_are_audited_with_the_same_checks(tmp_path, capsys):
    same = np.tile(np.array([[0.5, 0.1]], np.float32), (6, 1))
    root = _lerobot(tmp_path / "set", 10, actions=same, labels=None)
    code, _, found = audit(capsys, root)
    assert code == UNFIT
    assert found["kinds"] == ["LeRobotDataset v3.0"]
    assert finding(found, "duplicate_sequences")["figures"]["distinct"] == 1


def test_a_parquet_file_without_footer_is_said(tmp_path, capsys):
    root = _lerobot(tmp_path / "set", 6)
    path = root / "data/chunk-000/file-000.parquet"
    path.write_bytes(path.read_bytes()[:-8])
    code, lines, found = audit(capsys, root)
    assert (code, lines[0]) == (UNFIT, "EMPTY: no episode can be read")
    assert "file-000.parquet" in found["broken"][0]["reason"]


def test_one_action_sequence_and_its_twin_by_two_keys_are_counted_once(tmp_path, capsys):
    """Repeating with a key more at the end is not another drive."""
    for number in range(12):
        write_drive(tmp_path / "set", number, actions=np.roll(ACTIONS, number % 3, axis=0))
    _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert finding(found, "duplicate_sequences")["figures"]["distinct"] == 3


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nowhere"], "nowhere is not a folder"),
        (["empty"], "holds no data set"),
        (["set", "--evaluation", "nowhere"], "nowhere is not a folder"),
        (["set", "--max-images", "-1"], "--max-images must not be negative, got -1"),
        (["set", "--out", "file"], "is a file, not a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    write_drive(tmp_path / "set", 0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert main(["--data", *options]) == BAD_INPUT
    printed = capsys.readouterr()
    assert says in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_the_audit_never_writes_into_the_set(tmp_path, capsys):
    write_varied(tmp_path / "set", 6)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()}
    audit(capsys, tmp_path / "set")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").iterdir()} == before


def test_sentences_are_those_of_the_files(tmp_path, capsys):
    write_varied(tmp_path / "set", 12)
    _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert finding(found, "instruction_information")["figures"]["sentences"] == len(SENTENCES)


def test_episodes_without_a_side_are_not_called_all_beside_others(tmp_path, capsys):
    write_varied(tmp_path / "set", 8)
    for number in range(100, 103):
        path = write_drive(tmp_path / "set", number, actions=varied_actions(number), instruction="Go to the cup")
        path.rename(path.with_name(f"run{number}.h5"))
    _, _, found = audit(capsys, tmp_path / "set", "--max-images", 0)
    assert set(found["clock"]) == {"left", "right", "unknown"}
    page = (tmp_path / "audit/audit.html").read_text("utf-8")
    assert "</i>unknown</li>" in page
    assert "</i>all</li>" not in page
