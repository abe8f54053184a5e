"""Answers the command of an earlier version with what does its work now."""

import sys

from vla_sim.__main__ import moved

if __name__ == "__main__":
    sys.exit(moved("train"))
