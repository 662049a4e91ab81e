"""Where memory comes from."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from typing import Any

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""A constant of glibc's malloc.h."""
_NEVER = 2**31 - 1
_LARGEST_BYTES = 32 << 20
"""The largest value that glibc allows; the results of a net's operators are usually smaller."""
ALIGNMENT = 64
"""The bytes of a line of the cache."""
_CHUNK_BYTES = 16 << 20


def aligned(address: int) -> int:
    return -(-address // ALIGNMENT) * ALIGNMENT


class LargePages:
    """Memory for what a net reads in every run; in large pages (2 MiB) where the system has them, so that the
    processor finds it without reading tables first.
    """

    def __init__(self) -> None:
        self._chunk: Any = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def take(self, size: int) -> Any:
        """A tensor of that many bytes, aligned, which holds its memory."""
        needed = aligned(size)
        if self._used + needed > len(self._chunk):
            self._chunk, self._used = _large_pages(max(needed, _CHUNK_BYTES)), 0
        start = self._used
        self._used += needed
        return self._chunk[start : start + size]


def _large_pages(size: int) -> Any:
    memory = mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):  # not Linux, or switched off
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8)


def keep_freed_memory() -> None:
    """Freed memory stays with the process, so that the next run does not wait for the system to clear it.

    Only for glibc. Weights, which are larger, are still returned to the system.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)
