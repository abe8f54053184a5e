"""Runs a command that kills itself: python kill_probe.py 5e|0.7s|"" FOLDER MODULE ARGUMENT...

"5e" kills before the fifth change to the disk below FOLDER, "0.7s" some time after the modules are loaded.
"""

import importlib
import os
import signal
import sys
import threading

CHANGES = ("open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _watch(folder, left):
    def hook(event, arguments):
        nonlocal left
        if event not in CHANGES or not arguments or not isinstance(arguments[0], (str, os.PathLike)):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            return
        # Names relative to an open folder come from the removal of trees.
        if os.fspath(arguments[0]).startswith(folder) or event in ("os.remove", "os.rmdir"):
            left -= 1
            if left == 0:
                _die()

    sys.addaudithook(hook)


def main():
    kill, folder, module, *arguments = sys.argv[1:]
    command = importlib.import_module(module)
    # What the command loads when it works, so that seconds are spent on work.
    import h5py  # noqa: F401

    import vla_sim.datasets.serbot.folder
    import vla_sim.rollout.filling  # noqa: F401

    if kill.endswith("e"):
        _watch(folder, int(kill[:-1]))
    elif kill:
        timer = threading.Timer(float(kill[:-1]), _die)
        timer.daemon = True
        timer.start()
    sys.exit(command.main(arguments))


if __name__ == "__main__":
    main()
