"""Adb's shell and files, for both ways to reach the device: directly, or through a running adb server."""

from __future__ import annotations

import errno
import math
import select
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from benchmarking.errors import DeviceError, DeviceLostError, RunCancelledError
from benchmarking.platforms.android import shell_protocol
from benchmarking.platforms.remote.connection import Connection, ShellOutput
from benchmarking.programs.capture import Capture
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import plain

CONNECT_LIMIT_S = 5.0
SILENCE_LIMIT_S = 10.0
"""A transfer that makes no progress for this long has failed."""
END_LIMIT_S = 5.0
"""The time for a script to end after its input has ended."""

TRANSFER_LIMIT_S = 3600.0
LONGEST_REASON = 500
"""Characters, of what a device gives as the reason of a failure."""

_LOCAL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Errors of writing or reading a file on this side."""


@dataclass
class Patience:
    """Decides when to stop waiting for a device. Each byte of a transfer extends its limit."""

    limit_s: float = SILENCE_LIMIT_S
    cancellation: Cancellation | None = None
    renews: bool = True
    total_s: float = TRANSFER_LIMIT_S
    """The limit on the total time, regardless of progress."""

    def __post_init__(self) -> None:
        now = time.monotonic()
        self._deadline = now + self.limit_s
        self._end = now + self.total_s if self.renews else math.inf
        self._is_over = False

    def wait_for(self, connection: socket.socket, *, to_write: bool = False) -> None:
        """Raises:
        TimeoutError: the time is over.
        RunCancelledError: ``cancellation`` was set.
        """
        descriptor = connection.fileno()
        watched = [self.cancellation.fileno()] if self.cancellation else []
        readable, writable, _ = select.select(
            watched if to_write else [*watched, descriptor],
            [descriptor] if to_write else [],
            [],
            max(0.0, min(self._deadline, self._end) - time.monotonic()),
        )
        self.check_time(renew=bool(readable or writable))

    def check_time(self, *, renew: bool) -> None:
        """``renew``: there was progress since the last check. Raises as ``wait_for``."""
        self.check_cancellation()
        now = time.monotonic()
        if now > self._end:
            raise TimeoutError(f"it took longer than {self.total_s:.0f} s")
        if renew and self.renews:
            self._deadline = now + self.limit_s
        elif now > self._deadline:
            # Data that has already arrived when the time is over is read, once: it may be the end.
            if self._is_over or not renew:
                raise TimeoutError(f"no answer within {self.limit_s:.0f} s")
            self._is_over = True

    def check_cancellation(self) -> None:
        if self.cancellation is not None and self.cancellation.is_set:
            raise RunCancelledError("cancelled while a device was working")


class RefusedError(Exception):
    """The device has no such service."""


class ServerError(Exception):
    """An adb server refuses, or something else answers."""


class SyncError(Exception):
    """The device's file service reports an error."""


class Service(ABC):
    """A conversation with a service of the device."""

    @abstractmethod
    def read(self, patience: Patience) -> bytes:
        """Empty once the conversation has ended."""

    @abstractmethod
    def write(self, data: bytes, patience: Patience) -> None: ...

    @abstractmethod
    def close(self) -> None: ...


