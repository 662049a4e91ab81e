"""Adb's shell and files, directly to a device (adb-shell) or through a running adb server (adbutils).

The only users of the two libraries. What adb-shell 0.4.4 lacks is mended here; each of it has a test against
the real daemon.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarking.capture import Capture
from benchmarking.errors import DeviceError, DeviceLostError, RunCancelledError
from benchmarking.platforms.remote.connection import Connection, ShellOutput
from benchmarking.process import Cancellation

if TYPE_CHECKING:
    from adb_shell.adb_device import AdbDevice

CONNECT_LIMIT_S = 5.0
AUTHORIZATION_LIMIT_S = 10.0
"""For a person to allow this machine on the device's screen."""
SILENCE_LIMIT_S = 10.0
"""A transfer in which nothing moves for so long has failed."""
DEFAULT_PORT = 5555
SERVER_PORT = 5037

_LOCAL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Failures to write or read a file on this side."""
_SHELL_HEADER = struct.Struct("<BI")
_STDOUT, _STDERR, _EXIT = 1, 2, 3


@dataclass
class Patience:
    """When to stop waiting for a device. A transfer's limit moves on with every byte."""

    limit_s: float = SILENCE_LIMIT_S
    cancellation: Cancellation | None = None
    renews: bool = True

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.limit_s

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
            max(0.0, self._deadline - time.monotonic()),
        )
        self.check_time(renew=bool(readable or writable))

    def check_time(self, *, renew: bool) -> None:
        """``renew``: something moved since the last look. Raises as ``wait_for``."""
        self.check_cancellation()
        if renew and self.renews:
            self._deadline = time.monotonic() + self.limit_s
        if not renew and time.monotonic() > self._deadline:
            raise TimeoutError(f"no answer within {self.limit_s:.0f} s")

    def check_cancellation(self) -> None:
        if self.cancellation is not None and self.cancellation.is_set:
            raise RunCancelledError("cancelled while a device was at work")


class AdbConnection(Connection):
    """What the two ways have in common: the shell protocol, and whose fault a failure is."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._separate_streams = True
        """Shell protocol version 2, which Android has since version 7."""

    @property
    def address(self) -> str:
        return self._address

    def shell(self, script: str, *, timeout_s: float, cancellation: Cancellation | None) -> ShellOutput:
        patience = Patience(timeout_s, cancellation, renews=False)
        with self._failures("did not finish a command"):
            if self._separate_streams:
                try:
                    return _read_separate(self._service(f"shell,v2,raw:{script}", patience))
                except _RefusedError:
                    self._separate_streams = False
            return _read_merged(self._service(f"exec:{script}", patience))

    def push(self, source: Path, target: str, *, cancellation: Cancellation | None) -> None:
        with self._failures(f"cannot write {target}"):
            self._push(source, target, Patience(cancellation=cancellation))

    def pull(self, source: str, target: Path, *, cancellation: Cancellation | None) -> None:
        with self._failures(f"cannot read {source}"):
            self._pull(source, target, Patience(cancellation=cancellation))

    @abstractmethod
    def _service(self, name: str, patience: Patience) -> Iterator[bytes]:
        """What the device's service writes; raises ``_RefusedError`` at once where there is none."""

    @abstractmethod
    def _push(self, source: Path, target: str, patience: Patience) -> None: ...

    @abstractmethod
    def _pull(self, source: str, target: Path, patience: Patience) -> None: ...

    @contextmanager
    def _failures(self, what: str) -> Iterator[None]:
        """Maps every foreign exception; after one of them nothing is known of the connection's state."""
        try:
            yield
        except RunCancelledError:
            self.close()
            raise
        except DeviceError:
            self.close()
            raise
        except _device_refusals() as error:
            self.close()
            raise DeviceError(f"{self.address}: {what}: {_text(error)}") from error
        except _transport_failures() as error:
            self.close()
            is_ours = isinstance(error, OSError) and error.errno in _LOCAL_DISK
            raise (DeviceError if is_ours else DeviceLostError)(
                f"{self.address}: {what}: {_text(error)}"
            ) from error


class _RefusedError(Exception):
    """The device has no such service."""


