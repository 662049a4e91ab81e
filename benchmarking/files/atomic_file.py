"""Files that exist completely or not at all: a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY_PREFIX = ".tmp-"
"""Readers of a directory skip names with this prefix: a killed process may have left them."""


@contextmanager
def writing(path: Path, *, executable: bool = False) -> Iterator[BinaryIO]:
    """A binary stream whose content appears as ``path`` when the block ends without an error. It can be read
    back in the meantime.

    Raises:
        OSError: the file cannot be written, or is a device (root would replace even /dev/null);
            ``path`` is as it was.
    """
    if _is_never_replaced(path):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            os.fchmod(stream.fileno(), (0o777 if executable else 0o666) & ~umask())
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    sync_directory(path.parent)


def _is_never_replaced(path: Path) -> bool:
    """A device, or one of the system's names for an open file, such as /dev/stdout."""
    is_name_of_open_file = path.is_symlink() and path.absolute().parts[1] in ("dev", "proc")
    return is_name_of_open_file or path.is_char_device() or path.is_block_device()


def write_text(path: Path, text: str) -> None:
    with writing(path) as stream:
        stream.write(text.encode("utf-8"))


def sync_directory(directory: Path) -> None:
    """Makes renames in the directory survive a power failure, if the file system can."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def umask() -> int:
    """The process's mask; /proc reports it without the temporary change that ``os.umask`` needs."""
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
