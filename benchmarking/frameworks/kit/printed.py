"""What C and C++ code prints does not pass Python's streams: the descriptors themselves are turned."""

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
    """Into a file, from which it can be read meanwhile, after ``flush``."""
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
    """What C's buffers hold; where its library cannot be reached, its functions flush line by line."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
