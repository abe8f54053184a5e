import errno
import io
import shlex
import signal
import subprocess
import sys
import time
import weakref

import pytest

from vla_sim.core.cli import BAD_INPUT, INTERRUPTED, command_line, fresh_folder, guarded
from vla_sim.core.errors import UserError


def code_of(run):
    return guarded("tried", lambda: run(None))


def sleep_for_long(_options):
    begin = time.monotonic()
    while time.monotonic() - begin < 20:
        time.sleep(0.01)
    return 0


class Interrupting:
    """Sends Ctrl-C while it dies; Python drops what is raised there."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class Thing:
    """Something that can be weakly referred to."""


class Pending(list):
    def append(self, key):
        signal.raise_signal(signal.SIGINT)
        super().append(key)


def dies(options):
    Interrupting()
    return sleep_for_long(options)


def is_forgotten(options):
    known, thing = weakref.WeakValueDictionary(), Thing()
    known["one"] = thing
    known._iterating, known._pending_removals = {1}, Pending()
    del thing
    return sleep_for_long(options)


def is_interrupted(options):
    signal.raise_signal(signal.SIGINT)
    return sleep_for_long(options)


def is_terminated(options):
    signal.raise_signal(signal.SIGTERM)
    return sleep_for_long(options)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("run", [is_interrupted, is_terminated, dies, is_forgotten])
def test_an_interrupt_ends_the_command_wherever_it_comes(run, capsys):
    before = signal.getsignal(signal.SIGINT)
    begin = time.monotonic()
    assert code_of(run) == INTERRUPTED
    assert time.monotonic() - begin < 10
    assert capsys.readouterr().err == "\ntried: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_users_error_is_one_sentence(capsys):
    def run(_options):
        raise UserError("no such folder")

    assert code_of(run) == BAD_INPUT
    assert capsys.readouterr().err == "tried: no such folder\n"


def test_a_full_disk_is_one_sentence_and_other_faults_of_the_system_are_not_hidden(capsys):
    def full(_options):
        raise OSError(errno.ENOSPC, "No space left on device", "runs/training.jsonl")

    def broken(_options):
        raise OSError(errno.EIO, "Input/output error")

    assert code_of(full) == BAD_INPUT
    assert capsys.readouterr().err.startswith("tried: runs/training.jsonl: no space left on the disk")
    with pytest.raises(OSError, match="Input/output"):
        code_of(broken)


def test_what_only_the_user_can_mend_names_the_file(capsys):
    def too_long(_options):
        open("x" * 300).close()

    assert code_of(too_long) == BAD_INPUT
    error = capsys.readouterr().err
    assert "the name is too long" in error
    assert len(error) < 200


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_text_can_be_printed_on_every_terminal(encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))

    def show(_options):
        print("왼쪽 ä \x1b[31mred\x1b[0m \ud800 \x9b2J\tend")
        return 0

    assert code_of(show) == 0
    shown = raw.getvalue()
    assert shown.decode(encoding).endswith("\tend\n")
    assert b"\x1b" not in shown
    assert b"\x9b" not in shown
    assert b"\\x1b[31mred" in shown


def test_control_codes_of_names_do_not_reach_the_terminal_in_errors(capsys):
    def run(_options):
        raise UserError("unknown policy '\x1b]0;title\x07'")

    assert code_of(run) == BAD_INPUT
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.parametrize("lines", [1, 10_000])
def test_a_reader_that_goes_away_ends_the_command_without_a_word(lines):
    work = f"lambda: [print('name') for _ in range({lines})] and 0"
    code = f"import sys; from vla_sim.core.cli import guarded; sys.exit(guarded('tried', {work}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    with process.stderr as errors:
        assert errors.read() == ""
    assert process.wait(timeout=60) == INTERRUPTED


def test_two_runs_of_the_same_second_get_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {fresh_folder("eval") for _ in range(12)}
    assert len(folders) == 12
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("name", ["runs/$(touch x)", "a b", "it's", "; ls", "`id`", "-x"])
def test_a_command_to_paste_holds_names_as_single_words(name):
    assert shlex.split(command_line("eval", "--resume", name)) == ["python", "-m", "vla_sim.eval", "--resume", name]
