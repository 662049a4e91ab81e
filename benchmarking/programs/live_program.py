"""A program that keeps running and is driven line by line, on any machine."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Self

from benchmarking.errors import ProgramExitError, ProgramOutputError, ProgramTimeoutError

LONGEST_LINE_BYTES = 2**24
EVIDENCE_LINES = 20
"""The amount of a program's last output that accompanies an error."""


class LiveProgram(ABC):
    """Used by one thread at a time. The next read reports why the program ended."""

    def __init__(self) -> None:
        self._received = bytearray()

    def write_line(self, line: str) -> None:
        """Writes a line. If the program has ended, the next read reports it.

        Raises:
            DeviceLostError: the device is gone. If the program has ended, the next read reports it.
        """
        self.send(f"{line}\n".encode())

    def read_line(self, timeout_s: float) -> str:
        """The next line of its standard output, without its end.

        Raises:
            ProgramExitError: it has ended; carries what it said last.
            ProgramTimeoutError: it said nothing in time.
            ProgramOutputError: the line has no end.
            DeviceLostError: the device is gone.
            RunCancelledError: the run was cancelled.
        """
        deadline = time.monotonic() + timeout_s
        while (end := self._received.find(b"\n")) < 0:
            if len(self._received) > LONGEST_LINE_BYTES:
                raise ProgramOutputError("the program is writing a line that does not end", self.evidence())
            try:
                data = self.receive(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise ProgramTimeoutError(
                    f"the program did not answer within {timeout_s:g} s", self.evidence()
                ) from None
            if not data:
                raise ProgramExitError(
                    f"the program ended{self._how_it_ended()} while waiting for its answer", self.evidence()
                )
            self._received += data
        line = self._received[:end].decode("utf-8", errors="replace").removesuffix("\r")
        del self._received[: end + 1]
        return line

    def take_received(self) -> bytes:
        """The received output that was not yet read as a line."""
        received = bytes(self._received)
        self._received.clear()
        return received

    def evidence(self) -> str:
        return "\n".join(self.stderr.rstrip().splitlines()[-EVIDENCE_LINES:])

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Sends data; raises as ``write_line``."""

    @abstractmethod
    def receive(self, timeout_s: float) -> bytes:
        """Some of its standard output; empty once that has ended.

        Raises:
            TimeoutError: nothing came in time.
            DeviceLostError, RunCancelledError: as ``read_line``.
        """

    @property
    def pid(self) -> int | None:
        """The number of its process on this machine; None: it runs on another machine."""
        return None

    def owns(self, pid: int) -> bool:
        """Whether the process with this number on its device is the program or one of its descendants.

        A number that a program reports is not trusted without this check: in a container the process has
        another number, which may belong to any process outside.

        Raises:
            DeviceLostError: the device is gone.
        """
        return False

    @property
    @abstractmethod
    def stderr(self) -> str:
        """Its standard error so far."""

    def _how_it_ended(self) -> str:
        return ""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *_: object) -> None:
        """Ends its input and gives it a moment to end; afterwards none of its processes remains."""
