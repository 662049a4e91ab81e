"""Finds processes that a killed run left behind, by a mark in their environment.

Children inherit the mark, so a process is found even if it moved to another session or group. It is never
found by its number alone, which may belong to another process by now.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarking.results.plain_text import plain

if TYPE_CHECKING:
    import psutil

TERMINATION_GRACE_S = 5.0
LOOK_AGAIN_S = 0.01
_SHOWN_CHARACTERS = 100

logger = logging.getLogger(__name__)


def end_marked(variable: str, is_left: Callable[[str], bool], whose: str = "an earlier run") -> None:
    """Ends every process whose ``variable`` shows that it was left behind, and names each of them in a
    warning.

    This process and its ancestors are spared: a run may have been started by a process that another run left
    behind.
    """
    import psutil

    own = psutil.Process()
    spared = {own.pid, *(one.pid for one in own.parents())}
    found = [
        one for one in psutil.process_iter() if one.pid not in spared and is_left(_value(one, variable) or "")
    ]
    for one in found:
        logger.warning("ending %s, which %s left running", describe(one), whose)
        _signal(one, "terminate")
    alive = _alive_after(TERMINATION_GRACE_S, found)
    for one in alive:
        _signal(one, "kill")
    _alive_after(TERMINATION_GRACE_S, alive)


def _alive_after(seconds: float, processes: Sequence[psutil.Process]) -> Sequence[psutil.Process]:
    """Those that have not ended within this time. One has ended even if its parent has not heard of it: the
    first process of a container often never asks.
    """
    deadline = time.monotonic() + seconds
    while (alive := [*filter(_is_alive, processes)]) and time.monotonic() < deadline:
        time.sleep(LOOK_AGAIN_S)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def holds_open(pid: int, path: Path) -> bool:
    """Whether the process exists and has this file open (or may have: it belongs to another user)."""
    import psutil

    try:
        return any(Path(one.path) == path.resolve() for one in psutil.Process(pid).open_files())
    except psutil.AccessDenied:
        return True
    except (psutil.Error, OSError):
        return False


def describe(process: psutil.Process) -> str:
    """``process 123 (python slow.py), started at 12:30:05``."""
    import psutil

    command: Sequence[str] = ()
    since = ""
    with suppress(psutil.Error, OSError):
        since = (
            f", started at {datetime.fromtimestamp(process.create_time()).astimezone().strftime('%H:%M:%S')}"
        )
        command = process.cmdline()
    words = plain(shlex.join(command))[:_SHOWN_CHARACTERS]
    return f"process {process.pid}{f' ({words})' if words else ''}{since}"


def _value(process: psutil.Process, variable: str) -> str | None:
    import psutil

    try:
        return process.environ().get(variable)
    except (psutil.Error, OSError):
        return None  # gone, or owned by another user


def _signal(process: psutil.Process, how: str) -> None:
    import psutil

    with suppress(psutil.Error, OSError):
        getattr(process, how)()
