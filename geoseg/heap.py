"""Memory of network passes on the CPU: on huge pages, or kept for the next pass.

glibc returns large blocks to the system when they are freed. A network frees and takes hundreds of megabytes
per pass, which the system then hands out again page by page, zeroed: on two cores that took more than a third of
a pass (`benchmarks/heap.py`). Huge pages are 512 times fewer; what is kept needs none, but has
holes, which grow as windows of many sizes follow each other.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_NEVER = 2**31 - 1


def ask_for_huge_pages() -> None:
    """Have large tensors lie on huge pages, where Linux offers them.

    torch reads this wish of its process when it makes its first tensor, so it is told before that.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> bool:
    """Ask glibc, for this process, to keep what is freed; False where there is no glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
