"""Runs a build script: ``SCRIPT SOURCE RESULT`` makes the executable RESULT from the directory SOURCE."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

from benchmarking.errors import StorageError
from benchmarking.programs import process
from benchmarking.programs.capture import LogFile
from benchmarking.programs.command import Command
from benchmarking.programs.process import Cancellation, Streams, Tether

TAIL_LINES = 20
TAIL_BYTES = 2**16
SCARCE_BYTES = 64 * 2**20
"""If a build fails with less than this free on its disk, the cause is lack of space, not the commit."""
_NO_SPACE = os.strerror(errno.ENOSPC)


def run_build_script(
    script: Path,
    source: Path,
    result: Path,
    log: Path,
    cancellation: Cancellation,
    *,
    timeout_s: float | None,
    tether: Tether | None = None,
    hidden_environment: Collection[str] = (),
) -> str | None:
    """What went wrong; None if it left an executable. Its messages are in ``log``; of very many the first and
    the last.

    Raises:
        ProgramStartError: the script cannot be run.
        StorageError: the disk is full, or the log cannot be written.
        RunCancelledError
    """
    launcher = () if os.access(script, os.X_OK) else ("sh",)
    command = Command((*launcher, str(script), str(source), str(result)), timeout_s=timeout_s)
    try:
        with log.open("wb") as stream, closing(LogFile(stream)) as log_file:
            log_file.add(f"{command}\n".encode(errors="surrogateescape"))
            outcome = process.run(
                command,
                cancellation,
                directory=source,
                streams=Streams(log=log_file),
                tether=tether,
                hidden_environment=hidden_environment,
            )
    except OSError as error:
        raise StorageError(f"{log}: {error.strerror or error}") from error
    if outcome.timed_out:
        return f"it exceeded the --build_timeout of {timeout_s:g} s and was killed"
    if outcome.exit_code != 0:
        if _NO_SPACE in tail(log) or shutil.disk_usage(source).free < SCARCE_BYTES:
            raise StorageError(f"the disk of {source} is full: the build could not finish")
        return f"{script} ended with exit status {outcome.exit_code}"
    return None if _is_program(result) else f"{script} left no executable"


def _is_program(path: Path) -> bool:
    """A linker sets the executable bit when it has finished."""
    return path.is_file() and path.stat().st_size > 0 and os.access(path, os.X_OK)


def tail(log: Path) -> str:
    """The end of a log, for a message."""
    with suppress(OSError), log.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
        lines = text.rstrip().splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- end of {log} ---", *(line[:1000] for line in lines)])
    return f"(its log {log} cannot be read)"
