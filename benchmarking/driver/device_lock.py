"""One user of a device at a time, between the threads and processes of this machine."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from benchmarking.errors import DeviceBusyError, DeviceError, RunCancelledError
from benchmarking.options import WhenBusy
from benchmarking.platforms.platform_base import PlatformBase
from benchmarking.process import Cancellation
from benchmarking.user import user_name

LOOK_AGAIN_S = 0.5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceLocks:
    """The operating system holds the lock, so it ends with its owner, however that ends."""

    directory: Path
    when_busy: WhenBusy = "wait"

    @contextmanager
    def held(self, platform: PlatformBase, cancellation: Cancellation) -> Iterator[None]:
        """Raises:
        DeviceBusyError: another holds it, and we were not to wait.
        DeviceError: the lock cannot be made.
        RunCancelledError: cancelled while waiting.
        """
        import filelock

        device = platform.device
        path, owner = self._files(platform)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            told = False
            while True:
                with suppress(filelock.Timeout):
                    lock.acquire(timeout=0)
                    break
                holder = f"{device.name} is in use by {_describe(owner)}"
                if self.when_busy == "fail":
                    raise DeviceBusyError(f"{holder}; --when_busy wait waits for it")
                if not told:
                    logger.warning("%s: waiting until it is free", holder)
                    told = True
                if cancellation.wait(LOOK_AGAIN_S):
                    raise RunCancelledError(f"cancelled while waiting for {device.name}")
            owner.write_text(
                json.dumps({"user": user_name(), "pid": os.getpid(), "since": time.time()}),
                encoding="utf-8",
            )
        except OSError as error:
            raise DeviceError(f"cannot lock {device.name} in {self.directory}: {error}") from error
        try:
            yield
        finally:
            with suppress(OSError):
                owner.unlink()
            lock.release()

    def holder(self, platform: PlatformBase) -> str | None:
        """Who of this machine uses a device now."""
        import filelock

        path, owner = self._files(platform)
        if not path.exists():
            return None
        try:
            with filelock.FileLock(path, timeout=0):
                return None
        except filelock.Timeout:
            return _describe(owner)

    def _files(self, platform: PlatformBase) -> tuple[Path, Path]:
        digest = hashlib.sha256(f"{platform.name} {platform.device.hash}".encode()).hexdigest()[:16]
        return self.directory / f"{digest}.lock", self.directory / f"{digest}.owner"


def _describe(owner: Path) -> str:
    try:
        said = json.loads(owner.read_text(encoding="utf-8"))
        since = datetime.fromtimestamp(said["since"]).astimezone().strftime("%H:%M:%S")
        return f"process {said['pid']} of {said['user']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
