"""The check of a report's file before anything is measured."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarking.errors import UsageError


def checked(option: str, file: Path) -> Path:
    """The absolute path of a file that can be written.

    Raises:
        UsageError: its directory is missing or cannot be written to, or it is a directory itself.
    """
    try:
        with tempfile.TemporaryFile(dir=file.absolute().parent):
            pass
    except OSError as error:
        raise UsageError(f"{option}: cannot write to {file.absolute().parent}: {error.strerror}") from error
    if file.is_dir():
        raise UsageError(f"{option}: {file} is a directory; name a file")
    return file.absolute()
