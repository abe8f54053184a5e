"""Errors that are the user's to mend: one sentence in the words of their file or command, never a traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

# How systems say that a disk, a quota or a file is full.
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """Something the user gave cannot be used; the message says what, and what would be right."""


def suggest(name: str, allowed: Iterable[str], *, most: int = 8) -> str:
    """'did you mean X? (allowed: A, B, ...)' for a name that is not among the allowed ones."""
    choices = list(allowed)
    near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    shown = ", ".join(choices[:most]) + (", ..." if len(choices) > most else "")
    listed = f"allowed: {shown}" if choices else "there are none"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed


def shown(value: object) -> str:
    """A value on one line of a message, cut where it is long."""
    return " ".join(repr(value).split())[:60]
