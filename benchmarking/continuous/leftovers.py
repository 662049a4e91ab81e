"""Ends what a killed loop has left running: it would disturb the measurement, and write beside it."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

import psutil

logger = logging.getLogger(__name__)

VARIABLE = "ML_BENCHMARK_LOOP"
"""In the environment of all that a loop starts: the directory of the loop. Children inherit it, so a process
is found whatever session or group it moved to."""
TERMINATION_GRACE_S = 5.0


def end_leftovers(directory: Path) -> None:
    """Call it while the loop's lock is held: then nothing that runs with this marker is wanted."""
    others = (one for one in psutil.process_iter() if one.pid != os.getpid())
    found = [one for one in others if _belongs_to(one, directory)]
    for one in found:
        logger.warning("ending process %d, which an earlier, killed run has left", one.pid)
        _signal(one, "terminate")
    _, alive = psutil.wait_procs(found, TERMINATION_GRACE_S)
    for one in alive:
        _signal(one, "kill")
    psutil.wait_procs(alive, TERMINATION_GRACE_S)


def _belongs_to(process: psutil.Process, directory: Path) -> bool:
    try:
        return process.environ().get(VARIABLE) == str(directory)
    except (psutil.Error, OSError):
        return False  # gone, or somebody else's


def _signal(process: psutil.Process, how: str) -> None:
    with suppress(psutil.NoSuchProcess):
        getattr(process, how)()
