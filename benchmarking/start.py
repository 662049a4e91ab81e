"""The first steps of every program, before other imports. Old Pythons have to be able to read this file."""

import importlib
import io
import os
import signal
import sys

OLDEST_PYTHON = (3, 11)
BAD_USAGE = 2
INTERRUPTED = 130
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run cleanly: Ctrl-C, a request of a supervisor, a terminal or a connection that is
closed.
"""

TERMINAL_ENCODING = "terminal_encoding"
"""The name of this project's own option of Python (-X)."""


def harness():
    # type: () -> None
    run("harness.py", "benchmarking.cli.harness")


def repo_driver():
    # type: () -> None
    run("repo_driver.py", "benchmarking.cli.repo_driver")


def mlbench():
    # type: () -> None
    run("mlbench", "benchmarking.cli.commands")


def run(program, module):
    # type: (str, str) -> None
    """Ends the process with the status returned by the ``main`` of the module."""
    if sys.version_info < OLDEST_PYTHON:
        sys.exit(_too_old(program))
    _open_closed_streams()
    _name_files_in_utf8()
    for number in ENDING_SIGNALS:
        if not is_ignored(number):
            signal.signal(number, _end_at_once)
    try:
        sys.exit(importlib.import_module(module).main())
    except ModuleNotFoundError as error:
        from benchmarking.packages import missing_package

        advice = missing_package(error)
        if advice is None:
            raise
        sys.stderr.write("{}: {}\n".format(program, advice))
        sys.exit(BAD_USAGE)
    finally:
        _give_up_broken_streams()


def is_ignored(number):
    # type: (int) -> bool
    """Whether SIGHUP was switched off for this process, as nohup does."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


def _too_old(program):
    # type: (str) -> int
    needed, found = (".".join(map(str, version[:2])) for version in (OLDEST_PYTHON, sys.version_info))
    sys.stderr.write(
        "{}: Python {} or newer is needed; {} is {}\n".format(program, needed, sys.executable, found)
    )
    return BAD_USAGE


def _open_closed_streams():
    # type: () -> None
    """Otherwise the next file that is opened would take the place of a closed standard stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def _name_files_in_utf8():
    # type: () -> None
    """Restarts if the locale cannot represent every file name. The terminal keeps its encoding."""
    encoding = sys._xoptions.get(TERMINAL_ENCODING)
    if encoding is None and sys.getfilesystemencoding() != "utf-8":
        encoding = (sys.stdout or sys.stderr).encoding
        options = ["-X", "utf8", "-X", "{}={}".format(TERMINAL_ENCODING, encoding)]
        os.execv(sys.executable, [sys.executable] + options + sys.orig_argv[1:])
    if encoding is not None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(encoding=encoding)


def _give_up_broken_streams():
    # type: () -> None
    """Otherwise output for a reader that is gone would fail during Python's own shutdown."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _end_at_once(number, frame):
    # type: (int, object) -> None
    """While modules and files are loaded there is nothing to clean up, and nobody wants a traceback."""
    os._exit(INTERRUPTED)
