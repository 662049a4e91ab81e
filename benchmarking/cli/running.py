"""The beginning and end of both programs: errors become one line and an exit status, signals end the run
cleanly.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from benchmarking.errors import BenchmarkError, ExitStatus
from benchmarking.packages import missing_package
from benchmarking.programs import ending_signals
from benchmarking.terminal import streams

if TYPE_CHECKING:
    import argparse

    from benchmarking.cli.argument_types import Parser
    from benchmarking.programs.process import Cancellation


def run_command(
    parser: Parser, argv: Sequence[str], perform: Callable[[argparse.Namespace], ExitStatus]
) -> int:
    """A whole command without a log level of its own: parses, then performs, ``guarded``."""
    arguments = parser.parse(argv)
    streams.log_to_stderr()
    return guarded(parser.prog, lambda: perform(arguments))


def guarded(program: str, function: Callable[[], ExitStatus]) -> ExitStatus:
    """Returns the result of ``function``, or the status of the error that it raised, which is shown on
    stderr.
    """
    streams.prepare_streams()
    if not _has_current_directory():
        message = "the current directory does not exist any more; start again from another directory"
        return _report(program, message, ExitStatus.BAD_USAGE)
    try:
        return function()
    except BenchmarkError as error:
        return _report(program, str(error), error.exit_status)
    except ModuleNotFoundError as error:
        advice = missing_package(error)
        if advice is None:
            raise
        return _report(program, advice, ExitStatus.BAD_USAGE)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except Exception:
        streams.show_message(f"{program}: a bug of this program:\n{traceback.format_exc().rstrip()}")
        return ExitStatus.INTERNAL_ERROR


def _has_current_directory() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - only whether there is one
    except FileNotFoundError:
        return False
    return True


def _report(program: str, message: str, status: ExitStatus) -> ExitStatus:
    for line in message.split("\n"):
        streams.show_message(f"{program}: {line}")
    return status


@contextmanager
def cancelled_by_signals(cancellation: Cancellation) -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the run cleanly. A second Ctrl-C or SIGTERM ends the process at once.
    SIGHUP comes from the terminal and also from its shell, so a second SIGHUP has no further effect.
    """
    received = 0

    def cancel(signal_number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received > 1 and signal_number != signal.SIGHUP:
            os._exit(ExitStatus.INTERRUPTED)
        cancellation.set()

    with ending_signals.handled(cancel), cancellation.set_by_any_signal():
        yield
