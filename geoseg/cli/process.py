"""Memory settings of the geoseg process, for faster forward passes on the CPU.

glibc returns large blocks to the operating system when they are freed. A network allocates and frees
hundreds of megabytes per forward pass, and the kernel zeroes every page again: on two cores that took more
than a third of a pass (`benchmarks/heap.py`). Huge pages are 512 times fewer. Keeping freed memory avoids
the page faults altogether, but fragments the heap when windows of many sizes follow each other.

Both settings apply to the whole process, so only the command line makes them; a library call never does.
"""

from __future__ import annotations

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h
_NEVER = 2**31 - 1


def request_huge_pages() -> None:
    """Let torch allocate large tensors on huge pages, where Linux supports them.

    torch reads the environment variable when it allocates its first tensor, so call this before. A value
    that the user has set is kept.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory in this process; return False if the C library is another one."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # not glibc
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
