"""The files of jobs on an agent's host: what killed runs left, and what no job used for long."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from benchmarking.dispatch.blobs import INCOMING_PREFIX
from benchmarking.dispatch.job_run import FILES, JOBS

UNUSED_S = 14 * 86_400.0


def remove_left(directory: Path) -> None:
    """Removes what runs that were killed left. Call it while nobody else works in the agent's directory."""
    for one in (directory / JOBS).glob("*"):
        shutil.rmtree(one, ignore_errors=True)
    for one in (directory / FILES).glob(f"*/{INCOMING_PREFIX}*"):
        with suppress(OSError):
            one.unlink()


def remove_unused(directory: Path) -> int:
    """Removes the files that no job used for so long; a job that needs one fetches it again. Returns their
    number.
    """
    removed = 0
    for one in (directory / FILES).glob("*/*"):
        with suppress(OSError):
            if one.stat().st_mtime < time.time() - UNUSED_S:
                one.unlink()
                removed += 1
    return removed
