"""Temporary directories that are known to be in use: if their process is killed, a later run removes them."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Self

PREFIXES = ("benchmark-run-", "bench-ssh-")
"""Only of directories that are held; other temporary directories of ours have other names."""
SHORT_PATHS = "/tmp"  # noqa: S108 - the path of a socket has at most about 100 characters, $TMPDIR often more


class HeldDirectory:
    """A new directory, locked by this process and by none of its children: the lock goes with the process,
    however it ends.
    """

    def __init__(self, prefix: str, parent: str | None = None) -> None:
        """``prefix``: one of ``PREFIXES``.

        Raises:
            OSError: no directory can be made.
        """
        while True:
            self._directory = tempfile.TemporaryDirectory(
                prefix=prefix, dir=parent, ignore_cleanup_errors=True
            )
            self.path = Path(self._directory.name)
            try:
                self._descriptor = _locked(self.path, fcntl.LOCK_EX)
            except FileNotFoundError:
                self._directory.cleanup()
                continue  # another run has found it before it was locked
            except OSError:
                self._directory.cleanup()
                raise
            return

    def remove(self) -> None:
        self._directory.cleanup()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def remove_abandoned() -> None:
    """Removes the directories of this user whose processes are gone. Others are left alone."""
    for parent in {tempfile.gettempdir(), SHORT_PATHS}:
        for prefix in PREFIXES:
            for path in Path(parent).glob(f"{prefix}*"):
                with suppress(OSError):  # it is in use, is another user's, or has just gone
                    descriptor = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    try:
                        shutil.rmtree(path, ignore_errors=True)
                    finally:
                        os.close(descriptor)


def _locked(path: Path, how: int) -> int:
    """A descriptor of the directory, which holds the lock.

    Raises:
        BlockingIOError: another process holds it.
        FileNotFoundError: the directory was removed meanwhile.
        PermissionError: it is another user's.
        OSError: it is not a directory, or cannot be locked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"{path} is another user's")
        fcntl.flock(descriptor, how)
        if not os.path.samestat(os.fstat(descriptor), path.lstat()):
            raise FileNotFoundError(f"{path} is another directory now")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
