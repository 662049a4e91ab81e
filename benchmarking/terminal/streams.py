"""Everything that is printed or logged passes through here: without control characters, and encodable for the
reader.
"""

from __future__ import annotations

import codecs
import logging
import sys
from io import TextIOWrapper
from typing import TextIO

from benchmarking.errors import StorageError, UsageError
from benchmarking.results.plain_text import plain_lines, similar

SIMILAR_CHARACTERS = "benchmarking-similar"
"""The name of the codec error handler that replaces characters that an encoding lacks."""


def prepare_streams() -> None:
    """Allows stdout and stderr to show every text: a character that their encoding lacks is replaced by a
    similar one.
    """
    codecs.register_error(SIMILAR_CHARACTERS, _similar_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=SIMILAR_CHARACTERS)


def _similar_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return similar(error.object[error.start : error.end]), error.end


def log_to_stderr(level: str = "warning") -> None:
    """Logs this project's messages from this level on, and those of other packages from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("benchmarking").setLevel(level.upper())


class PlainFormatter(logging.Formatter):
    """Keeps line breaks, but nothing else that could control a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def standard_output() -> TextIO:
    """The stream for results.

    Raises:
        UsageError: the process was started with it closed.
    """
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise UsageError("stdout is closed: there is nowhere to show the results")
    return stream


def show(text: str, *, is_styled: bool = False) -> None:
    """Prints the results for the user. If the reader is gone (``| head -1``), this is not an error.

    ``is_styled``: the text comes from a ``console``, which has removed control characters.

    Raises:
        UsageError: stdout is closed.
        StorageError: the disk is full, say.
    """
    stream = standard_output()
    try:
        stream.write(text if is_styled else plain_lines(text))
        stream.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        raise StorageError(f"cannot write to stdout: {error.strerror or error}") from error


def show_message(text: str) -> None:
    """Prints a message to the user on stderr; if that is closed, nobody can read it."""
    try:
        sys.stderr.write(f"{plain_lines(text)}\n")
        sys.stderr.flush()
    except OSError:
        pass
