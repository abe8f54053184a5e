import argparse
import errno
import signal
import time
import weakref

import pytest

from vla_sim.core.cli import BAD_INPUT, INTERRUPTED, run_command
from vla_sim.core.errors import UserError


def code_of(run):
    return run_command(run, argparse.ArgumentParser(prog="tried"), [])


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


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("run", [is_interrupted, dies, is_forgotten])
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
