"""The connection to a device: its shell and its files. Adb and ssh are two kinds of connection; the
operations are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from benchmarking.errors import DeviceError
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation

LONGEST_ARGUMENT_BYTES = 2**17 - 1
"""Linux takes no longer one, and a script is one argument of the device's shell."""


@dataclass(frozen=True)
class ShellOutput:
    """The output of a shell. Only the output itself shows whether the shell completed."""

    stdout: str
    stderr: str
    omitted_bytes: int = 0


class Connection(ABC):
    """Used by one thread at a time. It connects on first use, and again after a failure."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The name that people use for this connection: ``board1``, ``192.168.1.7:5555``, a serial number."""

    @abstractmethod
    def shell(self, script: str, *, timeout_s: float, cancellation: Cancellation | None) -> ShellOutput:
        """Passes a script to the device's POSIX shell.

        The script's standard input stays open while the caller waits for it, and ends when the caller stops
        waiting.

        Raises:
            DeviceLostError: the connection broke, or nothing came back in time.
            RunCancelledError: ``cancellation`` was set.
        """

    @abstractmethod
    def start(self, script: str, *, cancellation: Cancellation | None) -> LiveProgram:
        """Starts a script that is driven line by line. Several may run side by side, and alongside ``shell``.

        Raises:
            DeviceError: this device offers no such thing.
            DeviceLostError, RunCancelledError: as ``shell``.
        """

    @abstractmethod
    def push(self, source: Path, target: str, *, cancellation: Cancellation | None) -> None:
        """Writes a local file to a path on the device. The caller has to verify the result.

        Raises:
            DeviceError: it could not be written.
            DeviceLostError, RunCancelledError: as ``shell``.
        """

    @abstractmethod
    def pull(self, source: str, target: Path, *, cancellation: Cancellation | None) -> None:
        """Copies in the other direction, under the same terms."""

    def restart(self) -> None:
        """Ends the connection, and everything on this side between the harness and the device."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Ends the connection; the next use opens a new one."""


def check_length(address: str, script: bytes, longest_bytes: int = LONGEST_ARGUMENT_BYTES) -> None:
    """
    Raises:
        DeviceError: the script is too long to be passed on.
    """
    if len(script) > longest_bytes:
        raise DeviceError(
            f"{address}: a command of {len(script)} bytes cannot be passed on, only one of {longest_bytes}; "
            "give the program fewer or shorter arguments"
        )