def _transport_failures() -> tuple[type[Exception], ...]:
    from adb_shell import exceptions
    from adbutils import errors

    failures: list[type[Exception]] = [
        *(OSError, EOFError, struct.error, errors.AdbError, _RefusedError),
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
    """The device is there, and says no: the disk is full, there is no such file."""
    from adb_shell import exceptions
    from adbutils import errors

    return (
        *(exceptions.PushFailedError, exceptions.AdbCommandFailureException),
        *(exceptions.DevicePathInvalidError, errors.AdbSyncError),
    )


def _text(error: Exception) -> str:
    text = str(error).strip()
    if error.args and isinstance(error.args[0], bytes | bytearray):
        text = error.args[0].decode(errors="replace")
    return text.splitlines()[0] if text else type(error).__name__


def _read_separate(chunks: Iterator[bytes]) -> ShellOutput:
    """Packets of one byte of kind and four of length."""
    captures = {_STDOUT: Capture(), _STDERR: Capture()}
    pending = bytearray()
    for chunk in chunks:
        pending += chunk
        start = 0
        while len(pending) - start >= _SHELL_HEADER.size:
            kind, length = _SHELL_HEADER.unpack_from(pending, start)
            end = start + _SHELL_HEADER.size + length
            if len(pending) < end:
                break
            if kind in captures:
                captures[kind].add(bytes(pending[start + _SHELL_HEADER.size : end]))
            start = end
        del pending[:start]
    stdout, stderr = captures[_STDOUT], captures[_STDERR]
    return ShellOutput(stdout.text(), stderr.text(), stdout.omitted_bytes + stderr.omitted_bytes)


def _read_merged(chunks: Iterator[bytes]) -> ShellOutput:
    capture = Capture()
    for chunk in chunks:
        capture.add(chunk)
    return ShellOutput(capture.text(), "", capture.omitted_bytes)


class DirectConnection(AdbConnection):
    """One connection of our own, over TCP or USB."""

    def __init__(self, address: str, make_transport: Callable[[], Any], keys: Sequence[Any]) -> None:
        super().__init__(address)
        self._make_transport = make_transport
        self._keys = keys
        self._device: AdbDevice | None = None
        self._transport: Any = None

    def _service(self, name: str, patience: Patience) -> Iterator[bytes]:
        device = self._connected(patience)
        service, _, command = name.partition(":")
        yield from device._streaming_service(
            service.encode(), command.encode(), read_timeout_s=patience.limit_s + 1, decode=False
        )

    def _push(self, source: Path, target: str, patience: Patience) -> None:
        self._connected(patience).push(str(source), target, read_timeout_s=patience.limit_s)

    def _pull(self, source: str, target: Path, patience: Patience) -> None:
        self._connected(patience).pull(source, str(target), read_timeout_s=patience.limit_s)

    def _connected(self, patience: Patience) -> AdbDevice:
        from adb_shell.exceptions import (
            AdbTimeoutError,
            DeviceAuthError,
            InvalidCommandError,
            TcpTimeoutException,
        )

        if self._device is None:
            self._transport = self._make_transport()
            self._transport.patience = Patience(CONNECT_LIMIT_S, patience.cancellation)
            device = _mended_device()(self._transport)
            asked: list[bool] = []

            def ask(_: object) -> None:
                asked.append(True)
                self._transport.patience = Patience(AUTHORIZATION_LIMIT_S, patience.cancellation)

            try:
                device.connect(
                    rsa_keys=list(self._keys),
                    auth_timeout_s=AUTHORIZATION_LIMIT_S,
                    read_timeout_s=CONNECT_LIMIT_S,
                    auth_callback=ask,
                )
            except DeviceAuthError as error:
                raise DeviceError(
                    f"{self.address}: the device wants a key and there is none here; "
                    "try: adb keygen ~/.android/adbkey"
                ) from error
            except InvalidCommandError as error:
                raise DeviceError(f"{self.address}: what listens there does not speak adb") from error
            except (AdbTimeoutError, TcpTimeoutException, OSError) as error:
                if not asked:
                    raise DeviceLostError(f"{self.address}: cannot connect: {_text(error)}") from error
                raise DeviceError(
                    f"{self.address}: this machine is not authorised; "
                    "allow USB debugging on the device's screen and try again"
                ) from error
            self._device = device
        self._transport.patience = patience
        return self._device

    def close(self) -> None:
        if self._transport is not None:
            with suppress(*_transport_failures()):
                self._transport.close()
        self._device = self._transport = None


def _mended_device() -> Any:
    from adb_shell import constants
    from adb_shell.adb_device import AdbDevice
    from adb_shell.adb_message import AdbMessage

    class QuickAdbMessage(AdbMessage):  # type: ignore[misc]
        """Summing up the bytes in Python takes longer than the way to the device."""

        @property
        def checksum(self) -> int:
            import numpy as np

            return int(np.frombuffer(self.data, np.uint8).sum(dtype=np.uint32))

    class MendedAdbDevice(AdbDevice):  # type: ignore[misc]
        """A service that the device refuses is told at once, not after the time is over, and what it says in
        the middle of a push (that its disk is full) is not lost."""

        def _open(
            self, destination: bytes, transport_timeout_s: Any, read_timeout_s: Any, timeout_s: Any
        ) -> Any:
            read = self._io_manager.read

            def read_open(expected: list[bytes], adb_info: Any, *, allow_zeros: bool = False) -> Any:
                answer = read([*expected, constants.CLSE], adb_info, allow_zeros=True)
                if answer[0] == constants.CLSE:
                    raise _RefusedError(f"the device has no service {destination[:20]!r}")
                return answer

            self._io_manager.read = read_open
            try:
                return super()._open(destination, transport_timeout_s, read_timeout_s, timeout_s)
            finally:
                self._io_manager.read = read

        def _filesync_flush(self, adb_info: Any, filesync_info: Any) -> None:
            data = bytes(filesync_info.send_buffer[: filesync_info.send_idx])
            message = QuickAdbMessage(constants.WRTE, adb_info.local_id, adb_info.remote_id, data)
            self._io_manager.send(message, adb_info)
            while True:
                command, answer = self._read_until([constants.OKAY, constants.WRTE, constants.CLSE], adb_info)
                if command == constants.OKAY:
                    break
                if command == constants.CLSE:
                    raise ConnectionResetError("the device ended the transfer")
                filesync_info.recv_buffer += answer
            filesync_info.send_idx = 0

    return MendedAdbDevice


def tcp_transport(host: str, port: int) -> Any:
    from adb_shell.transport.base_transport import BaseTransport

    class TcpTransport(BaseTransport):  # type: ignore[misc]
        """Sends all of what it is given, without delay, and notices a peer that is gone."""

        patience = Patience()
        _socket: socket.socket | None = None

        def connect(self, transport_timeout_s: float | None) -> None:
            self._socket = socket.create_connection((host, port), timeout=CONNECT_LIMIT_S)
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in (
                *(("TCP_KEEPIDLE", 2), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 4)),
                ("TCP_USER_TIMEOUT", int(SILENCE_LIMIT_S * 1000)),
            ):
                if hasattr(socket, name):  # not everywhere
                    self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

        def close(self) -> None:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

        def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
            data = self._when_ready(to_write=False).recv(numbytes)
            if not data:
                raise ConnectionResetError("the device closed the connection")
            return data

        def bulk_write(self, data: bytes, transport_timeout_s: float | None) -> int:
            left = memoryview(data)
            while left:
                with suppress(BlockingIOError):
                    left = left[self._when_ready(to_write=True).send(left) :]
            return len(data)

        def _when_ready(self, *, to_write: bool) -> socket.socket:
            if self._socket is None:
                raise ConnectionResetError("the connection is closed")
            self.patience.wait_for(self._socket, to_write=to_write)
            return self._socket

    return TcpTransport()


