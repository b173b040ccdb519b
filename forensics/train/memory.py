"""Keeping freed memory: a step of training frees and asks for the same gigabytes again.

The GNU C library gives large blocks back to the system at once and gets them anew, each page by a fault of its own. On
a processor's core up to two fifths of a step are spent there.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]

# <malloc.h>: trim threshold, top pad, blocks from mmap, arenas
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_PAD = 64 << 20


def keep_memory() -> bool:
    """Make this process keep the memory that it frees; return whether its C library can.

    For a process that trains and ends: what was once needed stays taken until then. Only the GNU C library on Linux is
    asked; elsewhere nothing changes.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PAD), (_ARENA_MAX, 1))
    return all(mallopt(name, value) == 1 for name, value in settings)
