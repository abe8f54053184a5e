"""How far a run is: a bar on stderr, one line at a time where nobody watches a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


@contextlib.contextmanager
def progress_bar(what: str, total: int, unit: str = "episode") -> Iterator[Callable[[int, str], None]]:
    """A bar that is gone afterwards; call it with (how many are done, a note)."""
    from tqdm import tqdm

    pause_s = 0.2 if sys.stderr.isatty() else 10
    with tqdm(total=total, desc=what, unit=unit, mininterval=pause_s, leave=False) as bar:

        def show(done: int, note: str = "") -> None:
            bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        yield show


def watched(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a bar that says how many have been taken."""
    with progress_bar(what, len(items)) as bar:
        for number, item in enumerate(items):
            yield item
            bar(number + 1, "")
