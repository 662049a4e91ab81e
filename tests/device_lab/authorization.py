"""The part of a phone that Debian's adbd lacks: it asks who is there, then lets the real daemon answer.

Speaks the device's side of adb's handshake: a token to sign, then a public key for a person to accept.
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import threading
from contextlib import suppress

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

HEADER = struct.Struct("<6I")
CONNECT, AUTHENTICATE = (int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH"))
TOKEN, SIGNATURE, PUBLIC_KEY = 1, 2, 3


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise ConnectionResetError
        data += chunk
    return data


def _receive(connection: socket.socket) -> tuple[bytes, int, int, bytes]:
    header = _exactly(connection, HEADER.size)
    command, argument, _, length, _, _ = HEADER.unpack(header)
    data = _exactly(connection, length)
    return header + data, command, argument, data


def _packet(command: int, argument: int, data: bytes) -> bytes:
    return HEADER.pack(command, argument, 0, len(data), sum(data), command ^ 0xFFFFFFFF) + data


def public_key(text: str):
    """From a line of ``adbkey.pub``: base64 of length, n0inv, modulus, R**2 and exponent, little-endian words."""
    raw = base64.b64decode(text.split()[0])
    size = 4 * int.from_bytes(raw[:4], "little")
    modulus = int.from_bytes(raw[8 : 8 + size], "little")
    exponent = int.from_bytes(raw[8 + 2 * size : 12 + 2 * size], "little")
    return RSAPublicNumbers(exponent, modulus).public_key()


class AuthorizingDevice:
    """``answer``: what the person does when asked: ``accept``, ``reject`` or ``ignore``."""

    def __init__(self, upstream: tuple[str, int], known: list[str], answer: str) -> None:
        self._upstream, self._known, self._answer = upstream, [public_key(one) for one in known], answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = 0

    def __enter__(self) -> AuthorizingDevice:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection:
                hello = _receive(connection)[0]
                if self._lets_in(connection):
                    self._pass_on(connection, hello)
        except OSError:
            pass

    def _lets_in(self, connection: socket.socket) -> bool:
        while True:
            token = os.urandom(20)
            connection.sendall(_packet(AUTHENTICATE, TOKEN, token))
            _, command, kind, data = _receive(connection)
            assert command == AUTHENTICATE
            if kind == SIGNATURE and any(self._signed(one, data, token) for one in self._known):
                return True
            if kind == PUBLIC_KEY:
                self.asked += 1
                if self._answer == "ignore":
                    connection.recv(1)  # until the other side gives up
                return self._answer == "accept"

    @staticmethod
    def _signed(key, signature: bytes, token: bytes) -> bool:
        try:
            key.verify(signature, token, padding.PKCS1v15(), utils.Prehashed(hashes.SHA1()))
        except Exception:
            return False
        return True

    def _pass_on(self, connection: socket.socket, hello: bytes) -> None:
        with socket.create_connection(self._upstream) as device:
            device.sendall(hello)
            threading.Thread(target=_copy, args=(device, connection), daemon=True).start()
            _copy(connection, device)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
