"""Adb spoken directly to a device over TCP or USB, by adb-shell.

Defects of adb-shell 0.4.4 are patched here; each patch has a test against the real daemon.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarking.errors import DeviceError, DeviceLostError
from benchmarking.platforms.android.adb import (
    CONNECT_LIMIT_S,
    SILENCE_LIMIT_S,
    AdbConnection,
    Patience,
    RefusedError,
    Service,
    error_text,
    transport_failures,
)

if TYPE_CHECKING:
    from adb_shell.adb_device import AdbDevice

logger = logging.getLogger(__name__)

AUTHORIZATION_LIMIT_S = 10.0
"""The time for a person to allow this machine on the device's screen."""


class DirectConnection(AdbConnection):
    """A direct connection, over TCP or USB."""

    def __init__(self, address: str, make_transport: Callable[[], Any], keys: Sequence[Any]) -> None:
        super().__init__(address)
        self._make_transport = make_transport
        self._keys = keys
        self._device: AdbDevice | None = None
        self._transport: Any = None

    def open(self, name: str, patience: Patience) -> Service:
        device = self._connected(patience)
        return _DirectService(device, self._transport, name, patience)

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
                    f"{self.address}: the device requires a key and this machine has none; "
                    "try: adb keygen ~/.android/adbkey"
                ) from error
            except InvalidCommandError as error:
                raise DeviceError(
                    f"{self.address}: the program that listens there does not speak adb"
                ) from error
            except (AdbTimeoutError, TcpTimeoutException, OSError) as error:
                if not asked:
                    raise DeviceLostError(f"{self.address}: cannot connect: {error_text(error)}") from error
                raise DeviceError(
                    f"{self.address}: this machine is not authorised; "
                    "allow USB debugging on the device's screen and try again"
                ) from error
            self._device = device
        self._transport.patience = patience
        return self._device

    def close(self) -> None:
        if self._transport is not None:
            with suppress(*transport_failures()):
                self._transport.close()
        self._device = self._transport = None


class _DirectService(Service):
    """One of several services that may be open at the same time on one connection; packets of other services
    are kept for them.
    """

    def __init__(self, device: Any, transport: Any, name: str, patience: Patience) -> None:
        self._device, self._transport = device, transport
        self._received: list[bytes] = []
        self._ended = False
        # Patience decides when to stop waiting: the library's own limit must not be reached first.
        self._stream = device._open(name.encode(), None, patience.limit_s + 1, None)

    def read(self, patience: Patience) -> bytes:
        while not self._received and not self._ended:
            self._next_packet(patience)
        return self._received.pop(0) if self._received else b""

    def write(self, data: bytes, patience: Patience) -> None:
        from adb_shell import constants
        from adb_shell.adb_message import AdbMessage

        if self._ended:
            return
        self._transport.patience = patience
        message = AdbMessage(constants.WRTE, self._stream.local_id, self._stream.remote_id, data)
        self._device._io_manager.send(message, self._stream)
        while not self._ended and self._next_packet(patience) != constants.OKAY:
            pass

    def _next_packet(self, patience: Patience) -> bytes:
        from adb_shell import constants

        self._transport.patience = patience
        self._stream.read_timeout_s = patience.limit_s + 1
        kind: bytes
        kind, data = self._device._read_until([constants.OKAY, constants.WRTE, constants.CLSE], self._stream)
        if kind == constants.WRTE:
            self._received.append(data)
        self._ended = kind == constants.CLSE
        return kind

    def close(self) -> None:
        from adb_shell import constants
        from adb_shell.adb_message import AdbMessage

        message = AdbMessage(constants.CLSE, self._stream.local_id, self._stream.remote_id)
        self._device._io_manager.send(message, self._stream)


def _mended_device() -> Any:
    from adb_shell import constants
    from adb_shell.adb_device import AdbDevice
    from adb_shell.adb_message import AdbMessage

    class QuickAdbMessage(AdbMessage):  # type: ignore[misc]
        """Avoids the checksum: summing up the bytes in Python takes longer than sending them to
        the device.
        """

        @property
        def checksum(self) -> int:
            import numpy as np

            return int(np.frombuffer(self.data, np.uint8).sum(dtype=np.uint32))

    class PatchedAdbDevice(AdbDevice):  # type: ignore[misc]
        """Reports a service that the device refuses at once, not after a timeout, and keeps messages that the
        device sends during a push (for example, that its disk is full).
        """

        def _open(
            self, destination: bytes, transport_timeout_s: Any, read_timeout_s: Any, timeout_s: Any
        ) -> Any:
            read = self._io_manager.read

            def read_open(expected: list[bytes], adb_info: Any, *, allow_zeros: bool = False) -> Any:
                answer = read([*expected, constants.CLSE], adb_info, allow_zeros=True)
                if answer[0] == constants.CLSE:
                    raise RefusedError(f"the device has no service {destination[:20]!r}")
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

    return PatchedAdbDevice


def tcp_transport(host: str, port: int) -> Any:
    from adb_shell.transport.base_transport import BaseTransport

    class TcpTransport(BaseTransport):  # type: ignore[misc]
        """Sends all data completely and without delay, and notices when the peer is gone."""

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


def private_keys() -> list[Any]:
    """The keys that adb itself would offer: the user's, and those in ADB_VENDOR_KEYS."""
    from adb_shell.auth.sign_pythonrsa import PythonRSASigner

    paths = []
    with suppress(RuntimeError):  # the user has no home
        paths.append(Path.home() / ".android/adbkey")
    paths += [Path(text) for text in os.environ.get("ADB_VENDOR_KEYS", "").split(os.pathsep) if text]
    keys = []
    for path in paths:
        try:
            public = Path(f"{path}.pub").read_text(encoding="utf-8")
            keys.append(PythonRSASigner(public, path.read_text(encoding="utf-8")))
        except OSError:
            continue  # adb makes one when it is needed
        except Exception as error:  # of the parsers of two other packages
            logger.warning("the key %s cannot be used: %s", path, error_text(error))
    return keys
