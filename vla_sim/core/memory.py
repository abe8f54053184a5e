"""How this process handles freed memory. Used by workers and training."""

from __future__ import annotations

import ctypes
import platform

# Of malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let the C library reuse large blocks instead of handing them back to the system (glibc; elsewhere nothing).

    A step of training allocates and frees hundreds of megabytes, and fresh pages for them took a third of its time.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_MMAP_THRESHOLD, 2**30)
