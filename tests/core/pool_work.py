"""Work for the tests of the pool; it must be importable in worker processes."""

import os
import signal
import time
from pathlib import Path

from vla_sim.core import pool_worker
from vla_sim.core.errors import UserError


def factory(group):
    """Work that does what its payload says. A group is a mark that it leaves in its process, or how it starts."""
    name, _, place = str(group).partition(" ")
    if name == "raises":
        raise OSError("no such weights")
    if name == "refuses":
        raise UserError("it does not fit")
    if name == "hangs":
        time.sleep(600)
    if name == "once":  # cannot be made again in the same process
        if os.environ.get("MADE"):
            raise RuntimeError("port in use")
        os.environ["MADE"] = "1"
    if name == "alone":  # one process at a time
        try:
            Path(place).mkdir()
        except FileExistsError:
            raise RuntimeError("port in use") from None
    return work


def work(payload, emit):
    what, number = payload
    emit((what, number, os.getpid(), os.environ.get("MARK", "")))
    if what == "mark":
        os.environ["MARK"] = "dirty"
    if what == "raise":
        raise RuntimeError("my network exploded")
    if what == "connection":
        raise ConnectionResetError("the model server has gone")
    if what == "refuse":
        raise UserError("no such thing")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "exit":
        os._exit(3)
    if what == "hang":
        time.sleep(600)
    if what == "fork" and os.fork() == 0:
        return  # the child comes back to the pool's own code
    if what == "slow":
        for _ in range(4):
            time.sleep(0.5)
            pool_worker.heartbeat()
    if what == "nap":
        time.sleep(0.3)


def squares():
    return lambda unit: iter([(unit, i) for i in range(unit % 3)])


def broken():
    return lambda unit: iter([1 / (unit - 3)])


def picky():
    def work(unit):
        if unit == 3:
            raise UserError("3 cannot be used")
        yield unit

    return work


def deadly():
    def work(unit):
        if unit == 3:
            os._exit(7)
        yield unit

    return work
