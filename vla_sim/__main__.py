"""`vla-sim COMMAND ...`: the same as `python -m vla_sim.COMMAND ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "audit": "say what is wrong with a data set",
    "augment": "make altered copies of recordings",
    "eval": "drive policies through scenarios and report",
    "benchmark": "rank policies by driving, beside their offline error",
    "clone": "train a policy on a mixture of demonstrations",
    "collect": "record drives of the expert as a data set",
    "convert": "turn recordings into a LeRobot data set, or back",
    "dagger": "let a policy drive, label, learn, and keep what wins",
    "expand": "add simulated drives to real recordings",
    "ppo": "learn by trial and reward, with Stable-Baselines3",
    "replay": "rebuild one recorded episode, verify it, film it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command by name; returns its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: vla-sim COMMAND ...\n\n" + "\n".join(f"  {name:10} {what}" for name, what in COMMANDS.items()))
        return 0
    if arguments[0] not in COMMANDS:
        from vla_sim.core.errors import suggest

        print(f"vla-sim: unknown command {arguments[0]!r}; {suggest(arguments[0], COMMANDS)}", file=sys.stderr)
        return 2
    command = importlib.import_module(f"vla_sim.{arguments[0]}")
    code: int = command.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
