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
from typing import IO

from .errors import ModelError

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def captured(*descriptors: int) -> Iterator[IO[bytes]]:
    """Redirects output to a file, which can be read at any time after ``flush``.

    Raises:
        ModelError: there is no place for the file.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    flush()
    with _file() as target:
        kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
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


def _file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError as error:
        raise ModelError("no place for what the runtime prints: %s; set TMPDIR" % error) from error


def flush() -> None:
    """Flushes C's buffers; if the C library cannot be reached, its functions flush at each line."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)
