"""The limits of a program's output folder, and how the folder is copied on this machine. Links are never
followed: a link to the root of a disk would copy the whole disk.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarking.errors import DeviceError, ProgramOutputError
from benchmarking.results.plain_text import plain

logger = logging.getLogger(__name__)

MOST_FILES = 10_000
"""The limit on entries, including folders and everything else."""
MOST_BYTES = 2**34
DEEPEST = 50
"""The limit on levels of folders."""
_BLOCK_BYTES = 2**20

TOO_DEEP = f"the program's output folder has more than {DEEPEST} levels"
SWAPPED = "the program has replaced its output folder by something else"
TOO_MANY = "the program has written more than {:,} files to its output folder"


def check(sizes: Collection[int], destination: Path) -> None:
    """Checks the outputs before they are copied.

    Raises:
        ProgramOutputError: it is more than is fetched.
        DeviceError: there is no room for it on this machine.
    """
    if len(sizes) > MOST_FILES:
        raise ProgramOutputError(TOO_MANY.format(MOST_FILES))
    needed = sum(sizes)
    if needed > MOST_BYTES:
        raise ProgramOutputError(
            f"the program has written {needed:,} bytes to its output folder; up to {MOST_BYTES:,} are fetched"
        )
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise DeviceError(
            f"{destination}: No space left on device: the outputs take {needed} bytes, {free} are free on "
            "this machine; set TMPDIR"
        )


@contextmanager
def storing(destination: Path) -> Iterator[None]:
    """Converts the errors of writing a copy."""
    try:
        yield
    except OSError as error:
        raise DeviceError(f"cannot copy the outputs to {destination}: {error.strerror or error}") from error


def copy_local(source: Path, destination: Path) -> None:
    """Copies the outputs.

    Raises:
        ProgramOutputError: it is more than is fetched, or cannot be read.
        DeviceError: it cannot be written.
    """
    files = dict(_regular_files(source))
    check(files.values(), destination)
    for name, size in files.items():
        target = destination / name
        with storing(destination):
            target.parent.mkdir(parents=True, exist_ok=True)
        with _reading(name):
            stream = os.fdopen(os.open(source / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
        with stream, storing(destination), target.open("wb") as copy:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ProgramOutputError(SWAPPED)
            while size > 0 and (block := stream.read(min(size, _BLOCK_BYTES))):
                copy.write(block)
                size -= len(block)


def _regular_files(root: Path) -> Iterator[tuple[Path, int]]:
    """Yields the paths below ``root`` with their sizes."""
    if root.is_symlink() or not root.is_dir():
        raise ProgramOutputError(SWAPPED)
    pending, room = [Path()], MOST_FILES
    while pending:
        folder = pending.pop()
        if len(folder.parts) > DEEPEST:
            raise ProgramOutputError(TOO_DEEP)
        with _reading(folder), os.scandir(root / folder) as found:
            entries = list(islice(found, room + 1))
            room -= len(entries)
            if room < 0:
                raise ProgramOutputError(TOO_MANY.format(MOST_FILES))
            for entry in entries:
                name = folder / entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield name, entry.stat(follow_symlinks=False).st_size
                elif entry.is_symlink():
                    logger.warning("the output %s is a link, which is not followed", plain(str(name)))


@contextmanager
def _reading(name: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        shown = plain(str(name))[:200]
        raise ProgramOutputError(f"cannot read the output {shown}: {error.strerror or error}") from error
