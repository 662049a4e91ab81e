"""One run on a device at a time, among the threads, processes and users of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from benchmarking.bounds import parse_json, read_file
from benchmarking.driver import machine_lock
from benchmarking.driver.settings import WhenBusy
from benchmarking.errors import DeviceBusyError, DeviceError, RunCancelledError
from benchmarking.files import atomic_file
from benchmarking.files.user import APPLICATION, user_directory, user_name
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.programs import leftovers
from benchmarking.programs.process import Cancellation, Tether
from benchmarking.results.plain_text import plain

LOOK_AGAIN_S = 0.5
VARIABLE = "ML_BENCHMARK_DEVICE_LOCK"
"""In the environment of every process on this machine that works on a device: the lock, and a word that
identifies the run.
"""
OWNER_LIMIT_BYTES = 10_000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceLocks:
    """The operating system holds the lock as long as the process that took it lives, or any process that it
    started.

    If a run is killed, its device therefore does not look free while the run's program still computes there.
    The next run names the processes that are left and ends them.
    """

    directory: Path
    """Of this user."""
    when_busy: WhenBusy = "wait"
    of_machine: Path | None = None
    """The directory of ``machine_lock``; None: other users of this machine are not considered."""

    @classmethod
    def of_user(cls, when_busy: WhenBusy) -> DeviceLocks:
        return cls(user_directory("state") / "locks", when_busy, machine_lock.directory())

    @contextmanager
    def held(self, platform: PlatformBase, cancellation: Cancellation) -> Iterator[None]:
        """Raises:
        DeviceBusyError: another holds it, and we were not to wait.
        DeviceError: the lock cannot be made.
        RunCancelledError: cancelled while waiting.
        """
        name = platform.device.name
        path = self._path(platform)
        # Locks are only closed, not unlocked: a process that could not be ended keeps them.
        with ExitStack() as closing:
            try:
                self.directory.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                closing.callback(os.close, descriptor)
                self.until_free(lambda: self._take(descriptor, platform), name, cancellation, LOOK_AGAIN_S)
                lock_mark = _lock_mark(path, descriptor)
                mark = f"{lock_mark}{secrets.token_hex(8)}"
                leftovers.end_marked(VARIABLE, lambda value: value.startswith(lock_mark))
                _Owner.of_this_process(mark).write(path)
                closing.callback(_remove_owner, path)
                others = self._opened_of_machine(platform)
                for one in others:
                    closing.callback(os.close, one)
                    take = partial(self._take_of_machine, one, platform)
                    self.until_free(take, name, cancellation, LOOK_AGAIN_S)
            except OSError as error:
                raise DeviceError(f"cannot lock {name} in {self.directory}: {error}") from error
            platform.tether = Tether(descriptor, VARIABLE, mark, others)
            try:
                yield
            finally:
                platform.tether = None
                leftovers.end_marked(VARIABLE, mark.__eq__, "a program of this run")

    def holder(self, platform: PlatformBase) -> str | None:
        """The user of a device on this machine."""
        path = self._path(platform)
        with suppress(OSError), _open(os.open(path, os.O_RDWR)) as descriptor:
            if not _is_taken(descriptor):
                return _describe(_Owner.read(path), path)
        if self.of_machine is not None:
            with (
                suppress(OSError),
                _open(machine_lock.existing(self._path_of_machine(platform))) as descriptor,
            ):
                if not _is_taken(descriptor):
                    return machine_lock.holder(descriptor)
        return None

    def until_free(
        self, take: Callable[[], object], name: str, cancellation: Cancellation, look_again_s: float
    ) -> None:
        """Calls ``take`` until it does not raise that the device is busy.

        Raises:
            DeviceBusyError: it is, and we were not to wait.
            RunCancelledError: cancelled while waiting.
        """
        is_reported = False
        while True:
            try:
                take()
                return
            except DeviceBusyError as error:
                if self.when_busy == "fail":
                    raise
                if not is_reported:
                    logger.warning("%s: waiting until it is free", error)
                    is_reported = True
            if cancellation.wait(look_again_s):
                raise RunCancelledError(f"cancelled while waiting for {name}")

    def _take(self, descriptor: int, platform: PlatformBase) -> None:
        """
        Raises:
            DeviceBusyError: another has it.
        """
        path = self._path(platform)
        if _is_taken(descriptor):
            return
        owner = _Owner.read(path)
        if owner is not None and not owner.is_alive(path):
            # By its own mark: another run may take the lock at this moment and start programs.
            leftovers.end_marked(VARIABLE, owner.mark.__eq__)
            if _is_taken(descriptor):
                return
        raise self._busy(platform, _describe(owner, path))

    def _opened_of_machine(self, platform: PlatformBase) -> tuple[int, ...]:
        if self.of_machine is None:
            return ()
        path = self._path_of_machine(platform)
        try:
            return (machine_lock.opened(path),)
        except OSError as error:
            logger.warning(
                "other users may measure on %s at the same time: the lock %s cannot be used: %s",
                *(platform.device.name, path, error.strerror or error),
            )
            return ()

    def _take_of_machine(self, descriptor: int, platform: PlatformBase) -> None:
        """
        Raises:
            DeviceBusyError: another user has it.
        """
        if not _is_taken(descriptor):
            raise self._busy(platform, machine_lock.holder(descriptor))

    def _busy(self, platform: PlatformBase, holder: str) -> DeviceBusyError:
        advice = "; --when_busy wait waits for it" if self.when_busy == "fail" else ""
        return DeviceBusyError(f"{platform.device.name} is in use by {holder}{advice}")

    def _path(self, platform: PlatformBase) -> Path:
        return self.directory / f"{_digest(platform)}.lock"

    def _path_of_machine(self, platform: PlatformBase) -> Path:
        return (self.of_machine or self.directory) / f"{APPLICATION}-{_digest(platform)}.lock"


def _digest(platform: PlatformBase) -> str:
    return hashlib.sha256(f"{platform.name} {platform.device.hash}".encode()).hexdigest()[:16]


@contextmanager
def _open(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove_owner(lock: Path) -> None:
    with suppress(OSError):
        _owner_path(lock).unlink()


def _owner_path(lock: Path) -> Path:
    return lock.with_suffix(".owner")


def _lock_mark(lock: Path, descriptor: int) -> str:
    """The mark of this very file: runs that hold another file, which was removed, are not leftovers."""
    return f"{lock.absolute()} {os.fstat(descriptor).st_ino} "


def _is_taken(descriptor: int) -> bool:
    """Takes the lock for this process if it is free; whether it was taken by another."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class _Owner:
    """The process that took a lock, as it recorded itself."""

    user: str
    pid: int
    since: float
    """Unix seconds, when it took the lock."""
    mark: str

    @classmethod
    def of_this_process(cls, mark: str) -> _Owner:
        return cls(user_name(), os.getpid(), time.time(), mark)

    @classmethod
    def read(cls, lock: Path) -> _Owner | None:
        """None if there is none, or if it cannot be read."""
        try:
            said = parse_json(read_file(_owner_path(lock), OWNER_LIMIT_BYTES))
            return cls(
                user=str(said["user"]),
                pid=int(said["pid"]),
                since=float(said["since"]),
                mark=str(said["mark"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, lock: Path) -> None:
        atomic_file.write_text(_owner_path(lock), json.dumps(asdict(self)))

    def is_alive(self, lock: Path) -> bool:
        """Its number alone may belong to another process by now."""
        return leftovers.holds_open(self.pid, lock)


def _describe(owner: _Owner | None, lock: Path) -> str:
    if owner is None:
        return "another process"
    try:
        since = datetime.fromtimestamp(owner.since).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):
        since = "some time ago"
    process = f"process {owner.pid} of {plain(owner.user)}"
    if owner.is_alive(lock):
        return f"{process} since {since}"
    return f"the processes that {process}, which took it at {since} and is gone, left running"
