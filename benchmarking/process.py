"""The only user of ``subprocess``: runs a local command, bounded in time and in what it keeps."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarking.command import Command, Outcome


class Cancellation:
    """Set once, by a signal handler or another thread; everything that waits on it wakes at once."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe()
        self._is_set = False

    def set(self) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._write_end, b"\0")

    @property
    def is_set(self) -> bool:
        return self._is_set

    def fileno(self) -> int:
        """Becomes readable, and stays so, once it is set: for a selector."""
        return self._read_end

    def close(self) -> None:
        os.close(self._read_end)
        os.close(self._write_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run(
    command: Command,
    cancellation: Cancellation,
    *,
    directory: Path | None = None,
    hidden_environment: Collection[str] = (),
) -> Outcome:
    """Runs ``command`` in a process group of its own until it ends.

    After it ended, was cancelled or ran longer than ``command.timeout_s``, no process of the group is left.

    Raises:
        ProgramStartError: it could not be started.
        RunCancelledError: ``cancellation`` was set.
    """
    raise NotImplementedError