class ServerConnection(AdbConnection):
    """Through an adb server that holds the device: each use is a connection of its own."""

    def __init__(self, serial: str, host: str, port: int) -> None:
        super().__init__(serial)
        self._host = host
        self._port = port
        self._open: set[socket.socket] = set()

    def _device(self) -> Any:
        from adbutils import AdbClient

        # The library would start a server where there is none.
        socket.create_connection((self._host, self._port), timeout=CONNECT_LIMIT_S).close()
        return AdbClient(self._host, self._port, socket_timeout=CONNECT_LIMIT_S).device(self.address)

    def _service(self, name: str, patience: Patience) -> Iterator[bytes]:
        from adbutils.errors import AdbError

        with closing(self._device().open_transport()) as stream:
            stream.send_command(name)
            try:
                stream.check_okay()
            except AdbError as error:
                if "closed" in str(error):
                    raise _RefusedError(f"the device has no service {name[:20]!r}") from error
                raise
            while True:
                patience.wait_for(stream.conn)
                data = stream.conn.recv(2**18)
                if not data:
                    return
                yield data

    def _push(self, source: Path, target: str, patience: Patience) -> None:
        with source.open("rb") as stream:
            self._device().sync.push(_Watched(stream, patience), target, mode=0o644)

    def _pull(self, source: str, target: Path, patience: Patience) -> None:
        with target.open("wb") as stream:
            for chunk in self._device().sync.iter_content(source):
                patience.check_cancellation()
                stream.write(chunk)

    def restart(self) -> None:
        """A server keeps a broken connection to a network address until it is told to let go."""
        from adbutils import AdbClient

        if ":" in self.address:
            with suppress(*_transport_failures()):
                client = AdbClient(self._host, self._port, socket_timeout=CONNECT_LIMIT_S)
                client.disconnect(self.address)
                client.connect(self.address, timeout=CONNECT_LIMIT_S)

    def close(self) -> None:
        """Nothing is held between uses."""


class _Watched:
    """A file that is not read any further once the run was cancelled."""

    def __init__(self, stream: IO[bytes], patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, size: int) -> bytes:
        self._patience.check_cancellation()
        return self._stream.read(size)


def private_keys() -> list[Any]:
    """The keys that adb itself would offer: the user's, and those of ADB_VENDOR_KEYS."""
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    paths = [Path.home() / ".android/adbkey"]
    paths += [Path(text) for text in os.environ.get("ADB_VENDOR_KEYS", "").split(os.pathsep) if text]
    keys = []
    for path in paths:
        with suppress(OSError):
            public = Path(f"{path}.pub").read_text(encoding="utf-8")
            keys.append(PythonRSASigner(public, path.read_text(encoding="utf-8")))
    return keys
