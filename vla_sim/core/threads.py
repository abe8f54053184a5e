"""How many threads torch computes with, for a while. Used wherever sums must not depend on the number of threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads inside, as many as before afterwards. Does not load torch: without it there is nothing to do.

    Sums over several threads differ in their last bits; with one thread they never do.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
