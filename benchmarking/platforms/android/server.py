"""Adb through a running adb server that holds the device, by adbutils."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from benchmarking.platforms.android.adb import (
    CONNECT_LIMIT_S,
    AdbConnection,
    Patience,
    RefusedError,
    Service,
    transport_failures,
)

DEFAULT_PORT = 5037


class ServerConnection(AdbConnection):
    """Through an adb server that holds the device: each use is a connection of its own."""

    def __init__(self, serial: str, host: str, port: int) -> None:
        super().__init__(serial)
        self._host = host
        self._port = port

    def _device(self) -> Any:
        from adbutils import AdbClient

        # The library would start a server where there is none.
        socket.create_connection((self._host, self._port), timeout=CONNECT_LIMIT_S).close()
        return AdbClient(self._host, self._port, socket_timeout=CONNECT_LIMIT_S).device(self.address)

    def open(self, name: str, patience: Patience) -> Service:
        from adbutils.errors import AdbError

        stream = self._device().open_transport()
        try:
            stream.send_command(name)
            stream.check_okay()
        except AdbError as error:
            stream.close()
            if "closed" in str(error):
                raise RefusedError(f"the device has no service {name[:20]!r}") from error
            raise
        except OSError:
            stream.close()
            raise
        return _ServerService(stream)

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
            with suppress(*transport_failures()):
                client = AdbClient(self._host, self._port, socket_timeout=CONNECT_LIMIT_S)
                client.disconnect(self.address)
                client.connect(self.address, timeout=CONNECT_LIMIT_S)

    def close(self) -> None:
        """Nothing is held between uses."""


class _ServerService(Service):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, patience: Patience) -> bytes:
        patience.wait_for(self._stream.conn)
        data: bytes = self._stream.conn.recv(2**18)
        return data

    def write(self, data: bytes, patience: Patience) -> None:
        patience.wait_for(self._stream.conn, to_write=True)
        self._stream.conn.sendall(data)

    def close(self) -> None:
        self._stream.close()


class _Watched:
    """A file that is not read any further once the run was cancelled."""

    def __init__(self, stream: IO[bytes], patience: Patience) -> None:
        self._stream = stream
        self._patience = patience

    def read(self, size: int) -> bytes:
        self._patience.check_cancellation()
        return self._stream.read(size)
