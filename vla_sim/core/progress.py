"""How far a run is: a bar on stderr, one line at a time where nobody watches a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextlib.contextmanager
def progress_bar(what: str, total: int, unit: str = "episode") -> Iterator[Callable[[int, str], None]]:
    """A bar that is gone afterwards; call it with (how many are done, a note).

    It appears with the first call: what is refused before leaves no bar.
    """
    begin, pause_s = time.time(), 0.2 if sys.stderr.isatty() else 10
    bars: list[Any] = []

    def show(done: int, note: str = "") -> None:
        from tqdm import tqdm

        if not bars:
            bars.append(tqdm(total=total, desc=what, unit=unit, mininterval=pause_s, leave=False))
            bars[0].start_t = begin
        bars[0].set_postfix_str(note, refresh=False)
        bars[0].update(done - bars[0].n)

    try:
        yield show
    finally:
        for bar in bars:
            bar.close()


def watched(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a bar that says how many have been taken."""
    with progress_bar(what, len(items)) as bar:
        for number, item in enumerate(items):
            yield item
            bar(number + 1, "")
