"""Adb's shell protocol, version 2: packets that separate a script's streams. Pure."""

from __future__ import annotations

import struct

from benchmarking.programs.capture import Capture

SERVICE = "shell,v2,raw:"
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
"""The kinds of packets."""

_HEADER = struct.Struct("<BI")


def packet(kind: int, data: bytes = b"") -> bytes:
    return _HEADER.pack(kind, len(data)) + data


class Packets:
    """Parses the data that a device sends, in pieces of any size."""

    def __init__(self) -> None:
        self.stderr = Capture()
        self._pending = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Returns the complete part of the standard output; the standard error is kept."""
        self._pending += data
        stdout = bytearray()
        start = 0
        while len(self._pending) - start >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._pending, start)
            end = start + _HEADER.size + length
            if len(self._pending) < end:
                break
            content = bytes(self._pending[start + _HEADER.size : end])
            if kind == STDOUT:
                stdout += content
            elif kind == STDERR:
                self.stderr.add(content)
            start = end
        del self._pending[:start]
        return bytes(stdout)
