"""A program on a device that is driven line by line: reads the output of the script around it."""

from __future__ import annotations

import secrets
from typing import Self

from benchmarking.errors import (
    DeviceError,
    DeviceLostError,
    ProgramExitError,
    ProgramStartError,
    ProgramTimeoutError,
)
from benchmarking.platforms.remote import program_run
from benchmarking.platforms.remote.shell import RemoteShell, framed
from benchmarking.programs.command import COULD_NOT_START
from benchmarking.programs.live_program import LiveProgram
from benchmarking.programs.process import Cancellation
from benchmarking.results.plain_text import last_line

PROBE_LIMIT_S = 5.0
"""The interval in which a device has to show that it is still there."""


class LiveRun(LiveProgram):
    """Distinguishes a device that is gone from a program that has ended or is silent."""

    def __init__(
        self,
        shell: RemoteShell,
        script: str,
        directory: str,
        end_token: str,
        cancellation: Cancellation | None,
    ) -> None:
        """``script``: ends with one of ``program_run.live_script``, of ``directory`` and ``end_token``.

        Raises:
            DeviceError, DeviceLostError, RunCancelledError: as ``Connection.start``.
        """
        super().__init__()
        self._shell = shell
        self._directory = directory
        self._token = secrets.token_hex(8)
        self._end_token = end_token
        self._has_begun = False
        self._framed = shell.connection.start(framed(script, self._token), cancellation=cancellation)

    def owns(self, pid: int) -> bool:
        return self._shell.run(program_run.owns_script(self._directory, pid)).exit_code == 0

    @property
    def stderr(self) -> str:
        own = self._framed.stderr.partition(f"{self._token}\n")[2]
        end = program_run.read_end(own, self._end_token)
        return own if end is None else end.stderr

    def send(self, data: bytes) -> None:
        self._framed.send(data)

    def receive(self, timeout_s: float) -> bytes:
        try:
            data = self._framed.receive(timeout_s) if self._has_begun else self._begin(timeout_s)
        except (TimeoutError, ProgramTimeoutError) as error:
            self._shell.run(":", timeout_s=PROBE_LIMIT_S)
            raise TimeoutError from error
        if not data:
            self._check_end()
        return data

    def _begin(self, timeout_s: float) -> bytes:
        """Skips anything that a login script printed."""
        try:
            while self._framed.read_line(timeout_s) != self._token:
                pass
        except ProgramExitError as error:
            raise DeviceLostError(
                f"{self._shell.connection.address}: no program was started", error.evidence
            ) from error
        self._has_begun = True
        return self._framed.take_received() or self._framed.receive(timeout_s)

    def _check_end(self) -> None:
        end = program_run.read_end(self._framed.stderr, self._end_token)
        if end is None:
            said, ended, _ = self.stderr.rpartition(f"\n{self._token} ")
            where = self._shell.connection.address
            if ended:  # the script ended before it reached the program
                raise DeviceError(f"{where}: {last_line(said)}", said)
            raise DeviceLostError(f"{where}: the connection ended before the program did", self.stderr)
        if end.exit_code in COULD_NOT_START:
            raise ProgramStartError("cannot start the program", end.stderr.strip())

    def _how_it_ended(self) -> str:
        end = program_run.read_end(self._framed.stderr, self._end_token)
        if end is None or end.exit_code is None:
            return ", because its time was over," if end else ""
        return f" with exit status {end.exit_code}" if end.exit_code >= 0 else f" by signal {-end.exit_code}"

    def __enter__(self) -> Self:
        self._framed.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._framed.__exit__(*details)