class AdbConnection(Connection):
    """The common part of both ways to reach a device: the shell, and the classification of failures."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._separate_streams = True
        """Shell protocol version 2, which Android has since version 7."""

    @property
    def address(self) -> str:
        return self._address

    def shell(self, script: str, *, timeout_s: float, cancellation: Cancellation | None) -> ShellOutput:
        patience = Patience(timeout_s, cancellation, renews=False)
        with self.failures("did not finish a command"):
            if self._separate_streams:
                try:
                    with closing(self.open(shell_protocol.SERVICE + script, patience)) as service:
                        return _read_separate(service, patience)
                except RefusedError:
                    self._separate_streams = False
            with closing(self.open(f"exec:{script}", patience)) as service:
                return _read_merged(service, patience)

    def start(self, script: str, *, cancellation: Cancellation | None) -> LiveProgram:
        return _LiveScript(self, script, cancellation)

    def push(self, source: Path, target: str, *, cancellation: Cancellation | None) -> None:
        with self.failures(f"cannot write {target}"):
            self._push(source, target, Patience(cancellation=cancellation))

    def pull(self, source: str, target: Path, *, cancellation: Cancellation | None) -> None:
        with self.failures(f"cannot read {source}"):
            self._pull(source, target, Patience(cancellation=cancellation))

    @abstractmethod
    def open(self, name: str, patience: Patience) -> Service:
        """Opens a service; raises ``RefusedError`` at once if the device does not have it."""

    @abstractmethod
    def _push(self, source: Path, target: str, patience: Patience) -> None: ...

    @abstractmethod
    def _pull(self, source: str, target: Path, patience: Patience) -> None: ...

    @contextmanager
    def failures(self, what: str) -> Iterator[None]:
        """Converts every foreign exception; afterwards the state of the connection is unknown."""
        try:
            yield
        except (RunCancelledError, DeviceError):
            self.close()
            raise
        except _device_refusals() as error:
            self.close()
            raise DeviceError(f"{self.address}: {what}: {error_text(error)}") from error
        except transport_failures() as error:
            self.close()
            is_ours = isinstance(error, OSError) and error.errno in _LOCAL_DISK
            raise (DeviceError if is_ours else DeviceLostError)(
                f"{self.address}: {what}: {error_text(error)}"
            ) from error


class _LiveScript(LiveProgram):
    """A script in the device's shell that is driven line by line."""

    def __init__(self, connection: AdbConnection, script: str, cancellation: Cancellation | None) -> None:
        """Starts the script.

        Raises:
            DeviceError: the device's shell does not keep the streams apart.
        """
        super().__init__()
        self._connection = connection
        self._cancellation = cancellation
        self._packets = shell_protocol.Packets()
        with connection.failures("cannot start a program"):
            try:
                self._service = connection.open(
                    shell_protocol.SERVICE + script, self._within(CONNECT_LIMIT_S)
                )
            except RefusedError as error:
                raise DeviceError(
                    f"{connection.address}: its shell does not separate a program's streams; this needs"
                    " Android 7 or newer"
                ) from error

    @property
    def stderr(self) -> str:
        return self._packets.stderr.text()

    def send(self, data: bytes) -> None:
        self._write(shell_protocol.packet(shell_protocol.STDIN, data))

    def receive(self, timeout_s: float) -> bytes:
        patience = self._within(timeout_s)
        try:
            with self._connection.failures("was lost while a program ran"):
                while data := self._service.read(patience):
                    if stdout := self._packets.feed(data):
                        return stdout
                return b""
        except DeviceLostError as error:
            if isinstance(error.__cause__, TimeoutError):
                raise TimeoutError from error
            raise

    def _write(self, packet: bytes) -> None:
        with self._connection.failures("did not take a program's input"):
            self._service.write(packet, self._within(SILENCE_LIMIT_S))

    def _within(self, limit_s: float) -> Patience:
        return Patience(limit_s, self._cancellation, renews=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The script's processes end with its input; if the connection is lost, the device itself
        ends them.
        """
        with suppress(DeviceError, RunCancelledError, TimeoutError):
            self._write(shell_protocol.packet(shell_protocol.CLOSE_STDIN))
            deadline = time.monotonic() + END_LIMIT_S
            while self.receive(deadline - time.monotonic()):
                pass
        with suppress(*transport_failures()):
            self._service.close()


def transport_failures() -> tuple[type[Exception], ...]:
    from adb_shell import exceptions

    failures: list[type[Exception]] = [
        *(OSError, EOFError, struct.error, ServerError, RefusedError),
        *(exceptions.AdbConnectionError, exceptions.AdbTimeoutError, exceptions.InvalidChecksumError),
        *(exceptions.InvalidCommandError, exceptions.InvalidResponseError, exceptions.InvalidTransportError),
        *(exceptions.TcpTimeoutException, exceptions.UsbReadFailedError, exceptions.UsbWriteFailedError),
        *(exceptions.UsbDeviceNotFoundError, exceptions.DeviceAuthError),
    ]
    with suppress(ImportError, OSError):
        from usb1 import USBError

        failures.append(USBError)
    return tuple(failures)


def _device_refusals() -> tuple[type[Exception], ...]:
    """Errors that the device reports: the disk is full, there is no such file."""
    from adb_shell import exceptions

    return (
        *(exceptions.PushFailedError, exceptions.AdbCommandFailureException),
        *(exceptions.DevicePathInvalidError, SyncError),
    )


def error_text(error: Exception) -> str:
    text = str(error)
    if error.args and isinstance(error.args[0], bytes | bytearray):
        text = error.args[0].decode(errors="replace")
    lines = text.strip()[:LONGEST_REASON].splitlines()
    return plain(lines[0]) if lines else type(error).__name__


def _read_separate(service: Service, patience: Patience) -> ShellOutput:
    packets, stdout = shell_protocol.Packets(), Capture()
    while data := service.read(patience):
        stdout.add(packets.feed(data))
    stderr = packets.stderr
    return ShellOutput(stdout.text(), stderr.text(), stdout.omitted_bytes + stderr.omitted_bytes)


def _read_merged(service: Service, patience: Patience) -> ShellOutput:
    output = Capture()
    while data := service.read(patience):
        output.add(data)
    return ShellOutput(output.text(), "", output.omitted_bytes)
