"""Runs scripts in a device's POSIX shell and reads their outcome, regardless of what the connection adds to
the output.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarking.errors import DeviceError, DeviceLostError
from benchmarking.platforms.remote.connection import Connection
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import last_line

ANSWER_LIMIT_S = 30.0
"""For a script that only looks something up."""
LONGEST_PART_BYTES = 20_000
"""Of a script with a line for each of many files. A system takes no argument above 128 KiB, an adb server no
request above 64 KiB, and ssh needs up to five characters for a byte.
"""


@dataclass(frozen=True)
class ShellResult:
    exit_code: int
    stdout: str
    stderr: str
    omitted_bytes: int = 0


class RemoteShell:
    """Frames each script in lines with a random token.

    Banners and the output of login scripts are thereby separated from the script's output, the exit status
    does not depend on the transport, and a broken connection is never taken for success.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_lost = False
        """Whether the device was gone at the last script."""

    def run(
        self, script: str, *, timeout_s: float = ANSWER_LIMIT_S, cancellation: Cancellation | None = None
    ) -> ShellResult:
        """Runs a script.

        Raises:
            DeviceLostError: the device did not report the end of the script.
            RunCancelledError: ``cancellation`` was set.
        """
        token = secrets.token_hex(8)
        try:
            output = self.connection.shell(
                framed(script, token), timeout_s=timeout_s, cancellation=cancellation
            )
            result = _unframed(
                output.stdout, output.stderr, output.omitted_bytes, token, self.connection.address
            )
        except DeviceLostError:
            self.is_lost = True
            raise
        self.is_lost = False
        return result

    def check(
        self, script: str, *, timeout_s: float = ANSWER_LIMIT_S, cancellation: Cancellation | None = None
    ) -> str:
        """The output of a script that has to succeed.

        Raises:
            DeviceError: it failed.
            DeviceLostError, RunCancelledError: as ``run``.
        """
        result = self.run(script, timeout_s=timeout_s, cancellation=cancellation)
        if result.exit_code:
            complaint = result.stderr.strip() or result.stdout.strip() or f"exit status {result.exit_code}"
            raise DeviceError(f"{self.connection.address}: {last_line(complaint)}", complaint)
        return result.stdout


def parts(pieces: Iterable[str]) -> Iterator[list[str]]:
    """The pieces of a script in their order, in as many scripts as are short enough for every connection."""
    part: list[str] = []
    size = 0
    for piece in pieces:
        piece_bytes = len(piece.encode("utf-8", "surrogateescape")) + 1
        if part and size + piece_bytes > LONGEST_PART_BYTES:
            yield part
            part, size = [], 0
        part.append(piece)
        size += piece_bytes
    if part:
        yield part


def framed(script: str, token: str) -> str:
    """Marks where the script's output begins, on both streams, and how it ended, on stderr."""
    return f"echo {token}; echo {token} >&2\n(\n{script}\n)\nprintf '\\n{token} %d\\n' \"$?\" >&2"


def _unframed(stdout: str, stderr: str, omitted_bytes: int, token: str, address: str) -> ShellResult:
    """If a transport merges the streams, everything is in ``stdout``."""
    merged = not stderr and stdout.count(f"{token}\n") > 1
    framed_text = stdout if merged else stderr
    head, found, tail = framed_text.rpartition(f"\n{token} ")
    status, end, _ = tail.partition("\n")
    if not (found and end):
        said = framed_text.replace(f"{token}\n", "").strip()
        why = f": {last_line(said)}" if said else ""
        raise DeviceLostError(f"{address}: the connection ended before the command did{why}", said)
    text = head.rpartition(f"{token}\n")[2]
    exit_code = int(status)
    if merged:
        return ShellResult(exit_code, text, "", omitted_bytes)
    return ShellResult(exit_code, stdout.partition(f"{token}\n")[2], text, omitted_bytes)
