"""Adb through the running adb server that holds the device: the server's own protocol (adb's SERVICES.TXT and
SYNC.TXT), with limits on the time and size of each answer.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing, suppress
from pathlib import Path

from benchmarking.platforms.android.adb import (
    CONNECT_LIMIT_S,
    AdbConnection,
    Patience,
    RefusedError,
    ServerError,
    Service,
    SyncError,
    transport_failures,
)
from benchmarking.platforms.remote.connection import check_length
from benchmarking.results.plain_text import plain

DEFAULT_PORT = 5037
_LONGEST_REQUEST_BYTES = 2**16 - 1
"""Its length is four hexadecimal digits."""
_BLOCK_BYTES = 2**16
"""The largest block that adb's file service accepts."""
_LARGEST_BLOCK_BYTES = 2**20
_REGULAR_FILE_MODE = 0o100644


class ServerConnection(AdbConnection):
    """Each use opens its own connection to the server."""

    def __init__(self, serial: str, host: str, port: int) -> None:
        super().__init__(serial)
        self._host = host
        self._port = port

    def open(self, name: str, patience: Patience) -> Service:
        check_length(self.address, name.encode(), _LONGEST_REQUEST_BYTES)
        wire = self._transport(patience)
        try:
            wire.ask(name, patience)
        except ServerError as error:
            wire.close()
            if "closed" in str(error):
                raise RefusedError(f"the device has no service {name[:20]!r}") from error
            raise
        except BaseException:
            wire.close()
            raise
        return _ServerService(wire)

    def _transport(self, patience: Patience) -> Wire:
        """A connection to the device: the device answers all further requests."""
        wire = Wire(self._host, self._port)
        try:
            wire.ask(
                f"host:transport:{self.address}", Patience(CONNECT_LIMIT_S, patience.cancellation, False)
            )
        except BaseException:
            wire.close()
            raise
        return wire

    def _push(self, source: Path, target: str, patience: Patience) -> None:
        with source.open("rb") as stream, closing(self._transport(patience)) as wire:
            wire.ask("sync:", patience)
            wire.write(_sync_request(b"SEND", f"{target},{_REGULAR_FILE_MODE}".encode()), patience)
            while block := stream.read(_BLOCK_BYTES):
                wire.write(_sync_request(b"DATA", block), patience)
            wire.write(b"DONE" + struct.pack("<I", int(time.time())), patience)
            _sync_answer(wire, patience)

    def _pull(self, source: str, target: Path, patience: Patience) -> None:
        with target.open("wb") as stream, closing(self._transport(patience)) as wire:
            wire.ask("sync:", patience)
            wire.write(_sync_request(b"RECV", source.encode()), patience)
            while (answer := _sync_answer(wire, patience))[0] == b"DATA":
                stream.write(answer[1])

    def restart(self) -> None:
        """Makes the server drop the device, because it keeps a broken connection to a network address until
        then.
        """
        if ":" in self.address:
            for verb in ("disconnect", "connect"):
                with suppress(*transport_failures()):
                    question(self._host, self._port, f"host:{verb}:{self.address}")

    def close(self) -> None:
        """Does nothing, because nothing is held between uses."""


def question(host: str, port: int, service: str) -> str:
    """The answer of the server itself.

    Raises:
        ServerError: it refuses, or is not an adb server.
        OSError: there is none, or it is too slow.
    """
    patience = Patience(CONNECT_LIMIT_S, renews=False)
    with closing(Wire(host, port)) as wire:
        wire.ask(service, patience)
        return wire.text(patience)


class Wire:
    """One connection to the server."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=CONNECT_LIMIT_S)
        self._socket.setblocking(False)

    def ask(self, service: str, patience: Patience) -> None:
        """Sends a request.

        Raises:
            ServerError: it was refused.
        """
        data = service.encode()
        self.write(b"%04x" % len(data) + data, patience)
        status = self.read_exactly(4, patience)
        if status == b"FAIL":
            raise ServerError(plain(self.text(patience)))
        if status != b"OKAY":
            raise ServerError("the program that listens there is not an adb server")

    def text(self, patience: Patience) -> str:
        """At most 65,535 bytes, as its length is four hexadecimal digits."""
        try:
            length = int(self.read_exactly(4, patience), 16)
        except ValueError as error:
            raise ServerError("the program that listens there is not an adb server") from error
        return self.read_exactly(length, patience).decode(errors="replace")

    def read_exactly(self, count: int, patience: Patience) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.read(count - len(data), patience)
            if not more:
                raise ConnectionResetError("the adb server closed the connection")
            data += more
        return bytes(data)

    def read(self, most: int, patience: Patience) -> bytes:
        while True:
            patience.wait_for(self._socket)
            with suppress(BlockingIOError):
                return self._socket.recv(most)

    def write(self, data: bytes, patience: Patience) -> None:
        left = memoryview(data)
        while left:
            patience.wait_for(self._socket, to_write=True)
            with suppress(BlockingIOError):
                left = left[self._socket.send(left) :]

    def close(self) -> None:
        self._socket.close()


class _ServerService(Service):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def read(self, patience: Patience) -> bytes:
        return self._wire.read(2**18, patience)

    def write(self, data: bytes, patience: Patience) -> None:
        self._wire.write(data, patience)

    def close(self) -> None:
        self._wire.close()


def _sync_request(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data


def _sync_answer(wire: Wire, patience: Patience) -> tuple[bytes, bytes]:
    """Reads an answer of the file service.

    Raises:
        SyncError: the device says no.
    """
    kind, length = struct.unpack("<4sI", wire.read_exactly(8, patience))
    if kind in (b"DONE", b"OKAY"):  # the number that follows is not a length
        return kind, b""
    if kind not in (b"DATA", b"FAIL") or length > _LARGEST_BLOCK_BYTES:
        raise ServerError("the file service sent an unknown answer")
    content = wire.read_exactly(length, patience)
    if kind == b"FAIL":
        raise SyncError(plain(content.decode(errors="replace")))
    return kind, content
