"""Keeps the beginning and the end of a stream of output."""

from __future__ import annotations

HEAD_LIMIT_BYTES = 64 * 2**20
TAIL_LIMIT_BYTES = 2**20


class Capture:
    """Keeps the beginning and the end of a stream, whatever its length."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped_bytes = 0

    def add(self, data: bytes) -> None:
        room = HEAD_LIMIT_BYTES - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if len(self._tail) > 2 * TAIL_LIMIT_BYTES:
            surplus = len(self._tail) - TAIL_LIMIT_BYTES
            del self._tail[:surplus]
            self._dropped_bytes += surplus

    @property
    def omitted_bytes(self) -> int:
        return self._dropped_bytes

    def text(self) -> str:
        """If something was dropped, the two incomplete lines are dropped too."""
        if not self._dropped_bytes:
            return (self._head + self._tail).decode("utf-8", errors="replace")
        head = self._head[: self._head.rfind(b"\n") + 1]
        tail = self._tail[self._tail.find(b"\n") + 1 :]
        return (head + tail).decode("utf-8", errors="replace")
