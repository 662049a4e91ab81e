"""How both programs begin and end: errors become one line and an exit status, signals an orderly end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from benchmarking.errors import BenchmarkError, ExitStatus

if TYPE_CHECKING:
    from benchmarking.process import Cancellation


def guarded(program: str, function: Callable[[], ExitStatus]) -> ExitStatus:
    """What ``function`` returns, or the status of the user's error that it raised, told on stderr."""
    try:
        return function()
    except BenchmarkError as error:
        return _tell(program, str(error), error.exit_status)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("benchmarking"):
            raise
        advice = f"install the requirements with: {sys.executable} -m pip install -r requirements.txt"
        return _tell(program, f"the package {error.name} is missing; {advice}", ExitStatus.BAD_USAGE)


def _tell(program: str, message: str, status: ExitStatus) -> ExitStatus:
    for line in message.splitlines():
        print(f"{program}: {line}", file=sys.stderr)  # noqa: T201 - the message to the user
    return status


@contextmanager
def cancelled_by_signals(cancellation: Cancellation) -> Iterator[None]:
    """Ctrl-C and SIGTERM let the run end in order; the second one ends the process at once."""

    def cancel(signal_number: int, frame: FrameType | None) -> None:
        if cancellation.is_set:
            os._exit(ExitStatus.INTERRUPTED)
        cancellation.set()

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
