"""The way to a device: its shell and its files. Adb and ssh are two ways; what is done there is the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation


@dataclass(frozen=True)
class ShellOutput:
    """What a shell wrote. Whether it came to its end, the output itself has to tell."""

    stdout: str
    stderr: str
    omitted_bytes: int = 0


class Connection(ABC):
    """Used by one thread at a time. It connects when it is first used, and again after a failure."""

    @property
    @abstractmethod
    def address(self) -> str:
        """How a person names this way to the device: ``board1``, ``192.168.1.7:5555``, a serial number."""

    @abstractmethod
    def shell(self, script: str, *, timeout_s: float, cancellation: Cancellation | None) -> ShellOutput:
        """Gives a script to the device's POSIX shell.

        The script's standard input stays open while we wait for it, and ends when we do not wait any more.

        Raises:
            DeviceLostError: the connection broke, or nothing came back in time.
            RunCancelledError: ``cancellation`` was set.
        """

    @abstractmethod
    def start(self, script: str, *, cancellation: Cancellation | None) -> LiveProgram:
        """Starts a script that is spoken to. Several may run side by side, and beside ``shell``.

        Raises:
            DeviceError: this device offers no such thing.
            DeviceLostError, RunCancelledError: as ``shell``.
        """

    @abstractmethod
    def push(self, source: Path, target: str, *, cancellation: Cancellation | None) -> None:
        """Writes a local file to a path on the device. What lies there afterwards is to be checked.

        Raises:
            DeviceError: it could not be written.
            DeviceLostError, RunCancelledError: as ``shell``.
        """

    @abstractmethod
    def pull(self, source: str, target: Path, *, cancellation: Cancellation | None) -> None:
        """The other way round, under the same terms."""

    def restart(self) -> None:
        """Ends the connection, and whatever on our side stands between us and the device."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the connection; the next use makes a new one."""
