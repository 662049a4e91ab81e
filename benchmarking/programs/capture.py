"""Keeps the beginning and the end of a stream of output."""

from __future__ import annotations

from typing import BinaryIO

HEAD_LIMIT_BYTES = 64 * 2**20
TAIL_LIMIT_BYTES = 2**20


class Capture:
    """Keeps the beginning and the end of a stream, whatever its length."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped_bytes = 0
        self._tail_is_cut = False
        """It begins within a line."""

    def add(self, data: bytes) -> None:
        room = HEAD_LIMIT_BYTES - len(self._head)
        self._head += data[:room]
        self._add_to_tail(data[room:])

    def _add_to_tail(self, data: bytes) -> None:
        self._tail += data
        if len(self._tail) > 2 * TAIL_LIMIT_BYTES:
            surplus = len(self._tail) - TAIL_LIMIT_BYTES
            self._tail_is_cut = self._tail[surplus - 1] != ord("\n")
            del self._tail[:surplus]
            self._dropped_bytes += surplus

    @property
    def omitted_bytes(self) -> int:
        """How many bytes ``text`` lacks."""
        kept = len(self._head) + len(self._tail)
        return self._dropped_bytes and self._dropped_bytes + kept - sum(map(len, self._whole_lines()))

    def text(self) -> str:
        """If something was dropped, incomplete lines are dropped too: half a number is another number."""
        return b"".join(self._whole_lines()).decode("utf-8", errors="replace")

    def _whole_lines(self) -> tuple[bytearray, bytearray]:
        if not self._dropped_bytes:
            return self._head, self._tail
        tail = self._tail.partition(b"\n")[2] if self._tail_is_cut else self._tail
        return self._head[: self._head.rfind(b"\n") + 1], tail


class LogFile(Capture):
    """Writes a stream to a file as it comes; of a long one its beginning, and in the end its end.

    The file cannot fill a disk, whatever a program prints.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream
        self._written_bytes = 0

    def add(self, data: bytes) -> None:
        """
        Raises:
            OSError: the file cannot be written.
        """
        room = max(0, HEAD_LIMIT_BYTES - self._written_bytes)
        self._written_bytes += self._stream.write(data[:room])
        self._stream.flush()
        self._add_to_tail(data[room:])

    def close(self) -> None:
        """Raises as ``add``."""
        if self._dropped_bytes:
            self._stream.write(b"\n--- %d bytes are left out here ---\n" % self._dropped_bytes)
        self._stream.write(self._tail)
        self._stream.flush()

    def text(self) -> str:
        """It is in the file."""
        return ""
