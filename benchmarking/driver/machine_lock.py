"""A lock that the users of a machine share, though none of them trusts another.

It is an empty file in a directory in which all may create files, and nobody may remove those of others.
Nothing is read from it or written to it, and no link is followed. Whoever holds the lock without measuring
anything keeps others from measuring, which a program that computes all the time does as well.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from benchmarking.results.plain_text import plain

VARIABLE = "ML_BENCHMARK_MACHINE_LOCKS"
"""In the environment: another directory for these locks, or nothing for none."""
_DIRECTORIES = ("/run/lock", "/tmp")  # noqa: S108 - the files are opened with care
_FOR_ALL = stat.S_ISVTX | 0o777
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_SYSTEM_LOCKS = Path("/proc/locks")


def directory() -> Path | None:
    """The same for all users; None: this machine has none, or the user does not want it."""
    if (chosen := os.environ.get(VARIABLE)) is not None:
        return Path(chosen) if chosen else None
    return next((path for path in map(Path, _DIRECTORIES) if _is_for_all(path)), None)


def _is_for_all(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_mode & _FOR_ALL == _FOR_ALL and found.st_uid == 0


def opened(path: Path) -> int:
    """The file, created if there is none.

    Raises:
        OSError: as ``existing``.
    """
    # Not O_CREAT for a file that exists: systems refuse that for another user's file in such a directory.
    with suppress(FileNotFoundError):
        return existing(path)
    try:
        descriptor = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:  # created in the meantime
        return existing(path)
    os.fchmod(descriptor, 0o644)  # whatever the umask is: who can read it can lock it
    return descriptor


def existing(path: Path) -> int:
    """
    Raises:
        OSError: there is none, something else is in its place, or a user keeps it from the others.
    """
    descriptor = os.open(path, _OPEN)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a regular file")
    return descriptor


def holder(descriptor: int) -> str:
    """The process that took the lock, and its user, as the operating system knows them."""
    import psutil

    with suppress(OSError, ValueError, psutil.Error):
        if pid := _holding_process(descriptor):
            return f"process {pid} of {plain(psutil.Process(pid).username())}"
    return "a program of another user"


def _holding_process(descriptor: int) -> int | None:
    """None: the system does not tell."""
    found = os.fstat(descriptor)
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in _SYSTEM_LOCKS.read_text(encoding="ascii").splitlines():
        words = line.split()  # 1: FLOCK ADVISORY WRITE 4261 fe:00:5317298 0 EOF
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == place:
            return int(words[4])
    return None
