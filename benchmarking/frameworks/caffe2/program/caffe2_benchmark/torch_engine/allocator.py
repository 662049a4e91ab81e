"""Freed memory stays with the process, so that the next run does not wait for the system to clear it."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""A constant of glibc's malloc.h."""
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 << 20
"""The largest value that glibc allows; the results of a net's operators are usually smaller."""


def keep_freed_memory() -> None:
    """Only for glibc. Weights, which are larger, are still returned to the system."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
