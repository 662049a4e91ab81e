"""Everything that is printed or logged goes through here: harmless, and encodable for whoever reads it."""

from __future__ import annotations

import codecs
import logging
import sys
from io import TextIOWrapper
from typing import TextIO

from benchmarking.errors import StorageError, UsageError
from benchmarking.results.plain_text import plain_lines, similar

SIMILAR_CHARACTERS = "benchmarking-similar"
"""The name, among those of codecs, of what becomes of characters that an encoding lacks."""


def prepare_streams() -> None:
    """Lets stdout and stderr show every text: of a character that their encoding lacks, a similar one."""
    codecs.register_error(SIMILAR_CHARACTERS, _similar_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=SIMILAR_CHARACTERS)


def _similar_characters(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return similar(error.object[error.start : error.end]), error.end


def log_to_stderr(level: str = "warning") -> None:
    """Our own messages from this level on, others' from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("benchmarking").setLevel(level.upper())


class PlainFormatter(logging.Formatter):
    """Keeps line breaks, and nothing else that could drive a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


def standard_output() -> TextIO:
    """
    Raises:
        UsageError: the process was started with it closed.
    """
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise UsageError("stdout is closed: there is nowhere to show the results")
    return stream


def show(text: str, *, is_styled: bool = False) -> None:
    """Prints what the user asked for. That its reader has gone (``| head -1``) is nobody's fault.

    ``is_styled``: it comes from a ``console``, which has made it harmless.

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


def tell(text: str) -> None:
    """Prints a message to the user on stderr; where that is gone, there is nobody to read it."""
    try:
        sys.stderr.write(f"{plain_lines(text)}\n")
        sys.stderr.flush()
    except OSError:
        pass
