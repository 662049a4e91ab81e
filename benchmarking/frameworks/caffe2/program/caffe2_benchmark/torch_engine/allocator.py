"""Freed memory stays with the process, so that the next run does not wait for the system to clear it."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 << 20
"""The most that glibc allows; the results of a net's operators are smaller, as a rule."""


def keep_freed_memory() -> None:
    """Where the C library is glibc. Weights, which are larger, are given back to the system all the same."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
