"""Captures what C and C++ code prints. It bypasses Python's streams, so the file descriptors are
redirected.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def captured(*descriptors: int) -> Iterator[BinaryIO]:
    """Redirects output to a file, which can be read at any time after ``flush``."""
    sys.stdout.flush()
    sys.stderr.flush()
    flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    with tempfile.TemporaryFile(buffering=0) as target:
        try:
            for descriptor in descriptors:
                os.dup2(target.fileno(), descriptor)
            yield target
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            flush()
            for descriptor, old in kept.items():
                os.dup2(old, descriptor)
                os.close(old)


def flush() -> None:
    """Flushes C's buffers; if the C library cannot be reached, its functions flush at each line."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
