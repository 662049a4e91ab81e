"""Directories that take long to make, kept for the next time: environments, builds of commits.

A directory is made in its place, because environments and builds contain their own paths, and its manifest is
written last: without one it was not finished, and is made again.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarking.bounds import read_file
from benchmarking.errors import RunCancelledError, StorageError
from benchmarking.files import atomic_file
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

MANIFEST = "made.json"
MANIFEST_LIMIT_BYTES = 1_000_000
LOOK_AGAIN_S = 0.2

Facts = Mapping[str, str]
"""What a directory was made from, for those who look for it or read about it."""


class _Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    title: str
    facts: dict[str, str]


@dataclass(frozen=True)
class Made:
    """A directory that is there."""

    name: str
    title: str
    facts: Facts
    last_used: float
    """Unix seconds."""
    directory: Path

    def size_bytes(self) -> int:
        total = 0
        for directory, _, names in os.walk(self.directory):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118 - many
        return total


@dataclass(frozen=True)
class MadeDirectories:
    """Of one kind. Several processes may use them at the same time."""

    directory: Path

    @contextmanager
    def using(
        self,
        name: str,
        title: str,
        facts: Facts,
        make: Callable[[Path], None],
        cancellation: Cancellation,
    ) -> Iterator[Path]:
        """The directory ``name``, made with ``make`` if it is not there; nobody removes it in the meantime.

        Args:
            make: makes the directory, whose parent exists, or raises; what it leaves is then removed.

        Raises:
            StorageError: the user's cache directory cannot be written.
            RunCancelledError: cancelled while another process made or removed it.
        """
        manifest, content = self.directory / name / MANIFEST, self.directory / name / name
        with _lock_file(self.directory / f"{name}.lock") as lock:
            _lock(lock, fcntl.LOCK_SH, cancellation)
            while self._read(name) is None:
                _lock(lock, fcntl.LOCK_EX, cancellation)
                if self._read(name) is None:
                    self._make(content, make)
                    _write(manifest, _Manifest(title=title, facts=dict(facts)))
                _lock(lock, fcntl.LOCK_SH, cancellation)
            with suppress(OSError):  # it may belong to another user
                os.utime(manifest)
            yield content

    @staticmethod
    def _make(content: Path, make: Callable[[Path], None]) -> None:
        shutil.rmtree(content.parent, ignore_errors=True)
        try:
            content.parent.mkdir(parents=True)
            make(content)
        except OSError as error:
            shutil.rmtree(content.parent, ignore_errors=True)
            raise StorageError(f"{content.parent}: {error.strerror or error}") from error
        except BaseException:
            shutil.rmtree(content.parent, ignore_errors=True)
            raise

    def all(self) -> list[Made]:
        """Those that are finished, the one that was used last first."""
        names = sorted(path.parent.name for path in self.directory.glob(f"*/{MANIFEST}"))
        found = [made for name in names if (made := self._read(name)) is not None]
        return sorted(found, key=lambda one: -one.last_used)

    def remove(self, name: str) -> bool:
        """False: a process uses it.

        Raises:
            StorageError: it cannot be removed.
        """
        with _lock_file(self.directory / f"{name}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            try:
                (self.directory / name / MANIFEST).unlink(missing_ok=True)
                shutil.rmtree(self.directory / name)
            except OSError as error:
                raise StorageError(f"cannot remove {self.directory / name}: {error.strerror}") from error
        return True

    def _read(self, name: str) -> Made | None:
        """None: it is not there, or was not finished."""
        path = self.directory / name / MANIFEST
        try:
            manifest = _Manifest.model_validate_json(read_file(path, MANIFEST_LIMIT_BYTES))
            last_used = path.stat().st_mtime
        except (OSError, ValueError, ValidationError):
            return None
        return Made(name, plain(manifest.title), manifest.facts, last_used, path.parent)


@contextmanager
def locked(path: Path, cancellation: Cancellation) -> Iterator[None]:
    """This process alone holds the lock, whose file is made.

    Raises:
        StorageError: the file cannot be made.
        RunCancelledError: cancelled while waiting.
    """
    with _lock_file(path) as lock:
        _lock(lock, fcntl.LOCK_EX, cancellation)
        yield


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(f"cannot lock {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int, cancellation: Cancellation) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        if cancellation.wait(LOOK_AGAIN_S):
            raise RunCancelledError("cancelled while another process made an environment or a build")


def _write(path: Path, manifest: _Manifest) -> None:
    try:
        atomic_file.write_text(path, manifest.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
